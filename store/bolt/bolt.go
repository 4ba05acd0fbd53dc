// Package bolt keeps Doorward's records in one bbolt file.
//
// It knows what a record looks like on disk (record.go, read it first), how to
// find it again (user.go, list.go, session.go, event.go, expiry.go) and how to
// write many of them at once (write.go). It knows no rule about people: who may
// sign in, how many sessions are kept, who the last admin is, is authn's.
//
// # The file
//
// Mode 0600, one process at a time: bbolt holds an exclusive lock while it is
// open. Signing keys and the seeds of refresh tokens lie in it in clear, and
// pages that were freed keep their old bytes until they are used again, so
// whoever reads the file can sign tokens: guard it and its backups like a
// private key. Passwords, refresh tokens and session cookies are there as
// hashes only.
//
// A file that is truncated, of another program, or of a newer Doorward is
// refused before a byte of it is changed (open.go).
//
// # What things cost
//
// Writes are gathered: callers that wait together share one commit, and a lone
// caller never waits for company (write.go). Listing users and events walks
// index keys and decodes only the records it returns. The sweep of what has
// expired costs by what expired, not by what is stored (expiry.go).
//
// A commit writes every page it changes to a new place, and where the records
// of a large store are touched at random no two of its pages lie together. What
// a disk takes for 150 pages that are scattered, a dozen times what it takes for
// as many in a row, would be most of what a write costs there. So what is written
// in the middle of a large bucket stands apart at first, in order, and moves to
// its place later (recent.go); an index entry is written only if it moves
// (tx.index), a session that is put off keeps its place among the expiries, and
// pages filled in order are left full (record.go). make scale measures it.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

var (
	// ErrLocked means that another process has the file open.
	ErrLocked = errors.New("store is locked")
	// ErrForeign means that the file is not a Doorward store.
	ErrForeign = errors.New("not a Doorward store")
	// ErrDamaged means that the file was one and is not whole.
	ErrDamaged = errors.New("the store is damaged")
	// ErrNewer means that a later Doorward wrote the file.
	ErrNewer = errors.New("the store was written by a newer Doorward")
	// ErrClosed is the answer to every call after Close.
	ErrClosed = errors.New("the store is closed")

	errReadOnly = errors.New("write in a read-only transaction")
)

// Options are what Open can be told.
type Options struct {
	// Observe, if set, is told how long each operation took and how it ended:
	// view and update as their callers see them, commit for each write to disk.
	Observe func(op string, d time.Duration, err error)
}

// Store is an authn.Store in a bbolt file.
type Store struct {
	db      *bbolt.DB
	path    string
	file    os.FileInfo // as opened, to notice that the path leads elsewhere
	observe func(op string, d time.Duration, err error)

	calls   chan *call
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has ended
	once    sync.Once

	watch watchers

	recent recent // the writer's

	beginning sync.Mutex // held while bbolt begins a transaction, see begin
	states    states     // under it

	mu     sync.Mutex
	broken error // why nothing more may be done with the file
}

var _ authn.Store = (*Store)(nil)

// View implements authn.Store.
func (s *Store) View(ctx context.Context, fn func(authn.Tx) error) (err error) {
	defer s.timed("view", time.Now(), &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	btx, places, err := s.begin(false)
	if err != nil {
		return err
	}
	defer btx.Rollback()
	t := &tx{b: btx, places: places}
	err, _ = run(t, fn)
	return err
}

// Check implements authn.Store. It rewrites the format mark with what is there
// already, through the same queue and disk as any other write.
func (s *Store) Check(ctx context.Context) error {
	now, err := os.Stat(s.path)
	if err != nil || !os.SameFile(now, s.file) {
		return fmt.Errorf("store: %s was removed or replaced while open: stop the server and put the file back", s.path)
	}
	return s.Update(ctx, func(t authn.Tx) error {
		tx := t.(*tx)
		return tx.put(metaBucket, metaFormat, tx.get(metaBucket, metaFormat))
	})
}

// Close implements authn.Store. It lets the commit under way finish and waits
// for open views.
func (s *Store) Close() error {
	err := ErrClosed
	s.once.Do(func() {
		close(s.closing)
		<-s.stopped
		s.watch.end(ErrClosed)
		s.mu.Lock()
		broken := s.broken
		s.mu.Unlock()
		if broken != nil {
			// The lock of a commit that failed half-way may still be held.
			// The file is given back when the process ends.
			err = nil
			return
		}
		err = s.db.Close()
	})
	return err
}

// usable is nil unless the store is closed or broken.
func (s *Store) usable() error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// breakDown refuses everything from now on and ends the watches, so that
// nothing cached is trusted either.
func (s *Store) breakDown(why error) {
	s.mu.Lock()
	s.broken = why
	s.mu.Unlock()
	s.watch.end(why)
}

// begin begins a transaction. bbolt reads the header of the file as it does, and
// where that was cut off or written over it panics, or faults, with its locks
// held: whoever wanted one of them would wait for ever, and so would Close. So
// that is the end of the store, and those who wait do it here, where they are
// told. They wait no longer than inside bbolt: it begins one at a time too. A
// reader gets the index that belongs to the state it sees.
func (s *Store) begin(writable bool) (btx *bbolt.Tx, index *places, err error) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			btx, err = nil, fmt.Errorf("%w while open: %v: stop the server and restore a backup", ErrDamaged, p)
			s.breakDown(err)
		}
	}()
	btx, err = s.db.Begin(writable)
	switch {
	case errors.Is(err, bbolt.ErrDatabaseNotOpen):
		return nil, nil, ErrClosed
	case err != nil:
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	return btx, s.states.at(btx.ID()), nil
}

func (s *Store) timed(op string, start time.Time, err *error) {
	if s.observe != nil {
		s.observe(op, time.Since(start), *err)
	}
}

// run calls fn with t and takes t back. A panic in fn, or a fault because the
// disk would not give a page, becomes an error and is reported as a crash.
// So does runtime.Goexit, which goes on after the deferred calls.
func run(t *tx, fn func(authn.Tx) error) (err error, crashed bool) {
	crashed = true
	defer t.finish()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in a transaction: %v, at %s", p, panicSite())
		}
	}()
	err = fn(t)
	return err, false
}

// panicSite names the innermost frame of a panic outside the runtime.
func panicSite() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if panicking && !inRuntime {
			return fmt.Sprintf("%s:%d", f.Function, f.Line)
		}
		panicking = panicking || inRuntime
		if !more {
			return "an unknown place"
		}
	}
}
