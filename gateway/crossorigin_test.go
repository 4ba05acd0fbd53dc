package gateway

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCrossOrigin(t *testing.T) {
	ws := []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket"}
	tests := []struct {
		name    string
		method  string
		headers []string
		foreign bool
	}{
		{"a safe method, from anywhere", "GET", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"no browser", "POST", nil, false},
		{"this site's page", "POST", []string{"Sec-Fetch-Site: same-origin", "Origin: https://app.example"}, false},
		{"typed into the address bar", "POST", []string{"Sec-Fetch-Site: none"}, false},
		{"another site", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, true},
		{"a sister domain", "POST", []string{"Sec-Fetch-Site: same-site", "Origin: https://other.app.example"}, true},
		{"delete counts too", "DELETE", []string{"Sec-Fetch-Site: cross-site"}, true},
		{"an unknown method counts too", "FROB", []string{"Sec-Fetch-Site: cross-site"}, true},
		{"an old browser here", "POST", []string{"Origin: https://app.example"}, false},
		{"an old browser elsewhere", "POST", []string{"Origin: https://evil.example"}, true},
		{"a sandboxed page", "POST", []string{"Origin: null"}, true},
		{"a sandboxed page, by what the browser says", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: null"}, true},
		{"this site's page, without referrers", "POST", []string{"Sec-Fetch-Site: same-origin", "Origin: null"}, false},
		{"a sister domain's page, without referrers", "POST", []string{"Sec-Fetch-Site: same-site", "Origin: null"}, true},
		{"a name that begins like ours", "POST", []string{"Origin: https://app.example.evil.example"}, true},
		{"another port", "POST", []string{"Origin: https://app.example:8443"}, true},
		{"plain http below https", "POST", []string{"Origin: http://app.example"}, true},
		{"two origins", "POST", []string{"Origin: https://app.example", "Origin: https://evil.example"}, true},
		{"a listed origin", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://spa.example"}, false},
		{"a listed origin, old browser", "POST", []string{"Origin: https://spa.example"}, false},
		{"public_url on another host name", "POST", []string{"Host: inner.example", "Sec-Fetch-Site: cross-site", "Origin: https://public.example"}, false},
		{"handshake from this site", "GET", append(ws, "Sec-Fetch-Site: same-origin", "Origin: https://app.example"), false},
		{"handshake from another", "GET", append(ws, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"), true},
		{"handshake from another, old browser", "GET", append(ws, "Origin: https://evil.example"), true},
		{"handshake whose two stories differ", "GET", append(ws, "Sec-Fetch-Site: same-origin", "Origin: https://evil.example"), true},
		{"handshake of a page without an origin", "GET", append(ws, "Sec-Fetch-Site: same-origin", "Origin: null"), true},
		{"handshake of no browser", "GET", ws, false},
		{"handshake of a listed origin", "GET", append(ws, "Sec-Fetch-Site: cross-site", "Origin: https://spa.example"), false},
	}
	cfg := Default()
	cfg.Server.PublicURL = "https://public.example"
	cfg.CORS.Origins = []string{"https://spa.example"}
	o, err := newOrigins(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			r.Host, r.Header = "app.example", headerOf(tt.headers...)
			if host := r.Header.Get("Host"); host != "" {
				r.Host = host
			}
			if got := o.foreign(r, true); got != tt.foreign {
				t.Errorf("got %v, want %v", got, tt.foreign)
			}
		})
	}
}

func TestAForeignPageCannotUseACookie(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/open/**", anybody), to("/in/**", signedin)))
	ann := g.person(t, "ann", "user")
	cookie, foreign := "Cookie: "+ann.cookie, "Sec-Fetch-Site: cross-site"
	tests := []struct {
		name    string
		line    string
		headers []string
		status  int
		code    string
		user    string
	}{
		{"post to a protected route", "POST /in/x", []string{cookie, foreign}, 403, "CROSS_ORIGIN", ""},
		{"with a dead cookie", "POST /in/x", []string{cookie + "x", foreign}, 403, "CROSS_ORIGIN", ""},
		{"without a cookie it is nobody", "POST /in/x", []string{foreign}, 401, "AUTHENTICATION_REQUIRED", ""},
		{"a bearer is no cookie", "POST /in/x", []string{cookie, ann.bearer, foreign}, 200, "", "ann"},
		{"from here", "POST /in/x", []string{cookie, "Sec-Fetch-Site: same-origin"}, 200, "", "ann"},
		{"a link from elsewhere", "GET /in/x", []string{cookie, foreign}, 200, "", "ann"},
		{"a payment's return to an open route is nobody's", "POST /open/x", []string{cookie, foreign}, 200, "CROSS_ORIGIN", ""},
		{"a handshake", "GET /in/x", []string{cookie, "Origin: https://evil.example", "Connection: Upgrade", "Upgrade: websocket"}, 403, "CROSS_ORIGIN", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(up.requests())
			res, _ := rawRequest(t, g.addr, tt.line+" HTTP/1.1", append(tt.headers, "Content-Length: 0")...)
			if got := res.Header.Get("Doorward"); res.StatusCode != tt.status || got != tt.code {
				t.Fatalf("got %d %q, want %d %q", res.StatusCode, got, tt.status, tt.code)
			}
			if tt.status != 200 {
				if n := len(up.requests()) - before; n != 0 {
					t.Errorf("%d requests reached the upstream", n)
				}
				return
			}
			if got := strings.Join(up.last(t).fields("X-Forwarded-User"), "|"); got != tt.user {
				t.Errorf("got user %q, want %q", got, tt.user)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\n\r\n")
	with, posts, without, gets := to("/api/**", signedin), to("/api/**", signedin), to("/**", signedin), to("/get/**", signedin)
	gets.Methods = []string{"GET"}
	with.CORS, with.Methods = true, []string{"GET"}
	posts.CORS, posts.Methods = true, []string{"POST"}
	g := newGateway(t, func(c *Config) {
		behind(up.url(), with, posts, without, gets)(c)
		c.CORS.Origins = []string{"https://spa.example"}
	})
	ann := g.person(t, "ann", "user")
	spa, evil := "Origin: https://spa.example", "Origin: https://evil.example"
	ask := "Access-Control-Request-Method: POST"
	tests := []struct {
		name, line string
		headers    []string
		status     int
		origin     string // Access-Control-Allow-Origin
		methods    string
		vary       bool
	}{
		{"an answer", "GET /api/x", []string{spa, ann.bearer}, 200, "https://spa.example", "", true},
		{"a refusal can be read", "GET /api/x", []string{spa}, 401, "https://spa.example", "", true},
		{"a method there is not can be read", "PUT /api/x", []string{spa, ann.bearer}, 405, "https://spa.example", "", true},
		{"no method there is not without cors", "PUT /get/x", []string{spa, ann.bearer}, 405, "", "", false},
		{"another origin", "GET /api/x", []string{evil, ann.bearer}, 200, "", "", true},
		{"no origin", "GET /api/x", []string{ann.bearer}, 200, "", "", true},
		{"a preflight", "OPTIONS /api/x", []string{spa, ask}, 204, "https://spa.example", "GET, HEAD, POST", true},
		{"another origin's preflight", "OPTIONS /api/x", []string{evil, ask}, 204, "", "", true},
		{"a preflight for a method there is not", "OPTIONS /api/x", []string{spa, "Access-Control-Request-Method: PUT"}, 204, "https://spa.example", "GET, HEAD, POST", true},
		{"a preflight opens no route without cors", "OPTIONS /x", []string{spa, ask}, 401, "", "", false},
		{"without cors the app speaks for itself", "GET /x", []string{spa, ann.bearer}, 200, "*", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(up.requests())
			res, _ := rawRequest(t, g.addr, tt.line+" HTTP/1.1", tt.headers...)
			h := res.Header
			if res.StatusCode != tt.status {
				t.Fatalf("got %d, want %d", res.StatusCode, tt.status)
			}
			if got := fmt.Sprint(h["Access-Control-Allow-Origin"]); got != fmt.Sprint(strings.Fields(tt.origin)) {
				t.Errorf("Allow-Origin: got %s, want [%s]", got, tt.origin)
			}
			if got := h.Get("Access-Control-Allow-Methods"); got != tt.methods {
				t.Errorf("Allow-Methods: got %q, want %q", got, tt.methods)
			}
			if got := strings.Contains(strings.Join(h["Vary"], ", "), "Origin"); got != tt.vary {
				t.Errorf("Vary names Origin: %v, want %v (%q)", got, tt.vary, h["Vary"])
			}
			if tt.origin == "https://spa.example" && h.Get("Access-Control-Allow-Credentials") != "true" {
				t.Error("credentials are not allowed")
			}
			if n := len(up.requests()) - before; tt.status != 200 && n != 0 {
				t.Errorf("%d requests reached the upstream", n)
			}
		})
	}
}
