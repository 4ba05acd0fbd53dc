package authn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var everyAlgorithm = []string{"EdDSA", "ES256", "RS256", "HS256"}

func withAlgorithm(alg string) func(*authn.Deps) {
	return func(d *authn.Deps) {
		d.Config.Tokens.Algorithm = alg
		if alg == "HS256" {
			d.Config.Tokens.Secret = "0123456789abcdef0123456789abcdef"
		}
	}
}

func (f *fixture) bearer(token string) (authn.Identity, error) {
	return f.Identify(context.Background(), authn.Credential{Bearer: authn.Secret(token)})
}

func TestTokenRoundTrip(t *testing.T) {
	for _, alg := range everyAlgorithm {
		t.Run(alg, func(t *testing.T) {
			f := newService(t, withAlgorithm(alg))
			u := f.newUser(t, "ada", "editor", "user")
			in := f.signIn(t, "ada", authn.ModeToken)
			w := stolen(t, f, in.AccessToken)
			for name, want := range map[string]string{
				"iss": `"https://gate.example"`, "aud": `"doorward"`, "sub": `"` + u.ID + `"`,
				"sid": `"` + in.Session.ID + `"`, "iat": "1772366400", "nbf": "1772366400", "exp": "1772367300",
				"roles": `["editor","user"]`, "username": `"ada"`,
			} {
				if got := w.claims.get(name); got != want {
					t.Errorf("claim %s: got %s, want %s", name, got, want)
				}
			}
			if got, want := w.header.get("typ")+w.header.get("alg"), `"at+jwt""`+alg+`"`; got != want {
				t.Errorf("header: got %s, want %s", got, want)
			}
			if in.AccessExpiresIn != 15*time.Minute {
				t.Errorf("expires in %v, want 15m", in.AccessExpiresIn)
			}
			// The workshop's own signature is right too, or the attacks below prove nothing.
			for _, token := range []string{in.AccessToken.Reveal(), w.token(t)} {
				id, err := f.bearer(token)
				if err != nil || id.User.ID != u.ID || id.Session != in.Session.ID || id.Cookie {
					t.Errorf("got %+v, %v; want %s in %s", id, err, u.ID, in.Session.ID)
				}
			}
		})
	}
}

