package storetest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/doorward/doorward/authn"
)

var watchTests = []test{
	{"every kind of change is told, before the update returns", changesAreTold},
	{"changes arrive in the order of commits, one at a time", changesInOrder},
	{"an update that fails is not told", failuresAreNotTold},
	{"ready comes before the first change", readyComesFirst},
	{"several watchers are told", severalWatchers},
	{"watch returns nil when ctx ends, and fn is not called again", watchEnds},
	{"watch returns why when the store is closed", watchFails},
	{"a watcher that panics is told why and holds nobody up", watcherPanics},
}

// feed is a Watch under way.
type feed struct {
	changes []authn.Change // written by fn, read after an Update has returned
	stop    context.CancelFunc
	ended   chan error
}

func watch(t *testing.T, f *fixture) *feed {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w := &feed{stop: stop, ended: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		w.ended <- f.Watch(ctx, func() { close(ready) }, func(c authn.Change) { w.changes = append(w.changes, c) })
	}()
	select {
	case <-ready:
	case err := <-w.ended:
		t.Fatalf("Watch returned %v at once", err)
	}
	t.Cleanup(stop)
	return w
}

func (w *feed) take() []authn.Change {
	got := w.changes
	w.changes = nil
	return got
}

func changesAreTold(t *testing.T, f *fixture) {
	w := watch(t, f)
	for _, step := range []struct {
		name string
		fn   func(tx authn.Tx) error
		want []authn.Change
	}{
		{"put user", func(tx authn.Tx) error { return tx.PutUser(user(1)) }, []authn.Change{{User: id(1)}}},
		{"put session", func(tx authn.Tx) error { return tx.PutSession(session(2, id(1))) }, []authn.Change{{User: id(1), Session: id(2)}}},
		{"delete session", func(tx authn.Tx) error { return tx.DeleteSession(id(2)) }, []authn.Change{{User: id(1), Session: id(2)}}},
		{"put key", func(tx authn.Tx) error { return tx.PutKey(authn.Key{ID: "k"}) }, []authn.Change{{Keys: true}}},
		{"delete key", func(tx authn.Tx) error { return tx.DeleteKey("k") }, []authn.Change{{Keys: true}}},
		{"put ticket", func(tx authn.Tx) error { return tx.PutTicket(ticket(1, id(1))) }, nil},
		{"put mail", func(tx authn.Tx) error { return tx.PutOutgoing(outgoing(1)) }, []authn.Change{{Outbox: true}}},
		{"put the mail again", func(tx authn.Tx) error { return tx.PutOutgoing(outgoing(1)) }, nil},
		{"delete mail", func(tx authn.Tx) error { return tx.DeleteOutgoing(id(1)) }, nil},
		{"delete user", func(tx authn.Tx) error { return tx.DeleteUser(id(1)) }, []authn.Change{{User: id(1)}}},
		{"both", func(tx authn.Tx) error { return put(tx, user(3), session(4, id(3))) }, []authn.Change{{User: id(3)}, {User: id(3), Session: id(4)}}},
		{"read", func(tx authn.Tx) error { _, err := tx.User(id(3)); return err }, nil},
	} {
		f.update(t, step.fn)
		if got := w.take(); !slices.Equal(got, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
}

func changesInOrder(t *testing.T, f *fixture) {
	f.put(t, counter("n", 0))
	var got []string
	var inside atomic.Int32
	ready := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go f.Watch(ctx, func() { close(ready) }, func(c authn.Change) {
		if inside.Add(1) != 1 {
			t.Error("fn is called while it runs")
		}
		got = append(got, c.User)
		inside.Add(-1)
	})
	<-ready
	together(crowd, func(int) {
		err := f.Update(context.Background(), func(tx authn.Tx) error {
			c, err := tx.Counter("n")
			c.Count++
			return errors.Join(err, put(tx, c, user(int(c.Count))))
		})
		if err != nil {
			t.Error(err)
		}
	})
	if len(got) != crowd || !slices.IsSorted(got) {
		t.Errorf("got %d changes in the order %v, want %d in the order of commits", len(got), got, crowd)
	}
}

func failuresAreNotTold(t *testing.T, f *fixture) {
	w := watch(t, f)
	must(t, f.try(t, func(tx authn.Tx) error { return put(tx, user(1), session(1, id(1)), authn.Key{ID: "k"}) }))
	f.Update(context.Background(), func(tx authn.Tx) error {
		tx.PutUser(user(1))
		panic("in fn")
	})
	f.put(t, user(2))
	wantEqual(t, w.take(), []authn.Change{{User: id(2)}})
}

func readyComesFirst(t *testing.T, f *fixture) {
	stop := make(chan struct{})
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				f.Update(context.Background(), func(tx authn.Tx) error { return tx.PutUser(user(n)) })
			}
		}
	}()
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		var ready atomic.Bool
		err := f.Watch(ctx, func() { ready.Store(true) }, func(authn.Change) {
			if !ready.Load() {
				t.Error("a change came before ready")
			}
			cancel()
		})
		must(t, err)
		cancel()
	}
	close(stop)
	<-written
}

func severalWatchers(t *testing.T, f *fixture) {
	a, b := watch(t, f), watch(t, f)
	f.put(t, user(1))
	wantEqual(t, a.take(), []authn.Change{{User: id(1)}})
	wantEqual(t, b.take(), []authn.Change{{User: id(1)}})
	a.stop()
	must(t, <-a.ended)
	f.put(t, user(2))
	wantEqual(t, len(a.take()), 0)
	wantEqual(t, b.take(), []authn.Change{{User: id(2)}})
}

func watchEnds(t *testing.T, f *fixture) {
	w := watch(t, f)
	w.stop()
	must(t, <-w.ended)
	f.put(t, user(1))
	wantEqual(t, len(w.changes), 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	must(t, f.Watch(ctx, func() {}, func(authn.Change) {}))
}

func watchFails(t *testing.T, f *fixture) {
	w := watch(t, f)
	must(t, f.Close())
	if err := <-w.ended; err == nil {
		t.Error("Watch returned nil when the store was closed: its caller would think all is well")
	}
}

func watcherPanics(t *testing.T, f *fixture) {
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- f.Watch(context.Background(), func() { close(ready) }, func(authn.Change) { panic("in a watcher") })
	}()
	<-ready
	w := watch(t, f)
	f.put(t, user(1))
	if err := <-ended; err == nil {
		t.Error("Watch returned nil after its fn panicked")
	}
	wantEqual(t, w.take(), []authn.Change{{User: id(1)}})
	f.put(t, user(2))
}
