package gateway

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// signInReply is what a client reads of a sign-in.
type signInReply struct {
	AccessToken      string         `json:"access_token"`
	TokenType        string         `json:"token_type"`
	ExpiresIn        int            `json:"expires_in"`
	RefreshToken     string         `json:"refresh_token"`
	RefreshExpiresIn int            `json:"refresh_expires_in"`
	User             map[string]any `json:"user"`
}

// problemReply is what a client reads of a refusal.
type problemReply struct {
	Type, Title, Detail, Code string
	Status                    int
	RequestID                 string `json:"request_id"`
	Errors                    []struct{ Field, Code, Detail string }
}

// fields is every field and code of a refusal, in order: "password required".
func (a reply) fields(t testing.TB) []string {
	t.Helper()
	var p problemReply
	a.json(t, &p)
	var out []string
	for _, e := range p.Errors {
		out = append(out, strings.TrimSpace(e.Field+" "+e.Code))
	}
	slices.Sort(out)
	return out
}

// wantProblem fails the test unless the answer is this refusal, in every place
// that says so.
func wantProblem(t testing.TB, a reply, status int, code string) {
	t.Helper()
	var p problemReply
	if a.Status != status || a.code() != code || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s %s, want %d %s: %s", a.Status, a.code(), a.Header.Get("Content-Type"), status, code, a.Body)
		return
	}
	a.json(t, &p)
	if p.Type != "about:blank" || p.Title == "" || p.Detail == "" || p.Status != status || p.Code != code || p.RequestID != a.Header.Get("X-Request-Id") {
		t.Errorf("got %s, want type, title, detail, status, code and request id", a.Body)
	}
	if challenged := a.Header.Get("WWW-Authenticate") != ""; challenged != (status == 401 || code == "INSUFFICIENT_ROLE") {
		t.Errorf("%d %s: got WWW-Authenticate %q", status, code, a.Header.Get("WWW-Authenticate"))
	}
	if waits := a.Header.Get("Retry-After") != ""; waits != (status == 429 || status == 503) {
		t.Errorf("%d %s: got Retry-After %q", status, code, a.Header.Get("Retry-After"))
	}
}