// TestTokenAttacksWithTheKey signs, with the gateway's own key, what it would
// never sign: each check must stand by itself.
func TestTokenAttacksWithTheKey(t *testing.T) {
	now := start.Unix()
	claim := func(name, raw string) func(workshop) workshop {
		return func(w workshop) workshop { return w.with(name, raw) }
	}
	at := func(name string, seconds int64) func(workshop) workshop {
		return claim(name, strconv.FormatInt(seconds, 10))
	}
	without := func(name string) func(workshop) workshop {
		return func(w workshop) workshop { return w.without(name) }
	}
	and := func(name, raw string) func(workshop) workshop {
		return func(w workshop) workshop { return w.and(name, raw) }
	}
	head := func(name, raw string) func(workshop) workshop {
		return func(w workshop) workshop { return w.headWith(name, raw) }
	}
	headless := func(name string) func(workshop) workshop {
		return func(w workshop) workshop { return w.headWithout(name) }
	}
	headAnd := func(name, raw string) func(workshop) workshop {
		return func(w workshop) workshop { return w.headAnd(name, raw) }
	}
	type attack struct {
		name string
		make func(workshop) workshop
		want error
	}
	bad := authn.ErrTokenInvalid
	attacks := []attack{
		{"nothing changed", func(w workshop) workshop { return w }, nil},
		{"a claim of someone else", and("client_id", `"app"`), nil},
		{"a nested claim of someone else", and("cnf", `{"jkt":["x"]}`), nil},
		{"key hints are not followed", headAnd("jku", `"https://evil.test/keys"`), nil},
		{"a key in the header is not used", headAnd("jwk", `{"kty":"oct","k":"AAAA"}`), nil},
		{"x5u", headAnd("x5u", `"https://evil.test/c.pem"`), nil},
		{"x5c", headAnd("x5c", `["AAAA"]`), nil},
		{"a little ahead", func(w workshop) workshop {
			return at("nbf", now+20)(at("iat", now+20)(w))
		}, nil},

		{"crit unknown", headAnd("crit", `["exp2"]`), bad},
		{"crit empty", headAnd("crit", `[]`), bad},
		{"crit not a list", headAnd("crit", `"exp"`), bad},
		{"crit null", headAnd("crit", `null`), bad},
		{"b64 false", headAnd("b64", `false`), bad},
		{"zip", headAnd("zip", `"DEF"`), bad},
		{"alg missing", headless("alg"), bad},
		{"alg null", head("alg", `null`), bad},
		{"alg number", head("alg", `1`), bad},
		{"alg array", head("alg", `["EdDSA"]`), bad},
		{"alg lower", head("alg", `"eddsa"`), bad},
		{"alg twice", headAnd("alg", `"EdDSA"`), bad},
		{"ALG beside alg", headAnd("ALG", `"none"`), bad},
		{"ALG instead of alg", func(w workshop) workshop { return w.headWithout("alg").headAnd("ALG", `"EdDSA"`) }, bad},
		{"kid missing", headless("kid"), bad},
		{"kid empty", head("kid", `""`), bad},
		{"kid traversal", head("kid", `"../../../../dev/null"`), bad},
		{"kid sql", head("kid", `"x' UNION SELECT 'k"`), bad},
		{"kid command", head("kid", `"|/bin/true"`), bad},
		{"kid url", head("kid", `"https://evil.test/k"`), bad},
		{"kid number", head("kid", `0`), bad},
		{"kid array", head("kid", `[]`), bad},
		{"kid with NUL", func(w workshop) workshop {
			return w.headWith("kid", strings.TrimSuffix(w.header.get("kid"), `"`)+`\u0000"`)
		}, bad},
		{"kid of 7 kB", head("kid", `"`+strings.Repeat("k", 7000)+`"`), bad},
		{"kid twice", headAnd("kid", `"other"`), bad},
		{"Kid", headAnd("Kid", `"other"`), bad},
		{"typ missing", headless("typ"), bad},
		{"typ JWT", head("typ", `"JWT"`), bad},
		{"typ of a refresh token", head("typ", `"rt+jwt"`), bad},
		{"typ of an id token", head("typ", `"id+jwt"`), bad},
		{"typ of a reset token", head("typ", `"reset+jwt"`), bad},
		{"typ in capitals", head("typ", `"AT+JWT"`), bad},
		{"typ with its tree", head("typ", `"application/at+jwt"`), bad},
		{"typ null", head("typ", `null`), bad},

		{"exp missing", without("exp"), bad},
		{"exp null", claim("exp", `null`), bad},
		{"exp past", at("exp", now-1), bad}, // before iat: nothing of ours
		{"exp zero", at("exp", 0), bad},
		{"exp -1", at("exp", -1), bad},
		{"exp string", claim("exp", fmt.Sprintf(`"%d"`, now+60)), bad},
		{"exp bool", claim("exp", `true`), bad},
		{"exp array", claim("exp", fmt.Sprintf(`[%d]`, now+60)), bad},
		{"exp fraction", claim("exp", fmt.Sprintf(`%d.5`, now+60)), bad},
		{"exp 1e300", claim("exp", `1e300`), bad},
		{"exp 1e400", claim("exp", `1e400`), bad},
		{"exp 2^63-1", claim("exp", `9223372036854775807`), bad},
		{"exp 2^64", claim("exp", `18446744073709551616`), bad},
		{"exp twice", and("exp", strconv.FormatInt(now+60, 10)), bad},
		{"EXP", and("EXP", strconv.FormatInt(now+60, 10)), bad},
		{"exp in ten years", at("exp", now+10*365*86400), bad},
		{"exp beyond the longest life", at("exp", now+15*60+2), bad},
		{"nbf missing", without("nbf"), bad},
		{"nbf in the future", at("nbf", now+31), bad},
		{"nbf string", claim("nbf", `"0"`), bad},
		{"iat missing", without("iat"), bad},
		{"iat in the future", at("iat", now+31), bad},
		{"iat null", claim("iat", `null`), bad},
		{"iat zero", at("iat", 0), bad},
		{"iss missing", without("iss"), bad},
		{"iss other", claim("iss", `"https://other.example"`), bad},
		{"iss with a slash", claim("iss", `"https://gate.example/"`), bad},
		{"iss in capitals", claim("iss", `"https://GATE.example"`), bad},
		{"iss array", claim("iss", `["https://gate.example"]`), bad},
		{"iss twice", and("iss", `"https://gate.example"`), bad},
		{"aud missing", without("aud"), bad},
		{"aud empty list", claim("aud", `[]`), bad},
		{"aud empty", claim("aud", `""`), bad},
		{"aud number", claim("aud", `1`), bad},
		{"aud nested", claim("aud", `[["doorward"]]`), bad},
		{"aud prefix", claim("aud", `"door"`), bad},
		{"aud longer", claim("aud", `"doorward2"`), bad},
		{"aud null", claim("aud", `null`), bad},
		{"aud list of others", claim("aud", `["a","b"]`), bad},
		{"aud list with ours", claim("aud", `["doorward","evil"]`), bad},
		{"sub missing", without("sub"), bad},
		{"sub empty", claim("sub", `""`), bad},
		{"sub spaces", claim("sub", `"  "`), bad},
		{"sub number", claim("sub", `1`), bad},
		{"sub array", claim("sub", `["x"]`), bad},
		{"sub unknown", claim("sub", `"00000000000000000000000000"`), authn.ErrTokenRevoked},
		{"sub with CRLF", claim("sub", `"00000000000000000000\r\n"`), bad},
		{"sub twice", and("sub", `"x"`), bad},
		{"Sub", and("Sub", `"x"`), bad},
		{"sub with a long s", and("\u017fub", `"x"`), bad},
		{"jti missing", without("jti"), bad},
		{"jti number", claim("jti", `7`), bad},
		{"sid missing", without("sid"), bad},
		{"sid empty", claim("sid", `""`), bad},
		{"sid traversal", claim("sid", `"../sessions/x"`), bad},
		{"sid unknown", claim("sid", `"00000000000000000000000000"`), authn.ErrTokenRevoked},
		{"roles string", claim("roles", `"admin"`), bad},
		{"roles with a number", claim("roles", `[1]`), bad},
		{"roles null", claim("roles", `null`), bad},
		{"roles twice", and("roles", `["admin"]`), bad},
		{"Roles", and("Roles", `["admin"]`), bad},
		{"username number", claim("username", `1`), bad},
		{"half a surrogate pair", and("x", `"\ud800"`), bad},
		{"deeper than 16", and("x", strings.Repeat("[", 16)+strings.Repeat("]", 16)), bad},
	}
	for _, alg := range everyAlgorithm {
		f := newService(t, withAlgorithm(alg))
		f.newUser(t, "ada", "user")
		w := stolen(t, f, f.signIn(t, "ada", authn.ModeToken).AccessToken)
		for _, a := range attacks {
			t.Run(alg+"/"+a.name, func(t *testing.T) {
				if _, err := f.bearer(a.make(w).token(t)); !errors.Is(err, a.want) {
					t.Errorf("got %v, want %v", err, a.want)
				}
			})
		}
	}
}

