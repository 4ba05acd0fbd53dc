package gateway

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// mailbox keeps the letters that would be mailed.
type mailbox struct {
	mu      sync.Mutex
	letters []authn.Letter
}

// Deliver implements authn.Mailer.
func (m *mailbox) Deliver(_ context.Context, l authn.Letter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters = append(m.letters, l)
	return nil
}

func (m *mailbox) all() []authn.Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.letters)
}

// newMailGateway is a gateway that sends mails.
func newMailGateway(t testing.TB, mutate func(*Config), mutateAuthn func(*authn.Config)) *testGateway {
	t.Helper()
	return startGateway(t, &mailbox{}, mutate, mutateAuthn)
}

// mail waits for the n-th letter (from 0) of a kind to an address.
func (g *testGateway) mail(kind authn.MailKind, to string, n int) authn.Letter {
	g.t.Helper()
	var found []authn.Letter
	g.eventually(string(kind)+" to "+to, func() bool {
		found = slices.DeleteFunc(g.mails.all(), func(l authn.Letter) bool { return l.Kind != kind || l.To != to })
		return len(found) > n
	})
	return found[n]
}

// member makes an account with an address.
func (g *testGateway) member(username, email string, verified bool) authn.User {
	g.t.Helper()
	u, _, err := g.Authn.CreateUser(context.Background(), authn.NewUser{
		Username: username, Email: email, Password: testPassword, EmailVerified: verified, Roles: []string{"user"},
	}, authn.Actor{ID: authn.ActorCLI})
	if err != nil {
		g.t.Fatal(err)
	}
	return u
}

func proveAddresses(c *authn.Config) { c.Accounts.EmailVerification = "required" }

const nextPassword = "another-horse-battery-staple"

