package authn_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestRegisterSendsAVerification(t *testing.T) {
	m := newMailing(t, nil)
	in, err := m.Register(ctx, authn.Registration{Email: "Ada@Example.com", Username: "ada", Name: "Ada L.", Password: password}, here)
	if err != nil || in.Pending || in.AccessToken == "" {
		t.Fatalf("registered %+v, %v; want signed in at once", in.User, err)
	}
	l := m.wantMails(t, "verify_email "+adaMail)[0]
	if l.Name != "" || l.Login != "ada" || l.Token == "" || !l.ExpiresAt.Equal(start.Add(24*time.Hour)) ||
		l.Where != "192.0.2.1" || l.Device != "test" || !l.When.Equal(start) {
		t.Errorf("letter %+v", l)
	}
	m.advance(time.Hour)
	u, err := m.VerifyEmail(ctx, l.Token, "", here)
	if err != nil || u.ID != in.User.ID || !u.EmailVerified || u.PasswordHash != "" {
		t.Fatalf("verified %+v, %v", u, err)
	}
	if u := m.record(t, u.ID); !u.EmailVerified || !u.UpdatedAt.Equal(m.at()) || u.PasswordHash == "" {
		t.Errorf("record %+v", u)
	}
	if got := m.events(t, u.ID)[0]; got != "user.email_verified" {
		t.Errorf("last event %s, want user.email_verified", got)
	}
	if m.live(t, u.ID) != 1 {
		t.Errorf("%d sessions, want the one of the registration", m.live(t, u.ID))
	}
	if _, err := m.VerifyEmail(ctx, l.Token, "", here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("the link again: %v, want ErrTicketInvalid", err)
	}
}

func TestRegisterSendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*authn.Deps)
		r      authn.Registration
	}{
		"without an address":    {nil, authn.Registration{Username: "ada", Password: password}},
		"verification off":      {func(d *authn.Deps) { d.Config.Accounts.EmailVerification = "off" }, authn.Registration{Email: adaMail, Password: password}},
		"no mail is configured": {func(d *authn.Deps) { d.Mail = nil }, authn.Registration{Email: adaMail, Password: password}},
	} {
		m := newMailing(t, c.change)
		release := m.HoldPostman()
		if _, err := m.Register(ctx, c.r, here); err != nil || m.outboxLen(t) != 0 {
			t.Errorf("%s: %v with %d mails, want none", name, err, m.outboxLen(t))
		}
		release()
	}
}

// TestRegistrationIsATicket: where addresses must be proven the account exists
// only from then on.
func TestRegistrationIsATicket(t *testing.T) {
	m := newMailing(t, required)
	r := authn.Registration{Email: " Ada@Example.com", Username: "Ada", Name: "Ada L.", Password: password, Mode: authn.ModeToken}
	in, err := m.Register(ctx, r, here)
	if err != nil || !in.Pending || in.AccessToken != "" || in.User.ID != "" {
		t.Fatalf("register: %+v, %v; want Pending and nothing else", in, err)
	}
	l := m.wantMails(t, "verify_registration "+adaMail)[0]
	if l.Name != "" || l.Login != "Ada" || l.Username != "Ada" || l.Where != "192.0.2.1" {
		t.Errorf("letter %+v", l)
	}
	if _, err := m.UserByLogin(ctx, adaMail); !errors.Is(err, authn.ErrNotFound) {
		t.Fatalf("an account before the address is proven: %v", err)
	}
	if err := m.login("ada", password); !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Errorf("sign-in before: %v", err)
	}
	m.advance(time.Hour)
	u, err := m.VerifyEmail(ctx, l.Token, "", here)
	if err != nil {
		t.Fatal(err)
	}
	if u.Email != adaMail || u.Username != "Ada" || u.Name != "Ada L." || !u.EmailVerified || !u.Active ||
		!slices.Equal(u.Roles, []string{"user"}) || !u.CreatedAt.Equal(m.at()) {
		t.Errorf("account %+v", u)
	}
	if got, want := m.events(t, u.ID), []string{"user.email_verified", "user.registered"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if err := m.login("ada", password); err != nil {
		t.Errorf("sign-in with the password of the registration: %v", err)
	}
}

func TestRegistrationToProveRefusals(t *testing.T) {
	m := newMailing(t, required)
	m.newUser(t, "taken")
	for _, c := range []struct {
		name string
		r    authn.Registration
		want string
		is   error
	}{
		{"no address", authn.Registration{Username: "ada", Password: password}, "email required", nil},
		{"nothing", authn.Registration{}, "email required, password required", nil},
		{"no mode", authn.Registration{Email: adaMail, Password: password, Mode: "magic"}, "mode format", nil},
		{"username taken", authn.Registration{Email: adaMail, Username: "TAKEN", Password: password}, "", authn.ErrUsernameTaken},
	} {
		in, err := m.Register(ctx, c.r, here)
		if err == nil || codes(err) != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %+v, %v (%s), want %s %v", c.name, in, err, codes(err), c.want, c.is)
		}
	}
	m.wantMails(t)
}

