package storetest

import (
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
