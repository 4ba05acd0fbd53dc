package authn_test

import (
	"context"
	"testing"

	"github.com/doorward/doorward/authn"
)

// BenchmarkIdentify is what every proxied request pays once its session and
// user are known.
func BenchmarkIdentify(b *testing.B) {
	f := newService(b, nil)
	f.newUser(b, "ada", "user")
	credentials := map[string]authn.Credential{
		"bearer": {Bearer: f.signIn(b, "ada", authn.ModeToken).AccessToken},
		"cookie": {Cookies: []authn.Secret{f.signIn(b, "ada", authn.ModeSessionCookie).Cookie}},
	}
	for name, c := range credentials {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Identify(context.Background(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIdentifyForged is what a token with a wrong signature costs us.
func BenchmarkIdentifyForged(b *testing.B) {
	f := newService(b, nil)
	f.newUser(b, "ada", "user")
	token := f.signIn(b, "ada", authn.ModeToken).AccessToken
	c := authn.Credential{Bearer: token[:len(token)-4] + "AAAA"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Identify(context.Background(), c); err == nil {
			b.Fatal("a forged token was taken")
		}
	}
}

// BenchmarkRefresh is one rotation, durable.
func BenchmarkRefresh(b *testing.B) {
	f := newService(b, nil)
	f.newUser(b, "ada", "user")
	token := f.signIn(b, "ada", authn.ModeToken).RefreshToken
	for b.Loop() {
		f.advance(f.Config.Tokens.RefreshGrace / 4)
		in, err := f.Refresh(context.Background(), token, client("192.0.2.1"))
		if err != nil {
			b.Fatal(err)
		}
		token = in.RefreshToken
	}
}
