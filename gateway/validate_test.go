package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/policy"
)

func TestValidConfigurations(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"the test's own":  func(c *Config) {},
		"https":           func(c *Config) { c.Server.PublicURL = "https://app.example.com" },
		"IPv6":            func(c *Config) { c.Server.PublicURL, c.Server.Listen = "http://[::1]:8080", "[::1]:8080" },
		"any port":        func(c *Config) { c.Server.Listen, c.Server.OpsListen = "127.0.0.1:0", "127.0.0.1:0" },
		"no ops":          func(c *Config) { c.Server.OpsListen = "" },
		"a deeper prefix": func(c *Config) { c.Server.Prefix = "/my/door_1~-" },
		"proxies": func(c *Config) {
			c.Server.TrustedProxies = []string{"private", "192.0.2.1", "2001:db8::/32", "::1", "192.0.2.0/24", "10.0.0.0/8", "100.0.0.0/8", "2001::/16", "fc00::/7", "fd00::/8"}
		},
		"tls": func(c *Config) {
			c.Server.PublicURL, c.Server.TLS = "https://app.example.com", TLSConfig{"cert.pem", "key.pem", ":80"}
		},
		"origins": func(c *Config) { c.CORS.Origins = []string{"https://a.example", "http://localhost:5173"} },
		"headers": func(c *Config) {
			c.Identity.Headers = []IdentityHeader{{"X-WEBAUTH-USER", "login"}, {"X-Team", "roles"}}
		},
		"upstreams": func(c *Config) {
			for i, u := range []string{"http://10.0.0.1:3000", "https://api.example.com/base", "h2c://grpc:50051", "unix:/run/app.sock", "http://[::1]:80"} {
				up := DefaultUpstream()
				up.Name, up.URL = "u"+string(rune('0'+i)), u
				c.Upstreams = append(c.Upstreams, up)
			}
		},
		"route": func(c *Config) {
			c.Routes[0].Login, c.Routes[0].KeepHeaders, c.Routes[0].Upgrades = "401", []string{"X-Real-IP", "my_tenant"}, []string{"WebSocket"}
		},
	} {
		cfg := testConfig("http://localhost:8080")
		change(&cfg)
		for _, p := range cfg.Validate() {
			t.Errorf("%s: %s: %s", name, p.Path, p.Message)
		}
	}
}

