package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// A token workshop of the attacker's own: it shares no code with what it
// attacks, and with a stolen key it signs anything.

// object is a JSON object in which anything can stand, twice if need be.
type object []struct{ name, raw string }

func objectOf(t testing.TB, raw []byte) object {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	var o object
	for name, raw := range m {
		o = o.with(name, string(raw))
	}
	return o
}

func (o object) without(name string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m struct{ name, raw string }) bool { return m.name == name })
}

func (o object) and(name, raw string) object {
	return append(slices.Clone(o), struct{ name, raw string }{name, raw})
}

func (o object) with(name, raw string) object { return o.without(name).and(name, raw) }

func (o object) get(name string) string {
	for _, m := range o {
		if m.name == name {
			return m.raw
		}
	}
	return ""
}

func (o object) String() string {
	var parts []string
	for _, m := range o {
		name, _ := json.Marshal(m.name)
		parts = append(parts, string(name)+":"+m.raw)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

var b64 = base64.RawURLEncoding

// workshop is a genuine token taken apart, and the key that signed it.
type workshop struct {
	header, claims object
	key            crypto.Signer // nil: secret
	secret         []byte
}

func (w workshop) with(name, raw string) workshop     { w.claims = w.claims.with(name, raw); return w }
func (w workshop) without(name string) workshop       { w.claims = w.claims.without(name); return w }
func (w workshop) and(name, raw string) workshop      { w.claims = w.claims.and(name, raw); return w }
func (w workshop) headWith(name, raw string) workshop { w.header = w.header.with(name, raw); return w }
func (w workshop) headWithout(name string) workshop   { w.header = w.header.without(name); return w }
func (w workshop) headAnd(name, raw string) workshop  { w.header = w.header.and(name, raw); return w }

// token signs header and claims as they stand.
func (w workshop) token(t testing.TB) string {
	return w.sign(t, []byte(w.header.String()), []byte(w.claims.String()))
}

func (w workshop) sign(t testing.TB, header, payload []byte) string {
	t.Helper()
	text := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	return text + "." + b64.EncodeToString(w.signature(t, text))
}

func (w workshop) signature(t testing.TB, text string) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	switch k := w.key.(type) {
	case nil:
		return hs256(w.secret, text)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(text))
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig
	}
	t.Fatalf("no way to sign with %T", w.key)
	return nil
}

func hs256(secret []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// stolen takes a genuine token of the service apart and steals its key.
func stolen(t testing.TB, f *fixture, token authn.Secret) workshop {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatalf("a genuine token has %d segments", len(parts))
	}
	w := workshop{header: objectOf(t, unb64(t, parts[0])), claims: objectOf(t, unb64(t, parts[1]))}
	if f.Config.Tokens.Algorithm == "HS256" {
		w.secret = []byte(f.Config.Tokens.Secret.Reveal())
		return w
	}
	err := f.Store.View(context.Background(), func(tx authn.Tx) error {
		keys, err := tx.Keys()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if `"`+k.ID+`"` != w.header.get("kid") {
				continue
			}
			private, err := x509.ParsePKCS8PrivateKey([]byte(k.Private.Reveal()))
			if err != nil {
				return err
			}
			w.key = private.(crypto.Signer)
		}
		return nil
	})
	if err != nil || w.key == nil {
		t.Fatalf("no key to steal: %v", err)
	}
	return w
}

func unb64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := b64.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
