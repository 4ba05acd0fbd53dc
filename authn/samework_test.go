package authn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// counted marks the calls that countingStore notes: what goes on in the
// background meanwhile is nobody's work.
var counted = context.WithValue(context.Background(), countedKey{}, true)

type countedKey struct{}

// countingStore is a real store that notes every call under counted, and in a
// transaction every lookup of a person and every write.
type countingStore struct {
	authn.Store
	mu    sync.Mutex
	calls []string
}

func (s *countingStore) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// take returns what was called since the last time.
func (s *countingStore) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := strings.Join(s.calls, " ")
	s.calls = nil
	return got
}

func (s *countingStore) View(ctx context.Context, fn func(authn.Tx) error) error {
	if ctx.Value(countedKey{}) == nil {
		return s.Store.View(ctx, fn)
	}
	return s.Store.View(ctx, func(tx authn.Tx) error { s.note("View"); return fn(countingTx{tx, s}) })
}

func (s *countingStore) Update(ctx context.Context, fn func(authn.Tx) error) error {
	if ctx.Value(countedKey{}) == nil {
		return s.Store.Update(ctx, fn)
	}
	return s.Store.Update(ctx, func(tx authn.Tx) error { s.note("Update"); return fn(countingTx{tx, s}) })
}

type countingTx struct {
	authn.Tx
	s *countingStore
}

func (t countingTx) User(id string) (authn.User, error) { t.s.note("User"); return t.Tx.User(id) }
func (t countingTx) UserByEmail(email string) (authn.User, error) {
	t.s.note("UserByEmail")
	return t.Tx.UserByEmail(email)
}
func (t countingTx) UserByUsername(name string) (authn.User, error) {
	t.s.note("UserByUsername")
	return t.Tx.UserByUsername(name)
}
func (t countingTx) NamesFree(name, email string) error {
	t.s.note(fmt.Sprintf("NamesFree(%q)", email)) // of a username anybody may know
	return t.Tx.NamesFree(name, email)
}
func (t countingTx) PutUser(u authn.User) error { t.s.note("PutUser"); return t.Tx.PutUser(u) }
func (t countingTx) PutOutgoing(o authn.Outgoing) error {
	t.s.note("PutOutgoing")
	return t.Tx.PutOutgoing(o)
}
func (t countingTx) Ticket(id string) (authn.Ticket, error) {
	t.s.note("Ticket")
	return t.Tx.Ticket(id)
}
func (t countingTx) TicketsOf(subject string) ([]authn.Ticket, error) {
	t.s.note("TicketsOf")
	return t.Tx.TicketsOf(subject)
}
func (t countingTx) PutTicket(k authn.Ticket) error { t.s.note("PutTicket"); return t.Tx.PutTicket(k) }
func (t countingTx) PutCounter(c authn.Counter) error {
	t.s.note("PutCounter")
	return t.Tx.PutCounter(c)
}
func (t countingTx) AddEvent(e authn.Event, expires time.Time) error {
	t.s.note("AddEvent")
	return t.Tx.AddEvent(e, expires)
}