// cookie is the Set-Cookie of a name, or nil.
func (a reply) cookie(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// login signs in over HTTP.
func (g *testGateway) login(login, mode string, headers ...string) reply {
	g.t.Helper()
	return g.post("/auth/login", fmt.Sprintf(`{"login":%q,"password":%q,"mode":%q}`, login, testPassword, mode), headers...)
}

func TestRegisterSignsIn(t *testing.T) {
	g := newGateway(t, nil)
	a := g.post("/auth/register", `{"email":" Ann@Example.com","username":"Ann","name":"Ann Other","password":"`+testPassword+`"}`)
	documented(t, "POST", "/register", a)
	if a.Status != 201 {
		t.Fatalf("got %d %s, want 201", a.Status, a.Body)
	}
	var in signInReply
	a.json(t, &in)
	if in.TokenType != "Bearer" || in.ExpiresIn != 900 || in.RefreshExpiresIn != 7*24*3600 || in.RefreshToken == "" {
		t.Errorf("got %s, want a pair for 15 minutes and a week", a.Body)
	}
	for name, want := range map[string]any{
		"username": "Ann", "email": "ann@example.com", "name": "Ann Other", "active": true, "email_verified": false,
	} {
		if got := in.User[name]; got != want {
			t.Errorf("user.%s: got %v, want %v", name, got, want)
		}
	}
	if got := fmt.Sprint(in.User["roles"]); got != "[user]" {
		t.Errorf("got roles %s, want [user]", got)
	}
	if got := g.get("/secret", "Authorization: Bearer "+in.AccessToken).Status; got != 200 {
		t.Errorf("with the token: got %d, want 200", got)
	}
	if len(a.Header.Values("Set-Cookie")) != 0 {
		t.Errorf("got cookies %q, want none by default", a.Header.Values("Set-Cookie"))
	}
}

func TestRegisterRefusals(t *testing.T) {
	g := newGateway(t, nil)
	g.post("/auth/register", `{"username":"taken","email":"taken@example.com","password":"`+testPassword+`"}`)
	for _, c := range []struct {
		name, body string
		status     int
		code       string
		fields     []string
	}{
		{"nothing", `{}`, 400, "INVALID_INPUT", nil},
		{"weak in every way", `{"username":"a b","email":"nobody","password":"x9K"}`, 400, "INVALID_INPUT", []string{"email format", "password common", "password too_short", "username format"}},
		{"reserved", `{"username":"Admin","password":"` + testPassword + `"}`, 400, "INVALID_INPUT", []string{"username reserved"}},
		{"username taken", `{"username":"TAKEN","password":"` + testPassword + `"}`, 409, "USERNAME_TAKEN", nil},
		{"email taken", `{"email":"Taken@Example.COM","password":"` + testPassword + `"}`, 409, "EMAIL_TAKEN", nil},
		{"unknown mode", `{"username":"bob","password":"` + testPassword + `","mode":"cookie"}`, 400, "INVALID_INPUT", []string{"mode format"}},
		{"roles", `{"username":"bob","password":"` + testPassword + `","roles":["admin"]}`, 400, "INVALID_INPUT", []string{"roles unknown"}},
		{"every other way up", `{"username":"bob","password":"` + testPassword + `","role":"admin","Roles":[],"is_admin":true,"active":true,"email_verified":true,"id":"x","password_hash":"x"}`, 400, "INVALID_INPUT",
			[]string{"Roles unknown", "active unknown", "email_verified unknown", "id unknown", "is_admin unknown", "password_hash unknown", "role unknown"}},
		{"given twice", `{"username":"bob","username":"eve","password":"` + testPassword + `"}`, 400, "INVALID_INPUT", []string{"username duplicate"}},
		{"other case", `{"username":"bob","Password":"` + testPassword + `"}`, 400, "INVALID_INPUT", []string{"Password unknown", "password required"}},
		{"wrong in form and content", `{"username":"a b","email":7,"password":"x9K","roles":["admin"],"mode":"x"}`, 400, "INVALID_INPUT",
			[]string{"email type", "mode format", "password common", "password too_short", "roles unknown", "username format"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.post("/auth/register", c.body)
			documented(t, "POST", "/register", a)
			wantProblem(t, a, c.status, c.code)
			if got := a.fields(t); c.fields != nil && !slices.Equal(got, c.fields) {
				t.Errorf("got %q, want %q", got, c.fields)
			}
		})
	}
	if _, err := g.Authn.UserByLogin(t.Context(), "bob"); err == nil {
		t.Error("one of these made an account")
	}
}

func TestRegistrationClosed(t *testing.T) {
	g := newGatewayWith(t, nil, func(c *authn.Config) { c.Accounts.Registration = "closed" })
	wantProblem(t, g.post("/auth/register", `{"username":"ann","password":"`+testPassword+`"}`), 403, "REGISTRATION_CLOSED")
	for name, body := range map[string]string{"a body that is wrong": `{"roles":["admin"]}`, "no JSON at all": `username=ann`} {
		t.Run(name, func(t *testing.T) { wantProblem(t, g.post("/auth/register", body), 403, "REGISTRATION_CLOSED") })
	}
	if a := g.do("POST", "/auth/register", "username=ann", "Content-Type: text/plain"); a.Status != 403 {
		t.Errorf("a body of another type: got %d, want 403 before the body is looked at", a.Status)
	}
	if a := g.get("/auth/register", "Accept: text/html"); a.Status != 403 || strings.Contains(a.Body, "<form") {
		t.Errorf("the page: got %d, want 403 and no form", a.Status)
	}
	if a := g.get("/auth/login"); strings.Contains(a.Body, "/auth/register") {
		t.Error("the sign-in page leads to a form that is closed")
	}
}

func TestLoginByAnyName(t *testing.T) {
	g := newGateway(t, nil)
	g.post("/auth/register", `{"username":"ann","email":"ann@example.com","password":"`+testPassword+`"}`)
	for _, name := range []string{`"login":"ann"`, `"login":"ANN@example.com"`, `"email":"ann@example.com"`, `"username":"Ann"`} {
		a := g.post("/auth/login", `{`+name+`,"password":"`+testPassword+`"}`)
		documented(t, "POST", "/login", a)
		if a.Status != 200 {
			t.Errorf("%s: got %d %s, want 200", name, a.Status, a.Body)
		}
	}
}

func TestLoginModes(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	for _, c := range []struct {
		mode    string
		members []string
		cookie  string
	}{
		{"token", []string{"access_token", "expires_in", "refresh_expires_in", "refresh_token", "token_type", "user"}, ""},
		{"refresh_cookie", []string{"access_token", "expires_in", "refresh_expires_in", "token_type", "user"}, g.refreshName()},
		{"session_cookie", []string{"expires_in", "user"}, g.cookieName()},
	} {
		t.Run(c.mode, func(t *testing.T) {
			a := g.login("ann", c.mode)
			documented(t, "POST", "/login", a)
			var body map[string]any
			a.json(t, &body)
			var got []string
			for name := range body {
				got = append(got, name)
			}
			if slices.Sort(got); !slices.Equal(got, c.members) {
				t.Errorf("got members %q, want %q", got, c.members)
			}
			for _, name := range []string{g.cookieName(), g.refreshName()} {
				if set := a.cookie(name) != nil; set != (name == c.cookie) {
					t.Errorf("cookie %s set: got %v, want %v", name, set, name == c.cookie)
				}
			}
			if c.cookie != "" {
				if got := a.cookie(c.cookie); !got.HttpOnly || got.Path != "/" || got.Domain != "" || got.MaxAge <= 0 {
					t.Errorf("got cookie %v, want HttpOnly, Path=/, no Domain, lasting", got)
				}
			}
		})
	}
}

func TestLoginRefusals(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	off := g.addUser("off")
	no := false
	if _, err := g.Authn.UpdateUser(t.Context(), off.ID, authn.UserChange{Active: &no}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	right := `"password":"` + testPassword + `"`
	for _, c := range []struct {
		name, body string
		status     int
		code       string
		fields     []string
	}{
		{"wrong password", `{"login":"ann","password":"wrong-wrong-wrong"}`, 401, "INVALID_CREDENTIALS", nil},
		{"nobody", `{"login":"nobody",` + right + `}`, 401, "INVALID_CREDENTIALS", nil},
		{"disabled", `{"login":"off",` + right + `}`, 403, "ACCOUNT_DISABLED", nil},
		{"disabled, wrong password", `{"login":"off","password":"wrong-wrong-wrong"}`, 401, "INVALID_CREDENTIALS", nil},
		{"nothing", `{}`, 400, "INVALID_INPUT", []string{"login required", "password required"}},
		{"two names", `{"login":"ann","email":"ann@example.com",` + right + `}`, 400, "INVALID_INPUT", []string{"login duplicate"}},
		{"a name that is no text", `{"email":7,` + right + `}`, 400, "INVALID_INPUT", []string{"email type"}},
		{"all at once", `{"login":7,"mode":"x","extra":1}`, 400, "INVALID_INPUT", []string{"extra unknown", "login type", "mode format", "password required"}},
		{"null", `{"login":null,"password":null}`, 400, "INVALID_INPUT", []string{"login type", "password type"}},
		{"duplicate key", `{"login":"ann","login":"ann",` + right + `}`, 400, "INVALID_INPUT", []string{"login duplicate"}},
		{"second value", `{"login":"ann",` + right + `}{}`, 400, "INVALID_INPUT", []string{"format"}},
		{"no JSON", `login=ann`, 400, "INVALID_INPUT", []string{"format"}},
		{"an array", `[]`, 400, "INVALID_INPUT", nil},
		{"nothing at all", ``, 400, "INVALID_INPUT", []string{"format"}},
		{"not UTF-8", "{\"login\":\"a\xff\",\"password\":\"x\"}", 400, "INVALID_INPUT", []string{"format"}},
		{"byte order mark", "\ufeff{}", 400, "INVALID_INPUT", []string{"format"}},
		{"too deep", strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), 400, "INVALID_INPUT", []string{"format"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.post("/auth/login", c.body)
			documented(t, "POST", "/login", a)
			wantProblem(t, a, c.status, c.code)
			if got := a.fields(t); c.fields != nil && !slices.Equal(got, c.fields) {
				t.Errorf("got %q, want %q", got, c.fields)
			}
			if strings.Contains(a.Body, testPassword) {
				t.Errorf("the answer holds the password: %s", a.Body)
			}
		})
	}
}

func TestBodiesOfOtherKindsAndSizes(t *testing.T) {
	g := newGateway(t, nil)
	body := `{"login":"ann","password":"x"}`
	for _, kind := range []string{"text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-7", "application/x-json", "application", ""} {
		wantProblem(t, g.do("POST", "/auth/login", body, "Content-Type: "+kind), 415, "UNSUPPORTED_MEDIA_TYPE")
	}
	wantProblem(t, g.do("POST", "/auth/login", body, "Content-Type: application/json", "Content-Type: text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE")
	wantProblem(t, g.do("POST", "/auth/login", body, "Content-Type: Application/JSON; charset=UTF-8"), 401, "INVALID_CREDENTIALS")

	pad := func(n int) string { return strings.Repeat(" ", n-len(body)) + body }
	wantProblem(t, g.post("/auth/login", pad(maxBody)), 401, "INVALID_CREDENTIALS")
	wantProblem(t, g.post("/auth/login", pad(maxBody+1)), 413, "BODY_TOO_LARGE")
	r, err := http.NewRequest("POST", g.URL+"/auth/login", struct{ *strings.Reader }{strings.NewReader(pad(maxBody + 1))})
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = -1 // chunked: the length is not known before
	r.Header.Set("Content-Type", "application/json")
	wantProblem(t, g.send(r), 413, "BODY_TOO_LARGE")
}

// Also where a body may be left out, one that is sent is read: whoever sends a
// field believes that it does something.
func TestEveryBodyIsRead(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	for _, e := range ownRoutes {
		if e.method != "POST" && e.method != "PATCH" {
			continue
		}
		path := "/auth" + strings.ReplaceAll(e.path, "{id}", boss.id)
		a := g.do(e.method, path, `{"reason":"x"}`, "Content-Type: application/json", boss.bearer)
		switch {
		case a.code() == "UNSUPPORTED_MEDIA_TYPE" && e.form != nil: // for the form of a page alone
		case a.code() != "INVALID_INPUT" || !slices.Contains(a.fields(t), "reason unknown"):
			t.Errorf("%s %s: got %d %s, want 400 and the field unknown", e.method, e.path, a.Status, a.Body)
		}
		a = g.do(e.method, path, "reason=x", "Content-Type: text/plain", boss.bearer)
		if a.code() != "UNSUPPORTED_MEDIA_TYPE" {
			t.Errorf("%s %s: of text got %d %s, want 415", e.method, e.path, a.Status, a.code())
		}
	}
}

func TestLockedAccountIs429(t *testing.T) {
	g := newGatewayWith(t, nil, func(c *authn.Config) { c.Accounts.Lockout = authn.LockoutConfig{Failures: 2, Window: time.Minute} })
	g.addUser("ann")
	for range 2 {
		wantProblem(t, g.post("/auth/login", `{"login":"ann","password":"wrong-wrong-wrong"}`), 401, "INVALID_CREDENTIALS")
	}
	for _, login := range []string{"ann", "ANN"} { // also with the right password
		a := g.login(login, "token")
		wantProblem(t, a, 429, "TOO_MANY_ATTEMPTS")
		if got, want := a.Header.Get("RateLimit-Policy"), `"lockout";q=2;w=60`; got != want {
			t.Errorf("got RateLimit-Policy %s, want %s", got, want)
		}
		if got := a.Header.Get("RateLimit"); !regexp.MustCompile(`^"lockout";r=0;t=[0-9]+$`).MatchString(got) {
			t.Errorf("got RateLimit %s, want none left and when", got)
		}
	}
	g.clock.advance(2 * time.Minute)
	if a := g.login("ann", "token"); a.Status != 200 {
		t.Errorf("later: got %d %s, want 200", a.Status, a.Body)
	}
}

func TestLoginFailuresAreLimitedByClient(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.LoginFailures = Rate{3, time.Hour} })
	g.addUser("ann")
	for range 5 { // what is right, or was never tried, costs nothing
		if a := g.login("ann", "token"); a.Status != 200 {
			t.Fatalf("got %d %s, want 200", a.Status, a.Body)
		}
		wantProblem(t, g.post("/auth/login", `{}`), 400, "INVALID_INPUT")
	}
	for i := range 3 {
		wantProblem(t, g.post("/auth/login", fmt.Sprintf(`{"login":"nobody%d","password":"wrong-wrong"}`, i)), 401, "INVALID_CREDENTIALS")
	}
	a := g.login("ann", "token")
	wantProblem(t, a, 429, "TOO_MANY_ATTEMPTS")
	if got, want := a.Header.Get("RateLimit-Policy"), `"login_failures";q=3;w=3600`; got != want {
		t.Errorf("got RateLimit-Policy %s, want %s", got, want)
	}
	wantProblem(t, g.do("POST", "/auth/login", "x", "Content-Type: text/plain"), 429, "TOO_MANY_ATTEMPTS") // before the body is looked at
	g.clock.advance(time.Hour)
	if a := g.login("ann", "token"); a.Status != 200 {
		t.Errorf("later: got %d, want 200", a.Status)
	}
}

