package authn_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestForgotAndReset(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.put(t, u, func(u *authn.User) { u.EmailVerified = false })
	in := m.signIn(t, "ada", authn.ModeToken)
	for range 5 {
		_ = m.loginFrom("198.51.100.7", "ada", "nonsense")
	}
	if err := m.ForgotPassword(ctx, "ADA@example.com ", here); err != nil {
		t.Fatal(err)
	}
	l := m.wantMails(t, "reset_password "+adaMail)[0]
	if !l.ExpiresAt.Equal(start.Add(time.Hour)) || l.Login != "ada" {
		t.Errorf("letter %+v, want one hour, to ada", l)
	}
	if got := m.events(t, u.ID)[0]; got != "user.reset_requested" {
		t.Errorf("last event %s, want user.reset_requested", got)
	}
	if err := m.login("ada", password); err != nil {
		t.Errorf("asking alone changes nothing: %v", err)
	}
	if err := m.ResetPassword(ctx, l.Token, "ada@example.com", here); codes(err) != "password same_as_identity" {
		t.Errorf("a weak password: %v, want password same_as_identity", err)
	}
	m.advance(time.Minute)
	if err := m.ResetPassword(ctx, l.Token, nextPassword, here); err != nil {
		t.Fatalf("reset, after a weak one was refused: %v", err)
	}
	if m.live(t, u.ID) != 0 {
		t.Errorf("%d sessions, want none: a reset ends them and signs nobody in", m.live(t, u.ID))
	}
	if _, err := m.Identify(ctx, authn.Credential{Bearer: in.AccessToken}); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("a token from before: %v, want ErrTokenRevoked", err)
	}
	if u := m.record(t, u.ID); !u.EmailVerified || !u.UpdatedAt.Equal(m.at()) {
		t.Errorf("record %+v, want its address proven by the mail", u)
	}
	want := []string{"session.ended password", "session.ended password", "user.password_reset", "user.email_verified"}
	if got := m.events(t, u.ID)[:4]; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	m.wantMails(t, "password_changed "+adaMail)
	for p, want := range map[authn.Secret]error{password: authn.ErrInvalidCredentials, nextPassword: nil} {
		if err := m.loginFrom("198.51.100.7", "ada", p); !errors.Is(err, want) {
			t.Errorf("login with %q, locked before the reset: %v, want %v", p.Reveal(), err, want)
		}
	}
	if err := m.ResetPassword(ctx, l.Token, password, here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("the link again: %v, want ErrTicketInvalid", err)
	}
}

func TestForgotOfNobody(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "bob")
	if _, err := m.UpdateUser(ctx, u.ID, authn.UserChange{Active: ptr(false)}, cli); err != nil {
		t.Fatal(err)
	}
	for _, email := range []string{"nobody@example.com", "bob@example.com"} {
		if err := m.ForgotPassword(ctx, email, here); err != nil {
			t.Errorf("%s: %v, want nothing said", email, err)
		}
	}
	m.wantMails(t)
	if got := m.events(t, u.ID)[0]; got == "user.reset_requested" {
		t.Error("a reset was noted for a disabled account")
	}
	none := newService(t, nil)
	if err := none.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Errorf("without mail: %v, want nothing said", err)
	}
	if err := none.ResendVerification(ctx, adaMail, here); err != nil {
		t.Errorf("without mail: %v, want nothing said", err)
	}
}

