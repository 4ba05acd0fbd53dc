package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// One goroutine owns the writing side of the file. Callers queue up; it gives
// each in turn the one bbolt transaction of the batch, waits until their fn
// has run (on the caller's goroutine, so that a panic or a test's FailNow ends
// where it belongs), commits once for all, tells the watchers and only then
// lets them go.
//
// A fn that fails undoes its own writes and nobody else's; its caller too
// waits for the commit, for its error may rest on what others in the batch
// wrote. A fn that crashes leaves the transaction in doubt: it is thrown away
// and the rest of the batch runs again.
const (
	maxBatch = 256
	// gatherDelay is how long a batch waits for as many callers as came last
	// time: those just let go are about to come back. A lone caller never waits.
	gatherDelay = 500 * time.Microsecond
)

// call is one Update under way.
type call struct {
	state atomic.Int32
	turn  chan *tx     // writer to caller: run fn with this; capacity 1
	ran   chan outcome // caller to writer: fn has run; capacity 1
	done  chan error   // writer to caller: the end; capacity 1

	t   *tx
	err error // of fn
}

func newCall() *call {
	return &call{turn: make(chan *tx, 1), ran: make(chan outcome, 1), done: make(chan error, 1)}
}

type outcome struct {
	err     error
	crashed bool
}

// The states of a call. Whoever moves it from waiting decides: the writer
// takes it, or the caller leaves and fn has had no effect.
const (
	waiting = iota
	taken
	gone
)

// Update implements authn.Store.
func (s *Store) Update(ctx context.Context, fn func(authn.Tx) error) (err error) {
	defer s.timed("update", time.Now(), &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.usable(); err != nil {
		return err
	}
	c := newCall()
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		return ErrClosed
	}
	return c.wait(ctx, fn)
}

// wait takes the call's turns until it is done or may be given up.
// A call the writer has received is always brought to its end.
func (c *call) wait(ctx context.Context, fn func(authn.Tx) error) error {
	ended := ctx.Done()
	for {
		select {
		case t := <-c.turn:
			c.take(t, fn)
		case err := <-c.done:
			return err
		case <-ended:
			if c.state.CompareAndSwap(waiting, gone) {
				return ctx.Err()
			}
			ended = nil
		}
	}
}

// take runs fn in its turn and reports to the writer whatever becomes of it.
func (c *call) take(t *tx, fn func(authn.Tx) error) {
	out := outcome{err: errors.New("store: a transaction was abandoned"), crashed: true}
	defer func() { c.ran <- out }()
	out.err, out.crashed = run(t, fn)
}

// write is the writer. It ends with the store.
func (s *Store) write() {
	defer close(s.stopped)
	// A page that the disk will not give is an error of this store, not the
	// end of the process.
	debug.SetPanicOnFault(true)
	last, rest := 1, quietAfter
	for {
		idle := time.NewTimer(s.patience(rest))
		select {
		case <-s.closing:
			return
		case c := <-s.calls:
			batch := s.gather(c, last)
			last, rest = len(batch), quietAfter
			s.process(batch)
		case <-idle.C:
			rest = breakAfter
			if s.settle() != nil {
				rest = forever // or until somebody has come
			}
		}
		idle.Stop()
	}
}

// patience is for how long nobody has to come until some of what stands apart is
// moved to where it belongs: for this long, or less if there is much of it.
func (s *Store) patience(rest time.Duration) time.Duration {
	switch n := s.recent.committed.Len(); {
	case n == 0:
		return forever
	case n > s.recent.keep && rest == quietAfter:
		return breakAfter
	default:
		return rest
	}
}

// settle moves some of what stands apart. An error leaves it where it is.
func (s *Store) settle() error {
	t, err := s.beginWriting()
	if err != nil {
		return err
	}
	if err := guarded(func() error { return t.settle(settleAtOnce) }); err != nil {
		s.throwAway(t.b)
		return err
	}
	return s.commit(t)
}

// gather returns first and whoever else waits, or comes within the delay if
// there were more of them last time.
func (s *Store) gather(first *call, last int) []*call {
	batch := []*call{first}
	var late <-chan time.Time
	for len(batch) < maxBatch {
		select {
		case c := <-s.calls:
			batch = append(batch, c)
			continue
		default:
		}
		if len(batch) >= last {
			break
		}
		if late == nil {
			timer := time.NewTimer(gatherDelay)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case c := <-s.calls:
			batch = append(batch, c)
		case <-late:
			return batch
		}
	}
	return batch
}

