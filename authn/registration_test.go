package authn_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

const strangersPassword authn.Secret = "chosen by the stranger 77"

var stranger = client("198.51.100.7")

// register asks for an account under ada's address.
func (m mailing) register(t testing.TB, username string, p authn.Secret, c authn.Client) {
	t.Helper()
	in, err := m.Register(ctx, authn.Registration{Username: username, Email: adaMail, Password: p}, c)
	if err != nil || !in.Pending {
		t.Fatalf("%s registers: %+v, %v; want it pending", username, in, err)
	}
	m.advance(time.Second)
}

// registered is register and the letter it leads to.
func (m mailing) registered(t testing.TB, username string, p authn.Secret, c authn.Client) authn.Letter {
	t.Helper()
	m.register(t, username, p, c)
	return m.wantMails(t, "verify_registration "+adaMail)[0]
}

// usernames of the registrations that wait for ada's address, oldest first.
func (m mailing) usernames(t testing.TB) (names []string) {
	t.Helper()
	err := m.Store.View(ctx, func(tx authn.Tx) error {
		held, err := tx.TicketsOf(authn.Ticket{Email: adaMail}.Subject())
		slices.SortFunc(held, func(a, b authn.Ticket) int { return a.CreatedAt.Compare(b.CreatedAt) })
		for _, t := range held {
			names = append(names, t.Pending.Username)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestStrangerRegistersHerAddressToo, a minute after she did: her mail still
// makes her account, and his comes to nothing by it.
func TestStrangerRegistersHerAddressToo(t *testing.T) {
	m := newMailing(t, required)
	hers := m.registered(t, "ada", password, here)
	his := m.registered(t, "mallory", strangersPassword, stranger)
	if his.Username != "mallory" || his.Where != "198.51.100.7" || hers.Username != "ada" || hers.Where != "192.0.2.1" {
		t.Errorf("letters %+v and %+v, want each to say who asked, and from where", hers, his)
	}
	if u, err := m.VerifyEmail(ctx, hers.Token, "", here); err != nil || u.Username != "ada" {
		t.Fatalf("the older mail: %+v, %v; want her account", u, err)
	}
	if _, err := m.VerifyEmail(ctx, his.Token, "", here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("the stranger's, after hers: %v, want ErrTicketInvalid", err)
	}
	if err := m.login("ada", password); err != nil {
		t.Errorf("she: %v", err)
	}
	if err := m.login(adaMail, strangersPassword); !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Errorf("the stranger: %v, want ErrInvalidCredentials", err)
	}
	if left := m.usernames(t); len(left) != 0 {
		t.Errorf("registrations %q are left", left)
	}
}

// TestBlindConfirmationOfAStrangersRegistration: who gives her own password for
// it makes no account, and nothing else is used up.
func TestBlindConfirmationOfAStrangersRegistration(t *testing.T) {
	m := newMailing(t, required)
	hers := m.registered(t, "ada", password, here)
	his := m.registered(t, "mallory", strangersPassword, stranger)
	p, err := m.TicketFor(ctx, his.Token)
	if want := (authn.Purpose{Kind: authn.TicketRegistration, Account: "mallory", Password: true}); p != want || err != nil {
		t.Errorf("what the page is told: %+v, %v; want %+v", p, err, want)
	}
	if _, err := m.VerifyEmail(ctx, his.Token, password, here); codes(err) != "password incorrect" {
		t.Errorf("her password for his account: %v, want password incorrect", err)
	}
	if _, err := m.UserByLogin(ctx, adaMail); !errors.Is(err, authn.ErrNotFound) {
		t.Fatalf("there is an account: %v", err)
	}
	if got, want := m.usernames(t), []string{"ada", "mallory"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want %q", got, want)
	}
	if u, err := m.VerifyEmail(ctx, hers.Token, password, here); err != nil || u.Username != "ada" || u.PasswordHash != "" {
		t.Errorf("hers, with her password: %+v, %v", u, err)
	}
	if err := m.login("ada", password); err != nil {
		t.Error(err)
	}
}

// TestGuessingTheStrangersPassword ends with the fifth, also of a crowd; another
// mail for the same registration brings no more tries.
func TestGuessingTheStrangersPassword(t *testing.T) {
	m := newMailing(t, required)
	token := m.registered(t, "mallory", strangersPassword, stranger).Token
	for n := range 3 {
		if _, err := m.VerifyEmail(ctx, token, authn.Secret(fmt.Sprint("guess ", n)), here); codes(err) != "password incorrect" {
			t.Fatalf("guess %d: %v", n, err)
		}
	}
	if err := m.ResendVerification(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	token = m.token(t, "verify_registration", adaMail)
	before := m.hashes()
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			_, err := m.VerifyEmail(ctx, token, authn.Secret(fmt.Sprint("another ", n)), here)
			if codes(err) != "password incorrect" && !errors.Is(err, authn.ErrTicketInvalid) {
				t.Errorf("guess %d: %v", n, err)
			}
		})
	}
	all.Wait()
	if got := m.hashes() - before; got != 2 {
		t.Errorf("%d more guesses were looked at, want 2", got)
	}
	if _, err := m.VerifyEmail(ctx, token, strangersPassword, here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("the right one afterwards: %v, want ErrTicketInvalid", err)
	}
	if _, err := m.VerifyEmail(ctx, token, "", here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("none afterwards: %v, want ErrTicketInvalid", err)
	}
	if left := m.usernames(t); len(left) != 0 {
		t.Errorf("registrations %q are left", left)
	}
}

// TestConfirmingCostsNoTryThatWasNotLookedAt: what cannot be checked now, or
// could be nobody's password, counts for nothing.
func TestConfirmingCostsNoTryThatWasNotLookedAt(t *testing.T) {
	m := newMailing(t, required)
	token := m.registered(t, "ada", password, here).Token
	long := authn.Secret(make([]byte, 2000))
	release := m.HoldHashing(1000 * time.Hour)
	defer release()
	for range 6 {
		if _, err := m.VerifyEmail(ctx, token, long, here); codes(err) != "password too_long" {
			t.Fatalf("a password too long: %v", err)
		}
		var retry *authn.RetryError
		if _, err := m.VerifyEmail(ctx, token, password, here); !errors.Is(err, authn.ErrOverloaded) || !errors.As(err, &retry) {
			t.Fatalf("with a full queue: %v, want ErrOverloaded in a RetryError", err)
		}
	}
	release()
	if _, err := m.VerifyEmail(ctx, token, password, here); err != nil {
		t.Errorf("then: %v", err)
	}
}

// TestOneWinnerWithThePassword: of 20 who show the right password at once one
// makes the account.
func TestOneWinnerWithThePassword(t *testing.T) {
	m := newMailing(t, required)
	token := m.registered(t, "ada", password, here).Token
	errs := make([]error, 20)
	var all sync.WaitGroup
	for n := range errs {
		all.Go(func() { _, errs[n] = m.VerifyEmail(ctx, token, password, here) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("a loser got %v, want ErrTicketInvalid", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of 20 won, want 1", won)
	}
}

// TestConfirmingWithTheAccountsPassword: a link that proves the address of an
// account, or moves it, says whose it is and holds a password that is given
// against the account's; a few wrong ones make it void. The token alone will do.
func TestConfirmingWithTheAccountsPassword(t *testing.T) {
	m := newMailing(t, nil)
	if _, err := m.Register(ctx, authn.Registration{Username: "ada", Email: adaMail, Password: password}, here); err != nil {
		t.Fatal(err)
	}
	proof := m.token(t, "verify_email", adaMail)
	ada := m.user(t, "ada")
	move := func() authn.Secret {
		t.Helper()
		if err := m.ChangeEmail(ctx, m.identify(t, m.signIn(t, "ada", authn.ModeToken)), password, "new@example.com", here); err != nil {
			t.Fatal(err)
		}
		return m.newest(t, "verify_change", "new@example.com")
	}
	for kind, token := range map[authn.TicketKind]authn.Secret{authn.TicketVerifyEmail: proof, authn.TicketChangeEmail: move()} {
		p, err := m.TicketFor(ctx, token)
		if want := (authn.Purpose{Kind: kind, User: ada.ID, Account: "ada", Password: true}); p != want || err != nil {
			t.Errorf("%+v, %v; want %+v", p, err, want)
		}
		for range 5 {
			if _, err := m.VerifyEmail(ctx, token, nextPassword, here); codes(err) != "password incorrect" {
				t.Errorf("%s: another password: %v, want password incorrect", kind, err)
			}
		}
		if _, err := m.VerifyEmail(ctx, token, password, here); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("%s: after five: %v, want ErrTicketInvalid", kind, err)
		}
	}
	if u := m.user(t, "ada"); u.Email != adaMail || u.EmailVerified {
		t.Fatalf("%s, verified %v; want nothing to have happened", u.Email, u.EmailVerified)
	}
	if err := m.ResendVerification(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	if u, err := m.VerifyEmail(ctx, m.token(t, "verify_email", adaMail), password, here); err != nil || !u.EmailVerified {
		t.Errorf("with the password: %+v, %v", u, err)
	}
	if u, err := m.VerifyEmail(ctx, move(), "", here); err != nil || u.Email != "new@example.com" {
		t.Errorf("the token alone: %+v, %v", u, err)
	}
}

// TestConfirmingWithoutAPassword: an invited account has none to show.
func TestConfirmingWithoutAPassword(t *testing.T) {
	m := newMailing(t, nil)
	if _, _, err := m.CreateUser(ctx, authn.NewUser{Email: adaMail}, cli); err != nil {
		t.Fatal(err)
	}
	m.arrived(t)
	if err := m.ResendVerification(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	token := m.token(t, "verify_email", adaMail)
	before := m.hashes()
	if p, err := m.TicketFor(ctx, token); p.Account != adaMail || p.Password || err != nil {
		t.Errorf("%+v, %v; want no password to be asked for", p, err)
	}
	if u, err := m.VerifyEmail(ctx, token, "anything", here); err != nil || !u.EmailVerified || m.hashes() != before {
		t.Errorf("%+v, %v with %d hashes; want it proven with none", u, err, m.hashes()-before)
	}
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	for _, token := range []authn.Secret{token, m.token(t, "reset_password", adaMail), "", "x"} {
		if _, err := m.TicketFor(ctx, token); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("a token that proves no address: %v, want ErrTicketInvalid", err)
		}
	}
}

// TestFloodOfRegistrations: so many of one address wait, and who floods it
// pushes out his own and not hers.
func TestFloodOfRegistrations(t *testing.T) {
	m := newMailing(t, required)
	hers := m.registered(t, "ada", password, here)
	for n := range 8 {
		m.registered(t, fmt.Sprint("mallory", n), strangersPassword, stranger)
	}
	if got, want := m.usernames(t), []string{"ada", "mallory0", "mallory1", "mallory2", "mallory7"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want %q", got, want)
	}
	if _, err := m.VerifyEmail(ctx, hers.Token, password, here); err != nil {
		t.Errorf("hers: %v", err)
	}

	m = newMailing(t, required)
	for n := range 7 { // from everywhere
		m.registered(t, fmt.Sprint("user", n), password, client(fmt.Sprint("192.0.2.", n)))
	}
	if got, want := m.usernames(t), []string{"user0", "user1", "user2", "user3", "user6"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want the oldest and the newcomer, %q", got, want)
	}
}

// TestWithheldRegistrationsGiveWay: what limits.mail withholds pushes out no
// registration whose mail was sent, from wherever it comes, and what is mailed
// takes the place of what was withheld.
func TestWithheldRegistrationsGiveWay(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) {
		required(d)
		d.Config.Mail.Limit = authn.MailLimit{N: 2, Per: 24 * time.Hour}
	})
	hers := m.registered(t, "ada", password, here)
	m.registered(t, "bob", password, here) // of one network, that has most of them
	for n := range 6 {
		m.register(t, fmt.Sprint("mallory", n), strangersPassword, client(fmt.Sprint("198.51.100.", n)))
		m.wantMails(t)
	}
	if got, want := m.usernames(t), []string{"ada", "bob", "mallory0", "mallory1", "mallory2"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want %q", got, want)
	}
	m.SetMailLimit(authn.MailLimit{})
	m.registered(t, "ada2", password, here)
	if got, want := m.usernames(t), []string{"ada", "bob", "mallory0", "mallory1", "ada2"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want %q", got, want)
	}
	if u, err := m.VerifyEmail(ctx, hers.Token, password, here); err != nil || u.Username != "ada" {
		t.Errorf("hers: %+v, %v", u, err)
	}

	m = newMailing(t, required)
	for n := range 5 { // all of them mailed
		m.registered(t, fmt.Sprint("user", n), password, here)
	}
	m.SetMailLimit(authn.MailLimit{N: 1, Per: 24 * time.Hour})
	m.registered(t, "user5", password, here)
	m.register(t, "mallory", strangersPassword, stranger)
	m.wantMails(t)
	if got, want := m.usernames(t), []string{"user0", "user1", "user2", "user3", "user5"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want %q", got, want)
	}
}

// TestResendIsForTheNewestRegistration, but for one's own where a stranger's is
// newer, and says from where that was asked for.
func TestResendIsForTheNewestRegistration(t *testing.T) {
	m := newMailing(t, required)
	m.registered(t, "ada", password, here)
	m.registered(t, "ada2", password, here)
	his := m.registered(t, "mallory", strangersPassword, stranger)
	for _, c := range []struct{ from, username, where string }{
		{"192.0.2.1", "ada2", "192.0.2.1"},
		{"203.0.113.9", "mallory", "198.51.100.7"},
		{"198.51.100.7", "mallory", "198.51.100.7"},
	} {
		if err := m.ResendVerification(ctx, adaMail, client(c.from)); err != nil {
			t.Fatal(err)
		}
		l := m.wantMails(t, "verify_registration "+adaMail)[0]
		if l.Username != c.username || l.Where != c.where {
			t.Errorf("asked for from %s: %s from %s, want %s from %s", c.from, l.Username, l.Where, c.username, c.where)
		}
	}
	if got, want := m.usernames(t), []string{"ada", "ada2", "mallory"}; !slices.Equal(got, want) {
		t.Errorf("registrations %q, want %q", got, want)
	}
	if _, err := m.TicketFor(ctx, his.Token); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("the link before, of the same registration: %v, want ErrTicketInvalid", err)
	}
}

// TestRegistrationWhoseMailFellToTheLimit waits for its owner to ask again.
func TestRegistrationWhoseMailFellToTheLimit(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) {
		required(d)
		d.Config.Mail.Limit = authn.MailLimit{N: 1, Per: time.Hour}
	})
	m.newUser(t, "bob")
	m.registered(t, "mallory", strangersPassword, stranger)
	m.register(t, "ada", password, here)
	if _, err := m.Register(ctx, authn.Registration{Email: "bob@example.com", Password: password}, here); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Register(ctx, authn.Registration{Email: "bob@example.com", Password: password}, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "address_in_use bob@example.com")
	if m.outboxLen(t) != 0 {
		t.Errorf("%d wait to be sent, want none", m.outboxLen(t))
	}
	m.advance(time.Hour)
	if err := m.ResendVerification(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	l := m.wantMails(t, "verify_registration "+adaMail)[0]
	if u, err := m.VerifyEmail(ctx, l.Token, password, here); err != nil || u.Username != "ada" {
		t.Errorf("%+v, %v; want her account", u, err)
	}
	err := m.Store.View(ctx, func(tx authn.Tx) error {
		held, err := tx.TicketsOf(authn.Ticket{Email: "bob@example.com"}.Subject())
		if len(held) != 0 {
			t.Errorf("%d registrations wait for an address that has an owner", len(held))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNameThatBecameAUsername while the registration waited is not the
// newcomer's.
func TestNameThatBecameAUsername(t *testing.T) {
	m := newMailing(t, required)
	_, err := m.Register(ctx, authn.Registration{Email: adaMail, Username: "mallory", Name: "bob", Password: password}, stranger)
	if err != nil {
		t.Fatal(err)
	}
	token := m.token(t, "verify_registration", adaMail)
	m.newUser(t, "bob")
	if u, err := m.VerifyEmail(ctx, token, password, here); err != nil || u.Name != "" {
		t.Errorf("called %q, %v; want an account that is not called bob", u.Name, err)
	}
}