// TestTokenPayloads signs with the gateway's key what is not one JSON object.
func TestTokenPayloads(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	w := stolen(t, f, f.signIn(t, "ada", authn.ModeToken).AccessToken)
	header, claims := w.header.String(), w.claims.String()
	for name, payload := range map[string]string{
		"array":         "[" + claims + "]",
		"string":        strconv.Quote(claims),
		"null":          "null",
		"empty":         "",
		"empty object":  "{}",
		"trailing":      claims + "x",
		"second object": claims + claims,
		"NaN":           strings.Replace(claims, `"exp":`, `"x":NaN,"exp":`, 1),
		"BOM":           "\ufeff" + claims,
		"comment":       "/**/" + claims,
		"very deep":     strings.Repeat(`[`, 5000),
		"invalid UTF-8": strings.Replace(claims, `"ada"`, "\"ad\xff\"", 1),
		"overlong":      strings.Replace(claims, `"ada"`, "\"ad\xc0\xaf\"", 1),
	} {
		t.Run("payload "+name, func(t *testing.T) {
			if _, err := f.bearer(w.sign(t, []byte(header), []byte(payload))); !errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("got %v, want %v", err, authn.ErrTokenInvalid)
			}
		})
		t.Run("header "+name, func(t *testing.T) {
			head := strings.ReplaceAll(payload, claims, header)
			if _, err := f.bearer(w.sign(t, []byte(head), []byte(claims))); !errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("got %v, want %v", err, authn.ErrTokenInvalid)
			}
		})
	}
}

