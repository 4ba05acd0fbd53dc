package gateway

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// adminRows is every endpoint an admin may call.
func adminRows() []endpoint {
	return slices.DeleteFunc(slices.Clone(ownRoutes), func(e endpoint) bool { return e.who != admin })
}

func TestAdminEndpointsNeedTheRole(t *testing.T) {
	g := newGatewayWith(t, nil, func(c *authn.Config) { c.Accounts.AdminRole = "keeper" })
	u := g.addUser("ann", "user")
	// Another gateway's idea of an admin is none here.
	plain := g.person(t, "bob", "admin", "user")
	for _, e := range adminRows() {
		path := "/auth" + strings.ReplaceAll(e.path, "{id}", u.ID)
		for _, credential := range []string{plain.bearer, "Cookie: " + plain.cookie} {
			// A body that is wrong in itself is not even looked at.
			a := g.do(e.method, path, "{", "Content-Type: text/plain", credential)
			wantProblem(t, a, 403, "INSUFFICIENT_ROLE")
			documented(t, e.method, e.path, a)
		}
	}
	if after := g.userOf(u.ID); after.Active != u.Active || len(after.Roles) != 1 {
		t.Errorf("one of these changed the account: %+v", after)
	}
}

// userOf is an account as the store has it now.
func (g *testGateway) userOf(id string) authn.User {
	g.t.Helper()
	u, err := g.Authn.User(g.t.Context(), id)
	if err != nil {
		g.t.Fatal(err)
	}
	return u
}

func TestAnAdminIsOneOnlyAsLongAsTheRoleLasts(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("first", "admin")
	boss := g.person(t, "boss", "admin")
	if a := g.get("/auth/admin/users", boss.bearer); a.Status != 200 {
		t.Fatalf("got %d %s, want 200", a.Status, a.Body)
	}
	// Demoting oneself is allowed while another admin is left.
	a := g.do("PATCH", "/auth/admin/users/"+boss.id, `{"roles":["user"]}`, "Content-Type: application/json", boss.bearer)
	if a.Status != 200 {
		t.Fatalf("demoting oneself: got %d %s, want 200", a.Status, a.Body)
	}
	wantProblem(t, g.get("/auth/admin/users", boss.bearer), 403, "INSUFFICIENT_ROLE")
	if a := g.get("/auth/profile", boss.bearer); a.Status != 200 {
		t.Errorf("the session: got %d, want it to go on", a.Status)
	}
}

// Who is let in and then holds the body back does not act with it once they are
// an admin no more: they could undo it.
func TestABodyHeldBackOutlivesNoAdmin(t *testing.T) {
	ends := map[string]string{"INSUFFICIENT_ROLE": `{"roles":["user"]}`, "TOKEN_REVOKED": `{"active":false}`}
	for code, end := range ends {
		t.Run(code, func(t *testing.T) {
			g := newGateway(t, nil)
			boss, mal := g.person(t, "boss", "admin"), g.person(t, "mal", "admin")
			const undo = `{"roles":["admin"],"active":true}`
			c := dialRaw(t, g.addr)
			c.send(t, fmt.Sprintf("PATCH /auth/admin/users/%s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
				mal.id, mal.bearer, len(undo)))
			if a := c.answer(t, "PATCH"); a.StatusCode != 100 { // asked for once the request was let in
				t.Fatalf("got %d, want the body asked for", a.StatusCode)
			}
			a := g.do("PATCH", "/auth/admin/users/"+mal.id, end, "Content-Type: application/json", boss.bearer)
			if a.Status != 200 {
				t.Fatalf("got %d %s, want 200", a.Status, a.Body)
			}
			c.send(t, undo)
			if got := c.answer(t, "PATCH").Header.Get("Doorward"); got != code {
				t.Errorf("got %q, want %s", got, code)
			}
			if u := g.userOf(mal.id); u.HasRole("admin") && u.Active {
				t.Errorf("got %+v, want an admin no more", u)
			}
		})
	}
}

