package authn_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var errBusy = errors.New("451 try again later")

// TestBackoff: a mail that cannot be sent is tried after 1, 2, 4 ... minutes,
// then hourly, for a day, and is then given up for everyone to see.
func TestBackoff(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.box.answer(errBusy)
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	if _, err := m.SetPassword(ctx, u.ID, nextPassword, cli); err != nil { // voids the reset, sends a notice
		t.Fatal(err)
	}
	var gaps []time.Duration
	last := start
	for range 100 {
		next, err := m.DeliverDue(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if next.IsZero() {
			break
		}
		tries := m.box.attempts()
		m.set(next.Add(-1))
		if _, err := m.DeliverDue(ctx); err != nil || m.box.attempts() != tries {
			t.Fatalf("tried before its time, %v", err)
		}
		gaps = append(gaps, next.Sub(last))
		m.set(next)
		last = next
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32}
	for range 22 {
		want = append(want, 60)
	}
	want = append(want, 57) // the rest of the day
	for i := range want {
		want[i] *= time.Minute
	}
	if !slices.Equal(gaps, want) {
		t.Errorf("gaps %v, want %v", gaps, want)
	}
	m.mustBeGivenUp(t, u.ID, "password_changed", "expired")
	if m.outboxLen(t) != 0 {
		t.Error("it is still in the outbox")
	}
}

func (m mailing) mustBeGivenUp(t testing.TB, user, kind, reason string) {
	t.Helper()
	list, err := m.Events(ctx, authn.EventQuery{Kind: authn.MailGivenUp, Limit: 10})
	if err != nil || len(list) != 1 || list[0].Subject != user || list[0].Detail["mail"] != kind || list[0].Detail["reason"] != reason {
		t.Errorf("events %+v, %v; want one for %s, %s, of %s", list, err, kind, reason, user)
	}
	if got := m.count(authn.MetricMails, "given_up"); got != 1 {
		t.Errorf("%v counted as given up, want 1", got)
	}
}

// TestResetIsGivenUpWithItsTicket: an hour after it was asked for nobody needs
// it any more.
func TestResetIsGivenUpWithItsTicket(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.box.answer(errBusy)
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t)
	m.advance(time.Hour)
	m.box.answer(nil)
	m.wantMails(t)
	m.mustBeGivenUp(t, u.ID, "reset_password", "expired")
}

// TestPermanentRefusal is the end of a mail at once.
func TestPermanentRefusal(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.box.answer(fmt.Errorf("smtp: %w", authn.PermanentFailure(errors.New("550 no such mailbox"))))
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t)
	m.mustBeGivenUp(t, u.ID, "reset_password", "refused")
	if m.outboxLen(t) != 0 || m.box.attempts() != 1 {
		t.Errorf("%d in the outbox after %d attempts, want 0 after 1", m.outboxLen(t), m.box.attempts())
	}
}

// TestSentAgain: a mail that is tried again is the same mail with another
// token, and the tokens sent before still work: nobody knows what arrived.
func TestSentAgain(t *testing.T) {
	m := newMailing(t, nil)
	var letters []authn.Letter
	m.box.refuse = func(l authn.Letter) error {
		letters = append(letters, l)
		if len(letters) < 6 {
			return errBusy
		}
		return nil
	}
	if _, _, err := m.CreateUser(ctx, authn.NewUser{Email: adaMail, Name: "Ada"}, cli); err != nil {
		t.Fatal(err)
	}
	for {
		next, err := m.DeliverDue(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if next.IsZero() {
			break
		}
		m.set(next)
	}
	if len(letters) != 6 {
		t.Fatalf("%d attempts, want 6", len(letters))
	}
	for n, l := range letters {
		if l.ID != letters[0].ID || l.Login != adaMail || n > 0 && l.Token == letters[n-1].Token {
			t.Errorf("attempt %d: %+v, want the same mail with a token of its own", n, l)
		}
		want := error(nil)
		if n < 2 { // only the last four are kept
			want = authn.ErrTicketInvalid
		}
		// A password too short does not use the ticket up.
		if err := m.ResetPassword(ctx, l.Token, "x", here); want != nil && !errors.Is(err, want) || want == nil && codes(err) == "" {
			t.Errorf("the link of attempt %d: %v, want %v", n, err, want)
		}
	}
	if got := letters[5].ExpiresAt; !got.Equal(m.at().Add(24 * time.Hour)) {
		t.Errorf("sent at %v, good until %v; want a day", m.at(), got)
	}
	if err := m.ResetPassword(ctx, letters[2].Token, nextPassword, here); err != nil {
		t.Fatal(err)
	}
	if err := m.ResetPassword(ctx, letters[5].Token, nextPassword, here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("another link of the same mail, after the first was used: %v, want ErrTicketInvalid", err)
	}
}

// TestReplacedMailIsNotSent: what waits for a mail server that is down has come
// to nothing when a newer one was asked for.
func TestReplacedMailIsNotSent(t *testing.T) {
	m := newMailing(t, nil)
	m.newUser(t, "ada")
	m.box.answer(errBusy)
	for range 2 {
		if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
			t.Fatal(err)
		}
		m.wantMails(t)
	}
	m.box.answer(nil)
	m.advance(10 * time.Minute)
	token := m.token(t, "reset_password", adaMail)
	if err := m.ResetPassword(ctx, token, nextPassword, here); err != nil {
		t.Error(err)
	}
}