// TestTokenText takes a genuine token and spells it in other ways: one token
// has one text.
func TestTokenText(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	good := f.signIn(t, "ada", authn.ModeToken).AccessToken.Reveal()
	part := strings.Split(good, ".")
	if _, err := f.bearer(good); err != nil {
		t.Fatal(err) // and from here on it is in the cache of verified tokens
	}
	std := base64.StdEncoding.EncodeToString
	cases := map[string]string{
		"padding":          good + "=",
		"padded signature": part[0] + "." + part[1] + "." + std(unb64(t, part[2])),
		"line break":       part[0] + "." + part[1][:8] + "\n" + part[1][8:] + "." + part[2],
		"CRLF at the end":  good + "\r\n",
		"space before":     " " + good,
		"space behind":     good + " ",
		"NUL behind":       good + "\x00",
		"encoded dot":      strings.Replace(good, ".", "%2e", 1),
		"one segment":      part[0],
		"two segments":     part[0] + "." + part[1],
		"no signature":     part[0] + "." + part[1] + ".",
		"four segments":    good + ".",
		"five segments":    good + ".x.y",
		"empty header":     "." + part[1] + "." + part[2],
		"empty payload":    part[0] + ".." + part[2],
		"dots":             strings.Repeat(".", 60000),
		"two dots":         "..",
		"unused bits":      part[0] + "." + part[1] + "." + twist(part[2]),
		"flipped":          part[0] + "." + part[1] + "." + flip(part[2]),
		"signature cut":    part[0] + "." + part[1] + "." + part[2][:len(part[2])-4],
		"signature longer": part[0] + "." + part[1] + "." + part[2] + "AAAA",
		"payload flipped":  part[0] + "." + flip(part[1]) + "." + part[2],
		"JSON":             fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, part[1], part[0], part[2]),
		"too long":         good + strings.Repeat("A", authn.MaxToken),
		"a JWE":            b64.EncodeToString([]byte(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A128GCM","zip":"DEF"}`)) + ".AA.AA.AA.AA",
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if text == good {
				t.Fatal("the case changes nothing")
			}
			if _, err := f.bearer(text); !errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("got %v, want %v", err, authn.ErrTokenInvalid)
			}
		})
	}
}

// twist sets the bits of the last character that carry nothing.
func twist(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[last^1])
}

// flip changes one bit in the middle.
func flip(text string) string {
	c := byte('A')
	if text[len(text)/2] == c {
		c = 'B'
	}
	return text[:len(text)/2] + string(c) + text[len(text)/2+1:]
}

