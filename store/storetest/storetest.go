// Package storetest holds every implementation of authn.Store to each sentence
// of its comments.
//
// A backend's test is one line:
//
//	func TestStore(t *testing.T) { storetest.Run(t, openInDir) }
//
// Each subtest gets a fresh store. A subtest that fails names the sentence it
// stands for. The files are split as authn.Tx is: transactions and feeds in
// update.go and watch.go, then one file for each kind of record.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// Open returns the store kept in dir: a fresh one if dir is empty, otherwise
// the one that was closed there.
type Open func(t *testing.T, dir string) authn.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Transactions", updateTests},
		{"Watch", watchTests},
		{"Users", userTests},
		{"Listing", listTests},
		{"Sessions", sessionTests},
		{"Tickets", ticketTests},
		{"Outbox", outboxTests},
		{"Keys", keyTests},
		{"Events", eventTests},
		{"Counters", counterTests},
		{"Expired", expiryTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(t, newFixture(t, open)) })
			}
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, f *fixture)
}

// fixture is a fresh store and what a test does with it all the time.
type fixture struct {
	authn.Store
	open Open
	dir  string
}

func newFixture(t *testing.T, open Open) *fixture {
	t.Helper()
	f := &fixture{open: open, dir: t.TempDir()}
	f.Store = open(t, f.dir)
	t.Cleanup(func() { f.Store.Close() })
	return f
}

// reopen closes the store and opens what is left of it.
func (f *fixture) reopen(t *testing.T) {
	t.Helper()
	must(t, f.Store.Close())
	f.Store = f.open(t, f.dir)
}

// update runs fn and expects it to be committed.
func (f *fixture) update(t *testing.T, fn func(tx authn.Tx) error) {
	t.Helper()
	must(t, f.Update(context.Background(), fn))
}

// view runs fn and expects no error of it.
func (f *fixture) view(t *testing.T, fn func(tx authn.Tx) error) {
	t.Helper()
	must(t, f.View(context.Background(), fn))
}

// put stores records of any kind.
func (f *fixture) put(t *testing.T, records ...any) {
	t.Helper()
	f.update(t, func(tx authn.Tx) error { return put(tx, records...) })
}

func put(tx authn.Tx, records ...any) (err error) {
	for _, r := range records {
		switch r := r.(type) {
		case authn.User:
			err = errors.Join(err, tx.PutUser(r))
		case authn.Session:
			err = errors.Join(err, tx.PutSession(r))
		case authn.Ticket:
			err = errors.Join(err, tx.PutTicket(r))
		case authn.Outgoing:
			err = errors.Join(err, tx.PutOutgoing(r))
		case authn.Key:
			err = errors.Join(err, tx.PutKey(r))
		case authn.Counter:
			err = errors.Join(err, tx.PutCounter(r))
		case authn.Event:
			err = errors.Join(err, tx.AddEvent(r, r.Time.Add(time.Hour)))
		default:
			err = errors.Join(err, fmt.Errorf("no such kind of record: %T", r))
		}
	}
	return err
}

// try runs fn in an Update that is given up afterwards, and returns what
// fn returned.
func (f *fixture) try(t *testing.T, fn func(tx authn.Tx) error) (err error) {
	t.Helper()
	undo := errors.New("given up")
	got := f.Update(context.Background(), func(tx authn.Tx) error {
		err = fn(tx)
		return undo
	})
	if got != undo {
		t.Fatalf("Update: got %v, want the error of fn, %v", got, undo)
	}
	return err
}

// together runs fn in n goroutines at once and waits for them.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

// crowd is how many goroutines a read-modify-write has to bear.
const crowd = 100

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got error %v, want %v", got, want)
	}
}

// wantNotFound asks for the bare ErrNotFound: callers return it as it is.
func wantNotFound(t testing.TB, got error) {
	t.Helper()
	if got != authn.ErrNotFound {
		t.Errorf("got error %v, want authn.ErrNotFound, bare", got)
	}
}

func wantEqual(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

// at is n seconds into the time the tests play in.
func at(n int) time.Time {
	return time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC).Add(time.Duration(n) * time.Second)
}

// id is the nth identifier; later ones sort behind earlier ones.
func id(n int) string { return fmt.Sprintf("%026d", n) }

// user is the nth user, with every field set.
func user(n int) authn.User {
	return authn.User{
		ID: id(n), Username: fmt.Sprintf("User%d", n), Email: fmt.Sprintf("user%d@example.com", n), Name: fmt.Sprintf("Ursula %d", n),
		EmailVerified: true, Roles: []string{"editor", "user"}, Active: true,
		PasswordHash: "$scheme$hash",
		Networks:     []authn.KnownNetwork{{Network: "192.0.2.7", SeenAt: at(n)}, {Network: "2001:db8::/64", SeenAt: at(n + 1)}},
		CreatedAt:    at(n), UpdatedAt: at(n + 1), LastLoginAt: at(n + 2),
	}
}

// session is the nth session, with every field set.
func session(n int, user string) authn.Session {
	return authn.Session{
		ID: id(n), User: user, Mode: authn.ModeToken, ClientIP: "192.0.2.7", UserAgent: "a browser <&>",
		CreatedAt: at(n), LastUsedAt: at(n + 1), IdleEnd: at(n + 1000), End: at(n + 2000),
		CookieHash: []byte{0, 1, 0xff},
		Chain: &authn.Chain{
			TagKey: []byte("tag key"), Gen: 1<<63 + 1, CurHash: []byte("hash"),
			Links: []authn.Link{{Gen: 1, Hash: []byte("h1"), Seed: []byte("s1"), At: at(1)}, {Gen: 2, Hash: []byte("h2"), Seed: []byte("s2"), At: at(2)}},
		},
	}
}

// ticket is the nth ticket, with every field set; of a registration if user is
// empty.
func ticket(n int, user string) authn.Ticket {
	t := authn.Ticket{
		ID: id(n), Kind: authn.TicketResetPassword, User: user, Email: fmt.Sprintf("user%d@example.com", n),
		Hashes: [][]byte{{0, 1, 0xff}, []byte("second")}, CreatedAt: at(n), ExpiresAt: at(n + 3600),
	}
	if user == "" {
		t.Kind, t.Pending, t.Tries = authn.TicketRegistration, pendingUser(), 2
	}
	return t
}

func pendingUser() *authn.PendingUser {
	return &authn.PendingUser{Username: "Ursula", Name: "Ursula <&>", Email: "ursula@example.com", PasswordHash: "$scheme$hash", ClientIP: "192.0.2.7"}
}

// outgoing is the nth mail, with every field set, due at its second.
func outgoing(n int) authn.Outgoing {
	return authn.Outgoing{
		ID: id(n), Kind: authn.MailVerifyEmail, Email: fmt.Sprintf("user%d@example.com", n), User: id(n), Ticket: id(n + 1),
		Pending: pendingUser(), NewEmail: "new@example.com", Limited: true,
		ClientIP: "192.0.2.7", UserAgent: "a browser <&>", RequestID: "r",
		CreatedAt: at(0), NextAt: at(n), ExpiresAt: at(n + 3600), Attempts: 3,
	}
}

func counter(key string, count float64) authn.Counter {
	return authn.Counter{Key: key, Count: count, At: at(0), Expires: at(900)}
}

func event(n int, kind authn.Kind, actor, subject string) authn.Event {
	return authn.Event{
		Time: at(n), Kind: kind, Actor: actor, Subject: subject, Session: "s", ClientIP: "192.0.2.7", RequestID: "r",
		Detail: map[string]string{"reason": "logout"},
	}
}