func TestOutboxOutlivesARestart(t *testing.T) {
	st := newStore(t)
	m := newMailingOn(t, st, nil)
	m.newUser(t, "ada")
	m.box.answer(errBusy)
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t)
	release := m.HoldPostman()
	if err := m.ResendVerification(ctx, adaMail, here); err != nil { // not looked at yet
		t.Fatal(err)
	}
	m.Stop()
	release()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := newMailingOn(t, st, nil)
	again.wantMails(t) // the reset has to wait, and the address is verified
	again.advance(time.Minute)
	if err := again.ResetPassword(ctx, again.token(t, "reset_password", adaMail), nextPassword, here); err != nil {
		t.Error(err)
	}
}

// TestNotSentAfterAnAcknowledgement: a mail that was taken but could not be
// crossed off is crossed off later, and not sent twice.
func TestNotSentAfterAnAcknowledgement(t *testing.T) {
	st := &brokenStore{Store: newStore(t)}
	m := newMailingOn(t, st, nil)
	m.newUser(t, "ada")
	m.box.refuse = func(authn.Letter) error { st.writes.Store(true); return nil }
	release := m.HoldPostman()
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	release()
	for range 2 {
		m.advance(time.Hour / 4)
		_, _ = m.DeliverDue(ctx) // this or the postman's own round meets the full disk
		if m.box.attempts() != 1 || m.outboxLen(t) != 1 {
			t.Fatalf("%d attempts, %d in the outbox; want 1 and 1", m.box.attempts(), m.outboxLen(t))
		}
	}
	st.writes.Store(false)
	if _, err := m.DeliverDue(ctx); err != nil {
		t.Fatal(err)
	}
	if m.box.attempts() != 1 || m.outboxLen(t) != 0 {
		t.Errorf("%d attempts, %d in the outbox; want 1 and 0", m.box.attempts(), m.outboxLen(t))
	}
}

// TestPostmanComesByHimself, and nobody waits for him.
func TestPostmanComesByHimself(t *testing.T) {
	m := newMailing(t, nil)
	m.newUser(t, "ada")
	came, goOn := make(chan struct{}, 10), make(chan struct{})
	m.box.refuse = func(authn.Letter) error { came <- struct{}{}; <-goOn; return nil }
	for range 3 {
		if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the postman", came)
	close(goOn)
	wait(t, "the postman", came)
	wait(t, "the postman", came)
}

// TestMailLimit: one address gets so many mails, whoever asks, and hears of
// what happens to its account all the same.
func TestMailLimit(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) { d.Config.Mail.Limit = authn.MailLimit{N: 3, Per: time.Hour} })
	u := m.newUser(t, "ada")
	m.newUser(t, "bob")
	for n := range 6 {
		if err := m.ForgotPassword(ctx, []string{adaMail, "ADA@example.com"}[n%2], client(fmt.Sprintf("192.0.2.%d", n))); err != nil {
			t.Fatalf("request %d: %v, want nothing said", n, err)
		}
		want := []string{"reset_password " + adaMail}
		if n >= 3 {
			want = nil
		}
		m.wantMails(t, want...)
	}
	for _, email := range []string{"bob@example.com", "nobody@example.com"} {
		if err := m.ForgotPassword(ctx, email, here); err != nil {
			t.Fatal(err)
		}
	}
	m.wantMails(t, "reset_password bob@example.com")
	if _, err := m.SetPassword(ctx, u.ID, nextPassword, cli); err != nil {
		t.Fatal(err)
	}
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "password_changed "+adaMail, "reset_password "+adaMail)
	m.advance(20 * time.Minute)
	for range 2 {
		if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
			t.Fatal(err)
		}
	}
	m.wantMails(t, "reset_password "+adaMail) // one has drained
	m.SetMailLimit(authn.MailLimit{})
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "reset_password "+adaMail)
}

// TestMovingIsNoWayToFloodAMailbox: anybody with an account can name anybody's
// address as the one to move to.
func TestMovingIsNoWayToFloodAMailbox(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) { d.Config.Mail.Limit = authn.MailLimit{N: 3, Per: time.Hour} })
	m.newUser(t, "eve")
	id := m.identify(t, m.signIn(t, "eve", authn.ModeToken))
	got := 0
	for range 6 {
		if err := m.ChangeEmail(ctx, id, password, "victim@example.com", here); err != nil {
			t.Fatal(err)
		}
		for _, l := range m.arrived(t) {
			if l.To == "victim@example.com" {
				got++
			}
		}
	}
	if got != 3 {
		t.Errorf("%d mails came, want 3", got)
	}
}

