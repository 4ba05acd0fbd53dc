package authn_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// slowServer takes as long over a letter as the test wants.
type slowServer struct{ began chan underWay }

// underWay is a letter the server is being told; what is sent to end is its
// answer.
type underWay struct {
	authn.Letter
	end chan error
}

func (s slowServer) Deliver(ctx context.Context, l authn.Letter) error {
	w := underWay{l, make(chan error, 1)}
	s.began <- w
	select {
	case err := <-w.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next waits for the next letter to be under way.
func (s slowServer) next(t testing.TB) underWay {
	t.Helper()
	select {
	case w := <-s.began:
		return w
	case <-time.After(patience):
		t.Fatal("no other letter is under way")
		return underWay{}
	}
}

// none fails the test if there was another letter.
func (s slowServer) none(t testing.TB) {
	t.Helper()
	select {
	case w := <-s.began:
		t.Fatalf("there is another letter under way: %s to %s, asked for at %v", w.Kind, w.To, w.When)
	default:
	}
}

// newSlowMailing is a service with users of these names and a slow server.
func newSlowMailing(t testing.TB, later bool, names ...string) (mailing, slowServer) {
	t.Helper()
	slow := slowServer{make(chan underWay, 100)}
	m := newMailing(t, func(d *authn.Deps) { d.Mail, d.MailLater = slow, later })
	m.SetPatience(time.Millisecond)
	for _, name := range names {
		m.newUser(t, name)
	}
	return m, slow
}

// ask has a reset mailed to each, one a second.
func (m mailing) ask(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := m.ForgotPassword(ctx, name+"@example.com", here); err != nil {
			t.Fatal(err)
		}
		m.advance(time.Second)
	}
}

// crowd is as many names as there may be letters under way.
func crowd() (names []string) {
	for n := range authn.MaxFlights {
		names = append(names, fmt.Sprintf("person%d", n))
	}
	return names
}

// TestSlowRecipientsHoldUpNobody, up to one less than all places there are.
func TestSlowRecipientsHoldUpNobody(t *testing.T) {
	names := crowd()
	m, slow := newSlowMailing(t, false, append(names, "ada", "bob")...)
	m.ask(t, names[1:]...)
	for range names[1:] {
		slow.next(t)
	}
	for _, name := range []string{"ada", "bob", "ada"} {
		m.ask(t, name)
		w := slow.next(t)
		if w.To != name+"@example.com" {
			t.Fatalf("a letter to %s, want %s", w.To, name)
		}
		w.end <- nil
	}
}

// TestAFullHouse: there are so many letters under way and no more, the next
// takes the first place there is, and who waits for one notices the end.
func TestAFullHouse(t *testing.T) {
	names := crowd()
	m, slow := newSlowMailing(t, true, append(names, "ada", "bob")...)
	m.ask(t, append(names, "ada", "bob")...)
	m.SendMails()
	var first underWay
	for range names {
		first = slow.next(t)
	}
	slow.none(t)
	first.end <- nil
	if w := slow.next(t); w.To != adaMail {
		t.Fatalf("the next is to %s, want %s", w.To, adaMail)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); m.Close() }()
	wait(t, "Close", closed)
	slow.none(t)
	if got := m.outboxLen(t); got != len(names)+1 {
		t.Errorf("%d in the outbox, want those that were not taken, and the one that was never under way", got)
	}
	err := m.Store.View(ctx, func(tx authn.Tx) error {
		waiting, _, err := tx.Outbox(1)
		if err == nil && (waiting[0].Email != "bob@example.com" || waiting[0].Attempts != 0) {
			t.Errorf("ahead is %+v, want the one that was never tried", waiting[0])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestNotSentTwiceAtOnce: a letter that is under way for longer than it should
// be is not sent again beside itself, nor given up.
func TestNotSentTwiceAtOnce(t *testing.T) {
	m, slow := newSlowMailing(t, false, "ada")
	m.ask(t, "ada")
	w := slow.next(t)
	for _, passed := range []time.Duration{2 * time.Minute, 2 * time.Hour} { // its next turn, its end
		m.advance(passed)
		if err := m.LookIntoOutbox(ctx); err != nil {
			t.Fatal(err)
		}
		slow.none(t)
	}
	w.end <- nil
	if _, err := m.DeliverDue(ctx); err != nil {
		t.Fatal(err)
	}
	slow.none(t)
	if sent, lost := m.count(authn.MetricMails, "sent"), m.count(authn.MetricMails, "given_up"); m.outboxLen(t) != 0 || sent != 1 || lost != 0 {
		t.Errorf("%d in the outbox, %v sent, %v given up; want 0, 1 and 0", m.outboxLen(t), sent, lost)
	}
}

// TestLettersToOneAddressComeInOrder: the newest link is the one that works, and
// comes last, however long those before it take.
func TestLettersToOneAddressComeInOrder(t *testing.T) {
	names := crowd()[1:]
	m, slow := newSlowMailing(t, true, append(names, "ada", "bob")...)
	m.ask(t, "ada")
	m.ask(t, names...)
	m.ask(t, "ada", "bob", "ada")
	m.SendMails()
	first, others := underWay{}, []underWay{}
	for range authn.MaxFlights {
		if w := slow.next(t); w.To == adaMail {
			first = w
		} else {
			others = append(others, w)
		}
	}
	if len(others) != len(names) {
		t.Fatalf("%d letters to others are under way, want %d", len(others), len(names))
	}
	first.end <- nil
	// bob has waited for this place, and the older of the other two for bob.
	if w := slow.next(t); w.To != "bob@example.com" {
		t.Fatalf("next is %s, want bob", w.To)
	}
	others[0].end <- nil
	second := slow.next(t)
	others[1].end <- nil
	if err := m.CheckReset(ctx, second.Token); err != nil {
		t.Errorf("the link of the second while it is under way: %v", err)
	}
	if err := m.LookIntoOutbox(ctx); err != nil {
		t.Fatal(err)
	}
	slow.none(t)
	second.end <- errors.New("it may have arrived, or not")
	third := slow.next(t)
	if second.To != adaMail || third.To != adaMail || !second.When.After(first.When) || !third.When.After(second.When) {
		t.Errorf("letters to ada asked for at %v, %v, %v; want them in order", first.When, second.When, third.When)
	}
	third.end <- nil
	for n, l := range []underWay{first, second, third} {
		if err := m.CheckReset(ctx, l.Token); (err == nil) != (n == 2) {
			t.Errorf("the link of letter %d: %v, want only the last to work", n+1, err)
		}
	}
}

// TestCloseWaitsForTheLettersUnderWay and notes that they were taken.
func TestCloseWaitsForTheLettersUnderWay(t *testing.T) {
	m, slow := newSlowMailing(t, false, "ada", "bob", "cyd")
	m.SetPatience(patience)
	m.ask(t, "ada", "bob", "cyd")
	letters := []underWay{slow.next(t), slow.next(t), slow.next(t)}
	m.Stop()
	for _, w := range letters {
		w.end <- nil
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if got := m.outboxLen(t); got != 0 {
		t.Errorf("%d in the outbox: they would be sent again", got)
	}
}

// TestCloseDoesNotWaitForever: a mail server that hangs holds nobody up.
func TestCloseDoesNotWaitForever(t *testing.T) {
	m, slow := newSlowMailing(t, false, "ada", "bob")
	m.ask(t, "ada", "bob")
	slow.next(t)
	slow.next(t)
	closed := make(chan struct{})
	go func() { defer close(closed); m.Close() }()
	wait(t, "Close", closed)
	if got := m.outboxLen(t); got != 2 {
		t.Errorf("%d in the outbox, want the letters that were not taken", got)
	}
}
