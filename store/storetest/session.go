package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var sessionTests = []test{
	{"a session comes back as it was put", sessionRoundTrip},
	{"an unknown session is ErrNotFound", unknownSession},
	{"a user's sessions come oldest first, live or not", sessionsOldestFirst},
	{"sessions of users with similar ids do not mix", similarUsers},
	{"putting a session again replaces it", sessionReplaced},
	{"a deleted session is gone everywhere", sessionDeleted},
}

func sessionRoundTrip(t *testing.T, f *fixture) {
	cookie := session(2, id(1))
	cookie.Mode, cookie.Chain = authn.ModeSessionCookie, nil
	bare := authn.Session{ID: id(3), User: id(1), Mode: authn.ModeRefreshCookie, Chain: &authn.Chain{}}
	want := []authn.Session{session(1, id(1)), cookie, bare}
	f.put(t, want[0], want[1], want[2])
	for range 2 {
		f.view(t, func(tx authn.Tx) error {
			for _, w := range want {
				got, err := tx.Session(w.ID)
				must(t, err)
				wantEqual(t, got, w)
			}
			return nil
		})
		f.reopen(t)
	}
}

func unknownSession(t *testing.T, f *fixture) {
	f.update(t, func(tx authn.Tx) error {
		_, err := tx.Session(id(1))
		wantNotFound(t, err)
		wantNotFound(t, tx.DeleteSession(id(1)))
		sessions, err := tx.SessionsOf(id(1))
		wantEqual(t, len(sessions), 0)
		return err
	})
}

func ids(sessions []authn.Session) (ids []string) {
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

func (f *fixture) wantSessions(t *testing.T, user string, want ...string) {
	t.Helper()
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.SessionsOf(user)
		wantEqual(t, ids(got), want)
		return err
	})
}

func sessionsOldestFirst(t *testing.T, f *fixture) {
	// Ids run against the order of creation, and one session is long over.
	first, second, third := session(9, id(1)), session(5, id(1)), session(1, id(1))
	first.CreatedAt, second.CreatedAt, third.CreatedAt = at(-1<<30), at(1), at(1).Add(time.Nanosecond)
	second.IdleEnd, second.End = at(-5), at(-5)
	f.put(t, third, first, second)
	f.wantSessions(t, id(1), first.ID, second.ID, third.ID)
}

func similarUsers(t *testing.T, f *fixture) {
	f.put(t, session(1, "u"), session(2, "u1"), session(3, "u10"))
	f.wantSessions(t, "u", id(1))
	f.wantSessions(t, "u1", id(2))
	f.wantSessions(t, "")
}

func sessionReplaced(t *testing.T, f *fixture) {
	f.put(t, session(1, id(1)), session(2, id(1)))
	changed := session(1, id(1))
	changed.CreatedAt, changed.IdleEnd = at(50), at(60)
	f.put(t, changed)
	f.wantSessions(t, id(1), id(2), id(1))
	moved := changed
	moved.User = id(7)
	f.put(t, moved)
	f.wantSessions(t, id(1), id(2))
	f.wantSessions(t, id(7), id(1))
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Session(id(1))
		wantEqual(t, got, moved)
		return err
	})
}

func sessionDeleted(t *testing.T, f *fixture) {
	f.put(t, session(1, id(1)), session(2, id(1)))
	f.update(t, func(tx authn.Tx) error { return tx.DeleteSession(id(1)) })
	f.wantSessions(t, id(1), id(2))
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.Session(id(1))
		wantNotFound(t, err)
		expired, err := tx.Expired(at(1<<30), 10)
		wantEqual(t, len(expired), 1)
		return err
	})
}

var keyTests = []test{
	{"keys come back oldest first", keysOldestFirst},
	{"a key can be replaced and deleted", keyReplaced},
}

func keysOldestFirst(t *testing.T, f *fixture) {
	want := []authn.Key{
		{ID: "z", Algorithm: "EdDSA", Private: "\x00\xff der", CreatedAt: at(1), RetireAt: at(9)},
		{ID: "a", Algorithm: "RS256", Private: "der", CreatedAt: at(2)},
		{ID: "b", Algorithm: "ES256", Private: "der", CreatedAt: at(2)},
	}
	f.view(t, func(tx authn.Tx) error {
		keys, err := tx.Keys()
		wantEqual(t, len(keys), 0)
		return err
	})
	f.put(t, want[2], want[0], want[1])
	for range 2 {
		f.view(t, func(tx authn.Tx) error {
			got, err := tx.Keys()
			wantEqual(t, got, want)
			for i, k := range got {
				wantEqual(t, k.Private.Reveal(), want[i].Private.Reveal())
			}
			return err
		})
		f.reopen(t)
	}
}

func keyReplaced(t *testing.T, f *fixture) {
	f.put(t, authn.Key{ID: "k", CreatedAt: at(1)}, authn.Key{ID: "l", CreatedAt: at(2)})
	f.put(t, authn.Key{ID: "k", CreatedAt: at(1), RetireAt: at(5)})
	f.update(t, func(tx authn.Tx) error { return tx.DeleteKey("l") })
	f.view(t, func(tx authn.Tx) error {
		keys, err := tx.Keys()
		wantEqual(t, keys, []authn.Key{{ID: "k", CreatedAt: at(1), RetireAt: at(5)}})
		return err
	})
	wantNotFound(t, f.try(t, func(tx authn.Tx) error { return tx.DeleteKey("l") }))
}

var counterTests = []test{
	{"a counter comes back as it was put", counterRoundTrip},
	{"an unknown counter is ErrNotFound", unknownCounter},
	{"counters are walked until fn says stop", counterWalk},
	{"fn of the walk may delete", counterWalkDeletes},
}

func counterRoundTrip(t *testing.T, f *fixture) {
	want := authn.Counter{Key: "odd \x00\xff key", Count: 1.0 / 3, At: at(1), Expires: at(2)}
	f.put(t, counter("other", 1), want)
	f.reopen(t)
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Counter(want.Key)
		wantEqual(t, got, want)
		return err
	})
	want.Count = 4
	f.put(t, want)
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Counter(want.Key)
		wantEqual(t, got, want)
		return err
	})
}

func unknownCounter(t *testing.T, f *fixture) {
	f.update(t, func(tx authn.Tx) error {
		_, err := tx.Counter("c")
		wantNotFound(t, err)
		wantNotFound(t, tx.DeleteCounter("c"))
		return nil
	})
}

func counterWalk(t *testing.T, f *fixture) {
	f.put(t, counter("a", 1), counter("b", 2), counter("c", 3))
	f.view(t, func(tx authn.Tx) error {
		sum, calls := 0.0, 0
		err1 := tx.Counters(func(c authn.Counter) bool { sum += c.Count; return true })
		err2 := tx.Counters(func(authn.Counter) bool { calls++; return calls < 2 })
		wantEqual(t, sum, 6.0)
		wantEqual(t, calls, 2)
		return errors.Join(err1, err2)
	})
}

func counterWalkDeletes(t *testing.T, f *fixture) {
	const n = 500
	f.update(t, func(tx authn.Tx) error {
		for i := range n {
			must(t, tx.PutCounter(counter(id(i), 1)))
		}
		return nil
	})
	f.update(t, func(tx authn.Tx) error {
		seen := 0
		err := tx.Counters(func(c authn.Counter) bool {
			seen++
			must(t, tx.DeleteCounter(c.Key))
			return true
		})
		wantEqual(t, seen, n)
		return err
	})
	wantEqual(t, len(dump(t, f).Counters), 0)
}
