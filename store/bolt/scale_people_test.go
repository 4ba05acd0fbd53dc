//go:build scale

package bolt_test

import (
	"fmt"
	"time"

	"github.com/doorward/doorward/authn"
)

// Who lives in a town. Ids sort by when they were made, as real ones do. The
// sessions that have ended did so in an order that has nothing to do with when
// they began, so that a sweep meets no two of them in one place; and whoever
// signs in or refreshes is drawn from all.

const (
	longest = 720 * time.Hour
	perUser = 5
)

// scattered is i's place in an order that has nothing to do with i; n is a
// power of ten.
func (w *town) scattered(i int) int { return i * 104_729 % w.n }

// id is 26 characters: the time, and a number.
func id(at time.Time, n int) string { return fmt.Sprintf("%011x%015d", at.UnixMilli(), n) }

// person is the id of the i-th to move in, login the name.
func (w *town) person(i int) string { return id(w.now.Add(time.Duration(i-w.n)*time.Second), i) }
func (w *town) login(i int) string  { return fmt.Sprintf("person%09d", i) }

// moveIn writes a user; one in a hundred is an admin.
func (w *town) moveIn(tx authn.Tx, i int) error {
	roles := []string{"user"}
	if i%100 == 0 {
		roles = []string{"admin", "user"}
	}
	made := w.now.Add(time.Duration(i-w.n) * time.Second)
	u := authn.User{ID: w.person(i), Username: w.login(i), Email: w.login(i) + "@example.com", Name: "Person of the test",
		Roles: roles, Active: true, PasswordHash: "$dw1$k=00000000$2a$12$0123456789012345678901234567890123456789012345678901", CreatedAt: made, UpdatedAt: made}
	return tx.PutUser(u)
}

// begin writes a session of the user's; one in ten has ended.
func (w *town) begin(tx authn.Tx, i int) error {
	x := w.newSession(w.person(i), w.session(i), w.now.Add(-w.idle))
	x.IdleEnd = w.now.Add(time.Hour + w.idle/time.Duration(w.n)*time.Duration(i))
	if i%10 == 0 {
		x.IdleEnd = w.now.Add(-time.Hour - time.Duration(w.scattered(i))*time.Millisecond)
	}
	return tx.PutSession(x)
}

// session is the id of the i-th session to begin.
func (w *town) session(i int) string {
	return id(w.now.Add(time.Duration(i-w.n)*500*time.Millisecond), i)
}

func (w *town) newSession(user, sid string, now time.Time) authn.Session {
	return authn.Session{ID: sid, User: user, Mode: authn.ModeToken, ClientIP: "192.0.2.1", UserAgent: "a browser of ordinary length on some system",
		CreatedAt: now, LastUsedAt: now, IdleEnd: now.Add(w.idle), End: now.Add(longest),
		Chain: &authn.Chain{TagKey: make([]byte, 32), Gen: 1, CurHash: make([]byte, 32)}}
}