// TestSameWorkForEveryAddress is the enumeration row for what is asked for by
// address: the answer, the hashes and their cost, every operation of the store
// and the length of the outbox are the same, whoever has the address.
func TestSameWorkForEveryAddress(t *testing.T) {
	st := &countingStore{Store: newStore(t)}
	m := newMailingOn(t, st, func(d *authn.Deps) {
		required(d)
		d.Config.Mail.Limit = authn.MailLimit{N: 3, Per: time.Hour}
	})
	for _, name := range []string{"known", "unverified", "disabled", "locked", "nopassword", "deleted", "bombed"} {
		u := m.newUser(t, name)
		m.put(t, u, func(u *authn.User) {
			u.EmailVerified, u.Active = name != "unverified", name != "disabled"
			if name == "nopassword" {
				u.PasswordHash = ""
			}
		})
		if name == "deleted" {
			if err := m.DeleteUser(ctx, u.ID, cli); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 6 {
		_ = m.login("locked", "nonsense")
		if err := m.ForgotPassword(ctx, "bombed@example.com", here); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Register(ctx, authn.Registration{Email: "pending@example.com", Password: password}, here); err != nil {
		t.Fatal(err)
	}
	m.arrived(t)
	defer m.HoldPostman()()

	cases := []string{"unknown", "known", "unverified", "disabled", "locked", "nopassword", "deleted", "bombed", "pending"}
	for _, op := range []struct {
		name   string
		do     func(email string) error
		hashes int
		calls  string
	}{
		{"forgot", func(email string) error { return m.ForgotPassword(counted, email, here) }, 0, "Update PutOutgoing"},
		{"resend", func(email string) error { return m.ResendVerification(counted, email, here) }, 0, "Update PutOutgoing"},
		{"register", func(email string) error {
			in, err := m.Register(counted, authn.Registration{Email: email, Username: "new", Password: nextPassword}, here)
			if err == nil && !in.Pending {
				err = fmt.Errorf("signed in as %+v", in.User)
			}
			return err
		}, 1, `View NamesFree("") Update NamesFree("") PutOutgoing`},
	} {
		var first string
		for _, who := range cases {
			hashes, work, mails := m.hashes(), m.HashWork(), m.outboxLen(t)
			err := op.do(who + "@example.com")
			calls := st.take()
			got := fmt.Sprintf("%v, %d hashes of %d, %d mails, %s", err, m.hashes()-hashes, m.HashWork()-work, m.outboxLen(t)-mails, calls)
			if first == "" {
				first = got
			}
			if got != first || err != nil || m.hashes()-hashes != op.hashes || calls != op.calls {
				t.Errorf("%s for %s: %s\nwant like unknown: %s", op.name, who, got, first)
			}
		}
	}
	// And the records that wait differ in nothing but the address.
	var waiting []authn.Outgoing
	err := m.Store.View(ctx, func(tx authn.Tx) (err error) { waiting, _, err = tx.Outbox(100); return err })
	if err != nil || len(waiting) != 3*len(cases) {
		t.Fatalf("%d mails wait, %v; want %d", len(waiting), err, 3*len(cases))
	}
	slices.SortFunc(waiting, func(a, b authn.Outgoing) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	for _, o := range waiting {
		if o.User != "" || o.Ticket != "" || !o.Limited || o.Attempts != 0 {
			t.Errorf("mail %+v tells who has the address", o)
		}
	}
}

// TestSameWorkForANewAddress: whoever has the address someone wants to move to.
func TestSameWorkForANewAddress(t *testing.T) {
	st := &countingStore{Store: newStore(t)}
	m := newMailingOn(t, st, nil)
	m.newUser(t, "ada")
	m.newUser(t, "bob")
	id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
	defer m.HoldPostman()()
	var free string
	for _, email := range []string{"free@example.com", "bob@example.com"} {
		before, work, mails := m.hashes(), m.HashWork(), m.outboxLen(t)
		err := m.ChangeEmail(counted, id, password, email, here)
		calls := st.take()
		got := fmt.Sprintf("%v, %d hashes of %d, %d mails, %s", err, m.hashes()-before, m.HashWork()-work, m.outboxLen(t)-mails, calls)
		if free == "" {
			free = got
		}
		if err != nil || got != free {
			t.Errorf("to %s: %s\nwant %s", email, got, free)
		}
		// What the first left behind is the second's to void; start alike.
		if err := m.Store.Update(ctx, func(tx authn.Tx) error {
			held, err := tx.TicketsOf(id.User.ID)
			for _, k := range held {
				err = errors.Join(err, tx.DeleteTicket(k.ID))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(free, "1 hashes") || !strings.Contains(free, "2 mails") || !strings.Contains(free, "PutTicket") {
		t.Errorf("a free address: %s, want one hash and two mails", free)
	}
}

// TestTakenUsernameIsTold also where addresses must be proven, and a name that is
// somebody's username; without a hash, whoever has the address.
func TestTakenUsernameIsTold(t *testing.T) {
	m := newMailing(t, required)
	m.newUser(t, "ada")
	before := m.hashes()
	for _, email := range []string{adaMail, "free@example.com"} {
		_, err := m.Register(ctx, authn.Registration{Email: email, Username: "ADA", Password: nextPassword}, here)
		if !errors.Is(err, authn.ErrUsernameTaken) {
			t.Errorf("%s: %v, want the username taken, whoever has the address", email, err)
		}
		_, err = m.Register(ctx, authn.Registration{Email: email, Name: "Ada", Password: nextPassword}, here)
		var input *authn.InputError
		if !errors.As(err, &input) || input.Fields[0].Field != "name" || input.Fields[0].Code != "taken" {
			t.Errorf("%s: %v, want the name taken, whoever has the address", email, err)
		}
	}
	if got := m.hashes() - before; got != 0 {
		t.Errorf("%d hashes, want none", got)
	}
	m.wantMails(t)
}