func TestForgottenPassword(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	g.member("ann", "ann@example.com", true)
	other := g.signIn("ann", authn.ModeToken)
	a := g.post("/auth/forgot-password", `{"email":" Ann@Example.com "}`)
	documented(t, "POST", "/forgot-password", a)
	if a.Status != 202 || a.Body != "{}\n" {
		t.Fatalf("got %d %s, want 202 {}", a.Status, a.Body)
	}
	token := g.mail(authn.MailResetPassword, "ann@example.com", 0).Token.Reveal()

	a = g.post("/auth/reset-password", `{"token":"`+token+`","password":"x9K"}`)
	documented(t, "POST", "/reset-password", a)
	wantProblem(t, a, 400, "INVALID_INPUT")
	if got, want := a.fields(t), []string{"password common", "password too_short"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	a = g.post("/auth/reset-password", `{"token":"`+token+`","password":"`+nextPassword+`"}`)
	documented(t, "POST", "/reset-password", a)
	if a.Status != 204 || len(a.Header.Values("Set-Cookie")) != 0 {
		t.Fatalf("got %d %s, want 204 and nobody signed in", a.Status, a.Body)
	}
	wantProblem(t, g.get("/secret", "Authorization: Bearer "+other.AccessToken.Reveal()), 401, "TOKEN_REVOKED")
	wantProblem(t, g.login("ann", "token"), 401, "INVALID_CREDENTIALS")
	if a := g.post("/auth/login", `{"login":"ann","password":"`+nextPassword+`"}`); a.Status != 200 {
		t.Errorf("with the new password: got %d, want 200", a.Status)
	}
	wantProblem(t, g.post("/auth/reset-password", `{"token":"`+token+`","password":"`+testPassword+`"}`), 400, "TICKET_INVALID")
	g.mail(authn.MailPasswordChanged, "ann@example.com", 0)
	if strings.Contains(g.logs.String(), token) {
		t.Error("the token is in the log")
	}
}

func TestMailedEndpointsRefuse(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	for _, c := range []struct {
		path, body, code string
		fields           []string
	}{
		{"/forgot-password", `{}`, "INVALID_INPUT", []string{"email required"}},
		{"/forgot-password", `{"email":"nobody","user":"x"}`, "INVALID_INPUT", []string{"user unknown"}},
		{"/forgot-password", `{"email":"nobody"}`, "INVALID_INPUT", []string{"email format"}},
		{"/forgot-password", `{"email":"a@example.com, b@example.com"}`, "INVALID_INPUT", []string{"email format"}},
		{"/forgot-password", `{"email":"Ann <ann@example.com>"}`, "INVALID_INPUT", []string{"email format"}},
		{"/forgot-password", `{"email":"ann@example.com\r\nBcc: b@example.com"}`, "INVALID_INPUT", []string{"email format"}},
		{"/forgot-password", `{"email":["ann@example.com"]}`, "INVALID_INPUT", []string{"email type"}},
		{"/resend-verification", `{}`, "INVALID_INPUT", []string{"email required"}},
		{"/resend-verification", `{"email":"x@y@z"}`, "INVALID_INPUT", []string{"email format"}},
		{"/verify-email", `{}`, "INVALID_INPUT", []string{"token required"}},
		{"/verify-email", `{"token":"x","email":"ann@example.com"}`, "INVALID_INPUT", []string{"email unknown"}},
		{"/verify-email", `{"token":"x"}`, "TICKET_INVALID", nil},
		{"/verify-email", `{"token":"` + strings.Repeat("A", 64) + `"}`, "TICKET_INVALID", nil},
		{"/reset-password", `{}`, "INVALID_INPUT", []string{"password required", "token required"}},
		{"/reset-password", `{"token":"x","password":"x9K"}`, "TICKET_INVALID", nil},
		{"/reset-password", `{"token":"x","password":"` + nextPassword + `","roles":["admin"]}`, "INVALID_INPUT", []string{"roles unknown"}},
	} {
		a := g.post("/auth"+c.path, c.body)
		documented(t, "POST", c.path, a)
		wantProblem(t, a, 400, c.code)
		if got := a.fields(t); !slices.Equal(got, c.fields) {
			t.Errorf("%s %s: got %q, want %q", c.path, c.body, got, c.fields)
		}
		wantProblem(t, g.do("POST", "/auth"+c.path, c.body, "Content-Type: text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE")
	}
	if a := g.get("/auth/forgot-password?email=ann@example.com"); a.Status != 200 || len(g.mails.all()) != 0 {
		t.Errorf("a GET: got %d, mails %v, want the page only", a.Status, g.mails.all())
	}
}

// Whether anybody has an address is told by nothing in the answer.
func TestAnswersAreTheSameForKnownAndUnknownAddresses(t *testing.T) {
	g := newMailGateway(t, nil, proveAddresses)
	g.member("ann", "known1@example.com", false)
	for _, c := range []struct{ name, path, body string }{
		{"forgot", "/auth/forgot-password", `{"email":"EMAIL"}`},
		{"resend", "/auth/resend-verification", `{"email":"EMAIL"}`},
		{"register", "/auth/register", `{"email":"EMAIL","password":"` + testPassword + `"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := g.post(c.path, strings.Replace(c.body, "EMAIL", "known1@example.com", 1))
			unknown := g.post(c.path, strings.Replace(c.body, "EMAIL", "nobody@example.com", 1))
			if known.Status != 202 || unknown.Status != 202 || known.Body != "{}\n" || unknown.Body != known.Body {
				t.Errorf("got %d %q and %d %q, want 202 {} twice", known.Status, known.Body, unknown.Status, unknown.Body)
			}
			names := func(a reply) []string { return slices.Sorted(maps.Keys(a.Header)) }
			if got, want := names(unknown), names(known); !slices.Equal(got, want) {
				t.Errorf("headers: got %q for unknown, %q for known", got, want)
			}
		})
	}
}

func TestProvenRegistration(t *testing.T) {
	g := newMailGateway(t, nil, proveAddresses)
	body := `{"email":"ann@example.com","username":"ann","password":"` + testPassword + `"}`
	a := g.post("/auth/register", body)
	documented(t, "POST", "/register", a)
	if a.Status != 202 || a.Body != "{}\n" || len(a.Header.Values("Set-Cookie")) != 0 {
		t.Fatalf("got %d %s, want 202 {}", a.Status, a.Body)
	}
	wantProblem(t, g.login("ann", "token"), 401, "INVALID_CREDENTIALS") // there is nobody yet
	wantProblem(t, g.post("/auth/register", `{"username":"bob","password":"`+testPassword+`"}`), 400, "INVALID_INPUT")

	token := g.mail(authn.MailVerifyRegistration, "ann@example.com", 0).Token.Reveal()
	a = g.post("/auth/verify-email", `{"token":"`+token+`","password":"`+nextPassword+`"}`)
	documented(t, "POST", "/verify-email", a)
	wantProblem(t, a, 400, "INVALID_INPUT")
	if got, want := a.fields(t), []string{"password incorrect"}; !slices.Equal(got, want) {
		t.Errorf("a password that was not chosen: got %q, want %q", got, want)
	}
	a = g.post("/auth/verify-email", `{"token":"`+token+`"}`)
	documented(t, "POST", "/verify-email", a)
	if a.Status != 200 || !strings.Contains(a.Body, `"username":"ann"`) || !strings.Contains(a.Body, `"email_verified":true`) {
		t.Fatalf("got %d %s, want the account", a.Status, a.Body)
	}
	if a := g.login("ann@example.com", "token"); a.Status != 200 {
		t.Errorf("signing in: got %d %s, want 200", a.Status, a.Body)
	}
	wantProblem(t, g.post("/auth/verify-email", `{"token":"`+token+`"}`), 400, "TICKET_INVALID")

	a = g.post("/auth/register", strings.Replace(body, `"ann"`, `"eve"`, 1))
	if a.Status != 202 || a.Body != "{}\n" {
		t.Errorf("a taken address: got %d %s, want 202 {}", a.Status, a.Body)
	}
	g.mail(authn.MailAddressInUse, "ann@example.com", 0)
	wantProblem(t, g.post("/auth/register", strings.Replace(body, "ann@", "other@", 1)), 409, "USERNAME_TAKEN")
}

func TestChangeOfAddress(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	u := g.member("ann", "ann@example.com", true)
	g.member("bob", "bob@example.com", true)
	me := "Authorization: Bearer " + g.signIn("ann", authn.ModeToken).AccessToken.Reveal()
	for _, c := range []struct {
		body   string
		fields []string
	}{
		{`{}`, []string{"current_password required", "email required"}},
		{`{"current_password":"wrong-wrong-wrong","email":"nobody"}`, []string{"current_password incorrect", "email format"}},
		{`{"current_password":"` + testPassword + `","email":"a@b.example, c@d.example"}`, []string{"email format"}},
	} {
		a := g.post("/auth/change-email", c.body, me)
		documented(t, "POST", "/change-email", a)
		wantProblem(t, a, 400, "INVALID_INPUT")
		if got := a.fields(t); !slices.Equal(got, c.fields) {
			t.Errorf("%s: got %q, want %q", c.body, got, c.fields)
		}
	}
	told := map[string]authn.MailKind{"bob@example.com": authn.MailAddressInUse, "ann@new.example": authn.MailVerifyChange}
	for _, email := range []string{"bob@example.com", "ann@new.example"} { // taken and free alike
		a := g.post("/auth/change-email", `{"current_password":"`+testPassword+`","email":"`+email+`"}`, me)
		documented(t, "POST", "/change-email", a)
		if a.Status != 202 || a.Body != "{}\n" {
			t.Errorf("%s: got %d %s, want 202 {}", email, a.Status, a.Body)
		}
		g.mail(told[email], email, 0) // the next request replaces this one
	}
	g.mail(authn.MailEmailChanged, "ann@example.com", 0)
	token := g.mail(authn.MailVerifyChange, "ann@new.example", 0).Token.Reveal()
	if got := g.userOf(u.ID).Email; got != "ann@example.com" {
		t.Errorf("before the link was used: got %s, want the old address", got)
	}
	if a := g.post("/auth/verify-email", `{"token":"`+token+`"}`); a.Status != 200 || !strings.Contains(a.Body, `"email":"ann@new.example"`) {
		t.Errorf("got %d %s, want the new address", a.Status, a.Body)
	}
}

func TestAdminInvitesAndResets(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	boss := g.person(t, "boss", "admin")
	a := g.post("/auth/admin/users", `{"email":"ann@example.com","roles":["user"]}`, boss.bearer)
	documented(t, "POST", "/admin/users", a)
	if a.Status != 201 || strings.Contains(a.Body, "password") {
		t.Fatalf("got %d %s, want an account without a password", a.Status, a.Body)
	}
	var made userBody
	a.json(t, &made)
	token := g.mail(authn.MailInvitation, "ann@example.com", 0).Token.Reveal()
	if a := g.post("/auth/reset-password", `{"token":"`+token+`","password":"`+testPassword+`"}`); a.Status != 204 {
		t.Fatalf("got %d %s, want 204", a.Status, a.Body)
	}
	if a := g.login("ann@example.com", "token"); a.Status != 200 || !strings.Contains(a.Body, `"email_verified":true`) {
		t.Errorf("got %d %s, want to be signed in, the address proven", a.Status, a.Body)
	}
	a = g.post("/auth/admin/users/"+made.User.ID+"/reset-password", "", boss.bearer)
	documented(t, "POST", "/admin/users/{id}/reset-password", a)
	if a.Status != 202 || a.Body != "{}\n" {
		t.Errorf("got %d %s, want 202 {}", a.Status, a.Body)
	}
	g.mail(authn.MailResetPassword, "ann@example.com", 0)
	wantProblem(t, g.post("/auth/admin/users/"+boss.id+"/reset-password", "", boss.bearer), 400, "INVALID_INPUT") // no address
	for _, mails := range []string{`doorward_mails_total{result="sent"} 2`, `doorward_mail_queue_length 0`} {
		g.eventually(mails, func() bool { return strings.Contains(g.metrics(), mails) })
	}
}

func TestAskingForMailsIsLimitedByClient(t *testing.T) {
	g := newMailGateway(t, func(c *Config) { c.Limits.PasswordReset = Rate{2, time.Hour} }, nil)
	for range 4 { // a slip costs nothing
		wantProblem(t, g.post("/auth/forgot-password", `{"email":"nobody"}`), 400, "INVALID_INPUT")
	}
	for _, path := range []string{"/auth/forgot-password", "/auth/resend-verification"} {
		if a := g.post(path, `{"email":"ann@example.com"}`); a.Status != 202 {
			t.Errorf("%s: got %d, want 202", path, a.Status)
		}
	}
	for _, path := range []string{"/auth/forgot-password", "/auth/resend-verification"} {
		a := g.do("POST", path, "x", "Content-Type: text/plain") // before the body is looked at
		wantProblem(t, a, 429, "RATE_LIMITED")
		if got, want := a.Header.Get("RateLimit-Policy"), `"password_reset";q=2;w=3600`; got != want {
			t.Errorf("got RateLimit-Policy %s, want %s", got, want)
		}
	}
	// Whoever has a link may use it, however many mails this client asked for.
	wantProblem(t, g.post("/auth/reset-password", `{"token":"x","password":"x"}`), 400, "TICKET_INVALID")
}

// One address gets so many mails, and nobody is told that it got no more.
func TestMailsToOneAddressAreLimitedSilently(t *testing.T) {
	g := newMailGateway(t, nil, func(c *authn.Config) { c.Mail.Limit = authn.MailLimit{N: 2, Per: time.Hour} })
	g.member("ann", "ann@example.com", true)
	g.member("bob", "bob@example.com", true)
	for range 4 {
		if a := g.post("/auth/forgot-password", `{"email":"ann@example.com"}`); a.Status != 202 || a.Body != "{}\n" {
			t.Fatalf("got %d %s, want 202 {}", a.Status, a.Body)
		}
	}
	g.post("/auth/forgot-password", `{"email":"bob@example.com"}`)
	g.mail(authn.MailResetPassword, "bob@example.com", 0) // it came last
	got := slices.DeleteFunc(g.mails.all(), func(l authn.Letter) bool { return l.To != "ann@example.com" })
	if len(got) > 2 {
		t.Errorf("got %d mails to one address, want at most 2", len(got))
	}
}

func TestWithoutMailNothingIsPromised(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/auth/forgot-password", "/auth/resend-verification"} {
		if a := g.post(path, `{"email":"ann@example.com"}`); a.Status != 202 || a.Body != "{}\n" {
			t.Errorf("%s: got %d %s, want 202 {}", path, a.Status, a.Body)
		}
	}
	if a := g.get("/auth/login"); strings.Contains(a.Body, "forgot-password") {
		t.Error("the sign-in page offers a mail that never comes")
	}
	if a := g.get("/auth/forgot-password"); a.Status != 200 || strings.Contains(a.Body, "<form") {
		t.Errorf("got %d, want a page without a form:\n%s", a.Status, a.Body)
	}
}
