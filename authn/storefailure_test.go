package authn_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/doorward/doorward/authn"
)

// failingStore is a real store whose commits fail while it is told so.
type failingStore struct {
	authn.Store
	broken atomic.Bool
}

var errFull = errors.New("no space left on device")

func (f *failingStore) Update(ctx context.Context, fn func(authn.Tx) error) error {
	if !f.broken.Load() {
		return f.Store.Update(ctx, fn)
	}
	return f.Store.Update(ctx, func(tx authn.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errFull
	})
}

func TestStoreFailureIsRecordedOnceItIsOver(t *testing.T) {
	store := &failingStore{}
	s := newService(t, func(d *authn.Deps) {
		store.Store = d.Store
		d.Store = store
	})
	person := authn.NewUser{Username: "ann", Password: "correct horse battery staple"}
	failures := func() int {
		events, err := s.Events(t.Context(), authn.EventQuery{Kind: authn.StoreFailed, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(events)
	}

	// A refusal of ours is no failure of the store.
	if _, _, err := s.CreateUser(t.Context(), authn.NewUser{Username: "!"}, authn.Actor{ID: authn.ActorCLI}); err == nil {
		t.Fatal("a bad username was taken")
	}
	if _, _, err := s.CreateUser(t.Context(), authn.NewUser{Username: "bob", Password: person.Password}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	if got := failures(); got != 0 {
		t.Fatalf("%d failures are recorded before there was one", got)
	}

	store.broken.Store(true)
	for range 3 {
		if _, _, err := s.CreateUser(t.Context(), person, authn.Actor{ID: authn.ActorCLI}); !errors.Is(err, errFull) {
			t.Fatalf("with a broken store: got %v, want its error", err)
		}
	}
	store.broken.Store(false)
	if _, _, err := s.CreateUser(t.Context(), person, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	if got := failures(); got != 1 {
		t.Errorf("%d failures are recorded after it, want 1", got)
	}
}
