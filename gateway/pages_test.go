package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browser is a client with a cookie jar that sends what browsers send.
type browser struct {
	g      *testGateway
	client http.Client
	at     string // the address it is on
}

func (g *testGateway) browser() *browser {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return &browser{g: g, client: http.Client{Jar: jar, Timeout: time.Minute}}
}

// open goes to a path, through redirects.
func (b *browser) open(path string) reply {
	b.g.t.Helper()
	r, err := http.NewRequest("GET", b.g.URL+path, nil)
	if err != nil {
		b.g.t.Fatal(err)
	}
	return b.visit(r)
}

// submit posts a form of a page of ours.
func (b *browser) submit(path string, fields ...string) reply {
	b.g.t.Helper()
	r, err := http.NewRequest("POST", b.g.URL+path, strings.NewReader(formOf(fields...)))
	if err != nil {
		b.g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.g.URL)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.visit(r)
}

func formOf(fields ...string) string {
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return form.Encode()
}

func (b *browser) visit(r *http.Request) reply {
	b.g.t.Helper()
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	res, err := b.client.Do(r)
	if err != nil {
		b.g.t.Fatal(err)
	}
	b.at = res.Request.URL.RequestURI()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.g.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// cookies is how many cookies the jar would send.
func (b *browser) cookies() int {
	u, _ := url.Parse(b.g.URL)
	return len(b.client.Jar.Cookies(u))
}

func TestBrowserSignsInAndOut(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann", "user")
	b := g.browser()
	a := b.open("/reports/2026?q=a%20b")
	if a.Status != 200 || b.at != "/auth/login?return_to=%2Freports%2F2026%3Fq%3Da%2520b" {
		t.Fatalf("got %d at %s, want the sign-in page", a.Status, b.at)
	}
	if !strings.Contains(a.Body, `name="return_to" value="/reports/2026?q=a%20b"`) {
		t.Errorf("the form does not know where to go on:\n%s", a.Body)
	}
	a = b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/reports/2026?q=a%20b")
	if a.Status != 200 || b.at != "/reports/2026?q=a%20b" || !strings.Contains(a.Body, `"ann"`) {
		t.Fatalf("got %d at %s, want the page that was asked for, as ann:\n%s", a.Status, b.at, a.Body)
	}
	if a = b.open("/auth/login?return_to=/elsewhere"); b.at != "/elsewhere" {
		t.Errorf("signed in, opening the sign-in page: got to %s, want /elsewhere", b.at)
	}
	a = b.open("/auth/account")
	for _, want := range []string{"ann", "This device", "127.0.0.1", `action="/auth/logout"`, `action="/auth/logout-all"`} {
		if a.Status != 200 || !strings.Contains(a.Body, want) {
			t.Errorf("the account page has no %s:\n%s", want, a.Body)
		}
	}

	a = b.open("/auth/logout")
	if a.Status != 200 || !strings.Contains(a.Body, `<form method="post" action="/auth/logout">`) {
		t.Errorf("got %d, want a button", a.Status)
	}
	if a = b.open("/reports"); b.at != "/reports" {
		t.Errorf("opening the sign-out page signed out: at %s", b.at)
	}
	a = b.submit("/auth/logout")
	if b.at != "/auth/login" || b.cookies() != 0 {
		t.Errorf("signed out: at %s with %d cookies, want the sign-in page and none", b.at, b.cookies())
	}
	if b.open("/reports"); !strings.HasPrefix(b.at, "/auth/login") {
		t.Errorf("after signing out: got to %s, want the sign-in page", b.at)
	}
}

func TestBrowserSignsOutEverywhere(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	here, there := g.browser(), g.browser()
	for _, b := range []*browser{here, there} {
		b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/x")
	}
	if here.submit("/auth/logout-all"); here.at != "/auth/login" || here.cookies() != 0 {
		t.Errorf("at %s with %d cookies, want the sign-in page and none", here.at, here.cookies())
	}
	if there.open("/x"); !strings.HasPrefix(there.at, "/auth/login") {
		t.Errorf("the other device: got to %s, want the sign-in page", there.at)
	}
	if b := g.browser(); b.submit("/auth/logout-all").Status != 401 {
		t.Error("nobody signed out everywhere, want 401")
	}
}

func TestBrowserRegisters(t *testing.T) {
	g := newGateway(t, nil)
	b := g.browser()
	if a := b.open("/auth/login?return_to=/x"); !strings.Contains(a.Body, `href="/auth/register?return_to=%2fx"`) {
		t.Errorf("the sign-in page does not lead to registration:\n%s", a.Body)
	}
	a := b.submit("/auth/register", "username", "ann", "email", "", "name", "", "password", "x9K", "return_to", "/x")
	if a.Status != 400 || a.code() != "INVALID_INPUT" || !strings.Contains(a.Body, `value="ann"`) || !strings.Contains(a.Body, `role="alert"`) {
		t.Errorf("got %d %s, want the form again, saying why:\n%s", a.Status, a.code(), a.Body)
	}
	a = b.submit("/auth/register", "username", "ann", "email", "", "name", "Ann", "password", testPassword, "return_to", "/x")
	if a.Status != 200 || b.at != "/x" {
		t.Fatalf("got %d at %s, want to be signed in at /x: %s", a.Status, b.at, a.Body)
	}
	if other := g.browser(); other.submit("/auth/register", "username", "Ann", "password", testPassword).Status != 409 {
		t.Error("the same name again, want 409")
	}
}

func TestFormErrors(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	for _, c := range []struct {
		name   string
		body   string
		status int
		code   string
	}{
		{"wrong password", formOf("login", "ann", "password", "secret-wrong-one", "return_to", "/x"), 401, "INVALID_CREDENTIALS"},
		{"nothing", "", 400, "INVALID_INPUT"},
		{"unknown field", formOf("login", "ann", "password", "secret-wrong-one", "roles", "admin"), 400, "INVALID_INPUT"},
		{"given twice", formOf("login", "ann", "login", "eve", "password", "secret-wrong-one"), 400, "INVALID_INPUT"},
		{"not UTF-8", "login=ann%ff&password=secret-wrong-one", 400, "INVALID_INPUT"},
		{"bad escape", "login=ann&password=secret-wrong-one&x=%zz", 400, "INVALID_INPUT"},
		{"JSON", `{"login": "ann", "password": "secret-wrong-one"}`, 400, "INVALID_INPUT"},
		{"too large", "login=ann&password=" + strings.Repeat("a", maxBody), 413, "BODY_TOO_LARGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.do("POST", "/auth/login", c.body, "Content-Type: application/x-www-form-urlencoded")
			if a.Status != c.status || a.code() != c.code {
				t.Fatalf("got %d %s, want %d %s", a.Status, a.code(), c.status, c.code)
			}
			if !strings.Contains(a.Body, `<form method="post" action="/auth/login">`) || !strings.Contains(a.Body, `role="alert"`) {
				t.Errorf("want the form again, saying why:\n%s", a.Body)
			}
			if strings.Contains(a.Body, "secret-wrong-one") {
				t.Error("the page holds the password")
			}
			if len(a.Header.Values("Set-Cookie")) != 0 {
				t.Errorf("got cookies %q", a.Header.Values("Set-Cookie"))
			}
		})
	}
	a := g.do("POST", "/auth/login", `{"login": "ann"}`, "Content-Type: application/x-www-form-urlencoded")
	if !strings.Contains(a.Body, "send it with Content-Type: application/json") {
		t.Errorf("JSON is not told which type it has:\n%s", a.Body)
	}
	a = g.do("POST", "/auth/login", formOf("login", "ann", "password", "wrong-wrong-wrong", "return_to", "/x"), "Content-Type: application/x-www-form-urlencoded")
	if !strings.Contains(a.Body, `value="ann"`) || !strings.Contains(a.Body, `value="/x"`) {
		t.Errorf("what was typed is gone:\n%s", a.Body)
	}
}