func TestRegistrationIsLimitedByClient(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Register = Rate{2, time.Hour} })
	for range 4 {
		wantProblem(t, g.post("/auth/register", `{"username":"x"}`), 400, "INVALID_INPUT")
	}
	g.post("/auth/register", `{"username":"ann","password":"`+testPassword+`"}`)
	wantProblem(t, g.post("/auth/register", `{"username":"ann","password":"`+testPassword+`"}`), 409, "USERNAME_TAKEN")
	wantProblem(t, g.post("/auth/register", `{"username":"bob","password":"`+testPassword+`"}`), 429, "RATE_LIMITED")
}

func TestRequestsLimitCoversOurEndpoints(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Requests = Rate{2, time.Hour} })
	g.get("/auth/jwks.json")
	g.get("/auth/jwks.json")
	wantProblem(t, g.get("/auth/jwks.json"), 429, "RATE_LIMITED")
	if a := g.get("/auth/profile", "Authorization: "+g.bearerOnce()); a.Status != 200 {
		t.Errorf("a person signed in: got %d, want a budget of their own", a.Status)
	}
}

func TestRefresh(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	var first, second signInReply
	g.login("ann", "token").json(t, &first)
	a := g.post("/auth/refresh", `{"refresh_token":"`+first.RefreshToken+`"}`)
	documented(t, "POST", "/refresh", a)
	a.json(t, &second)
	if a.Status != 200 || second.RefreshToken == "" || second.RefreshToken == first.RefreshToken || second.AccessToken == "" {
		t.Fatalf("got %d %s, want the next pair", a.Status, a.Body)
	}
	if len(a.Header.Values("Set-Cookie")) != 0 {
		t.Errorf("a token in the body: got a cookie, want the answer in kind")
	}
	var again signInReply
	g.post("/auth/refresh", `{"refresh_token":"`+first.RefreshToken+`"}`).json(t, &again)
	if again.RefreshToken != second.RefreshToken {
		t.Error("within the grace: got another successor, want the same")
	}
	g.clock.advance(time.Minute)
	wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"`+first.RefreshToken+`"}`), 401, "REFRESH_TOKEN_REUSED")
	wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"`+first.RefreshToken+`"}`), 401, "REFRESH_TOKEN_INVALID")
	wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"`+second.RefreshToken+`"}`), 401, "REFRESH_TOKEN_INVALID")
	wantProblem(t, g.get("/secret", "Authorization: Bearer "+second.AccessToken), 401, "TOKEN_REVOKED")
}

func TestRefreshRefusals(t *testing.T) {
	g := newGateway(t, nil)
	wantProblem(t, g.do("POST", "/auth/refresh", ""), 401, "REFRESH_TOKEN_INVALID")
	wantProblem(t, g.post("/auth/refresh", `{}`), 401, "REFRESH_TOKEN_INVALID")
	wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"abc"}`), 401, "REFRESH_TOKEN_INVALID")
	wantProblem(t, g.post("/auth/refresh", `{"token":"abc"}`), 400, "INVALID_INPUT")
	wantProblem(t, g.do("POST", "/auth/refresh", `{"refresh_token":"abc"}`), 415, "UNSUPPORTED_MEDIA_TYPE")
	wantProblem(t, g.do("POST", "/auth/refresh", ``, "Content-Type: text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE")
	if a := g.post("/auth/refresh?refresh_token=abc", ``); a.Status != 401 {
		t.Errorf("in the query: got %d, want 401", a.Status)
	}
}