// TestTakenAddressTellsItsOwner and nobody else.
func TestTakenAddressTellsItsOwner(t *testing.T) {
	m := newMailing(t, required)
	m.newUser(t, "ada")
	in, err := m.Register(ctx, authn.Registration{Email: adaMail, Username: "eve", Password: nextPassword}, here)
	if err != nil || !in.Pending {
		t.Fatalf("register with a taken address: %+v, %v; want what a free one gets", in, err)
	}
	if l := m.wantMails(t, "address_in_use "+adaMail)[0]; l.Token != "" || l.Login != "ada" {
		t.Errorf("letter with a token %v to %q, want no token, to ada", l.Token != "", l.Login)
	}
	if err := m.login("ada", password); err != nil {
		t.Errorf("the owner: %v", err)
	}
	if err := m.DeleteUser(ctx, m.user(t, "ada").ID, cli); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Register(ctx, authn.Registration{Email: adaMail, Username: "eve", Password: nextPassword}, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t) // the address stays taken, and there is nobody to tell
}

func (f *fixture) user(t testing.TB, login string) authn.User {
	t.Helper()
	u, err := f.UserByLogin(ctx, login)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRegistrationClosedMeanwhile: who asked for an account before gets none
// after, and the link is good again once it is open again.
func TestRegistrationClosedMeanwhile(t *testing.T) {
	st := newStore(t)
	m := newMailingOn(t, st, required)
	m.register(t, "ada", password, here)
	token := m.token(t, "verify_registration", adaMail)
	closed := newMailingOn(t, st, func(d *authn.Deps) {
		required(d)
		d.Config.Accounts.Registration = "closed"
	})
	for _, shown := range []authn.Secret{"", password} {
		if _, err := closed.VerifyEmail(ctx, token, shown, here); !errors.Is(err, authn.ErrRegistrationClosed) {
			t.Errorf("confirmed after it was closed: %v, want ErrRegistrationClosed", err)
		}
	}
	if _, err := closed.UserByLogin(ctx, adaMail); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("there is an account: %v", err)
	}
	if _, err := m.VerifyEmail(ctx, token, password, here); err != nil {
		t.Errorf("open again: %v", err)
	}
}

// TestNamesTakenMeanwhile: who proves an address second is told what is taken,
// and has nothing of somebody else's.
func TestNamesTakenMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		other authn.NewUser
		want  error
	}{
		"address":  {authn.NewUser{Email: adaMail, Password: password}, authn.ErrEmailTaken},
		"username": {authn.NewUser{Username: "ADA", Password: password}, authn.ErrUsernameTaken},
	} {
		m := newMailing(t, required)
		if _, err := m.Register(ctx, authn.Registration{Email: adaMail, Username: "ada", Password: password}, here); err != nil {
			t.Fatal(err)
		}
		token := m.token(t, "verify_registration", adaMail)
		if _, _, err := m.CreateUser(ctx, c.other, cli); err != nil {
			t.Fatal(err)
		}
		if _, err := m.VerifyEmail(ctx, token, "", here); !errors.Is(err, c.want) {
			t.Errorf("%s taken meanwhile: %v, want %v", name, err, c.want)
		}
	}
}

func TestResendVerification(t *testing.T) {
	t.Run("of an account", func(t *testing.T) {
		m := newMailing(t, nil)
		if _, err := m.Register(ctx, authn.Registration{Email: adaMail, Password: password}, here); err != nil {
			t.Fatal(err)
		}
		old := m.token(t, "verify_email", adaMail)
		if err := m.ResendVerification(ctx, " ADA@example.com", here); err != nil {
			t.Fatal(err)
		}
		token := m.token(t, "verify_email", adaMail)
		if _, err := m.VerifyEmail(ctx, old, "", here); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("the older link: %v, want ErrTicketInvalid", err)
		}
		if u, err := m.VerifyEmail(ctx, token, "", here); err != nil || !u.EmailVerified {
			t.Errorf("the newer link: %+v, %v", u, err)
		}
		if err := m.ResendVerification(ctx, adaMail, here); err != nil {
			t.Fatal(err)
		}
		m.wantMails(t) // it is verified
	})
	t.Run("of a registration", func(t *testing.T) {
		m := newMailing(t, required)
		if _, err := m.Register(ctx, authn.Registration{Email: adaMail, Username: "ada", Password: password}, here); err != nil {
			t.Fatal(err)
		}
		old := m.token(t, "verify_registration", adaMail)
		if err := m.ResendVerification(ctx, adaMail, here); err != nil {
			t.Fatal(err)
		}
		token := m.token(t, "verify_registration", adaMail)
		if _, err := m.VerifyEmail(ctx, old, "", here); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("the older link: %v, want ErrTicketInvalid", err)
		}
		if _, err := m.VerifyEmail(ctx, token, "", here); err != nil {
			t.Fatal(err)
		}
		if err := m.login("ada", password); err != nil {
			t.Errorf("sign-in with the password of the registration: %v", err)
		}
	})
	t.Run("of nobody", func(t *testing.T) {
		m := newMailing(t, nil)
		disabled := m.newUser(t, "bob")
		m.put(t, disabled, func(u *authn.User) { u.EmailVerified, u.Active = false, false })
		for _, email := range []string{"nobody@example.com", "bob@example.com"} {
			if err := m.ResendVerification(ctx, email, here); err != nil {
				t.Errorf("%s: %v", email, err)
			}
		}
		m.wantMails(t)
		if got := m.outboxLen(t); got != 0 {
			t.Errorf("%d records left in the outbox", got)
		}
		if err := m.ResendVerification(ctx, "ada", here); codes(err) != "email format" {
			t.Errorf("no address: %v, want email format", err)
		}
	})
}
