package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "embed"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/doorward/doorward/authn"
)

// jwksBody is a JWK Set, RFC 7517.
type jwksBody struct {
	Keys []jwkJSON `json:"keys"`
}

// jwkJSON is one public key: RFC 7518, section 6, and RFC 8037 for OKP.
type jwkJSON struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// jwks publishes what access tokens can be verified with. A shared secret
// (HS256) has no public half: the set is empty.
func (s *Server) jwks(w *answer, r *http.Request) error {
	set := jwksBody{Keys: []jwkJSON{}}
	for _, k := range s.Authn.PublicKeys() {
		key, err := shapeKey(k)
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, key)
	}
	return writeJSON(w, http.StatusOK, set)
}

func shapeKey(k authn.PublicKey) (jwkJSON, error) {
	out := jwkJSON{Use: "sig", ID: k.ID, Algorithm: k.Algorithm}
	switch key := k.Key.(type) {
	case ed25519.PublicKey:
		out.Type, out.Curve, out.X = "OKP", "Ed25519", b64(key)
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 4 | x | y, both as long as the curve's field
		if err != nil {
			return out, fmt.Errorf("jwk of key %s: %w", k.ID, err)
		}
		half := len(point) / 2
		out.Type, out.Curve, out.X, out.Y = "EC", key.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case *rsa.PublicKey:
		out.Type, out.N, out.E = "RSA", b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes())
	default:
		return out, fmt.Errorf("jwk of key %s: no shape for %T", k.ID, crypto.PublicKey(key))
	}
	return out, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

//go:embed openapi.yaml
var openAPIDocument string

// documentPrefix is the line of the document that says where the endpoints are.
const documentPrefix = "- url: /auth\n"

// openAPI serves the description of our endpoints, below the prefix they have
// here.
func (s *Server) openAPI(w *answer, r *http.Request) error {
	here := "- url: " + exchangeOf(r).live.cfg.Server.Prefix + "\n"
	doc := strings.Replace(openAPIDocument, documentPrefix, here, 1)
	return writeBytes(w, http.StatusOK, "application/yaml", []byte(doc))
}
