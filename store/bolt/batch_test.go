package bolt

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// together runs the fns in one batch, each after the other, and returns how
// they ended. It is the writer of the store, which must have no other.
func together(t *testing.T, s *Store, fns ...func(authn.Tx) error) (ended []error) {
	t.Helper()
	var batch []*call
	var waits []chan error
	for _, fn := range fns {
		c, done := newCall(), make(chan error, 1)
		go func() { done <- c.wait(t.Context(), fn) }()
		batch, waits = append(batch, c), append(waits, done)
	}
	s.process(batch)
	for _, w := range waits {
		ended = append(ended, <-w)
	}
	return ended
}

// TestUndoneBesideOthers: a fn that fails takes back what it did to records
// others of the same batch have just written, down to the entries that are
// nothing but a key.
func TestUndoneBesideOthers(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	x := authn.Session{ID: "s", User: person(1).ID, CreatedAt: now, IdleEnd: now.Add(time.Hour), End: now.Add(2 * time.Hour)}
	later := x
	later.IdleEnd = now.Add(90 * time.Minute)
	refused := errors.New("refused")
	for name, undone := range map[string]func(authn.Tx) error{
		"deleted":         func(tx authn.Tx) error { return errors.Join(tx.DeleteSession("s"), tx.DeleteUser(person(1).ID)) },
		"moved":           func(tx authn.Tx) error { return tx.PutSession(later) },
		"moved and back":  func(tx authn.Tx) error { return errors.Join(tx.PutSession(later), tx.PutSession(x)) },
		"under new names": func(tx authn.Tx) error { u := person(2); u.ID = person(1).ID; return tx.PutUser(u) },
	} {
		t.Run(name, func(t *testing.T) {
			s, begin := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), ordinaryRoom)
			// A session that stands apart, and one that has a place of its own too.
			ended := together(t, s,
				func(tx authn.Tx) error { return errors.Join(tx.PutUser(person(1)), tx.PutSession(x), tx.PutSession(x)) },
				func(tx authn.Tx) error { return errors.Join(undone(tx), refused) },
			)
			if ended[0] != nil || !errors.Is(ended[1], refused) {
				t.Fatalf("got %v, want the second refused", ended)
			}
			begin()
			mustBeConsistent(t, s)
			err := s.View(t.Context(), func(tx authn.Tx) error {
				held, err := tx.SessionsOf(person(1).ID)
				if len(held) != 1 {
					t.Errorf("got %d sessions, want 1", len(held))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
