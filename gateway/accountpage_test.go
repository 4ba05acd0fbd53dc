package gateway

import (
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// A person sees where else they are signed in, and ends that from here.
func TestAccountPageEndsASession(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	here, there := g.browser(), g.browser()
	for _, b := range []*browser{here, there} {
		b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/x")
	}
	const before, after = `action="/auth/account/sessions/`, `/end"`
	page := here.open("/auth/account").Body
	if n := strings.Count(page, before); n != 1 {
		t.Fatalf("got %d buttons, want one, for the other device:\n%s", n, page)
	}
	_, rest, _ := strings.Cut(page, before)
	id, _, _ := strings.Cut(rest, after)

	// Neither a stranger nor another site's page ends it, nor does a program.
	stranger := g.cookieOf("bob")
	path := "/auth/account/sessions/" + id + "/end"
	form := "Content-Type: application/x-www-form-urlencoded"
	g.do("POST", path, "", "Cookie: "+stranger, form)
	wantProblem(t, g.do("POST", path, "", "Cookie: "+stranger, form, "Sec-Fetch-Site: cross-site"), 403, "CROSS_ORIGIN")
	wantProblem(t, g.post(path, "{}", "Cookie: "+stranger), 415, "UNSUPPORTED_MEDIA_TYPE")
	if there.open("/x"); there.at != "/x" {
		t.Fatalf("the other device is at %s, want it signed in still", there.at)
	}

	for range 2 { // a button can be pressed on a page that is old
		a := here.submit(path)
		if a.Status != 200 || here.at != "/auth/account?notice=session_ended" || !strings.Contains(a.Body, `role="status"`) || strings.Contains(a.Body, before) {
			t.Errorf("got %d at %s, want the account page to say so and no other device:\n%s", a.Status, here.at, a.Body)
		}
	}
	if there.open("/x"); !strings.HasPrefix(there.at, "/auth/login") {
		t.Errorf("the other device is at %s, want the sign-in page", there.at)
	}
}

func TestAccountPageDeletesTheAccount(t *testing.T) {
	g := newGateway(t, nil)
	u := g.addUser("ann")
	b := g.browser()
	b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/x")
	if a := b.open("/auth/account"); !strings.Contains(a.Body, `action="/auth/account/delete"`) {
		t.Fatalf("no form:\n%s", a.Body)
	}
	for password, says := range map[string]string{"wrong-wrong-wrong": "this is not the current password", "": "is required"} {
		a := b.submit("/auth/account/delete", "current_password", password)
		if a.Status != 400 || !strings.Contains(a.Body, says) || !strings.Contains(a.Body, "Your account") {
			t.Errorf("password %q: got %d, want the page again, saying why:\n%s", password, a.Status, a.Body)
		}
	}
	if _, err := g.Authn.User(t.Context(), u.ID); err != nil {
		t.Fatalf("gone with no password shown: %v", err)
	}
	a := b.submit("/auth/account/delete", "current_password", testPassword)
	if a.Status != 200 || b.at != "/auth/login?notice=account_deleted" || !strings.Contains(a.Body, "Your account is deleted.") || b.cookies() != 0 {
		t.Errorf("got %d at %s with %d cookies, want the sign-in page to say so, and none:\n%s", a.Status, b.at, b.cookies(), a.Body)
	}
	if _, err := g.Authn.User(t.Context(), u.ID); codeOf(err) != "NOT_FOUND" {
		t.Errorf("got %v, want the account gone", err)
	}
}

func TestLastAdminCannotDeleteThemselfOnThePage(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("root", "admin")
	b := g.browser()
	b.submit("/auth/login", "login", "root", "password", testPassword, "return_to", "/x")
	if a := b.submit("/auth/account/delete", "current_password", testPassword); a.Status != 409 || !strings.Contains(a.Body, "Last admin") {
		t.Errorf("got %d, want 409 and why:\n%s", a.Status, a.Body)
	}
}

// What may be chosen is said before it is refused, as it is in force.
func TestPagesSayTheRules(t *testing.T) {
	g := newGatewayWith(t, nil, func(c *authn.Config) {
		c.Accounts.Username.Min, c.Accounts.Username.Max = 4, 17
		c.Accounts.Password.MinLength, c.Accounts.Password.Require, c.Accounts.Password.RefuseCommon = 11, []string{"upper", "digit"}, false
	})
	a := g.get("/auth/register")
	for _, want := range []string{"4 to 17 letters", "At least 11 characters, of them a capital letter, a digit."} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("no %q:\n%s", want, a.Body)
		}
	}
	if strings.Contains(a.Body, "guessed") {
		t.Error("it names a rule that is off")
	}
	if a := newGateway(t, nil).get("/auth/register"); !strings.Contains(a.Body, "At least 8 characters. Not your own name or address, and none that is guessed early on.") {
		t.Errorf("by default:\n%s", a.Body)
	}
}