func TestAdminManagesAccounts(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	send := func(method, path, body string) reply {
		t.Helper()
		a := g.do(method, "/auth"+path, body, "Content-Type: application/json", boss.bearer)
		return a
	}
	a := send("POST", "/admin/users", `{"username":"ann","email":"Ann@Example.com","name":"Ann","roles":["reader"],"email_verified":true}`)
	documented(t, "POST", "/admin/users", a)
	var made struct {
		User     userJSON
		Password string
	}
	a.json(t, &made)
	if a.Status != 201 || made.Password == "" || *made.User.Email != "ann@example.com" || !made.User.EmailVerified || !slices.Equal(made.User.Roles, []string{"reader"}) {
		t.Fatalf("got %d %s, want the account and the password made for it", a.Status, a.Body)
	}
	at := "/admin/users/" + made.User.ID
	if a := g.post("/auth/login", `{"login":"ann","password":"`+made.Password+`"}`); a.Status != 200 {
		t.Fatalf("signing in: got %d %s, want 200", a.Status, a.Body)
	}

	a = send("GET", at, "")
	documented(t, "GET", "/admin/users/{id}", a)
	if a.Status != 200 || !strings.Contains(a.Body, `"username":"ann"`) || strings.Contains(strings.ToLower(a.Body), "hash") {
		t.Errorf("GET: got %d %s", a.Status, a.Body)
	}
	a = send("GET", at+"/sessions", "")
	documented(t, "GET", "/admin/users/{id}/sessions", a)
	if a.Status != 200 || strings.Count(a.Body, `"id"`) != 1 || strings.Contains(a.Body, `"current":true`) {
		t.Errorf("sessions: got %d %s, want one that is not the admin's own", a.Status, a.Body)
	}
	a = send("PATCH", at, `{"name":"Ann Other","username":"annie","email":"annie@example.com"}`)
	documented(t, "PATCH", "/admin/users/{id}", a)
	if a.Status != 200 || !strings.Contains(a.Body, `"username":"annie"`) || !strings.Contains(a.Body, `"email_verified":false`) {
		t.Errorf("PATCH: got %d %s, want the change, and the new address unverified", a.Status, a.Body)
	}
	for _, what := range []string{"/logout", "/unlock"} {
		a = send("POST", at+what, "")
		documented(t, "POST", "/admin/users/{id}"+what, a)
		if a.Status != 204 {
			t.Errorf("%s: got %d %s, want 204", what, a.Status, a.Body)
		}
	}
	if a = send("GET", at+"/sessions", ""); strings.Contains(a.Body, `"id"`) {
		t.Errorf("sessions after logout: got %s, want none", a.Body)
	}
	a = send("DELETE", at, "")
	documented(t, "DELETE", "/admin/users/{id}", a)
	if a.Status != 204 {
		t.Errorf("DELETE: got %d %s, want 204", a.Status, a.Body)
	}
	for _, e := range adminRows() {
		if strings.Contains(e.path, "{id}") {
			body := ""
			if e.method == "PATCH" {
				body = "{}"
			}
			path := strings.ReplaceAll(e.path, "{id}", made.User.ID)
			a := send(e.method, path, body)
			if e.form != nil && strings.HasPrefix(e.path, "/admin/accounts/") {
				wantProblem(t, a, 415, "UNSUPPORTED_MEDIA_TYPE")
				a = g.do(e.method, "/auth"+path, "", "Content-Type: application/x-www-form-urlencoded", boss.bearer)
			}
			wantProblem(t, a, 404, "NOT_FOUND")
		}
	}
	wantProblem(t, send("POST", "/admin/users", `{"username":"annie"}`), 409, "USERNAME_TAKEN") // for good

	// Every one of these is in the security log, with who did it.
	events, err := g.Authn.Events(t.Context(), authn.EventQuery{User: made.User.ID, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []authn.Kind{authn.UserCreated, authn.UserUpdated, authn.SessionEnded, authn.UserUnlocked, authn.UserDeleted} {
		i := slices.IndexFunc(events, func(e authn.Event) bool { return e.Kind == kind })
		if i < 0 || events[i].Actor != boss.id || events[i].Subject != made.User.ID || events[i].ClientIP == "" || events[i].RequestID == "" {
			t.Errorf("%s: got no event of it by the admin, with client and request", kind)
		}
	}
}

func TestAdminBodiesAreStrict(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	u := g.addUser("ann", "user")
	for _, c := range []struct {
		name, method, path, body string
		fields                   []string
	}{
		{"fields nobody may set", "POST", "/admin/users", `{"username":"bob","id":"x","password_hash":"x","created_at":"x","active":false}`,
			[]string{"active unknown", "created_at unknown", "id unknown", "password_hash unknown"}},
		{"and on a change", "PATCH", "/admin/users/" + u.ID, `{"id":"x","password":"` + testPassword + `","Roles":["admin"],"last_login_at":null}`,
			[]string{"Roles unknown", "id unknown", "last_login_at unknown", "password unknown"}},
		{"everything wrong at once", "POST", "/admin/users", `{"username":"a b","email":"nobody","name":"\u0007","roles":["Admin"],"password":"x9K"}`,
			[]string{"email format", "name format", "password common", "password too_short", "roles format", "username format"}},
		{"other types", "PATCH", "/admin/users/" + u.ID, `{"roles":"admin","active":"no","email_verified":1}`,
			[]string{"active type", "email_verified type", "roles type"}},
		{"null, which would change nothing", "PATCH", "/admin/users/" + u.ID, `{"email":null,"name":null,"roles":null,"active":null}`,
			[]string{"active type", "email type", "name type", "roles type"}},
		{"no name left", "PATCH", "/admin/users/" + u.ID, `{"username":""}`, []string{"email required"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.do(c.method, "/auth"+c.path, c.body, "Content-Type: application/json", boss.bearer)
			wantProblem(t, a, 400, "INVALID_INPUT")
			if got := a.fields(t); !slices.Equal(got, c.fields) {
				t.Errorf("got %q, want %q", got, c.fields)
			}
		})
	}
	if after := g.userOf(u.ID); !slices.Equal(after.Roles, u.Roles) || after.Username != "ann" {
		t.Errorf("one of these changed the account: %+v", after)
	}
}

func TestTheLastAdminStays(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	for _, body := range []string{`{"roles":[]}`, `{"active":false}`} {
		wantProblem(t, g.do("PATCH", "/auth/admin/users/"+boss.id, body, "Content-Type: application/json", boss.bearer), 409, "LAST_ADMIN")
	}
	wantProblem(t, g.do("DELETE", "/auth/admin/users/"+boss.id, "", boss.bearer), 409, "LAST_ADMIN")
	if a := g.get("/auth/admin/users", boss.bearer); a.Status != 200 {
		t.Errorf("afterwards: got %d, want the admin as before", a.Status)
	}
}

// Two admins who demote each other at once would leave none.
func TestTwoAdminsDemoteEachOther(t *testing.T) {
	g := newGateway(t, nil)
	one, two := g.person(t, "one", "admin"), g.person(t, "two", "admin")
	var both sync.WaitGroup
	for _, c := range []struct{ by, whom person }{{one, two}, {two, one}} {
		both.Go(func() {
			a := g.do("PATCH", "/auth/admin/users/"+c.whom.id, `{"roles":["user"]}`, "Content-Type: application/json", c.by.bearer)
			if a.Status != 200 && a.code() != "LAST_ADMIN" && a.code() != "INSUFFICIENT_ROLE" {
				t.Errorf("got %d %s", a.Status, a.code())
			}
		})
	}
	both.Wait()
	left := 0
	for _, p := range []person{one, two} {
		if g.userOf(p.id).HasRole("admin") {
			left++
		}
	}
	if left != 1 {
		t.Errorf("got %d admins left, want one", left)
	}
}

func TestAdminListsUsers(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	for i := range 12 {
		g.addUser(fmt.Sprintf("user%02d", i), "user")
	}
	off := false
	if _, err := g.Authn.UpdateUser(t.Context(), g.addUser("gone", "reader").ID, authn.UserChange{Active: &off}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	list := func(query string) (l usersReply) {
		t.Helper()
		a := g.get("/auth/admin/users"+query, boss.bearer)
		documented(t, "GET", "/admin/users", a)
		if a.Status != 200 {
			t.Fatalf("%s: got %d %s", query, a.Status, a.Body)
		}
		a.json(t, &l)
		return l
	}
	first := list("")
	if p := first.Pagination; len(first.Users) != 10 || p.Page != 1 || p.Limit != 10 || p.Total != 14 || p.Pages != 2 || first.names()[0] != "gone" {
		t.Errorf("got %d users, %+v, first %s, want ten of 14, the newest first", len(first.Users), p, first.names()[0])
	}
	for query, want := range map[string][]string{
		"?page=2":                        {"user02", "user01", "user00", "boss"},
		"?page=3":                        nil,
		"?limit=2&page=2":                {"user10", "user09"},
		"?q=USER1":                       {"user11", "user10"},
		"?q=ser1":                        nil, // a prefix, not a part
		"?role=admin":                    {"boss"},
		"?active=false":                  {"gone"},
		"?role=reader&active=true":       nil,
		"?q=user0&role=user&limit=1":     {"user09"},
		"?limit=3&after=" + first.last(): {"user02", "user01", "user00"},
		"?limit=3&after=" + list("?limit=100").last(): nil,
	} {
		if got := list(query).names(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	if got := len(list("?limit=100").Users); got != 14 {
		t.Errorf("limit 100: got %d users, want all 14", got)
	}
	for query, field := range map[string]string{
		"?page=0": "page", "?page=-1": "page", "?page=x": "page", "?page=99999999999999999999": "page",
		"?limit=0": "limit", "?limit=101": "limit", "?limit=1e1": "limit", "?active=maybe": "active", "?after=..": "after",
	} {
		a := g.get("/auth/admin/users"+query, boss.bearer)
		wantProblem(t, a, 400, "INVALID_INPUT")
		if got := a.fields(t); !slices.Equal(got, []string{field + " format"}) {
			t.Errorf("%s: got %q, want %s format", query, got, field)
		}
	}
}

// A filter nobody knows is no filter: it must not answer with everybody.
func TestUnknownParametersOfListings(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	for path, want := range map[string]struct{ field, says string }{
		"/auth/admin/users?Role=admin":           {"Role unknown", "role"},
		"/auth/admin/users?role=admin&role=user": {"role duplicate", ""},
		"/auth/admin/users?role=%zz":             {"format", ""},
		"/auth/admin/events?type=sign_in.failed": {"type unknown", "kind"},
		"/auth/events?kind=sign_in.failed":       {"kind unknown", "after"},
	} {
		a := g.get(path, "Cookie: "+boss.cookie)
		wantProblem(t, a, 400, "INVALID_INPUT")
		if got := a.fields(t); !slices.Equal(got, []string{want.field}) || !strings.Contains(a.Body, want.says) {
			t.Errorf("%s: got %q, want %s, and %q said: %s", path, got, want.field, want.says, a.Body)
		}
	}
}

// last is the id of the listing's last user: the cursor for the rest.
func (l usersReply) last() string { return l.Users[len(l.Users)-1].ID }

func TestAdminReadsTheSecurityLog(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	u := g.addUser("ann", "user")
	since := g.clock.now().Add(time.Minute)
	g.clock.advance(time.Hour)
	g.post("/auth/login", `{"login":"ann","password":"wrong-wrong-wrong"}`)
	g.signIn("ann", authn.ModeToken)
	type page struct {
		Events []eventJSON
		Next   *string
	}
	list := func(query string) (p page) {
		t.Helper()
		a := g.get("/auth/admin/events"+query, "Cookie: "+boss.cookie)
		documented(t, "GET", "/admin/events", a)
		if a.Status != 200 {
			t.Fatalf("%s: got %d %s", query, a.Status, a.Body)
		}
		a.json(t, &p)
		return p
	}
	kinds := func(p page) (all []string) {
		for _, e := range p.Events {
			all = append(all, e.Kind)
		}
		return all
	}
	later := "since=" + url.QueryEscape(since.UTC().Format(time.RFC3339))
	for query, want := range map[string][]string{
		"?user=" + u.ID:                              {"sign_in.succeeded", "sign_in.failed", "user.created"},
		"?user=" + u.ID + "&" + later:                {"sign_in.succeeded", "sign_in.failed"},
		"?user=" + u.ID + "&kind=sign_in.failed":     {"sign_in.failed"},
		"?login=ANN&" + later:                        {"sign_in.succeeded", "sign_in.failed"},
		"?login=ann&kind=sign_in.failed":             {"sign_in.failed"},
		"?kind=sign_in.failed":                       {"sign_in.failed"},
		"?kind=user.deleted":                         nil,
		"?user=" + boss.id + "&kind=user.created":    {"user.created"},
		"?user=" + boss.id + "&kind=user.x&" + later: nil,
	} {
		if got := kinds(list(query)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	all := list("?user=" + u.ID)
	if got := kinds(list("?user=" + u.ID + "&after=" + all.Events[0].ID)); !slices.Equal(got, []string{"sign_in.failed", "user.created"}) {
		t.Errorf("after the first: got %q", got)
	}
	for query, want := range map[string]string{
		"?login=nobody":                 "login unknown",
		"?login=ann&user=" + u.ID:       "login duplicate",
		"?user=" + u.ID + "&user=other": "user duplicate",
		"?users=" + u.ID:                "users unknown",
	} {
		a := g.get("/auth/admin/events"+query, "Cookie: "+boss.cookie)
		wantProblem(t, a, 400, "INVALID_INPUT")
		if got := a.fields(t); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %s", query, got, want)
		}
	}
	a := g.get("/auth/admin/events?user=..&kind=x&since=yesterday&after=-", "Cookie: "+boss.cookie)
	wantProblem(t, a, 400, "INVALID_INPUT")
	if got, want := a.fields(t), []string{"after format", "kind format", "since format", "user format"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