func TestChangeEmail(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
	for _, c := range []struct{ name, current, email, want string }{
		{"wrong password", "nonsense", "ada@new.example", "current_password incorrect"},
		{"wrong and no address", "nonsense", "ada", "email format, current_password incorrect"},
		{"no address", password.Reveal(), "ada@new.example, eve@new.example", "email format"},
		{"nothing", "", "", "current_password required, email format"},
	} {
		if err := m.ChangeEmail(ctx, id, authn.Secret(c.current), c.email, here); codes(err) != c.want {
			t.Errorf("%s: %v (%s), want %s", c.name, err, codes(err), c.want)
		}
	}
	m.wantMails(t)
	if err := m.ChangeEmail(ctx, id, password, "Ada@New.example", here); err != nil {
		t.Fatal(err)
	}
	letters := m.wantMails(t, "verify_change ada@new.example", "email_changed "+adaMail)
	slices.SortFunc(letters, func(a, b authn.Letter) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	if notice := letters[0]; notice.NewEmail != "ada@new.example" || notice.Token != "" {
		t.Errorf("notice %+v, want it to name the new address and carry no token", notice)
	}
	if m.record(t, u.ID).Email != adaMail {
		t.Error("the address changed before it was confirmed")
	}
	got, err := m.VerifyEmail(ctx, letters[1].Token, "", here)
	if err != nil || got.Email != "ada@new.example" || !got.EmailVerified || m.record(t, u.ID).Email != "ada@new.example" {
		t.Errorf("confirmed: %+v, %v", got, err)
	}
	if got := m.events(t, u.ID)[0]; got != "user.email_changed" {
		t.Errorf("last event %s, want user.email_changed", got)
	}
	if err := m.login("ada@new.example", password); err != nil {
		t.Errorf("sign-in by the new address: %v", err)
	}
}

// TestChangeEmailToOnesOwn: of an address that is proven there is nothing to do
// and nothing to wait for, so it is refused; of another it asks for a link.
func TestChangeEmailToOnesOwn(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.put(t, u, func(u *authn.User) { u.EmailVerified = true })
	id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
	if err := m.ChangeEmail(ctx, id, password, " Ada@Example.com", here); codes(err) != "email duplicate" {
		t.Errorf("proven: %v (%s), want email duplicate", err, codes(err))
	}
	m.wantMails(t)
	m.put(t, u, func(u *authn.User) { u.EmailVerified = false })
	if err := m.ChangeEmail(ctx, id, password, adaMail, here); err != nil {
		t.Errorf("not proven: %v, want a link", err)
	}
	m.wantMails(t, "verify_email "+adaMail)
}

func TestChangeEmailToATakenOne(t *testing.T) {
	m := newMailing(t, nil)
	m.newUser(t, "ada")
	m.newUser(t, "bob")
	id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
	if err := m.ChangeEmail(ctx, id, password, "bob@example.com", here); err != nil {
		t.Fatalf("to a taken address: %v, want what a free one gets", err)
	}
	m.wantMails(t, "address_in_use bob@example.com", "email_changed "+adaMail)
	if err := m.ChangeEmail(ctx, id, password, "free@example.com", here); err != nil {
		t.Fatal(err)
	}
	letters := m.wantMails(t, "verify_change free@example.com", "email_changed "+adaMail)
	if _, _, err := m.CreateUser(ctx, authn.NewUser{Email: "free@example.com", Password: password, EmailVerified: true}, cli); err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		if l.Token == "" {
			continue
		}
		if _, err := m.VerifyEmail(ctx, l.Token, "", here); !errors.Is(err, authn.ErrEmailTaken) {
			t.Errorf("taken meanwhile: %v, want ErrEmailTaken", err)
		}
	}
}

func TestChangeEmailWithoutMail(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	f.newUser(t, "bob")
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	if err := f.ChangeEmail(ctx, id, password, "bob@example.com", here); !errors.Is(err, authn.ErrEmailTaken) {
		t.Errorf("to a taken address: %v, want ErrEmailTaken", err)
	}
	if err := f.ChangeEmail(ctx, id, password, "ADA@example.com", here); codes(err) != "email duplicate" {
		t.Errorf("to the address it has: %v (%s), want email duplicate", err, codes(err))
	}
	if err := f.ChangeEmail(ctx, id, password, "ada@new.example", here); err != nil {
		t.Fatal(err)
	}
	if u := f.record(t, u.ID); u.Email != "ada@new.example" || u.EmailVerified {
		t.Errorf("record %+v, want the new address, unverified", u)
	}
}

// TestPasswordNotices: whoever changed it, the owner hears of it.
func TestPasswordNotices(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
	if err := m.ChangePassword(ctx, id, password, nextPassword, here); err != nil {
		t.Fatal(err)
	}
	if l := m.wantMails(t, "password_changed "+adaMail)[0]; l.Where != "192.0.2.1" || l.Login != "ada" || l.Token != "" {
		t.Errorf("letter %+v", l)
	}
	if _, err := m.SetPassword(ctx, u.ID, "", cli); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "password_changed "+adaMail)
}

func TestNewDeviceMail(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) { d.Config.Accounts.NewDeviceMail = true })
	m.newUser(t, "ada")
	steps := []struct {
		name, from string
		mails      []string
	}{
		{"the first sign-in ever", "192.0.2.1", nil},
		{"the same network", "192.0.2.1", nil},
		{"another", "198.51.100.7", []string{"new_device " + adaMail}},
		{"known by now", "198.51.100.7", nil},
	}
	for _, s := range steps {
		if err := m.loginFrom(s.from, "ada", password); err != nil {
			t.Fatal(err)
		}
		for _, l := range m.wantMails(t, s.mails...) {
			if l.Where != s.from || l.Device != "test" || !l.When.Equal(m.at()) {
				t.Errorf("%s: letter %+v", s.name, l)
			}
		}
		m.advance(time.Minute)
	}
	m.advance(31 * 24 * time.Hour)
	if err := m.loginFrom("192.0.2.1", "ada", password); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "new_device "+adaMail) // not known any more
	m.put(t, m.user(t, "ada"), func(u *authn.User) { u.EmailVerified = false })
	if err := m.loginFrom("203.0.113.5", "ada", password); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t) // it could be a stranger's address
	off := newMailing(t, nil)
	off.newUser(t, "ada")
	for _, from := range []string{"192.0.2.1", "198.51.100.7"} {
		if err := off.loginFrom(from, "ada", password); err != nil {
			t.Fatal(err)
		}
	}
	off.wantMails(t)
}

