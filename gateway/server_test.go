package gateway

import (
	"regexp"
	"strings"
	"testing"
)

func TestRequestIDIsOnEveryAnswer(t *testing.T) {
	g := newGateway(t, nil)
	own := regexp.MustCompile(`^[A-Za-z0-9._-]{20,64}$`)
	seen := map[string]bool{}
	for _, path := range []string{"/public/x", "/secret", "/auth/jwks.json", "/auth/nothing", "/%zz"} {
		a := g.do("GET", "/public/x", "", "X-Request-Id: made-up")
		if path != "/%zz" {
			a = g.get(path, "X-Request-Id: made-up")
		}
		ids := a.Header.Values("X-Request-Id")
		if len(ids) != 1 || !own.MatchString(ids[0]) || ids[0] == "made-up" || seen[ids[0]] {
			t.Errorf("%s: X-Request-Id %q, want one new id of ours", path, ids)
			continue
		}
		seen[ids[0]] = true
	}
}

func TestRequestIDOfTrustedProxy(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Server.TrustedProxies = []string{"127.0.0.1"} })
	for sent, kept := range map[string]bool{
		"abc.DEF_1-2": true, strings.Repeat("a", 64): true,
		strings.Repeat("a", 65): false, "a b": false, "a\u00e4": false, "a,b": false,
	} {
		got := g.get("/public/x", "X-Request-Id: "+sent).Header.Get("X-Request-Id")
		if (got == sent) != kept {
			t.Errorf("sent %q, got %q, want it kept: %v", sent, got, kept)
		}
	}
	if got := g.get("/public/x", "X-Request-Id: one", "X-Request-Id: two").Header.Get("X-Request-Id"); got == "one" || got == "two" {
		t.Errorf("two ids: got %q, want a new one", got)
	}
}
