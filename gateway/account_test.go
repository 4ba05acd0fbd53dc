package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// eventReply and sessionReply are what a client reads of lists.
type eventsReply struct {
	Events []struct {
		ID, Kind string
		Actor    *string
		Subject  *string
		ClientIP *string `json:"client_ip"`
		Detail   map[string]string
	}
	Next *string
}

type sessionsReply struct {
	Sessions []struct {
		ID, Mode  string
		Current   bool
		ClientIP  string `json:"client_ip"`
		UserAgent string `json:"user_agent"`
	}
}

func TestProfile(t *testing.T) {
	g := newGateway(t, nil)
	me := "Authorization: " + g.bearer("ann", "user")
	var body struct{ User map[string]any }
	a := g.get("/auth/profile", me)
	documented(t, "GET", "/profile", a)
	a.json(t, &body)
	if body.User["username"] != "ann" || body.User["email"] != nil || body.User["name"] != nil || body.User["last_login_at"] == nil {
		t.Errorf("got %s, want ann, null for what there is not, and the sign-in", a.Body)
	}

	a = g.do("PATCH", "/auth/profile", `{"name":" Ann Other "}`, me, "Content-Type: application/json")
	documented(t, "PATCH", "/profile", a)
	a.json(t, &body)
	if a.Status != 200 || body.User["name"] != "Ann Other" {
		t.Errorf("got %d %s, want the new name", a.Status, a.Body)
	}
	g.get("/auth/profile", me).json(t, &body)
	if body.User["name"] != "Ann Other" {
		t.Errorf("asked again: got name %v, want Ann Other", body.User["name"])
	}
}