// What a form gets wrong is said back up to a bound: a short body must not make
// a long page.
func TestAFormsErrorsDoNotAmplify(t *testing.T) {
	g := newGateway(t, nil)
	var body strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&body, "f%d&", i)
	}
	a := g.do("POST", "/auth/login", body.String()+"login=ann", "Content-Type: application/x-www-form-urlencoded")
	if a.Status != 400 || len(a.Body) > body.Len() {
		t.Errorf("got %d and %d bytes for %d, want 400 and fewer than came", a.Status, len(a.Body), body.Len())
	}
	if !strings.Contains(a.Body, `value="ann"`) {
		t.Error("what was typed is gone")
	}
}

func TestFormIsAnsweredWithACookieWhateverItAsks(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	a := g.do("POST", "/auth/login", formOf("username", "ann", "password", testPassword, "mode", "token", "return_to", "//evil.example"), "Content-Type: application/x-www-form-urlencoded")
	c := a.cookie(g.cookieName())
	if a.Status != 303 || a.Header.Get("Location") != "/" || c == nil || c.SameSite != http.SameSiteLaxMode || strings.Contains(a.Body, "token") {
		t.Errorf("got %d to %q, cookie %v, want 303 to / and a session cookie", a.Status, a.Header.Get("Location"), c)
	}
}

