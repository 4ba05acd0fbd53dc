package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// TestTokensVerifyWithThePublishedKey reads the set as another program would
// and verifies a real token with it.
func TestTokensVerifyWithThePublishedKey(t *testing.T) {
	for _, algorithm := range []string{"EdDSA", "ES256", "RS256"} {
		t.Run(algorithm, func(t *testing.T) {
			g := newGatewayWith(t, nil, func(c *authn.Config) { c.Tokens.Algorithm = algorithm })
			token := strings.TrimPrefix(g.bearer("ann"), "Bearer ")
			a := g.get("/auth/jwks.json")
			documented(t, "GET", "/jwks.json", a)
			var set jwksBody
			a.json(t, &set)
			if len(set.Keys) != 1 || set.Keys[0].Algorithm != algorithm || set.Keys[0].ID == "" {
				t.Fatalf("got %s, want one key for %s", a.Body, algorithm)
			}
			signed, signature := token[:strings.LastIndexByte(token, '.')], decode64(t, token[strings.LastIndexByte(token, '.')+1:])
			if !verifies(t, set.Keys[0], []byte(signed), signature) {
				t.Error("the token does not verify with the published key")
			}
			if verifies(t, set.Keys[0], []byte(signed+"x"), signature) {
				t.Error("another text verifies too")
			}
		})
	}
}

// verifies checks a signature by RFC 7518, from the key's members alone.
func verifies(t *testing.T, k jwkJSON, signed, signature []byte) bool {
	t.Helper()
	sum := sha256.Sum256(signed)
	switch k.Type + " " + k.Curve {
	case "OKP Ed25519":
		return ed25519.Verify(ed25519.PublicKey(decode64(t, k.X)), signed, signature)
	case "EC P-256":
		key := &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(decode64(t, k.X)), Y: number(decode64(t, k.Y))}
		if len(decode64(t, k.X)) != 32 || len(decode64(t, k.Y)) != 32 {
			t.Errorf("got coordinates %s, %s, want 32 bytes each", k.X, k.Y)
		}
		return ecdsa.Verify(key, sum[:], number(signature[:32]), number(signature[32:]))
	case "RSA ":
		key := &rsa.PublicKey{N: number(decode64(t, k.N)), E: int(number(decode64(t, k.E)).Int64())}
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	t.Fatalf("got a key of type %s %s", k.Type, k.Curve)
	return false
}

func number(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSharedSecretIsNotPublished(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	g := newGatewayWith(t, nil, func(c *authn.Config) { c.Tokens.Algorithm, c.Tokens.Secret = "HS256", secret })
	if a := g.get("/auth/jwks.json"); strings.TrimSpace(a.Body) != `{"keys":[]}` {
		t.Errorf("got %s, want an empty set", a.Body)
	}
}

func TestKeyWithoutAShapeIsAnError(t *testing.T) {
	if _, err := shapeKey(authn.PublicKey{ID: "k", Key: "no key"}); err == nil {
		t.Error("got no error, want one: half a key must not be published")
	}
}
