package authn_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/doorward/doorward/authn"
)

// mailbox is where the letters of a test arrive.
type mailbox struct {
	mu      sync.Mutex
	letters []authn.Letter
	tries   int
	refuse  func(authn.Letter) error // nil: everything is taken
}

func (m *mailbox) Deliver(_ context.Context, l authn.Letter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.refuse != nil {
		if err := m.refuse(l); err != nil {
			return err
		}
	}
	m.letters = append(m.letters, l)
	return nil
}

func (m *mailbox) answer(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = func(authn.Letter) error { return err }
}

func (m *mailbox) attempts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tries
}

// mailing is a service that can send mails.
type mailing struct {
	*fixture
	box *mailbox
}

func newMailing(t testing.TB, change func(*authn.Deps)) mailing {
	t.Helper()
	return newMailingOn(t, newStore(t), change)
}

func newMailingOn(t testing.TB, st authn.Store, change func(*authn.Deps)) mailing {
	t.Helper()
	box := &mailbox{}
	f := newServiceOn(t, st, func(d *authn.Deps) {
		d.Mail, d.Config.Mail.Configured = box, true
		if change != nil {
			change(d)
		}
	})
	return mailing{f, box}
}

func required(d *authn.Deps) { d.Config.Accounts.EmailVerification = "required" }

// arrived works the outbox off and takes what has arrived since the last time.
func (m mailing) arrived(t testing.TB) []authn.Letter {
	t.Helper()
	if _, err := m.DeliverDue(ctx); err != nil {
		t.Fatal(err)
	}
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	got := m.box.letters
	m.box.letters = nil
	return got
}

// kinds are "kind to", sorted.
func kinds(letters []authn.Letter) []string {
	var all []string
	for _, l := range letters {
		all = append(all, string(l.Kind)+" "+l.To)
	}
	slices.Sort(all)
	return all
}

// wantMails is arrived, held against "kind to" each.
func (m mailing) wantMails(t testing.TB, want ...string) []authn.Letter {
	t.Helper()
	got := m.arrived(t)
	slices.Sort(want)
	if !slices.Equal(kinds(got), want) {
		t.Fatalf("mails %q, want %q", kinds(got), want)
	}
	return got
}

// token waits for one letter of the kind and returns what is in it.
func (m mailing) token(t testing.TB, kind, to string) authn.Secret {
	t.Helper()
	return m.wantMails(t, kind+" "+to)[0].Token
}

func (m mailing) outboxLen(t testing.TB) (n int) {
	t.Helper()
	err := m.Store.View(ctx, func(tx authn.Tx) (err error) { _, n, err = tx.Outbox(1); return err })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	nextPassword authn.Secret = "another walk off a longer pier"
	adaMail                   = "ada@example.com"
)

var here = client("192.0.2.1")
