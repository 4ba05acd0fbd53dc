package gateway

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// admin is a browser of somebody with the role admin, on the list of accounts.
func (g *testGateway) admin(name string) *browser {
	g.t.Helper()
	g.addUser(name, "admin")
	b := g.browser()
	b.submit("/auth/login", "login", name, "password", testPassword, "return_to", "/x")
	return b
}

func TestAdminPageIsForAdmins(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann", "user")
	b := g.browser()
	if b.open("/auth/admin"); b.at != "/auth/login?return_to=%2Fauth%2Fadmin" {
		t.Errorf("nobody is sent to %s, want the sign-in page", b.at)
	}
	b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/x")
	if a := b.open("/auth/admin"); a.Status != 403 || a.code() != "INSUFFICIENT_ROLE" || strings.Contains(a.Body, "<table") {
		t.Errorf("ann: got %d %s, want 403", a.Status, a.code())
	}
	if a := b.open("/auth/account"); strings.Contains(a.Body, `href="/auth/admin"`) {
		t.Error("ann's account page leads to the page of admins")
	}
	boss := g.admin("boss")
	if a := boss.open("/auth/account"); !strings.Contains(a.Body, `href="/auth/admin"`) {
		t.Errorf("an admin's account page does not lead to it:\n%s", a.Body)
	}
}

func TestAdminPageListsAndFinds(t *testing.T) {
	g := newGateway(t, nil)
	b := g.admin("boss")
	for i := range 12 {
		g.addUser(fmt.Sprintf("user%02d", i), "user")
	}
	a := b.open("/auth/admin")
	if a.Status != 200 || !strings.Contains(a.Body, "13 accounts, newest first; page 1 of 2.") || strings.Contains(a.Body, ">user01<") || !strings.Contains(a.Body, ">user11<") {
		t.Fatalf("got %d, want the newest ten of 13:\n%s", a.Status, a.Body)
	}
	if !strings.Contains(a.Body, `<a href="/auth/admin?page=2" rel="next">`) || strings.Contains(a.Body, `rel="prev"`) {
		t.Errorf("want a way to the older ones only:\n%s", a.Body)
	}
	a = b.open("/auth/admin?page=2")
	if !strings.Contains(a.Body, ">boss<") || !strings.Contains(a.Body, ">user01<") || strings.Contains(a.Body, `rel="next"`) || !strings.Contains(a.Body, `rel="prev"`) {
		t.Errorf("the second page:\n%s", a.Body)
	}
	for query, want := range map[string]string{
		"?q=user0&role=user&active=true": "10 accounts",
		"?q=USER03":                      "1 account,",
		"?role=admin":                    "1 account,",
		"?active=false":                  "0 accounts",
		"?q=user&role=&active=":          "12 accounts",
	} {
		if a := b.open("/auth/admin" + query); !strings.Contains(a.Body, want) {
			t.Errorf("%s: want %s:\n%s", query, want, a.Body)
		}
	}
	if a := b.open("/auth/admin?q=user&role=user"); !strings.Contains(a.Body, `href="/auth/admin?page=2&amp;q=user&amp;role=user"`) {
		t.Errorf("the next page looks for something else:\n%s", a.Body)
	}
	if a := b.open("/auth/admin?rolle=admin"); a.Status != 400 {
		t.Errorf("a misspelt filter: got %d, want 400", a.Status)
	}
}

