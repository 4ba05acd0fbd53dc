package authn_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// patience is how long a test waits for what should happen at once; only a
// failing test ever waits that long.
const patience = 30 * time.Second

// spyStore is a real store that counts, that can hold a reader up between its
// read and its answer, and whose feed can be cut.
type spyStore struct {
	authn.Store
	views, updates atomic.Int64

	mu   sync.Mutex
	held *hold

	vague atomic.Bool // of any change the feed says only that there was one

	cut   chan struct{} // closed: the feed in progress fails
	block chan struct{} // while not nil, no feed comes up until it is closed
}

type hold struct{ read, release chan struct{} }

func newSpy(t testing.TB) *spyStore {
	return &spyStore{Store: newStore(t), cut: make(chan struct{})}
}

func (s *spyStore) View(ctx context.Context, fn func(authn.Tx) error) error {
	s.views.Add(1)
	s.mu.Lock()
	h := s.held
	s.held = nil
	s.mu.Unlock()
	err := s.Store.View(ctx, fn)
	if h != nil {
		close(h.read)
		<-h.release
	}
	return err
}

func (s *spyStore) Update(ctx context.Context, fn func(authn.Tx) error) error {
	s.updates.Add(1)
	return s.Store.Update(ctx, fn)
}

// holdNext holds the next reader up after it has read: read is closed when it
// has, and it goes on when release is.
func (s *spyStore) holdNext() hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = &hold{make(chan struct{}), make(chan struct{})}
	return *s.held
}

var errFeed = errors.New("the feed was cut")

func (s *spyStore) Watch(ctx context.Context, ready func(), fn func(authn.Change)) error {
	s.mu.Lock()
	cut, block := s.cut, s.block
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-cut:
			stop(errFeed)
		case <-ctx.Done():
		}
	}()
	tell := func(c authn.Change) {
		if s.vague.Load() {
			c = authn.Change{All: true}
		}
		fn(c)
	}
	if err := s.Store.Watch(ctx, ready, tell); err != nil {
		return err
	}
	if errors.Is(context.Cause(ctx), errFeed) {
		return errFeed
	}
	return nil
}

// cutFeed ends the feed; it comes up again when mend is called.
func (s *spyStore) cutFeed() (mend func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	block := make(chan struct{})
	s.block = block
	close(s.cut)
	return func() {
		s.mu.Lock()
		s.cut, s.block = make(chan struct{}), nil
		s.mu.Unlock()
		close(block)
	}
}

// follow registers for an identity and returns a channel that gets one value
// for one or more changes.
func follow(t testing.TB, f *fixture, id authn.Identity) <-chan struct{} {
	t.Helper()
	told := make(chan struct{}, 100)
	t.Cleanup(f.Follow(id, func() { told <- struct{}{} }))
	return told
}

func wait(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing happened", what)
	}
}
