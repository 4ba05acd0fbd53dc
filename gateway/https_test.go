package gateway

import (
	"testing"

	"github.com/doorward/doorward/policy"
)

// behindTLS is a gateway whose clients come by https, through a trusted proxy.
func behindTLS(c *Config) {
	c.Server.PublicURL = "https://app.example.com:8443"
	c.Server.TrustedProxies = []string{"127.0.0.1"}
	c.Routes = append(c.Routes, Route{Rule: policy.Rule{
		Host: "*.other.example", Path: "/**", Upstream: "app", Allow: policy.Allow{Audience: policy.Anyone}}})
}

func TestPlainHTTPUnderHTTPS(t *testing.T) {
	g := newGateway(t, behindTLS)
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		code, location     string
	}{
		{"get", "GET", "/public/a%2Fb?x=1", nil, 308, "", "https://app.example.com:8443/public/a%2Fb?x=1"},
		{"head", "HEAD", "/public/x", nil, 308, "", "https://app.example.com:8443/public/x"},
		{"own endpoint", "GET", "/auth/login", nil, 308, "", "https://app.example.com:8443/auth/login"},
		{"host is the client's word", "GET", "/x", []string{"Host: evil.example"}, 308, "", "https://app.example.com:8443/x"},
		{"a route's host keeps its visitors", "GET", "/x", []string{"Host: One.other.example:80"}, 308, "", "https://one.other.example:8443/x"},
		{"no second host in the target", "GET", "//evil.example/x", nil, 308, "", "https://app.example.com:8443//evil.example/x"},
		{"a body would be lost", "POST", "/public/x", nil, 403, "HTTPS_REQUIRED", ""},
		{"a password must not come again", "POST", "/auth/login", nil, 403, "HTTPS_REQUIRED", ""},
		{"the proxy says http", "GET", "/x", []string{"X-Forwarded-Proto: http"}, 308, "", "https://app.example.com:8443/x"},
		{"the proxy says nonsense", "GET", "/x", []string{"X-Forwarded-Proto: gopher"}, 308, "", "https://app.example.com:8443/x"},
		{"the proxy says https", "GET", "/public/x", []string{"X-Forwarded-Proto: https"}, 200, "", ""},
		{"the proxy says https of a post", "POST", "/public/x", []string{"X-Forwarded-Proto: https"}, 200, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := g.do(tt.method, tt.path, "", tt.headers...)
			if a.Status != tt.status || a.code() != tt.code || a.Header.Get("Location") != tt.location {
				t.Errorf("got %d %q %q, want %d %q %q", a.Status, a.code(), a.Header.Get("Location"), tt.status, tt.code, tt.location)
			}
			wantHSTS := ""
			if tt.status == 200 {
				wantHSTS = "max-age=31536000"
			}
			if got := a.Header.Get("Strict-Transport-Security"); got != wantHSTS {
				t.Errorf("Strict-Transport-Security: got %q, want %q", got, wantHSTS)
			}
		})
	}
}

// What is no path stands in no address: behind our host it would be the rest of
// another one.
func TestWhatIsNoPathIsRedirectedToTheRoot(t *testing.T) {
	g := newGateway(t, behindTLS)
	for _, target := range []string{"x:@evil.example/", "x:.evil.example/", "http://evil.example?x", "http://evil.example"} {
		res, _ := rawGet(t, g.addr, target)
		if got, want := res.Header.Get("Location"), "https://app.example.com:8443/"; res.StatusCode != 308 || got != want {
			t.Errorf("%s: got %d to %q, want 308 to %q", target, res.StatusCode, got, want)
		}
	}
}

func TestForwardedProtoOfStrangerIsNotBelieved(t *testing.T) {
	g := newGateway(t, func(c *Config) { behindTLS(c); c.Server.TrustedProxies = nil })
	if a := g.get("/public/x", "X-Forwarded-Proto: https"); a.Status != 308 {
		t.Errorf("got %d, want 308: anyone can send the header", a.Status)
	}
}

func TestHSTSIsOnRefusalsToo(t *testing.T) {
	g := newGateway(t, behindTLS)
	for _, path := range []string{"/secret", "/auth/nothing", "/auth/jwks.json"} {
		if got := g.get(path, "X-Forwarded-Proto: https").Header.Get("Strict-Transport-Security"); got != hsts {
			t.Errorf("%s: got %q, want %q", path, got, hsts)
		}
	}
	plain := newGateway(t, nil)
	if got := plain.get("/public/x").Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("under an http public_url: got %q, want none", got)
	}
}

func TestSilentProxyIsWarnedAbout(t *testing.T) {
	g := newGateway(t, behindTLS)
	g.get("/x")
	for _, line := range g.logs.lines() {
		if line["peer"] == "127.0.0.1" && line["level"] == "WARN" {
			return
		}
	}
	t.Errorf("no warning about a proxy that does not send X-Forwarded-Proto; log:\n%s", g.logs)
}

func TestOwnAnswersHaveSecurityHeaders(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/auth/login", "/auth/logout", "/auth/nothing", "/secret", "/auth/jwks.json"} {
		a, policy := g.get(path), contentSecurityPolicy
		if path == "/auth/login" {
			policy = entrancePolicy
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options":     "nosniff",
			"Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY",
			"Content-Security-Policy": policy,
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		// Pages say their origin, or browsers would send "Origin: null" with forms.
		if got := a.Header.Get("Referrer-Policy"); got != "no-referrer" && got != "strict-origin" {
			t.Errorf("%s: Referrer-Policy is %q, which lets addresses out", path, got)
		}
	}
}

func TestConnectAndTraceAreRefused(t *testing.T) {
	g := newGateway(t, nil)
	for _, method := range []string{"TRACE", "CONNECT"} {
		a := g.do(method, "/public/x", "")
		if a.Status != 405 || a.code() != "METHOD_NOT_ALLOWED" || a.Header.Get("Allow") == "" {
			t.Errorf("%s: got %d %s, Allow %q, want 405 METHOD_NOT_ALLOWED and some Allow", method, a.Status, a.code(), a.Header.Get("Allow"))
		}
	}
}