func TestAdminPageMakesAccounts(t *testing.T) {
	g := newGateway(t, nil)
	b := g.admin("boss")
	a := b.submit("/auth/admin/users", "username", "a b", "email", "", "name", "Ann", "roles", "reader, user")
	if a.Status != 400 || !strings.Contains(a.Body, `value="a b"`) || !strings.Contains(a.Body, `value="reader, user"`) || !strings.Contains(a.Body, `role="alert"`) {
		t.Errorf("got %d, want the form again, saying why:\n%s", a.Status, a.Body)
	}
	a = b.submit("/auth/admin/users", "username", "ann", "email", "", "name", "Ann", "roles", "reader, user")
	_, rest, _ := strings.Cut(a.Body, `<code id="made">`)
	password, _, ok := strings.Cut(rest, "</code>")
	if a.Status != 200 || !ok || strings.Contains(b.at, password) || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d at %s, want the password, kept nowhere:\n%s", a.Status, b.at, a.Body)
	}
	if a := g.post("/auth/login", `{"login":"ann","password":"`+password+`"}`); a.Status != 200 {
		t.Errorf("ann signs in with it: got %d %s", a.Status, a.Body)
	}
	u, err := g.Authn.UserByLogin(t.Context(), "ann")
	if err != nil || !slices.Equal(u.Roles, []string{"reader", "user"}) || u.Name != "Ann" {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestAdminPageInvites(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	b := g.admin("boss")
	a := b.submit("/auth/admin/users", "username", "", "email", "ann@example.com", "name", "", "roles", "")
	if a.Status != 200 || !strings.Contains(b.at, "notice=account_made") || strings.Contains(a.Body, `id="made"`) {
		t.Errorf("got %d at %s, want no password and a mail", a.Status, b.at)
	}
	if u, err := g.Authn.UserByLogin(t.Context(), "ann@example.com"); err != nil || len(u.Roles) != 0 {
		t.Errorf("got roles %q, %v; want none, as written", u.Roles, err)
	}
}

// Each form changes what it shows and nothing else.
func TestAdminPageChangesAnAccount(t *testing.T) {
	g := newGateway(t, nil)
	b := g.admin("boss")
	u := g.addUser("ann", "user")
	at, api := "/auth/admin/accounts/"+u.ID, "/auth/admin/users/"+u.ID
	g.signIn("ann", authn.ModeToken)
	if a := b.open(at); a.Status != 200 || !strings.Contains(a.Body, "sign_in.succeeded") || !strings.Contains(a.Body, `action="`+at+`/delete"`) {
		t.Fatalf("got %d:\n%s", a.Status, a.Body)
	}
	for _, c := range []struct {
		name, path string
		fields     []string
		notice     string
		is         func(authn.User) bool
	}{
		{"names", at, []string{"username", "anna", "email", "ann@example.com", "name", "Anna"}, "saved", func(u authn.User) bool {
			return u.Username == "anna" && u.Email == "ann@example.com" && u.Name == "Anna" && slices.Equal(u.Roles, []string{"user"}) && u.Active
		}},
		{"verified", at, []string{"email_verified", "true"}, "saved", func(u authn.User) bool { return u.EmailVerified && u.Name == "Anna" }},
		{"roles", at, []string{"roles", "reader user"}, "saved", func(u authn.User) bool { return slices.Equal(u.Roles, []string{"reader", "user"}) && u.EmailVerified }},
		{"no roles", at, []string{"roles", " "}, "saved", func(u authn.User) bool { return len(u.Roles) == 0 }},
		{"out", api + "/logout", nil, "signed_out", func(u authn.User) bool {
			left, err := g.Authn.Sessions(t.Context(), u.ID)
			return err == nil && len(left) == 0
		}},
		{"unlock", api + "/unlock", nil, "unlocked", func(u authn.User) bool { return u.Active }},
		{"disable", at, []string{"active", "false"}, "saved", func(u authn.User) bool { return !u.Active && u.Name == "Anna" }},
		{"enable", at, []string{"active", "true"}, "saved", func(u authn.User) bool { return u.Active }},
	} {
		a := b.submit(c.path, c.fields...)
		if a.Status != 200 || b.at != at+"?notice="+c.notice || !strings.Contains(a.Body, `role="status"`) || !c.is(g.userOf(u.ID)) {
			t.Errorf("%s: got %d at %s, account %+v\n%s", c.name, a.Status, b.at, g.userOf(u.ID), a.Body)
		}
	}
	before := g.userOf(u.ID)
	for _, c := range []struct {
		name, path string
		fields     []string
		status     int
		says       string
	}{
		{"no such field", at, []string{"password_hash", "x"}, 400, "no such field"},
		{"neither yes nor no", at, []string{"active", "perhaps"}, 400, "true or false"},
		{"no role", at, []string{"roles", "Ad/min"}, 400, `value="Ad/min"`},
		{"a taken name", at, []string{"username", "BOSS"}, 409, "Username taken"},
		{"no mail", api + "/reset-password", nil, 400, "no mail is configured"},
		{"not confirmed", at + "/delete", nil, 400, "tick that you mean it"},
	} {
		if a := b.submit(c.path, c.fields...); a.Status != c.status || !strings.Contains(a.Body, c.says) || !strings.Contains(a.Body, `role="alert"`) {
			t.Errorf("%s: got %d, want %d and %q:\n%s", c.name, a.Status, c.status, c.says, a.Body)
		}
	}
	if after := g.userOf(u.ID); after.UpdatedAt != before.UpdatedAt {
		t.Errorf("refused, and yet: %+v", after)
	}
	if a := b.submit(at+"/delete", "confirm", "yes"); a.Status != 200 || b.at != "/auth/admin?notice=deleted" {
		t.Errorf("delete: got %d at %s", a.Status, b.at)
	}
	if a := b.open(at); a.Status != 404 {
		t.Errorf("the page of a deleted account: got %d, want 404", a.Status)
	}
}

func TestAdminPageKeepsTheLastAdmin(t *testing.T) {
	g := newGateway(t, nil)
	b := g.admin("boss")
	u, err := g.Authn.UserByLogin(t.Context(), "boss")
	if err != nil {
		t.Fatal(err)
	}
	at := "/auth/admin/accounts/" + u.ID
	if a := b.open(at); !strings.Contains(a.Body, "This is your own account.") {
		t.Errorf("it does not say whose it is:\n%s", a.Body)
	}
	for _, c := range [][]string{{at, "roles", "user"}, {at, "active", "false"}, {at + "/delete", "confirm", "yes"}} {
		if a := b.submit(c[0], c[1:]...); a.Status != 409 || !strings.Contains(a.Body, "Last admin") {
			t.Errorf("%q: got %d, want 409", c, a.Status)
		}
	}
	g.addUser("other", "admin")
	if a := b.submit(at, "roles", "user"); a.Status != 403 || a.code() != "INSUFFICIENT_ROLE" {
		t.Errorf("demoted: got %d %s, want to be shown out", a.Status, a.code())
	}
}

// Another site's page, a script's JSON and what people call themselves do nothing.
func TestAdminPageAttacks(t *testing.T) {
	g := newGateway(t, nil)
	boss := g.person(t, "boss", "admin")
	u := g.addUser("ann", "user")
	const form = "Content-Type: application/x-www-form-urlencoded"
	for _, path := range []string{"/admin/users", "/admin/accounts/" + u.ID, "/admin/accounts/" + u.ID + "/delete", "/admin/users/" + u.ID + "/logout"} {
		for _, site := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
			a := g.do("POST", "/auth"+path, formOf("roles", "admin", "confirm", "yes", "username", "eve"), form, "Cookie: "+boss.cookie, site)
			wantProblem(t, a, 403, "CROSS_ORIGIN")
		}
	}
	if got := g.userOf(u.ID).Roles; !slices.Equal(got, []string{"user"}) {
		t.Errorf("got roles %q, want user", got)
	}
	name := `"><script>alert(1)</script>`
	if _, err := g.Authn.UpdateUser(t.Context(), u.ID, authn.UserChange{Name: &name}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	g.do("POST", "/auth/login", formOf("login", "ann", "password", testPassword), form, "User-Agent: <script>alert(1)</script>")
	for _, path := range []string{"/auth/admin", "/auth/admin?q=" + url.QueryEscape(name), "/auth/admin/accounts/" + u.ID} {
		if a := g.get(path, "Cookie: "+boss.cookie, "Accept: text/html"); a.Status != 200 || strings.Contains(a.Body, "<script") {
			t.Errorf("%s: got %d, it runs a name:\n%s", path, a.Status, a.Body)
		}
	}
}
