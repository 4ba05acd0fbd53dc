package bolt

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/doorward/doorward/authn"
)

// watchers are the feeds that are up. The feed is in-process: the writer calls
// each watcher itself, after the commit and before the callers are let go.
type watchers struct {
	mu   sync.Mutex // held while a fn runs, so none runs after its Watch returned
	list []*watcher
	over error // why no feed will be up again
}

type watcher struct {
	fn   func(authn.Change)
	fail chan error // capacity 1
}

// Watch implements authn.Store.
func (s *Store) Watch(ctx context.Context, ready func(), fn func(authn.Change)) error {
	if ctx.Err() != nil {
		return nil
	}
	w := &watcher{fn: fn, fail: make(chan error, 1)}
	if err := s.watch.add(w, ready); err != nil {
		return err
	}
	defer s.watch.remove(w)
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.fail:
		return err
	}
}

// add puts the watcher on the list and calls ready before any change can reach
// its fn.
func (ws *watchers) add(w *watcher, ready func()) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.over != nil {
		return ws.over
	}
	ready()
	ws.list = append(ws.list, w)
	return nil
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = slices.DeleteFunc(ws.list, func(x *watcher) bool { return x == w })
}

// tell calls every watcher with every change. A watcher that panics is off the
// list and its Watch returns the reason: a feed that skips changes is worse
// than one that is down.
func (ws *watchers) tell(changes []authn.Change) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = slices.DeleteFunc(ws.list, func(w *watcher) bool {
		err := w.tell(changes)
		if err != nil {
			w.fail <- err
		}
		return err != nil
	})
}

func (w *watcher) tell(changes []authn.Change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in a watcher: %v, at %s", p, panicSite())
		}
	}()
	for _, c := range changes {
		w.fn(c)
	}
	return nil
}

// end takes every feed down for good.
func (ws *watchers) end(why error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.over == nil {
		ws.over = why
	}
	for _, w := range ws.list {
		w.fail <- why
	}
	ws.list = nil
}
