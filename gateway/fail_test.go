package gateway

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// failing is a server whose every request ends in what end does.
func (g *testGateway) failing(end func(w *answer, r *http.Request)) *httptest.Server {
	g.t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		x := &exchange{live: g.live.Load(), route: noRoute}
		x.numbered("test-request")
		x.match.Rule = -1
		w := new(answer)
		w.begin(rw, g.Server, x)
		end(w, r.WithContext(withExchange(r.Context(), x)))
	}))
	server.Config.ErrorLog = g.http.Config.ErrorLog
	server.Start()
	g.t.Cleanup(server.Close)
	return server
}

// fetch gets a URL with an Accept header.
func (g *testGateway) fetch(url, accept string) reply {
	g.t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	return g.send(r)
}

func TestInternalErrorIsLoggedOnceAndNeverSent(t *testing.T) {
	g := newGateway(t, nil)
	cause := "disk sda7 of db.internal is full"
	server := g.failing(func(w *answer, r *http.Request) { g.fail(w, r, errors.New(cause)) })
	a := g.fetch(server.URL, "*/*")
	wantProblem(t, a, 500, "INTERNAL")
	page := g.fetch(server.URL, "text/html")
	for _, answer := range []reply{a, page} {
		if strings.Contains(answer.Body, "sda7") {
			t.Errorf("the answer holds the cause: %s", answer.Body)
		}
	}
	if got := strings.Count(g.logs.String(), cause); got != 2 {
		t.Errorf("got the cause %d times in the log for two requests, want once each", got)
	}
}

func TestRefusalDoesNotSayWhyInside(t *testing.T) {
	g := newGateway(t, nil)
	server := g.failing(func(w *answer, r *http.Request) {
		g.fail(w, r, &refusal{code: "UPSTREAM_UNREACHABLE", cause: errors.New("dial tcp 10.1.2.3:8080: refused")})
	})
	a := g.fetch(server.URL, "*/*")
	wantProblem(t, a, 502, "UPSTREAM_UNREACHABLE")
	if strings.Contains(a.Body, "10.1.2.3") {
		t.Errorf("the answer holds an address: %s", a.Body)
	}
}

func TestRetryAfterIsWholeSecondsRoundedUp(t *testing.T) {
	g := newGateway(t, nil)
	for after, want := range map[time.Duration]string{time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		server := g.failing(func(w *answer, r *http.Request) {
			g.fail(w, r, &authn.RetryError{Err: authn.ErrOverloaded, After: after})
		})
		a := g.fetch(server.URL, "*/*")
		wantProblem(t, a, 503, "OVERLOADED")
		if got := a.Header.Get("Retry-After"); got != want {
			t.Errorf("%v: got Retry-After %q, want %q", after, got, want)
		}
	}
}

func TestBegunAnswerIsCutOff(t *testing.T) {
	g := newGateway(t, nil)
	server := g.failing(func(w *answer, r *http.Request) {
		io.WriteString(w, "half an answer")
		w.Flush()
		g.fail(w, r, errors.New("the rest did not come"))
	})
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("got %q and a clean end, want the connection cut", body)
	}
}

func TestChallenges(t *testing.T) {
	g := newGateway(t, nil)
	bearer := g.bearer("ann", "user")
	const realm = `Bearer realm="doorward"`
	for _, c := range []struct{ path, authorization, want string }{
		{"/secret", "", realm},
		{"/secret", "Bearer a.b.c", realm + `, error="invalid_token", error_description="Token not valid"`},
		{"/admin/x", bearer, realm + `, error="insufficient_scope"`},
	} {
		if got := g.get(c.path, "Authorization: "+c.authorization).Header.Get("WWW-Authenticate"); got != c.want {
			t.Errorf("%s as %.10q: got %s, want %s", c.path, c.authorization, got, c.want)
		}
	}
	wantProblem(t, g.get("/admin/x", "Authorization: "+bearer), 403, "INSUFFICIENT_ROLE")
}

func TestPageOnlyForThoseWhoNameIt(t *testing.T) {
	g := newGateway(t, nil)
	for accept, page := range map[string]bool{
		"text/html": true, "text/html,application/xhtml+xml,*/*;q=0.8": true, "application/json, TEXT/HTML;q=0.5": true,
		"*/*": false, "text/*": false, "application/json": false, "": false, "text/html;q=0": false, "text/html; q=0.0, */*": false, "text/htmlx": false,
	} {
		a := g.get("/auth/nothing", "Accept: "+accept)
		if got := strings.HasPrefix(a.Header.Get("Content-Type"), "text/html"); got != page || a.Status != 404 || a.code() != "NOT_FOUND" {
			t.Errorf("Accept %q: got %d %s, page %v, want 404 NOT_FOUND, page %v", accept, a.Status, a.code(), got, page)
		}
	}
	a := g.get("/auth/nothing", "Accept: text/html")
	if !strings.Contains(a.Body, "<h1>Not found</h1>") || !strings.Contains(a.Body, a.Header.Get("X-Request-Id")) {
		t.Errorf("got %s, want the title and the request id", a.Body)
	}
}

