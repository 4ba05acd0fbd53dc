package bolt

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "doorward.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSmoke(t *testing.T) {
	s := open(t)
	now := time.Now()
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		if err := tx.PutUser(authn.User{ID: "u1", Username: "Ann", Email: "a@x", Roles: []string{"admin"}, Active: true}); err != nil {
			return err
		}
		return errors.Join(
			tx.PutSession(authn.Session{ID: "s1", User: "u1", CreatedAt: now, IdleEnd: now, End: now}),
			tx.AddEvent(authn.Event{Kind: authn.UserCreated, Subject: "u1", Time: now}, now),
			tx.PutCounter(authn.Counter{Key: "c", Count: 1, At: now, Expires: now}),
			tx.PutKey(authn.Key{ID: "k", Private: "x"}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(tx authn.Tx) error {
		if u, err := tx.UserByUsername("aNN"); err != nil || u.ID != "u1" {
			t.Errorf("got %v %v", u, err)
		}
		e, err := tx.Expired(now, 10)
		if len(e) != 3 || err != nil {
			t.Errorf("got %v %v", e, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