// Each configuration has one thing wrong with it, and is told that, where, and
// what to write.
func TestInvalidConfigurations(t *testing.T) {
	tests := []struct {
		path, says string
		change     func(*Config)
	}{
		{"server.listen", "host:port", func(c *Config) { c.Server.Listen = "8080" }},
		{"server.listen", "port", func(c *Config) { c.Server.Listen = ":http" }},
		{"server.listen", "127.0.0.1:8080", func(c *Config) { c.Server.Listen = "a b:8080" }},
		{"server.ops_listen", "same as server.listen", func(c *Config) { c.Server.OpsListen = ":8080" }},
		{"server.public_url", "http:// or https://", func(c *Config) { c.Server.PublicURL = "app.example.com" }},
		{"server.public_url", "http:// or https://", func(c *Config) { c.Server.PublicURL = "ftp://app.example.com" }},
		{"server.public_url", "names no host", func(c *Config) { c.Server.PublicURL = "https://" }},
		{"server.public_url", "names no host", func(c *Config) { c.Server.PublicURL = "https://:443" }},
		{"server.public_url", "slash", func(c *Config) { c.Server.PublicURL = "https://app.example.com/" }},
		{"server.public_url", "path", func(c *Config) { c.Server.PublicURL = "https://app.example.com/auth" }},
		{"server.public_url", "query", func(c *Config) { c.Server.PublicURL = "https://app.example.com?x=1" }},
		{"server.public_url", "fragment", func(c *Config) { c.Server.PublicURL = "https://app.example.com#x" }},
		{"server.public_url", "password", func(c *Config) { c.Server.PublicURL = "https://me:secret@app.example.com" }},
		{"server.public_url", "not a URL", func(c *Config) { c.Server.PublicURL = "https://me:secret@app example.com" }},
		{"server.public_url", "port", func(c *Config) { c.Server.PublicURL = "https://app.example.com:99999" }},
		{"server.prefix", "/auth", func(c *Config) { c.Server.Prefix = "" }},
		{"server.prefix", "/auth", func(c *Config) { c.Server.Prefix = "/" }},
		{"server.prefix", "/auth", func(c *Config) { c.Server.Prefix = "auth" }},
		{"server.prefix", "plain", func(c *Config) { c.Server.Prefix = "/auth/" }},
		{"server.prefix", "plain", func(c *Config) { c.Server.Prefix = "/a//b" }},
		{"server.prefix", "plain", func(c *Config) { c.Server.Prefix = "/../x" }},
		{"server.prefix", "plain", func(c *Config) { c.Server.Prefix = "/a%62" }},
		{"server.trusted_proxies[1]", "10.0.0.0/8", func(c *Config) { c.Server.TrustedProxies = []string{"private", "10.0.0.0/33"} }},
		{"server.trusted_proxies[0]", "private", func(c *Config) { c.Server.TrustedProxies = []string{"proxy.local"} }},
		{"server.trusted_proxies[0]", "10.0.0.0/8", func(c *Config) { c.Server.TrustedProxies = []string{"10.0.0.1/8"} }},
		{"server.trusted_proxies[0]", "every client", func(c *Config) { c.Server.TrustedProxies = []string{"0.0.0.0/0"} }},
		{"server.trusted_proxies[0]", "every client", func(c *Config) { c.Server.TrustedProxies = []string{"::/0"} }},
		{"server.trusted_proxies[0]", "/8", func(c *Config) { c.Server.TrustedProxies = []string{"0.0.0.0/1", "10.0.0.0/8"} }},
		{"server.trusted_proxies[0]", "/8", func(c *Config) { c.Server.TrustedProxies = []string{"128.0.0.0/7"} }},
		{"server.trusted_proxies[0]", "/16", func(c *Config) { c.Server.TrustedProxies = []string{"2000::/3"} }},
		{"server.trusted_proxies[0]", "/16", func(c *Config) { c.Server.TrustedProxies = []string{"fc00::/6"} }},
		{"server.trusted_proxies[0]", "as IPv4", func(c *Config) { c.Server.TrustedProxies = []string{"::ffff:0.0.0.0/96"} }},
		{"server.tls", "both", func(c *Config) {
			c.Server.PublicURL, c.Server.TLS.Cert = "https://app.example.com", "cert.pem"
		}},
		{"server.public_url", "https://", func(c *Config) { c.Server.TLS = TLSConfig{Cert: "c", Key: "k"} }},
		{"server.tls.redirect_listen", "not https", func(c *Config) { c.Server.TLS.RedirectListen = ":80" }},
		{"server.tls.redirect_listen", "same as server.listen", func(c *Config) {
			c.Server.PublicURL, c.Server.TLS = "https://app.example.com", TLSConfig{"c", "k", ":8080"}
		}},
		{"server.h2c", "by itself", func(c *Config) {
			c.Server.PublicURL, c.Server.TLS, c.Server.H2C = "https://app.example.com", TLSConfig{Cert: "c", Key: "k"}, true
		}},
		{"server.timeouts.body", "above zero", func(c *Config) { c.Server.Timeouts.Body = 0 }},
		{"server.timeouts.drain", "above zero", func(c *Config) { c.Server.Timeouts.Drain = -time.Second }},
		{"limits.register", "count and a duration", func(c *Config) { c.Limits.Register = Rate{N: 5} }},
		{"cors.origins[0]", "list each origin", func(c *Config) { c.CORS.Origins = []string{"*"} }},
		{"cors.origins[0]", "list each origin", func(c *Config) { c.CORS.Origins = []string{"https://*.example.com"} }},
		{"cors.origins[0]", "https://a.example", func(c *Config) { c.CORS.Origins = []string{"https://a.example/"} }},
		{"cors.origins[0]", "https://a.example", func(c *Config) { c.CORS.Origins = []string{"https://A.example:443"} }},
		{"cors.origins[0]", "http:// or https://", func(c *Config) { c.CORS.Origins = []string{"null"} }},
		{"cors.origins[1]", "twice", func(c *Config) { c.CORS.Origins = []string{"https://a.example", "https://a.example"} }},
		{"identity.preset", "forwarded", func(c *Config) { c.Identity.Preset = "oauth" }},
		{"identity.headers[0].name", "not a header", func(c *Config) { c.Identity.Headers = []IdentityHeader{{"X User", "login"}} }},
		{"identity.headers[0].name", "name of your own", func(c *Config) { c.Identity.Headers = []IdentityHeader{{"connection", "login"}} }},
		{"identity.headers[0].name", "name of your own", func(c *Config) { c.Identity.Headers = []IdentityHeader{{"X_Forwarded_For", "login"}} }},
		{"identity.headers[0].name", "cannot be told", func(c *Config) { c.Identity.Headers = []IdentityHeader{{"X_Forwarded_User", "login"}} }},
		{"identity.headers[1].name", "cannot be told", func(c *Config) {
			c.Identity.Headers = []IdentityHeader{{"X-Team", "roles"}, {"XTEAM", "roles"}}
		}},
		{"identity.headers[0].value", "login", func(c *Config) { c.Identity.Headers = []IdentityHeader{{"X-Team", "team"}} }},
		{"log.level", "debug", func(c *Config) { c.Log.Level = "verbose" }},
		{"log.format", "json", func(c *Config) { c.Log.Format = "xml" }},
		{"upstreams[1].name", "upstreams[0]", func(c *Config) { c.Upstreams = append(c.Upstreams, c.Upstreams[0]) }},
		{"upstreams[0].url", "h2c://", func(c *Config) { c.Upstreams[0].URL = "127.0.0.1:3000" }},
		{"upstreams[0].url", "h2c://", func(c *Config) { c.Upstreams[0].URL = "ws://127.0.0.1:3000" }},
		{"upstreams[0].url", "password", func(c *Config) { c.Upstreams[0].URL = "http://me:secret@127.0.0.1" }},
		{"upstreams[0].url", "socket", func(c *Config) { c.Upstreams[0].URL = "unix:app.sock" }},
		{"upstreams[0].url", "..", func(c *Config) { c.Upstreams[0].URL = "http://127.0.0.1/a/../b" }},
		{"upstreams[0].url", "nothing behind", func(c *Config) { c.Upstreams[0].URL = "whoami:x" }},
		{"upstreams[0].host", "preserve", func(c *Config) { c.Upstreams[0].Host = "keep" }},
		{"upstreams[0].tls", "https", func(c *Config) { c.Upstreams[0].TLS.CA = "ca.pem" }},
		{"upstreams[0].timeouts.idle", "above zero", func(c *Config) { c.Upstreams[0].Timeouts.Idle = 0 }},
		{"routes[1].upstream", "app", func(c *Config) { c.Routes[1].Upstream = "ap" }},
		{"routes[1].allow", "", func(c *Config) { c.Routes[1].Allow = policy.Allow{} }},
		{"routes[1].path", "server.prefix", func(c *Config) { c.Routes[1].Path = "/auth/x" }},
		{"routes[1].path", "", func(c *Config) { c.Routes[1].Path = "public" }},
		{"routes[1].login", "redirect", func(c *Config) { c.Routes[1].Login = "page" }},
		{"routes[1].limit", "count", func(c *Config) { c.Routes[1].Limit = Rate{N: -1, Per: time.Second} }},
		{"routes[1].keep_headers[0]", "remove it", func(c *Config) { c.Routes[1].KeepHeaders = []string{"x-forwarded-user"} }},
		{"routes[1].keep_headers[0]", "remove it", func(c *Config) { c.Routes[1].KeepHeaders = []string{"Remote_User"} }},
		{"routes[1].keep_headers[0]", "reads as X-Forwarded-For", func(c *Config) { c.Routes[1].KeepHeaders = []string{"X_Forwarded_For"} }},
		{"routes[1].keep_headers[0]", "reads as transfer-encoding", func(c *Config) { c.Routes[1].KeepHeaders = []string{"transfer.encoding"} }},
		{"routes[1].keep_headers[0]", "not a header", func(c *Config) { c.Routes[1].KeepHeaders = []string{"X-*"} }},
		{"routes[1].upgrades[0]", "websocket", func(c *Config) { c.Routes[1].Upgrades = []string{"h2c"} }},
		{"routes", "/**", func(c *Config) { c.Routes = nil }},
	}
	for _, tt := range tests {
		cfg := testConfig("http://localhost:8080")
		tt.change(&cfg)
		problems := cfg.Validate()
		if len(problems) != 1 || problems[0].Path != tt.path || !strings.Contains(problems[0].Message, tt.says) {
			t.Errorf("got %v, want one problem, with %s, that says %q", problems, tt.path, tt.says)
		}
		for _, p := range problems {
			if strings.Contains(p.Message, "secret") {
				t.Errorf("%s: the message repeats a password: %s", p.Path, p.Message)
			}
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	cfg := testConfig("nowhere")
	cfg.Server.Listen, cfg.Server.Prefix, cfg.Log.Level, cfg.Upstreams = "x", "x", "x", nil
	if got := len(cfg.Validate()); got < 7 { // and three routes without upstream
		t.Errorf("got %d problems, want all of them: %v", got, cfg.Validate())
	}
}
