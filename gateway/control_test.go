package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// control calls the operator's handler in memory, as the command line does
// where no server runs.
func (g *testGateway) control(method, path, body string) reply {
	g.t.Helper()
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, "http://control"+path, payload)
	if err != nil {
		g.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	g.Control().ServeHTTP(rec, r)
	return reply{rec.Code, rec.Header(), rec.Body.String()}
}

// usersReply is what the command line reads of a listing.
type usersReply struct {
	Users      []struct{ ID, Username string }
	Pagination struct {
		Page, Limit, Total, Pages int
		AtLeast                   *int `json:"total_at_least"`
	}
}

func (l usersReply) names() []string {
	var names []string
	for _, u := range l.Users {
		names = append(names, u.Username)
	}
	return names
}

func TestControlMakesAUserWhoCanSignInAtOnce(t *testing.T) {
	g := newGatewayWith(t, nil, func(c *authn.Config) { c.Accounts.Registration = "closed" })
	socket := httptest.NewServer(g.Control())
	t.Cleanup(socket.Close)
	r, err := http.NewRequest("POST", socket.URL+"/admin/users", strings.NewReader(`{"username":"admin","roles":["admin"],"email":"a@example.com","email_verified":true}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	a := g.send(r)
	var made struct {
		User     map[string]any
		Password string
	}
	a.json(t, &made)
	if a.Status != 201 || len(made.Password) < 12 || made.User["email_verified"] != true {
		t.Fatalf("got %d %s, want the account and a password made for it", a.Status, a.Body)
	}
	if a := g.post("/auth/login", `{"login":"admin","password":"`+made.Password+`"}`); a.Status != 200 {
		t.Errorf("signing in: got %d %s, want 200", a.Status, a.Body)
	}
	if strings.Contains(g.logs.String(), made.Password) {
		t.Error("the password is in the log")
	}
	events, err := g.Authn.Events(t.Context(), authn.EventQuery{Kind: authn.UserCreated, Limit: 1})
	if err != nil || len(events) != 1 || events[0].Actor != authn.ActorCLI || events[0].RequestID == "" {
		t.Errorf("got events %v (%v), want one by cli with a request id", events, err)
	}

	a = g.control("POST", "/admin/users", `{"username":"bob","password":"`+testPassword+`"}`)
	if a.Status != 201 || strings.Contains(a.Body, "password") {
		t.Errorf("with a password given: got %d %s, want 201 and no password", a.Status, a.Body)
	}
}

func TestControlChangesAccounts(t *testing.T) {
	g := newGateway(t, nil)
	u := g.addUser("ann", "user")
	at := "/admin/users/" + u.ID
	me := "Authorization: Bearer " + g.signIn("ann", authn.ModeToken).AccessToken.Reveal()

	if a := g.control("PATCH", at, `{"roles":["admin","user"],"name":"Ann","email":"ann@example.com"}`); a.Status != 200 || !strings.Contains(a.Body, `["admin","user"]`) {
		t.Errorf("PATCH: got %d %s, want the new roles", a.Status, a.Body)
	}
	if a := g.get("/admin/x", me); a.Status != 200 {
		t.Errorf("the new role: got %d on the next request, want 200", a.Status)
	}
	if a := g.control("GET", at, ""); a.Status != 200 || !strings.Contains(a.Body, `"name":"Ann"`) {
		t.Errorf("GET: got %d %s", a.Status, a.Body)
	}
	for _, login := range []string{"ann", "ANN", "ann@example.com", "ann%40example.com"} {
		if a := g.control("GET", "/control/users/"+login, ""); a.Status != 200 || !strings.Contains(a.Body, u.ID) {
			t.Errorf("%s: got %d %s, want ann", login, a.Status, a.Body)
		}
	}
	if a := g.control("POST", at+"/logout", ""); a.Status != 204 || g.get("/secret", me).Status != 401 {
		t.Errorf("logout: got %d, want 204 and the session over", a.Status)
	}
	if a := g.control("POST", at+"/unlock", ""); a.Status != 204 {
		t.Errorf("unlock: got %d %s, want 204", a.Status, a.Body)
	}
	var made struct{ Password string }
	a := g.control("POST", at+"/password", "")
	a.json(t, &made)
	if a.Status != 200 || g.post("/auth/login", `{"login":"ann","password":"`+made.Password+`"}`).Status != 200 {
		t.Errorf("password made: got %d %s, want one that signs in", a.Status, a.Body)
	}
	a = g.control("POST", at+"/password", `{"password":"another-horse-battery"}`)
	if a.Status != 200 || strings.Contains(a.Body, "horse") || g.post("/auth/login", `{"login":"ann","password":"another-horse-battery"}`).Status != 200 {
		t.Errorf("password set: got %d %s, want 200 and it signs in", a.Status, a.Body)
	}
	wantProblem(t, g.control("PATCH", at, `{"active":false}`), 409, "LAST_ADMIN")
	wantProblem(t, g.control("DELETE", at, ""), 409, "LAST_ADMIN")
	g.addUser("other", "admin")
	if a := g.control("DELETE", at, ""); a.Status != 204 {
		t.Errorf("DELETE: got %d %s, want 204", a.Status, a.Body)
	}
	wantProblem(t, g.control("GET", at, ""), 404, "NOT_FOUND")
}

func TestControlRefusals(t *testing.T) {
	g := newGateway(t, nil)
	u := g.addUser("ann", "user")
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
		fields             []string
	}{
		{"GET", "/control/users/nobody", "", 404, "NOT_FOUND", nil},
		{"GET", "/control/nothing", "", 404, "NOT_FOUND", nil},
		{"PUT", "/admin/users", "", 405, "METHOD_NOT_ALLOWED", nil},
		{"DELETE", "/admin/users/nobody", "", 404, "NOT_FOUND", nil},
		{"POST", "/admin/users", `{"username":"ANN"}`, 409, "USERNAME_TAKEN", nil},
		{"POST", "/admin/users", `{"username":"bob","roles":["Not A Role"]}`, 400, "INVALID_INPUT", nil},
		{"POST", "/admin/users", `{"username":"bob","id":"x","active":true}`, 400, "INVALID_INPUT", []string{"active unknown", "id unknown"}},
		{"PATCH", "/admin/users/" + u.ID, `{"password":"x","roles":"admin"}`, 400, "INVALID_INPUT", []string{"password unknown", "roles type"}},
		{"GET", "/admin/users?page=0&limit=101&active=maybe&after=..", "", 400, "INVALID_INPUT", []string{"active format", "after format", "limit format", "page format"}},
		{"POST", "/control/backup", `{}`, 400, "INVALID_INPUT", []string{"file required"}},
		{"POST", "/control/backup", `{"file":"here.db"}`, 400, "INVALID_INPUT", []string{"file format"}},
		{"POST", "/control/backup", `{"file":"/no/such/folder/x.db"}`, 400, "INVALID_INPUT", nil},
	} {
		a := g.control(c.method, c.path, c.body)
		wantProblem(t, a, c.status, c.code)
		if got := a.fields(t); c.fields != nil && !slices.Equal(got, c.fields) {
			t.Errorf("%s %s: got %q, want %q", c.method, c.path, got, c.fields)
		}
	}
}

func TestControlListsUsers(t *testing.T) {
	g := newGateway(t, nil)
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		g.addUser(name, "user")
	}
	g.addUser("boss", "admin")
	list := func(query string) (l usersReply) {
		a := g.control("GET", "/admin/users"+query, "")
		if a.Status != 200 {
			t.Fatalf("%s: got %d %s", query, a.Status, a.Body)
		}
		a.json(t, &l)
		return l
	}
	for query, want := range map[string][]string{
		"":                     {"boss", "five", "four", "three", "two", "one"},
		"?limit=2":             {"boss", "five"},
		"?limit=2&page=3":      {"two", "one"},
		"?limit=2&page=4":      nil,
		"?q=T":                 {"three", "two"},
		"?role=admin":          {"boss"},
		"?active=false":        nil,
		"?active=true&limit=1": {"boss"},
	} {
		if got := list(query).names(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	first := list("?limit=4")
	if p := first.Pagination; p.Page != 1 || p.Limit != 4 || p.Total != 6 || p.Pages != 2 || p.AtLeast != nil {
		t.Errorf("got pagination %+v, want page 1 of 2, 6 in all", p)
	}
	if got := list("?limit=4&after=" + first.Users[3].ID).names(); !slices.Equal(got, []string{"two", "one"}) {
		t.Errorf("after the fourth: got %q, want two and one", got)
	}
}

func TestControlKeys(t *testing.T) {
	g := newGateway(t, nil)
	var before, after struct {
		Keys []struct {
			ID, Algorithm string
			Signing       bool
		}
	}
	a := g.control("GET", "/control/keys", "")
	a.json(t, &before)
	if strings.Contains(strings.ToLower(a.Body), "private") || len(before.Keys) != 1 || !before.Keys[0].Signing {
		t.Fatalf("got %s, want one key that signs, without the key itself", a.Body)
	}
	old := g.bearer("ann")
	if a := g.control("POST", "/control/keys", ""); a.Status != 201 {
		t.Fatalf("rotate: got %d %s, want 201", a.Status, a.Body)
	}
	g.control("GET", "/control/keys", "").json(t, &after)
	if len(after.Keys) != 2 || after.Keys[0].Signing || !after.Keys[1].Signing || after.Keys[0].ID != before.Keys[0].ID {
		t.Errorf("got %+v, want the old key verifying and a new one signing", after.Keys)
	}
	if a := g.get("/secret", "Authorization: "+old); a.Status != 200 {
		t.Errorf("a token of the old key: got %d, want 200", a.Status)
	}
}

func TestControlReloadAndBackup(t *testing.T) {
	g := newGateway(t, nil)
	if a := g.control("POST", "/control/reload", ""); a.Status != 204 {
		t.Errorf("reload: got %d %s, want 204", a.Status, a.Body)
	}
	g.Server.Deps.Reload = func(context.Context) error { return errors.New("config.yaml:7: routes[0].path: no such upstream") }
	a := g.control("POST", "/control/reload", "")
	wantProblem(t, a, 400, "INVALID_INPUT")
	if !strings.Contains(a.Body, "config.yaml:7") {
		t.Errorf("got %s, want the operator told every word", a.Body)
	}
	file := filepath.Join(t.TempDir(), "copy.db")
	if a := g.control("POST", "/control/backup", `{"file":"`+file+`"}`); a.Status != 204 {
		t.Errorf("backup: got %d %s, want 204", a.Status, a.Body)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("got no copy: %v", err)
	}
}

// The operator's endpoints ask nobody who they are, so no network reaches them.
func TestControlIsNotPublic(t *testing.T) {
	g := newGateway(t, nil)
	boss := "Authorization: " + g.bearer("root", "admin")
	for _, e := range controlRoutes {
		if slices.ContainsFunc(ownRoutes, func(own endpoint) bool { return own.method == e.method && own.path == e.path }) {
			continue // which asks who it is; see TestAdminEndpoints
		}
		for _, prefix := range []string{"/auth", ""} {
			a := g.do(e.method, prefix+e.pathOf(), "", "Accept: application/json")
			if a.Status != 404 && a.Status != 401 {
				t.Errorf("%s %s%s: got %d, want it refused", e.method, prefix, e.path, a.Status)
			}
			a = g.do(e.method, "/auth"+e.pathOf(), "", boss)
			wantProblem(t, a, 404, "NOT_FOUND")
		}
	}
}