func TestReturnToOfThePages(t *testing.T) {
	g := newGateway(t, nil)
	cookie := "Cookie: " + g.cookieOf("ann")
	for _, bad := range []string{"//evil.example", "/\\evil.example", "https://evil.example", "/%09/evil.example", "/auth/logout", "/auth/login"} {
		target := "/auth/login?return_to=" + url.QueryEscape(bad)
		if a := g.get(target); !strings.Contains(a.Body, `name="return_to" value="/"`) {
			t.Errorf("%q: the form kept it", bad)
		}
		if a := g.get(target, cookie); a.Status != 303 || a.Header.Get("Location") != "/" {
			t.Errorf("%q: signed in, got %d to %q, want 303 to /", bad, a.Status, a.Header.Get("Location"))
		}
	}
}

func TestPagesEscapeWhatTheyShow(t *testing.T) {
	g := newGateway(t, nil)
	const evil = `"><script>alert(1)</script>`
	a := g.do("POST", "/auth/login", formOf("login", evil, "password", "x", evil, "y"), "Content-Type: application/x-www-form-urlencoded")
	if strings.Contains(a.Body, "<script") {
		t.Errorf("the page runs what was typed:\n%s", a.Body)
	}
	if a := g.get("/auth/login?return_to="+url.QueryEscape("/"+evil), "Accept: text/html"); strings.Contains(a.Body, "<script") {
		t.Errorf("the page runs what is in the address:\n%s", a.Body)
	}
	me := "Authorization: " + g.bearer("ann")
	g.do("PATCH", "/auth/profile", `{"name":"<script>alert(1)</script>"}`, me, "Content-Type: application/json")
	if a := g.get("/auth/account", me, "Accept: text/html"); a.Status != 200 || strings.Contains(a.Body, "<script") {
		t.Errorf("the account page, %d, runs a name:\n%s", a.Status, a.Body)
	}
}

func TestPagesNeedNoScriptAndNoInlineStyle(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	cookie := "Cookie: " + boss.cookie
	for _, path := range []string{"/auth/login", "/auth/register", "/auth/logout", "/auth/account", "/auth/admin", "/auth/admin/accounts/" + boss.id, "/auth/nothing", "/auth/verify-email", "/auth/reset-password", "/auth/forgot-password"} {
		headers := []string{"Accept: text/html"}
		if path == "/auth/account" || strings.HasPrefix(path, "/auth/admin") {
			headers = append(headers, cookie)
		}
		a := g.get(path, headers...)
		for _, bad := range []string{"<script", "<style", "style=", "onclick", "http://", "https://"} {
			if strings.Contains(a.Body, bad) {
				t.Errorf("%s holds %s", path, bad)
			}
		}
		if !strings.Contains(a.Body, `<html lang="en">`) || !strings.Contains(a.Body, `href="/auth/style.css"`) || strings.Count(a.Body, "<h1>") != 1 {
			t.Errorf("%s: want a language, the stylesheet and one heading:\n%s", path, a.Body)
		}
		// Who signs in goes where the application leads them.
		if entrance := path == "/auth/login" || path == "/auth/register"; strings.Contains(a.Header.Get("Content-Security-Policy"), "form-action 'self'") == entrance {
			t.Errorf("%s: got Content-Security-Policy %q, form-action only where a form stays here", path, a.Header.Get("Content-Security-Policy"))
		}
		// With no-referrer browsers would send "Origin: null" with the form.
		if got := a.Header.Get("Referrer-Policy"); got != "strict-origin" {
			t.Errorf("%s: got Referrer-Policy %q, want strict-origin", path, got)
		}
	}
	if a := g.get("/auth/style.css"); a.Status != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/css") {
		t.Errorf("style.css: got %d %s", a.Status, a.Header.Get("Content-Type"))
	}
}