// TestTokenUnsigned is what someone without the key can try.
func TestTokenUnsigned(t *testing.T) {
	for _, alg := range everyAlgorithm {
		f := newService(t, withAlgorithm(alg))
		f.newUser(t, "ada", "user")
		w := stolen(t, f, f.signIn(t, "ada", authn.ModeToken).AccessToken)
		try := func(name, token string) {
			t.Run(alg+"/"+name, func(t *testing.T) {
				if _, err := f.bearer(token); !errors.Is(err, authn.ErrTokenInvalid) {
					t.Errorf("got %v, want %v", err, authn.ErrTokenInvalid)
				}
			})
		}
		unsigned := func(w workshop, sig []byte) string {
			return b64.EncodeToString([]byte(w.header.String())) + "." +
				b64.EncodeToString([]byte(w.claims.String())) + "." + b64.EncodeToString(sig)
		}
		for _, none := range []string{"none", "None", "NONE", "nOnE", "none ", ""} {
			try("alg "+none+", no signature", unsigned(w.headWith("alg", strconv.Quote(none)), nil))
			try("alg "+none+", some signature", unsigned(w.headWith("alg", strconv.Quote(none)), []byte("x")))
		}
		for _, other := range everyAlgorithm {
			if other != alg { // signed rightly, but the header says otherwise
				try("the header says "+other, w.headWith("alg", strconv.Quote(other)).token(t))
			}
		}
		for _, sibling := range []string{"HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "ES512", "Ed25519"} {
			try("sibling "+sibling, w.headWith("alg", strconv.Quote(sibling)).token(t))
		}
		for _, size := range []int{32, 64, 256} {
			try(fmt.Sprintf("%d zero bytes", size), unsigned(w, make([]byte, size)))
		}
		try("another key", another(t, w).token(t))
		if w.key != nil {
			for name, secret := range publicForms(t, w) {
				forged := w.headWith("alg", `"HS256"`)
				forged.key, forged.secret = nil, secret
				try("HMAC with the public key as "+name, forged.token(t))
				forged.header = forged.header.with("alg", strconv.Quote(alg))
				try("HMAC with the public key under "+alg+" as "+name, forged.token(t))
			}
		}
		if k, ok := w.key.(*ecdsa.PrivateKey); ok {
			text := unsigned(w, nil)
			text = strings.TrimSuffix(text, ".")
			sig := w.signature(t, text)
			r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				t.Fatal(err)
			}
			try("signature in DER", unsigned(w, der))
			n := k.Params().N
			try("psychic signature of n", unsigned(w, append(n.FillBytes(make([]byte, 32)), n.FillBytes(make([]byte, 32))...)))
		}
	}
}