func TestRefreshByCookie(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	token := g.login("ann", "refresh_cookie").cookie(g.refreshName()).Value
	planted := g.refreshName() + "=planted; "
	a := g.do("POST", "/auth/refresh", "", "Cookie: "+planted+g.refreshName()+"="+token)
	documented(t, "POST", "/refresh", a)
	next := a.cookie(g.refreshName())
	if a.Status != 200 || next == nil || next.Value == token || next.SameSite != http.SameSiteStrictMode {
		t.Fatalf("got %d, cookie %v, want 200 and the next one, Strict", a.Status, next)
	}
	if strings.Contains(a.Body, "refresh_token") {
		t.Errorf("got the token in the body too: %s", a.Body)
	}
	wantProblem(t, g.do("POST", "/auth/refresh", "", "Cookie: "+g.refreshName()+"="+next.Value, "Origin: https://evil.example"), 403, "CROSS_ORIGIN")
	// A token in the body decides alone, even a bad one.
	wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"abc"}`, "Cookie: "+g.refreshName()+"="+next.Value), 401, "REFRESH_TOKEN_INVALID")

	a = g.do("POST", "/auth/refresh", "", "Cookie: "+g.refreshName()+"=dead")
	wantProblem(t, a, 401, "REFRESH_TOKEN_INVALID")
	if c := a.cookie(g.refreshName()); c == nil || c.MaxAge >= 0 || c.Value != "" || c.Path != "/" || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("a dead cookie: got %v, want it taken back", c)
	}
}

// What is alive is not taken off a client because something beside it is not.
func TestOnlyTheDeadCookieIsTakenBack(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	session := g.cookieName() + "=" + g.signIn("ann", authn.ModeSessionCookie).Cookie.Reveal()
	refresh := g.refreshName() + "=" + g.signIn("ann", authn.ModeRefreshCookie).RefreshToken.Reveal()
	for _, c := range []struct {
		name    string
		a       reply
		cleared []string
	}{
		{"dead session", g.get("/secret", "Cookie: "+g.cookieName()+"=dead; "+refresh), []string{g.cookieName()}},
		{"dead refresh", g.do("POST", "/auth/refresh", "", "Cookie: "+session+"; "+g.refreshName()+"=dead"), []string{g.refreshName()}},
		{"dead token in the body", g.post("/auth/refresh", `{"refresh_token":"dead"}`, "Cookie: "+session+"; "+refresh), nil},
	} {
		var cleared []string
		for _, line := range c.a.Header.Values("Set-Cookie") {
			name, _, _ := strings.Cut(line, "=")
			cleared = append(cleared, name)
		}
		if c.a.Status != 401 || !slices.Equal(cleared, c.cleared) {
			t.Errorf("%s: got %d, taken back %q, want 401 and %q", c.name, c.a.Status, cleared, c.cleared)
		}
	}
}

func TestRefreshIsLimited(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Refresh = Rate{2, time.Minute} })
	for range 2 {
		wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"abc"}`), 401, "REFRESH_TOKEN_INVALID")
	}
	wantProblem(t, g.post("/auth/refresh", `{"refresh_token":"abc"}`), 429, "RATE_LIMITED")
}