func TestInvitation(t *testing.T) {
	m := newMailing(t, required)
	u, made, err := m.CreateUser(ctx, authn.NewUser{Username: "ada", Email: adaMail}, cli)
	if err != nil || made != "" || u.PasswordHash != "" {
		t.Fatalf("created with a password %v %v, %v; want none", made != "", u.PasswordHash != "", err)
	}
	l := m.wantMails(t, "invitation "+adaMail)[0]
	if !l.ExpiresAt.Equal(start.Add(24 * time.Hour)) {
		t.Errorf("expires %v, want a day on", l.ExpiresAt)
	}
	if err := m.login("ada", ""); codes(err) != "password required" {
		t.Errorf("sign-in with no password: %v", err)
	}
	if err := m.ResetPassword(ctx, l.Token, nextPassword, here); err != nil {
		t.Fatal(err)
	}
	if err := m.login("ada", nextPassword); err != nil {
		t.Errorf("sign-in with the password chosen, its address proven by the mail: %v", err)
	}
	m.wantMails(t) // the first password is no news
	v, made, err := m.CreateUser(ctx, authn.NewUser{Username: "bob"}, cli)
	if err != nil || made == "" {
		t.Errorf("without an address: made %v, %v; want a password", made != "", err)
	}
	if err := m.AdminResetPassword(ctx, v.ID, cli); codes(err) != "email required" {
		t.Errorf("reset without an address: %v, want email required", err)
	}
}

func TestAdminResetPassword(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	admin := m.newAdmin(t, "root")
	if err := m.AdminResetPassword(ctx, u.ID, admin); err != nil {
		t.Fatal(err)
	}
	token := m.token(t, "reset_password", adaMail)
	list, err := m.Events(ctx, authn.EventQuery{User: u.ID, Kind: authn.UserResetRequested, Limit: 10})
	if err != nil || len(list) != 1 || list[0].Actor != admin.ID || list[0].Subject != u.ID {
		t.Errorf("events %+v, %v; want one, by the admin", list, err)
	}
	if err := m.ResetPassword(ctx, token, nextPassword, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "password_changed "+adaMail)
	if err := m.AdminResetPassword(ctx, "nobody", admin); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("nobody: %v, want ErrNotFound", err)
	}
	m.put(t, u, func(u *authn.User) { u.Active = false })
	if err := m.AdminResetPassword(ctx, u.ID, admin); !errors.Is(err, authn.ErrAccountDisabled) {
		t.Errorf("disabled: %v, want ErrAccountDisabled", err)
	}
	f := newService(t, nil)
	if err := f.AdminResetPassword(ctx, f.newUser(t, "ada").ID, cli); codes(err) != "email unknown" {
		t.Errorf("without mail: %v, want email unknown", err)
	}
}

// TestAdminSetsAnAddress: the new one is asked, the old one told.
func TestAdminSetsAnAddress(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	reset := m.token(t, "reset_password", adaMail)
	if _, err := m.UpdateUser(ctx, u.ID, authn.UserChange{Email: ptr("ada@new.example")}, cli); err != nil {
		t.Fatal(err)
	}
	for _, l := range m.wantMails(t, "email_changed "+adaMail, "verify_email ada@new.example") {
		if l.Token == "" {
			continue
		}
		if u, err := m.VerifyEmail(ctx, l.Token, "", here); err != nil || !u.EmailVerified {
			t.Errorf("the new address: %+v, %v", u, err)
		}
	}
	if err := m.ResetPassword(ctx, reset, nextPassword, here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("a link sent to the address before: %v, want ErrTicketInvalid", err)
	}
}

// TestNoStrangersWordsInOurMails: what somebody wants to be called is said in
// no mail to an address that is not proven to be theirs, and a confirmation
// says whose account it is and who asked.
func TestNoStrangersWordsInOurMails(t *testing.T) {
	m := newMailing(t, nil)
	bait := "Ann, unlock your account at http://evil.example"
	u, _, err := m.CreateUser(ctx, authn.NewUser{Email: "mallory@example.com", Name: bait, Password: password, EmailVerified: true}, cli)
	if err != nil {
		t.Fatal(err)
	}
	id := m.identify(t, m.signIn(t, u.Email, authn.ModeToken))
	if err := m.ChangeEmail(ctx, id, password, "ann@example.com", stranger); err != nil {
		t.Fatal(err)
	}
	for _, l := range m.wantMails(t, "verify_change ann@example.com", "email_changed mallory@example.com") {
		if l.To == u.Email && l.Name != bait {
			t.Errorf("to the address that is proven: called %q", l.Name)
		}
		if l.To != u.Email && (l.Name != "" || l.Login != u.Email || l.Where != stranger.IP.String()) {
			t.Errorf("to the address that is not: called %q, account %q, from %s", l.Name, l.Login, l.Where)
		}
	}
	m.put(t, m.user(t, u.Email), func(u *authn.User) { u.EmailVerified = false })
	if err := m.ResendVerification(ctx, u.Email, here); err != nil {
		t.Fatal(err)
	}
	if err := m.ForgotPassword(ctx, u.Email, here); err != nil {
		t.Fatal(err)
	}
	for _, l := range m.wantMails(t, "verify_email "+u.Email, "reset_password "+u.Email) {
		if l.Name != "" || l.Login != u.Email {
			t.Errorf("%s: called %q, account %q", l.Kind, l.Name, l.Login)
		}
	}
}