func TestProfileRefusals(t *testing.T) {
	g := newGateway(t, nil)
	me := "Authorization: " + g.bearer("ann", "user")
	for body, want := range map[string][]string{
		`{}`:                                    {"name required"},
		`{"name":7}`:                            {"name type"},
		`{"name":"a\u0000b"}`:                   {"name format"},
		`{"name":"A","roles":["admin"]}`:        {"roles unknown"},
		`{"name":"A","active":true,"id":"x"}`:   {"active unknown", "id unknown"},
		`{"name":"A","email_verified":true}`:    {"email_verified unknown"},
		`{"name":"A","username":"root"}`:        {"username unknown"},
		`{"name":"A","name":"B"}`:               {"name duplicate"},
		`{"name":"A","password_hash":"","n":1}`: {"n unknown", "password_hash unknown"},
	} {
		a := g.do("PATCH", "/auth/profile", body, me, "Content-Type: application/json")
		wantProblem(t, a, 400, "INVALID_INPUT")
		if got := a.fields(t); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
	u, err := g.Authn.UserByLogin(t.Context(), "ann")
	if err != nil || u.Name != "" || !slices.Equal(u.Roles, []string{"user"}) {
		t.Errorf("after it all: got name %q, roles %q (%v), want nothing changed", u.Name, u.Roles, err)
	}
}

func TestDeleteProfile(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann", "user")
	cookie := g.login("ann", "session_cookie").cookie(g.cookieName())
	me := []string{"Cookie: " + cookie.String(), "Content-Type: application/json"}
	a := g.do("DELETE", "/auth/profile", `{"current_password":"wrong-wrong-wrong"}`, me...)
	documented(t, "DELETE", "/profile", a)
	wantProblem(t, a, 400, "INVALID_INPUT")
	if got := a.fields(t); !slices.Equal(got, []string{"current_password incorrect"}) {
		t.Errorf("got %q, want the password incorrect", got)
	}
	wantProblem(t, g.do("DELETE", "/auth/profile", `{}`, me...), 400, "INVALID_INPUT")

	a = g.do("DELETE", "/auth/profile", `{"current_password":"`+testPassword+`"}`, me...)
	documented(t, "DELETE", "/profile", a)
	if c := a.cookie(g.cookieName()); a.Status != 204 || c == nil || c.MaxAge >= 0 {
		t.Errorf("got %d, cookie %v, want 204 and the cookie taken back", a.Status, c)
	}
	wantProblem(t, g.get("/secret", me...), 401, "AUTHENTICATION_REQUIRED")
	wantProblem(t, g.post("/auth/register", `{"username":"ANN","password":"`+testPassword+`"}`), 409, "USERNAME_TAKEN")
}

func TestLastAdminCannotDeleteThemself(t *testing.T) {
	g := newGateway(t, nil)
	me := "Authorization: " + g.bearer("root", "admin")
	a := g.do("DELETE", "/auth/profile", `{"current_password":"`+testPassword+`"}`, me, "Content-Type: application/json")
	wantProblem(t, a, 409, "LAST_ADMIN")
}

func TestChangePassword(t *testing.T) {
	g := newGateway(t, nil)
	me := "Authorization: " + g.bearer("ann", "user")
	const next = "another-horse-battery-staple"
	for _, c := range []struct {
		name, body string
		fields     []string
	}{
		{"nothing", `{}`, []string{"current_password required", "new_password required"}},
		{"wrong", `{"current_password":"wrong-wrong-wrong","new_password":"` + next + `"}`, []string{"current_password incorrect"}},
		{"weak", `{"current_password":"` + testPassword + `","new_password":"x9K"}`, []string{"new_password common", "new_password too_short"}},
		{"unknown", `{"current_password":"` + testPassword + `","new_password":"` + next + `","user":"bob"}`, []string{"user unknown"}},
	} {
		a := g.post("/auth/change-password", c.body, me)
		documented(t, "POST", "/change-password", a)
		wantProblem(t, a, 400, "INVALID_INPUT")
		if got := a.fields(t); !slices.Equal(got, c.fields) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.fields)
		}
	}
	a := g.post("/auth/change-password", `{"current_password":"`+testPassword+`","new_password":"`+next+`"}`, me)
	documented(t, "POST", "/change-password", a)
	if a.Status != 204 {
		t.Fatalf("got %d %s, want 204", a.Status, a.Body)
	}
	wantProblem(t, g.get("/secret", me), 401, "TOKEN_REVOKED")
	wantProblem(t, g.login("ann", "token"), 401, "INVALID_CREDENTIALS")
	if a := g.post("/auth/login", `{"login":"ann","password":"`+next+`"}`); a.Status != 200 {
		t.Errorf("with the new one: got %d, want 200", a.Status)
	}
}

func TestGuessingTheCurrentPasswordIsLimited(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.LoginFailures = Rate{2, time.Hour} })
	me := "Authorization: " + g.bearer("ann", "user")
	guess := `{"current_password":"wrong-wrong-wrong","new_password":"another-horse-battery-staple"}`
	for range 2 {
		wantProblem(t, g.post("/auth/change-password", guess, me), 400, "INVALID_INPUT")
	}
	wantProblem(t, g.post("/auth/change-password", guess, me), 429, "TOO_MANY_ATTEMPTS")
}