func TestRefreshTooOftenInOneGraceIs429(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	var in signInReply
	g.login("ann", "token").json(t, &in)
	for range maxRefreshes {
		g.post("/auth/refresh", `{"refresh_token":"`+in.RefreshToken+`"}`).json(t, &in)
	}
	a := g.post("/auth/refresh", `{"refresh_token":"`+in.RefreshToken+`"}`)
	wantProblem(t, a, 429, "RATE_LIMITED")
	if a.Header.Get("RateLimit") == "" || a.Header.Get("RateLimit-Policy") == "" {
		t.Errorf("got RateLimit %q, want it", a.Header.Get("RateLimit"))
	}
	g.clock.advance(time.Minute)
	if a := g.post("/auth/refresh", `{"refresh_token":"`+in.RefreshToken+`"}`); a.Status != 200 {
		t.Errorf("later: got %d %s, want 200", a.Status, a.code())
	}
}

func TestLogoutEndsTheSession(t *testing.T) {
	for _, way := range []string{"access token", "expired access token", "refresh token", "session cookie", "refresh cookie"} {
		t.Run(way, func(t *testing.T) {
			g := newGateway(t, nil)
			g.addUser("ann")
			var in signInReply
			mode := map[string]string{"session cookie": "session_cookie", "refresh cookie": "refresh_cookie"}[way]
			first := g.login("ann", mode)
			first.json(t, &in)
			body, headers := "", []string(nil)
			switch way {
			case "access token":
				headers = []string{"Authorization: Bearer " + in.AccessToken}
			case "expired access token":
				g.clock.advance(time.Hour)
				headers = []string{"Authorization: Bearer " + in.AccessToken}
			case "refresh token":
				body, headers = `{"refresh_token":"`+in.RefreshToken+`"}`, []string{"Content-Type: application/json"}
			case "session cookie":
				headers = []string{"Cookie: " + g.cookieName() + "=" + first.cookie(g.cookieName()).Value}
			case "refresh cookie":
				headers = []string{"Cookie: " + g.refreshName() + "=" + first.cookie(g.refreshName()).Value}
			}
			for range 2 { // the second time there is nothing left to end
				a := g.do("POST", "/auth/logout", body, headers...)
				documented(t, "POST", "/logout", a)
				if a.Status != 204 {
					t.Fatalf("got %d %s, want 204", a.Status, a.Body)
				}
				if c := a.cookie(g.cookieName()); strings.Contains(way, "cookie") != (c != nil && c.MaxAge < 0) {
					t.Errorf("got cookie %v, want it taken back if there was one", c)
				}
			}
			u, err := g.Authn.UserByLogin(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			if left, err := g.Authn.Sessions(t.Context(), u.ID); err != nil || len(left) != 0 {
				t.Errorf("got %d sessions left (%v), want none", len(left), err)
			}
		})
	}
}

// An access token and cookies can name three sessions: all end. Another site's
// page with a token of its own ends that one, and nobody's cookies.
func TestLogoutEndsEverySessionShown(t *testing.T) {
	for from, cookiesEnd := range map[string]bool{"": true, "Sec-Fetch-Site: same-origin": true, "Sec-Fetch-Site: cross-site": false, "Origin: https://evil.example": false} {
		t.Run(from, func(t *testing.T) {
			g := newGateway(t, nil)
			ann := g.addUser("ann")
			bearer := "Bearer " + g.signIn("ann", authn.ModeToken).AccessToken.Reveal()
			session := g.cookieName() + "=" + g.login("ann", "session_cookie").cookie(g.cookieName()).Value
			refresh := g.refreshName() + "=" + g.login("ann", "refresh_cookie").cookie(g.refreshName()).Value
			headers := []string{"Authorization: " + bearer, "Cookie: " + session + "; " + refresh}
			if from != "" {
				headers = append(headers, from)
			}
			a := g.do("POST", "/auth/logout", "", headers...)
			if a.Status != 204 {
				t.Fatalf("got %d %s, want 204", a.Status, a.Body)
			}
			for _, name := range []string{g.cookieName(), g.refreshName()} {
				if c := a.cookie(name); cookiesEnd != (c != nil && c.MaxAge < 0) {
					t.Errorf("got cookie %v, want it taken back: %v", c, cookiesEnd)
				}
			}
			left, err := g.Authn.Sessions(t.Context(), ann.ID)
			if want := map[bool]int{true: 0, false: 2}[cookiesEnd]; err != nil || len(left) != want {
				t.Errorf("got %d sessions left (%v), want %d", len(left), err, want)
			}
			wantProblem(t, g.get("/auth/profile", "Authorization: "+bearer), 401, "TOKEN_REVOKED")
		})
	}
}

func TestLogoutOfNobody(t *testing.T) {
	g := newGateway(t, nil)
	if a := g.do("POST", "/auth/logout", ""); a.Status != 204 {
		t.Errorf("got %d %s, want 204", a.Status, a.Body)
	}
	if a := g.post("/auth/logout", `{"refresh_token":"made up"}`, "Authorization: Bearer made.up.too"); a.Status != 204 {
		t.Errorf("made up: got %d %s, want 204", a.Status, a.Body)
	}
	wantProblem(t, g.do("POST", "/auth/logout", "", "Authorization: Bearer a", "Authorization: Bearer b"), 400, "INVALID_INPUT")
}

func TestLogoutAll(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	cookie := g.login("ann", "session_cookie").cookie(g.cookieName())
	var other signInReply
	g.login("ann", "token").json(t, &other)
	a := g.do("POST", "/auth/logout-all", "", "Cookie: "+cookie.String())
	documented(t, "POST", "/logout-all", a)
	if c := a.cookie(g.cookieName()); a.Status != 204 || c == nil || c.MaxAge >= 0 {
		t.Errorf("got %d, cookie %v, want 204 and the cookie taken back", a.Status, c)
	}
	wantProblem(t, g.get("/auth/profile", "Authorization: Bearer "+other.AccessToken), 401, "TOKEN_REVOKED")
	wantProblem(t, g.get("/auth/profile", "Cookie: "+cookie.String()), 401, "AUTHENTICATION_REQUIRED")
}

func TestSigningInAgainEndsTheSessionBefore(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	g.addUser("bob")
	for mode, name := range map[string]string{"session_cookie": g.cookieName(), "refresh_cookie": g.refreshName()} {
		old := g.login("ann", mode).cookie(name)
		fresh := g.login("bob", mode, "Cookie: "+name+"="+old.Value).cookie(name)
		if fresh == nil || fresh.Value == old.Value {
			t.Fatalf("%s: got cookie %v, want a new one", mode, fresh)
		}
	}
	ann, err := g.Authn.UserByLogin(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := g.Authn.Sessions(t.Context(), ann.ID); err != nil || len(left) != 0 {
		t.Errorf("got %d sessions of ann left (%v), want none", len(left), err)
	}
}

func TestLogSaysWhoSignedIn(t *testing.T) {
	g := newGateway(t, nil)
	u := g.addUser("ann")
	a := g.login("ann", "token")
	var in signInReply
	a.json(t, &in)
	b := g.post("/auth/refresh", `{"refresh_token":"`+in.RefreshToken+`"}`)
	c := g.post("/auth/login", `{"login":"ann","password":"wrong-wrong-wrong"}`)
	for _, want := range []struct {
		a        reply
		user     string
		decision string
	}{{a, u.ID, "allowed"}, {b, u.ID, "allowed"}, {c, "", "allowed"}, {g.get("/auth/profile"), "", "AUTHENTICATION_REQUIRED"}} {
		line := g.requestLine(want.a.Header.Get("X-Request-Id"))
		if line["user"] != want.user || line["decision"] != want.decision {
			t.Errorf("%v: got user %q, decision %q, want %q, %q", line["route"], line["user"], line["decision"], want.user, want.decision)
		}
	}
	for _, secret := range []string{testPassword, "wrong-wrong-wrong", in.AccessToken, in.RefreshToken} {
		if strings.Contains(g.logs.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}