// another has a key of the same kind that is not the gateway's.
func another(t *testing.T, w workshop) workshop {
	t.Helper()
	var err error
	switch w.key.(type) {
	case nil:
		w.secret = []byte("another secret of thirty-two byte")
	case ed25519.PrivateKey:
		_, k, e := ed25519.GenerateKey(rand.Reader)
		w.key, err = k, e
	case *ecdsa.PrivateKey:
		w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case *rsa.PrivateKey:
		w.key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// publicForms are the bytes of the public key in every form that has been taken
// for a secret.
func publicForms(t *testing.T, w workshop) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(w.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	forms := map[string][]byte{
		"DER": der, "PEM": text, "PEM without the last line end": text[:len(text)-1],
		"nothing": {}, "the hash of DER": func() []byte { h := sha256.Sum256(der); return h[:] }(),
	}
	switch k := w.key.Public().(type) {
	case ed25519.PublicKey:
		forms["raw"], forms["JWK"] = k, []byte(`{"crv":"Ed25519","kty":"OKP","x":"`+b64.EncodeToString(k)+`"}`)
	case *rsa.PublicKey:
		forms["the modulus"], forms["PKCS1"] = k.N.Bytes(), x509.MarshalPKCS1PublicKey(k)
	}
	return forms
}

// TestTokenOfAnotherInstance: same configuration, same names, other key.
func TestTokenOfAnotherInstance(t *testing.T) {
	for _, alg := range everyAlgorithm {
		ours, theirs := newService(t, withAlgorithm(alg)), newService(t, func(d *authn.Deps) {
			withAlgorithm(alg)(d)
			if alg == "HS256" {
				d.Config.Tokens.Secret = "ffffffffffffffffffffffffffffffff"
			}
		})
		ours.newUser(t, "ada", "user")
		theirs.newUser(t, "ada", "admin")
		token := theirs.signIn(t, "ada", authn.ModeToken).AccessToken
		if _, err := ours.bearer(token.Reveal()); !errors.Is(err, authn.ErrTokenInvalid) {
			t.Errorf("%s: got %v, want %v", alg, err, authn.ErrTokenInvalid)
		}
		// The other's token under our kid.
		w := stolen(t, theirs, token)
		w.header = stolen(t, ours, ours.signIn(t, "ada", authn.ModeToken).AccessToken).header
		if _, err := ours.bearer(w.token(t)); !errors.Is(err, authn.ErrTokenInvalid) {
			t.Errorf("%s under our kid: got %v, want %v", alg, err, authn.ErrTokenInvalid)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	seen := in.AccessToken.Reveal()
	unseen := stolen(t, f, in.AccessToken).with("jti", `"00000000000000000000000000"`).token(t)
	if _, err := f.bearer(seen); err != nil {
		t.Fatal(err)
	}
	f.advance(15*time.Minute - time.Second)
	if _, err := f.bearer(seen); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	f.advance(time.Second) // no leeway behind exp
	if err := f.Logout(context.Background(), authn.Credential{}, in.RefreshToken, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	// Judged before the session, which is over as well.
	for name, token := range map[string]string{"cached": seen, "new": unseen} {
		if _, err := f.bearer(token); !errors.Is(err, authn.ErrTokenExpired) {
			t.Errorf("%s token: got %v, want %v", name, err, authn.ErrTokenExpired)
		}
	}
	// Expired is said of genuine tokens only.
	if _, err := f.bearer(flip(seen)); !errors.Is(err, authn.ErrTokenInvalid) {
		t.Errorf("forged: got %v, want %v", err, authn.ErrTokenInvalid)
	}
}

func TestTokenWhenTheClockGoesBack(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	token := f.signIn(t, "ada", authn.ModeToken).AccessToken.Reveal()
	cookie := authn.Credential{Cookies: []authn.Secret{f.signIn(t, "ada", authn.ModeSessionCookie).Cookie}}
	if _, err := f.bearer(token); err != nil { // cached from here on
		t.Fatal(err)
	}
	f.advance(-authn.Leeway)
	if _, err := f.bearer(token); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	f.advance(-time.Second)
	if _, err := f.bearer(token); !errors.Is(err, authn.ErrTokenInvalid) {
		t.Errorf("token from the future: got %v, want %v", err, authn.ErrTokenInvalid)
	}
	if _, err := f.Identify(context.Background(), cookie); !errors.Is(err, authn.ErrNotSignedIn) {
		t.Errorf("cookie from the future: got %v, want %v", err, authn.ErrNotSignedIn)
	}
	f.set(time.Unix(0, 0))
	if _, err := f.bearer(token); !errors.Is(err, authn.ErrTokenInvalid) {
		t.Errorf("in 1970: got %v, want %v", err, authn.ErrTokenInvalid)
	}
}

// TestTokenEndsWithItsSession: no token outlives the session it is of.
func TestTokenEndsWithItsSession(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Sessions.Idle = 5 * time.Minute })
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	if in.AccessExpiresIn != 5*time.Minute || in.RefreshExpiresIn != 5*time.Minute {
		t.Errorf("got %v and %v, want 5m and 5m", in.AccessExpiresIn, in.RefreshExpiresIn)
	}
	later := stolen(t, f, in.AccessToken).with("exp", fmt.Sprint(f.at().Unix()+600)).token(t) // whoever has the key may write that
	if _, err := f.bearer(later); err != nil {
		t.Fatal(err)
	}
	f.advance(5 * time.Minute)
	if _, err := f.bearer(in.AccessToken.Reveal()); !errors.Is(err, authn.ErrTokenExpired) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenExpired)
	}
	if _, err := f.bearer(later); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("of a session that is over: got %v, want %v", err, authn.ErrTokenRevoked)
	}
}

func FuzzVerify(f *testing.F) {
	s := newService(f, nil)
	s.newUser(f, "ada", "user")
	good := s.signIn(f, "ada", authn.ModeToken).AccessToken
	w := stolen(f, s, good)
	f.Add(good.Reveal())
	f.Add(w.headWith("alg", `"none"`).token(f))
	f.Add(w.with("exp", `1e300`).token(f))
	f.Add("..")
	f.Add(strings.Repeat(".", 100))
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := s.bearer(text)
		if err == nil && text != "" && id.User.Username != "ada" {
			t.Errorf("%q identifies %+v", text, id)
		}
		if err == nil && !validlySigned(w, text) {
			t.Errorf("%q was taken and is not what the key signed", text)
		}
	})
}

// validlySigned is a second opinion that shares no code with the first.
func validlySigned(w workshop, text string) bool {
	part := strings.Split(text, ".")
	if len(part) != 3 {
		return false
	}
	sig, err := b64.DecodeString(part[2])
	return err == nil && ed25519.Verify(w.key.Public().(ed25519.PublicKey), []byte(part[0]+"."+part[1]), sig)
}
