package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/doorward/doorward/authn"
)

// pathOf is a row's path, with an id where it has one.
func (e endpoint) pathOf() string {
	return strings.NewReplacer("{id}", "00000000000000000000000000", "{login}", "nobody").Replace(e.path)
}

func TestEveryEndpointSaysWhoMayCallIt(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range ownRoutes {
		name := e.method + " " + e.path
		if !slices.Contains([]access{anyone, newcomer, signedIn, bearerOfIt, admin}, e.who) {
			t.Errorf("%s: got access %q, want anyone, newcomer, signed in, admin or holder of a session", name, e.who)
		}
		if e.serve == nil || seen[name] {
			t.Errorf("%s: no handler, or a second row", name)
		}
		seen[name] = true
	}
	for _, e := range controlRoutes {
		if e.who != operator || e.serve == nil {
			t.Errorf("%s %s: got access %q, want operator, and a handler", e.method, e.path, e.who)
		}
	}
}

func TestSignedInEndpointsRefuseEverybodyElse(t *testing.T) {
	g := newGateway(t, nil)
	bearer := g.bearer("gone")
	id := g.mustIdentify(bearer)
	if err := g.Authn.LogoutAll(t.Context(), id, authn.Client{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range ownRoutes {
		if e.who != signedIn && e.who != admin {
			continue
		}
		t.Run(e.method+" "+e.path, func(t *testing.T) {
			for credential, code := range map[string]string{
				"X-None: none":                       "AUTHENTICATION_REQUIRED",
				"Authorization: Basic YTpi":          "AUTHENTICATION_REQUIRED",
				"Authorization: Bearer x.y.z":        "TOKEN_INVALID",
				"Authorization: " + bearer:           "TOKEN_REVOKED",
				"Cookie: " + g.cookieName() + "=abc": "AUTHENTICATION_REQUIRED",
			} {
				a := g.do(e.method, "/auth"+e.pathOf(), "", credential, "Accept: application/json")
				if a.Status != 401 || a.code() != code {
					t.Errorf("%s: got %d %s, want 401 %s", credential, a.Status, a.code(), code)
				}
				if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="doorward"`) {
					t.Errorf("%s: got WWW-Authenticate %q, want a Bearer challenge", credential, got)
				}
			}
		})
	}
}

// mustIdentify is who an Authorization value is.
func (g *testGateway) mustIdentify(bearer string) authn.Identity {
	g.t.Helper()
	id, err := g.Authn.Identify(g.t.Context(), authn.Credential{Bearer: authn.Secret(strings.TrimPrefix(bearer, "Bearer "))})
	if err != nil {
		g.t.Fatal(err)
	}
	return id
}

// cookieName is what the session cookie is called here; refreshName the other.
func (g *testGateway) cookieName() string  { return g.live.Load().cookies.session }
func (g *testGateway) refreshName() string { return g.live.Load().cookies.refresh }

func TestWrongMethodIs405WithAllow(t *testing.T) {
	g := newGateway(t, nil)
	for path, allow := range map[string]string{
		"/login":         "GET, HEAD, POST",
		"/refresh":       "POST",
		"/profile":       "GET, HEAD, PATCH, DELETE",
		"/sessions/abc":  "DELETE",
		"/jwks.json":     "GET, HEAD",
		"/logout-all":    "POST",
		"/register":      "GET, HEAD, POST",
		"/events":        "GET, HEAD",
		"/account":       "GET, HEAD",
		"/admin/users":   "GET, HEAD, POST",
		"/admin/users/x": "GET, HEAD, PATCH, DELETE",
		"/verify-email":  "GET, HEAD, POST",
		"/change-email":  "POST",
		"/openapi.yaml":  "GET, HEAD",
		"/sessions":      "GET, HEAD",
		"/sessions/%2F/": "",
	} {
		a := g.do("PUT", "/auth"+path, "{}", "Content-Type: application/json")
		if allow == "" {
			if a.Status != 404 {
				t.Errorf("PUT %s: got %d, want 404", path, a.Status)
			}
			continue
		}
		if a.Status != 405 || a.code() != "METHOD_NOT_ALLOWED" || a.Header.Get("Allow") != allow {
			t.Errorf("PUT %s: got %d %s, Allow %q, want 405, Allow %q", path, a.Status, a.code(), a.Header.Get("Allow"), allow)
		}
	}
}

func TestOwnPathsHaveOneSpelling(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{
		"/auth", "/auth/", "/auth/nothing", "/auth/login/", "/auth//login", "/auth/./login", "/auth/%6cogin", "/auth/LOGIN", "/auth/login;x=1",
		"/auth/sessions/", "/auth/sessions/a/b", "/auth/check", "/auth/admin/", "/auth/admin/accounts", "/auth/admin/accounts/", "/auth/admin/users/", "/auth/control/keys", "/auth/admin/users/x/password",
	} {
		if a := g.get(path); a.Status != 404 || a.code() != "NOT_FOUND" {
			t.Errorf("%s: got %d %s, want 404 NOT_FOUND", path, a.Status, a.code())
		}
	}
	// What only could be read as one of ours is nobody's.
	for _, path := range []string{"//auth/login", "/x/../auth/login", "/%61uth/login", "/auth%2Flogin", "/Auth/login"} {
		if a := g.get(path, "Authorization: "+g.bearerOnce()); a.Status < 400 || strings.Contains(a.Body, "<form") {
			t.Errorf("%s: got %d, want a refusal", path, a.Status)
		}
	}
}

// bearerOnce is the Authorization of one account, made when first asked for.
func (g *testGateway) bearerOnce() string {
	g.t.Helper()
	if _, err := g.Authn.UserByLogin(g.t.Context(), "someone"); err != nil {
		g.addUser("someone", "user")
	}
	return "Bearer " + g.signIn("someone", authn.ModeToken).AccessToken.Reveal()
}

func TestHeadAnswersLikeGet(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/auth/login", "/auth/jwks.json", "/auth/style.css", "/auth/openapi.yaml"} {
		get, head := g.get(path), g.do("HEAD", path, "")
		if head.Status != 200 || head.Body != "" || head.Header.Get("Content-Length") != get.Header.Get("Content-Length") {
			t.Errorf("HEAD %s: got %d, %d bytes, length %s, want 200, none, %s",
				path, head.Status, len(head.Body), head.Header.Get("Content-Length"), get.Header.Get("Content-Length"))
		}
	}
}

func TestOwnAnswersCarryTheirHeaders(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/auth/login", "/auth/jwks.json", "/auth/profile", "/auth/nothing", "/auth/style.css", "/secret"} {
		h := g.get(path).Header
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", path, name, got, want)
			}
		}
		if got := h.Get("Content-Security-Policy"); !strings.Contains(got, "frame-ancestors 'none'") || strings.Contains(got, "unsafe") {
			t.Errorf("%s: got CSP %q, want frame-ancestors none and nothing unsafe", path, got)
		}
		if got := h.Get("Referrer-Policy"); got != "no-referrer" && got != "strict-origin" {
			t.Errorf("%s: got Referrer-Policy %q, want one that keeps the path", path, got)
		}
	}
}

func TestAnotherSitesPageIsRefused(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("someone", "user")
	bearer := "Bearer " + g.signIn("someone", authn.ModeToken).AccessToken.Reveal()
	cookie := g.cookieName() + "=" + g.signIn("someone", authn.ModeSessionCookie).Cookie.Reveal()
	sites := map[string][]string{
		"cross-site":     {"Sec-Fetch-Site: cross-site"},
		"sub-domain":     {"Sec-Fetch-Site: same-site"},
		"old browser":    {"Origin: https://evil.example"},
		"opaque origin":  {"Origin: null"},
		"other port":     {"Origin: http://127.0.0.1:1"},
		"suffixed":       {"Origin: " + g.URL + ".evil.example"},
		"with basic too": {"Origin: https://evil.example", "Authorization: Basic YTpi"},
	}
	for _, e := range ownRoutes {
		if e.method == "GET" {
			continue
		}
		for name, headers := range sites {
			a := g.do(e.method, "/auth"+e.pathOf(), `{}`, append(headers, "Content-Type: text/plain", "Cookie: "+cookie)...)
			if a.Status != 403 || a.code() != "CROSS_ORIGIN" {
				t.Errorf("%s %s %s: got %d %s, want 403 CROSS_ORIGIN", name, e.method, e.path, a.Status, a.code())
			}
		}
	}
	if a := g.get("/auth/profile", "Cookie: "+cookie); a.Status != 200 {
		t.Errorf("the session after it all: got %d, want 200", a.Status)
	}
	if a := g.post("/auth/logout-all", "", "Origin: https://evil.example", "Authorization: "+bearer); a.Status != 204 {
		t.Errorf("by access token: got %d %s, want 204: no page was tricked into that", a.Status, a.code())
	}
}

func TestTrustedOriginMayCall(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.CORS.Origins = []string{"https://app.example"} })
	g.addUser("someone")
	a := g.post("/auth/login", `{"login":"someone","password":"`+testPassword+`","mode":"refresh_cookie"}`, "Origin: https://app.example", "Sec-Fetch-Site: cross-site")
	if a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("got %d %s, allow-origin %q, want 200 and the origin", a.Status, a.code(), a.Header.Get("Access-Control-Allow-Origin"))
	}
	a = g.do("OPTIONS", "/auth/profile", "", "Origin: https://app.example", "Access-Control-Request-Method: PATCH")
	if a.Status != 204 || !strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Errorf("preflight: got %d, methods %q, want 204 and PATCH", a.Status, a.Header.Get("Access-Control-Allow-Methods"))
	}
	for path, status := range map[string]int{"/auth/profile": 401, "/auth/nothing": 404} {
		a = g.get(path, "Origin: https://app.example")
		if a.Status != status || a.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s: got %d, allow-origin %q, want %d that the page may read", path, a.Status, a.Header.Get("Access-Control-Allow-Origin"), status)
		}
	}
}

func TestDocumentListsEveryEndpoint(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string     `yaml:"operationId"`
			Security    []struct{} `yaml:"security"`
		} `yaml:"paths"`
	}
	if err := yaml.Unmarshal([]byte(openAPIDocument), &doc); err != nil {
		t.Fatal(err)
	}
	inTable := map[string]bool{}
	for _, e := range ownRoutes {
		inTable[e.method+" "+e.path] = true
		op, ok := doc.Paths[e.path][strings.ToLower(e.method)]
		if !ok || op.OperationID == "" {
			t.Errorf("%s %s is not in openapi.yaml", e.method, e.path)
		}
		if needs := len(op.Security) > 0; needs != (e.who == signedIn || e.who == admin) {
			t.Errorf("%s %s: got security in openapi.yaml %v", e.method, e.path, needs)
		}
	}
	for path, operations := range doc.Paths {
		for method := range operations {
			if !inTable[strings.ToUpper(method)+" "+path] {
				t.Errorf("openapi.yaml has %s %s, the table has not", method, path)
			}
		}
	}
}

// Which status a code has is what its reader looks for.
func TestDocumentHasTheStatusOfEveryCode(t *testing.T) {
	said, _ := readDocument(t).at("components", "schemas", "Code")["description"].(string)
	var want strings.Builder
	for i, p := range problems {
		if i == 0 || p.status != problems[i-1].status {
			fmt.Fprintf(&want, "\n- %d: %s", p.status, p.code)
		} else {
			fmt.Fprintf(&want, ", %s", p.code)
		}
	}
	if !strings.HasSuffix(said, want.String()+"\n") {
		t.Errorf("got %s, want at its end%s", said, want.String())
	}
}

func TestDocumentIsServedBelowThePrefix(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Server.Prefix = "/_door" })
	a := g.get("/_door/openapi.yaml")
	if a.Status != 200 || !strings.Contains(a.Body, "\n- url: /_door\n") {
		t.Errorf("got %d, want 200 and the prefix in servers:\n%.900s", a.Status, a.Body)
	}
	if a := g.get("/auth/openapi.yaml", "Accept: application/json"); a.Status != http.StatusUnauthorized {
		t.Errorf("/auth under another prefix: got %d, want 401 like any path", a.Status)
	}
}