// TestAnAddressNobodyProvedIsNotFlooded: whoever gives a stranger's address for
// theirs can have it written to in many ways, and each has its limit.
func TestAnAddressNobodyProvedIsNotFlooded(t *testing.T) {
	const victim = "victim@example.com"
	again := func(f func(m mailing, n int) error) func(m mailing) error {
		return func(m mailing) error {
			for n := range 6 {
				if err := f(m, n); err != nil {
					return err
				}
			}
			return nil
		}
	}
	passwords := []authn.Secret{password, nextPassword}
	for kind, did := range map[string]func(m mailing) error{
		"verify_email": again(func(m mailing, _ int) error { return m.ResendVerification(ctx, victim, here) }), // after the one of the registration
		"email_changed": again(func(m mailing, n int) error {
			id := m.identify(t, m.signIn(t, "eve", authn.ModeToken))
			return m.ChangeEmail(ctx, id, password, fmt.Sprintf("other%d@example.com", n), here)
		}),
		"password_changed": again(func(m mailing, n int) error {
			in, err := m.Login(ctx, authn.LoginAttempt{Login: "eve", Password: passwords[n%2]}, here)
			if err != nil {
				return err
			}
			return m.ChangePassword(ctx, m.identify(t, in), passwords[n%2], passwords[(n+1)%2], here)
		}),
	} {
		t.Run(kind, func(t *testing.T) {
			m := newMailing(t, func(d *authn.Deps) { d.Config.Mail.Limit = authn.MailLimit{N: 3, Per: time.Hour} })
			if _, err := m.Register(ctx, authn.Registration{Username: "eve", Email: victim, Password: password}, here); err != nil {
				t.Fatal(err)
			}
			if err := did(m); err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, l := range m.arrived(t) {
				if l.To == victim && string(l.Kind) == kind {
					got++
				}
			}
			if got != 3 {
				t.Errorf("%d mails came, want 3", got)
			}
		})
	}
}

// TestMailLimitStarvesNobody: what comes to nothing does not count, nor what is
// of another kind; and a mail that is too many leaves the link before it good.
func TestMailLimitStarvesNobody(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) { d.Config.Mail.Limit = authn.MailLimit{N: 1, Per: time.Hour} })
	m.newUser(t, "ada")
	for range 3 { // a stranger
		if err := m.ResendVerification(ctx, adaMail, stranger); err != nil {
			t.Fatal(err)
		}
	}
	m.wantMails(t) // the address is proven
	if _, err := m.Register(ctx, authn.Registration{Email: "eve@example.com", Password: password}, stranger); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t, "verify_email eve@example.com")
	for _, email := range []string{adaMail, "eve@example.com"} {
		if err := m.ForgotPassword(ctx, email, here); err != nil {
			t.Fatal(err)
		}
		token := m.token(t, "reset_password", email)
		if err := m.ForgotPassword(ctx, email, stranger); err != nil {
			t.Fatal(err)
		}
		m.wantMails(t)
		if err := m.ResetPassword(ctx, token, nextPassword, here); err != nil {
			t.Errorf("%s: the link that was mailed: %v, want it to be good", email, err)
		}
		m.arrived(t)
	}
}

// TestMailLimitIsBounded, and strangers do not push out a count that is full.
func TestMailLimitIsBounded(t *testing.T) {
	m := newMailing(t, func(d *authn.Deps) { d.Config.Mail.Limit = authn.MailLimit{N: 3, Per: time.Hour} })
	m.newUser(t, "ada")
	for range 3 {
		if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
			t.Fatal(err)
		}
	}
	m.arrived(t)
	if got := m.FillMailLimit(200_000, m.at()); got != authn.MaxCounters {
		t.Errorf("%d addresses counted, want %d", got, authn.MaxCounters)
	}
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	m.wantMails(t)
}

// TestMailTurnedOff: what waits from a time when there was mail does not lie in
// the store for ever.
func TestMailTurnedOff(t *testing.T) {
	st := newStore(t)
	m := newMailingOn(t, st, nil)
	u := m.newUser(t, "ada")
	m.box.answer(errBusy)
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	m.arrived(t)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	off := mailing{newServiceOn(t, st, nil), m.box}
	if err := off.Sweep(ctx, start.Add(time.Hour-1)); err != nil || off.outboxLen(t) != 1 {
		t.Errorf("a moment before its end: %d wait, %v; want 1", off.outboxLen(t), err)
	}
	if err := off.Sweep(ctx, start.Add(time.Hour)); err != nil || off.outboxLen(t) != 0 {
		t.Errorf("at its end: %d wait, %v; want 0", off.outboxLen(t), err)
	}
	off.mustBeGivenUp(t, u.ID, "reset_password", "expired")
}

// TestMailMetrics: how much waits, and what became of the rest.
func TestMailMetrics(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.box.answer(errBusy)
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	m.arrived(t)
	m.box.answer(nil)
	m.advance(time.Minute)
	m.arrived(t)
	for label, want := range map[string]float64{"sent": 1, "failed": 1, "given_up": 0} {
		if got := m.count(authn.MetricMails, label); got != want {
			t.Errorf("%v counted as %s, want %v", got, label, want)
		}
	}
	if m.count(authn.MetricMailQueue, "") == 0 {
		t.Error("the length of the queue was never told")
	}
}