// process brings every call of the batch to its end.
func (s *Store) process(batch []*call) {
	for len(batch) > 0 {
		all, err := s.beginWriting()
		if err != nil {
			for _, c := range batch {
				c.done <- err
			}
			return
		}
		ran, crashed := runAll(all, batch)
		if crashed != nil {
			s.throwAway(all.b)
			crashed.done <- crashed.err
			batch = without(batch, crashed)
			continue
		}
		err = s.finish(all, ran)
		for _, c := range ran {
			if err != nil {
				c.done <- err
			} else {
				c.done <- c.err
			}
		}
		return
	}
}

// beginWriting begins a transaction to write in, with an index of its own.
func (s *Store) beginWriting() (*tx, error) {
	btx, _, err := s.begin(true)
	if err != nil {
		return nil, err
	}
	return &tx{b: btx, writable: true, places: s.recent.committed.Copy(), recent: &s.recent}, nil
}

// runAll gives each call its turn, with what all of them write to, and returns
// those that took it, or the one that crashed.
func runAll(all *tx, batch []*call) (ran []*call, crashed *call) {
	for _, c := range batch {
		if !c.state.CompareAndSwap(waiting, taken) {
			continue
		}
		one := *all
		c.t = &one
		c.turn <- c.t
		out := <-c.ran
		c.err = out.err
		if out.crashed {
			return nil, c
		}
		if c.t.failed != nil {
			c.err = c.t.failed
		}
		if c.err != nil {
			if err := c.t.rollback(all.b); err != nil {
				return nil, c
			}
			c.t.undo, c.t.changes = nil, nil
		}
		ran = append(ran, c)
	}
	return ran, nil
}

// without returns the batch less one call, each ready to be taken again.
func without(batch []*call, out *call) []*call {
	var rest []*call
	for _, c := range batch {
		if c == out || c.state.Load() == gone {
			continue
		}
		c.state.Store(waiting)
		rest = append(rest, c)
	}
	return rest
}

// finish commits what the calls wrote, if they wrote anything, and tells the
// watchers.
func (s *Store) finish(all *tx, ran []*call) error {
	var changes []authn.Change
	wrote, added := false, 0
	for _, c := range ran {
		wrote = wrote || len(c.t.undo) > 0
		for _, u := range c.t.undo {
			if u.now != 0 {
				added++
			}
		}
		changes = append(changes, c.t.changes...)
	}
	if !wrote {
		s.throwAway(all.b)
		return nil
	}
	if all.places.Len() > s.recent.most {
		if err := guarded(func() error { return all.settle(added + added/4 + 1) }); err != nil {
			s.throwAway(all.b)
			return fmt.Errorf("store: write: %w", err)
		}
	}
	if err := s.commit(all); err != nil {
		return err
	}
	s.watch.tell(changes)
	return nil
}

// commit makes what t wrote durable. An error that leaves the file as it was,
// such as a full disk, is over with the next commit that succeeds. One that
// leaves it unknown what is on disk ends the use of the store: a failed fsync
// drops the pages it could not write, so nothing read afterwards can be trusted.
func (s *Store) commit(t *tx) (err error) {
	defer s.timed("commit", time.Now(), &err)
	id := t.b.ID()
	s.announce(id, t.places.Copy())
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in a commit: %v, at %s: restart the server", p, panicSite())
			s.breakDown(err)
		}
		s.announced(err == nil)
	}()
	if err := t.b.Commit(); err != nil {
		err = fmt.Errorf("store: write: %w", err)
		if s.visible(id) {
			err = fmt.Errorf("%w: it is not known whether the last write is on disk: restart the server", err)
			s.breakDown(err)
		}
		return err
	}
	s.recent.committed = t.places
	return nil
}

// announce has readers go by the index of a commit as soon as they see it.
func (s *Store) announce(id int, coming *places) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	s.states.coming, s.states.from = coming, id
}

// announced settles which index they go by.
func (s *Store) announced(committed bool) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if committed {
		s.states.now = s.states.coming
	}
	s.states.coming = nil
}

// visible reports whether readers see the transaction with this id.
func (s *Store) visible(id int) bool {
	btx, _, err := s.begin(false)
	if err != nil {
		return true
	}
	defer btx.Rollback()
	return btx.ID() >= id
}

// throwAway ends a transaction that changed nothing.
func (s *Store) throwAway(btx *bbolt.Tx) {
	defer func() {
		if p := recover(); p != nil {
			s.breakDown(fmt.Errorf("store: panic in a rollback: %v, at %s: restart the server", p, panicSite()))
		}
	}()
	btx.Rollback()
}