func TestNavigationIsSentToSignIn(t *testing.T) {
	g := newGateway(t, func(c *Config) {
		c.Routes[0].Login = "redirect"
		api := c.Routes[0]
		api.Path, api.Login = "/api/**", "401"
		c.Routes = append(c.Routes, api)
	})
	const browser = "Accept: text/html,*/*;q=0.8"
	for _, c := range []struct {
		name, method, path string
		headers            []string
		location           string // "" for a plain 401
	}{
		{"browser", "GET", "/secret", []string{"Sec-Fetch-Mode: navigate", browser}, "/auth/login?return_to=%2Fsecret"},
		{"without text/html", "GET", "/secret", []string{"Sec-Fetch-Mode: navigate"}, "/auth/login?return_to=%2Fsecret"},
		{"old browser", "GET", "/secret", []string{browser}, "/auth/login?return_to=%2Fsecret"},
		{"HEAD", "HEAD", "/secret", []string{browser}, "/auth/login?return_to=%2Fsecret"},
		{"target as sent", "GET", "/a%2Fb/c?x=1&y=%20z", []string{browser}, "/auth/login?return_to=%2Fa%252Fb%2Fc%3Fx%3D1%26y%3D%2520z"},
		{"admin", "GET", "/admin/x", []string{browser}, "/auth/login?return_to=%2Fadmin%2Fx"},
		{"own page", "GET", "/auth/account", []string{browser}, "/auth/login?return_to=%2Fauth%2Faccount"},
		{"dead cookie", "GET", "/secret", []string{browser, "Cookie: " + g.cookieName() + "=dead"}, "/auth/login?return_to=%2Fsecret"},
		{"fetch", "GET", "/secret", []string{"Sec-Fetch-Mode: cors", browser}, ""},
		{"image", "GET", "/secret", []string{"Sec-Fetch-Mode: no-cors", browser}, ""},
		{"script", "GET", "/secret", []string{"Accept: application/json"}, ""},
		{"curl", "GET", "/secret", []string{"Accept: */*"}, ""},
		{"POST", "POST", "/secret", []string{"Sec-Fetch-Mode: navigate", browser}, ""},
		{"with Authorization", "GET", "/secret", []string{browser, "Authorization: Bearer a.b.c"}, ""},
		{"with another scheme", "GET", "/secret", []string{browser, "Authorization: Basic YTpi"}, ""},
		{"XMLHttpRequest", "GET", "/secret", []string{browser, "X-Requested-With: XMLHttpRequest"}, ""},
		{"route with login: 401", "GET", "/api/x", []string{"Sec-Fetch-Mode: navigate", browser}, ""},
		{"own endpoint", "GET", "/auth/profile", []string{"Sec-Fetch-Mode: navigate", browser}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.do(c.method, c.path, "", c.headers...)
			if c.location == "" {
				if a.Status != 401 || a.Header.Get("WWW-Authenticate") == "" || a.Header.Get("Location") != "" {
					t.Errorf("got %d %s, want 401", a.Status, a.Header.Get("Location"))
				}
				return
			}
			if a.Status != 303 || a.Header.Get("Location") != c.location || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %q, %s, want 303 %q, no-store", a.Status, a.Header.Get("Location"), a.Header.Get("Cache-Control"), c.location)
			}
			if a.code() != "AUTHENTICATION_REQUIRED" {
				t.Errorf("got Doorward %q, want AUTHENTICATION_REQUIRED", a.code())
			}
		})
	}
	// A 403 is an answer, not a reason to sign in again.
	in := g.cookieOf("ann")
	if a := g.get("/admin/x", browser, "Cookie: "+in); a.Status != 403 || !strings.Contains(a.Body, "<h1>Not allowed</h1>") {
		t.Errorf("without the role: got %d, want 403 and a page", a.Status)
	}
}

// cookieOf makes an account and returns its session cookie.
func (g *testGateway) cookieOf(username string) string {
	g.t.Helper()
	g.addUser(username, "user")
	return g.login(username, "session_cookie").cookie(g.cookieName()).String()
}

func TestDeadCookieIsTakenBack(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/secret", "/auth/profile"} {
		a := g.get(path, "Cookie: "+g.cookieName()+"=dead")
		wantProblem(t, a, 401, "AUTHENTICATION_REQUIRED")
		if c := a.cookie(g.cookieName()); c == nil || c.MaxAge >= 0 || c.Path != "/" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: got %v, want the cookie taken back with its attributes", path, c)
		}
	}
	// A refresh token waits for its own endpoint; a request without one is no
	// reason to lose it.
	if a := g.get("/secret", "Cookie: "+g.refreshName()+"=alive"); a.Status != 401 || len(a.Header.Values("Set-Cookie")) != 0 {
		t.Errorf("got %d, cookies %q, want 401 and the refresh cookie left alone", a.Status, a.Header.Values("Set-Cookie"))
	}
	if a := g.get("/auth/login", "Cookie: "+g.cookieName()+"=dead"); a.Status != 200 || a.cookie(g.cookieName()) == nil {
		t.Errorf("the sign-in page: got %d, want 200 and the cookie taken back", a.Status)
	}
}
