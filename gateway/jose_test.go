package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// rfcSecret is the key of the HS256 messages of RFC 7515 A.1 and RFC 7797.
const rfcSecret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"

// TestPublishedSignaturesAreNoTokensOfOurs: a signature that holds, under our
// very own secret even, does not make a message an access token.
func TestPublishedSignaturesAreNoTokensOfOurs(t *testing.T) {
	text, err := os.ReadFile("testdata/jose.txt")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base64.RawURLEncoding.DecodeString(rfcSecret)
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range map[string]authn.Secret{"EdDSA": "", "HS256": authn.Secret(secret)} {
		t.Run(alg, func(t *testing.T) {
			up := newRecorder(t, plainAnswer)
			g := newGatewayWith(t, behind(up.url(), to("/**", signedin)), func(c *authn.Config) {
				c.Tokens.Algorithm, c.Tokens.Secret = alg, key
			})
			if a := g.get("/", g.person(t, "ann", "user").bearer); a.Status != 200 {
				t.Fatalf("a token of ours: got %d %s", a.Status, a.Body)
			}
			tried := 0
			for line := range strings.Lines(string(text)) {
				name, token, ok := strings.Cut(strings.TrimSpace(line), " ")
				if !ok || name == "#" {
					continue
				}
				tried++
				if strings.HasSuffix(name, "A.1-HS256") && !rfcSigned(secret, token) {
					t.Errorf("%s: the copy is not what was printed", name)
				}
				wantProblem(t, g.get("/", "Authorization: Bearer "+token), 401, "TOKEN_INVALID")
			}
			if got := len(up.requests()); got != 1 || tried < 7 {
				t.Errorf("%d messages, %d requests reached the backend; want seven, and the one of ours", tried, got)
			}
		})
	}
}

func rfcSigned(secret []byte, token string) bool {
	end := strings.LastIndexByte(token, '.')
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(token[:end]))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) == token[end+1:]
}
