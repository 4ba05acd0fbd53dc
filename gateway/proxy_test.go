package gateway

import (
	"testing"

	"github.com/doorward/doorward/policy"
)

// behind is a configuration with one upstream called app and these routes.
func behind(url string, routes ...Route) func(*Config) {
	return func(c *Config) {
		u := DefaultUpstream()
		u.Name, u.URL = "app", url
		c.Upstreams = []Upstream{u}
		c.Routes = routes
	}
}

// to is a route to app.
func to(path string, allow policy.Allow) Route {
	return Route{Rule: policy.Rule{Path: path, Allow: allow, Upstream: "app"}}
}

// Who may go somewhere, in the tests' words.
var (
	anybody  = policy.Allow{Audience: policy.Anyone}
	signedin = policy.Allow{Audience: policy.Authenticated}
)

// roles is who has one of them.
func roles(names ...string) policy.Allow { return policy.Allow{Audience: policy.Roles, Roles: names} }

func TestTargetIsForwardedByteForByte(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, target := range []string{
		"/", "/a", "/a/", "/a%2Fb", "/a%2fb", "/%41", "/a;b=1?x=1;y=2&c=%zz", "/a|b", "/a[b]", "//x/y", "///", "//x;a=b/%2F?q",
		"/a//b", "/a/./b", "/a/b/../c", "/%e2%82%ac", "/?", "/a?", "/a??b=?", "/a:b@c,d=e+f$g&h!i*j'k(l)", "/x?a=%00&b=\"<>", "/a%20b",
	} {
		t.Run(target, func(t *testing.T) {
			res, body := rawGet(t, g.addr, target)
			if res.StatusCode != 200 {
				t.Fatalf("got status %d %s, want 200", res.StatusCode, body)
			}
			if got, want := up.last(t).line(), "GET "+target+" HTTP/1.1"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