func TestSessions(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	g.login("ann", "session_cookie", "User-Agent: first")
	var in signInReply
	g.login("ann", "token", "User-Agent: second").json(t, &in)
	me := "Authorization: Bearer " + in.AccessToken
	a := g.get("/auth/sessions", me)
	documented(t, "GET", "/sessions", a)
	var list sessionsReply
	a.json(t, &list)
	if len(list.Sessions) != 2 {
		t.Fatalf("got %s, want two sessions", a.Body)
	}
	current, other := list.Sessions[0], list.Sessions[1]
	if !current.Current || current.UserAgent != "second" || current.Mode != "token" || other.Current || other.UserAgent != "first" || other.ClientIP != "127.0.0.1" {
		t.Errorf("got %s, want this one first, then the one before", a.Body)
	}

	bob := "Authorization: " + g.bearer("bob")
	wantProblem(t, g.do("DELETE", "/auth/sessions/"+other.ID, "", bob), 404, "NOT_FOUND")
	wantProblem(t, g.do("DELETE", "/auth/sessions/made-up", "", me), 404, "NOT_FOUND")
	a = g.do("DELETE", "/auth/sessions/"+other.ID, "", me)
	documented(t, "DELETE", "/sessions/{id}", a)
	if a.Status != 204 {
		t.Errorf("got %d %s, want 204", a.Status, a.Body)
	}
	wantProblem(t, g.do("DELETE", "/auth/sessions/"+other.ID, "", me), 404, "NOT_FOUND")
	if a := g.do("DELETE", "/auth/sessions/"+current.ID, "", me); a.Status != 204 {
		t.Errorf("the own one: got %d, want 204", a.Status)
	}
	wantProblem(t, g.get("/auth/sessions", me), 401, "TOKEN_REVOKED")
}

func TestEndingTheOwnSessionTakesTheCookieBack(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	cookie := "Cookie: " + g.login("ann", "session_cookie").cookie(g.cookieName()).String()
	var list sessionsReply
	g.get("/auth/sessions", cookie).json(t, &list)
	a := g.do("DELETE", "/auth/sessions/"+list.Sessions[0].ID, "", cookie)
	if c := a.cookie(g.cookieName()); a.Status != 204 || c == nil || c.MaxAge >= 0 {
		t.Errorf("got %d, cookie %v, want 204 and the cookie taken back", a.Status, c)
	}
}

func TestOwnEvents(t *testing.T) {
	g := newGateway(t, nil)
	g.post("/auth/login", `{"login":"ann","password":"not-yet-anybody"}`)
	me := "Authorization: " + g.bearer("ann")
	g.bearer("bob")
	g.post("/auth/login", `{"login":"ann","password":"wrong-wrong-wrong"}`)
	a := g.get("/auth/events", me)
	documented(t, "GET", "/events", a)
	var list eventsReply
	a.json(t, &list)
	var kinds []string
	for _, e := range list.Events {
		kinds = append(kinds, e.Kind)
	}
	if want := []string{"sign_in.failed", "sign_in.succeeded", "user.created"}; !slices.Equal(kinds, want) || list.Next != nil {
		t.Errorf("got %q, next %v, want %q and no next: only the own ones, newest first", kinds, list.Next, want)
	}
	if strings.Contains(a.Body, "wrong-wrong") {
		t.Error("an event holds a password")
	}
}

func TestOwnEventsInPages(t *testing.T) {
	g := newGatewayWith(t, nil, func(c *authn.Config) { c.Sessions.PerUser = 0 })
	me := "Authorization: " + g.bearer("ann")
	id := g.mustIdentify(strings.TrimPrefix(me, "Authorization: "))
	for i := range 60 {
		if _, err := g.Authn.SetName(t.Context(), id, fmt.Sprintf("Ann %d", i), authn.Client{}); err != nil {
			t.Fatal(err)
		}
	}
	seen, after := map[string]bool{}, ""
	for range 3 {
		var list eventsReply
		g.get("/auth/events?after="+after, me).json(t, &list)
		for _, e := range list.Events {
			if seen[e.ID] {
				t.Errorf("event %s is on two pages", e.ID)
			}
			seen[e.ID] = true
		}
		if list.Next == nil {
			break
		}
		if after = *list.Next; len(list.Events) != eventsPerPage {
			t.Errorf("got a page of %d, want %d", len(list.Events), eventsPerPage)
		}
	}
	if got, want := len(seen), 62; got != want {
		t.Errorf("got %d events, want %d", got, want)
	}
	for _, bad := range []string{"%00", "..", "A", strings.Repeat("a", 65)} {
		wantProblem(t, g.get("/auth/events?after="+bad, me), 400, "INVALID_INPUT")
	}
}
