package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// observed opens a store that counts its operations by name.
func observed(t testing.TB) (*Store, func(op string) int) {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "doorward.db"), Options{Observe: func(op string, _ time.Duration, _ error) {
		mu.Lock()
		counts[op]++
		mu.Unlock()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, func(op string) int {
		mu.Lock()
		defer mu.Unlock()
		return counts[op]
	}
}

func TestWritersShareCommits(t *testing.T) {
	s, count := observed(t)
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if err := s.Update(context.Background(), signUp(fmt.Sprintf("%dx%d", w, n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := count("update"); got != writers*each {
		t.Errorf("got %d updates observed, want %d", got, writers*each)
	}
	if got := count("commit"); got < 1 || got > writers*each/2 {
		t.Errorf("got %d commits for %d updates, want them shared", got, writers*each)
	}
	mustBeConsistent(t, s)
}

func TestNothingWrittenIsNothingCommitted(t *testing.T) {
	s, count := observed(t)
	refused := errors.New("refused")
	for _, fn := range []func(tx authn.Tx) error{
		func(tx authn.Tx) error { _, err := tx.Expired(time.Now(), 10); return err },
		func(tx authn.Tx) error { return errors.Join(signUp("a")(tx), refused) },
	} {
		if err := s.Update(t.Context(), fn); err != nil && !errors.Is(err, refused) {
			t.Fatal(err)
		}
	}
	if got := count("commit"); got != 0 {
		t.Errorf("got %d commits, want none", got)
	}
}

// TestFailedWriteCannotBeDropped: a record of which a part could not be
// written must not be committed because fn forgot to look.
func TestFailedWriteCannotBeDropped(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	u := person(1)
	u.Name = strings.Repeat("n", bbolt.MaxKeySize+1)
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		if err := tx.PutUser(u); err == nil {
			t.Error("PutUser: got no error")
		}
		return nil
	})
	if err == nil {
		t.Error("Update: got no error")
	}
	if got := total(t, s); got != 0 {
		t.Errorf("got %d users, want 0", got)
	}
	mustBeConsistent(t, s)
}

func TestTextsThatCannotBeKeys(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	for _, bad := range []string{"a\x00b", "a\xffb"} {
		for name, put := range map[string]func(tx authn.Tx) error{
			"id":       func(tx authn.Tx) error { return tx.PutUser(authn.User{ID: bad}) },
			"username": func(tx authn.Tx) error { return tx.PutUser(authn.User{ID: "i", Username: bad}) },
			"email":    func(tx authn.Tx) error { return tx.PutUser(authn.User{ID: "i", Email: bad}) },
			"name":     func(tx authn.Tx) error { return tx.PutUser(authn.User{ID: "i", Name: bad}) },
			"role":     func(tx authn.Tx) error { return tx.PutUser(authn.User{ID: "i", Roles: []string{bad}}) },
			"session":  func(tx authn.Tx) error { return tx.PutSession(authn.Session{ID: "s", User: bad}) },
			"event":    func(tx authn.Tx) error { return tx.AddEvent(authn.Event{Actor: bad}, time.Now()) },
		} {
			if err := s.Update(t.Context(), put); !errors.Is(err, errNotPlain) {
				t.Errorf("%s %q: got %v, want %v", name, bad, err, errNotPlain)
			}
		}
	}
}

// TestKeyTooLong: what has no place in its bucket is refused wherever it would
// come to stand. Apart it would be in the way of all that is to move.
func TestKeyTooLong(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	add := func(actor string) error {
		return s.Update(t.Context(), func(tx authn.Tx) error { return tx.AddEvent(authn.Event{Actor: actor}, time.Now()) })
	}
	if err := add("m"); err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{"a", "z"} {
		if err := add(first + strings.Repeat("x", bbolt.MaxKeySize)); !errors.Is(err, bbolt.ErrKeyTooLarge) {
			t.Errorf("%s...: got %v, want %v", first, err, bbolt.ErrKeyTooLarge)
		}
	}
	mustBeConsistent(t, s)
}

// TestPanicSaysWhere: an error in place of a panic must still lead to it.
func TestPanicSaysWhere(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	var none map[string]int
	for name, do := range map[string]func(context.Context, func(authn.Tx) error) error{"view": s.View, "update": s.Update} {
		err := do(t.Context(), func(authn.Tx) error { none["x"]++; return nil })
		if err == nil || !strings.Contains(err.Error(), "TestPanicSaysWhere") || !strings.Contains(err.Error(), "nil map") {
			t.Errorf("%s: got %v, want what went wrong and where", name, err)
		}
	}
}

// TestTxEndsWithItsFn: a Tx that is kept must not write into the next batch.
func TestTxEndsWithItsFn(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	var kept authn.Tx
	for _, do := range []func(context.Context, func(authn.Tx) error) error{s.View, s.Update} {
		if err := do(t.Context(), func(tx authn.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a Tx could be used after its fn")
				}
			}()
			kept.User("x")
		}()
	}
}

// TestBrokenStoreRefusesEverything: once it is unknown what is on disk, nothing
// may be read, written or served from caches.
func TestBrokenStoreRefusesEverything(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	writeUser(t, s, 1)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Watch(context.Background(), func() { close(ready) }, func(authn.Change) {}) }()
	<-ready
	why := errors.New("fsync: input/output error")
	s.breakDown(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("Watch: got %v, want %v", err, why)
	}
	nothing := func(authn.Tx) error { t.Error("fn was called"); return nil }
	for name, err := range map[string]error{
		"View":   s.View(t.Context(), nothing),
		"Update": s.Update(t.Context(), nothing),
		"Check":  s.Check(t.Context()),
		"Watch":  s.Watch(t.Context(), func() {}, func(authn.Change) {}),
		"Backup": s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")),
	} {
		if !errors.Is(err, why) {
			t.Errorf("%s: got %v, want %v", name, err, why)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: got %v", err)
	}
}

// TestHeaderLostWhileOpen: a file that is emptied or written over under a running
// store is the end of the store, of nothing else, and nobody waits for it.
func TestHeaderLostWhileOpen(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"emptied":      func(path string) error { return os.Truncate(path, 0) },
		"written over": overwriteHeaders,
	} {
		for first, begin := range map[string]func(*Store) error{
			"a view":   func(s *Store) error { return s.View(context.Background(), func(authn.Tx) error { return nil }) },
			"a write":  func(s *Store) error { return s.Update(context.Background(), func(authn.Tx) error { return nil }) },
			"a backup": func(s *Store) error { return s.Backup(context.Background(), filepath.Join(t.TempDir(), "copy.db")) },
		} {
			t.Run(name+", noticed by "+first, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "doorward.db")
				s := openAt(t, path)
				writeUser(t, s, 1)
				ready, ended := make(chan struct{}), make(chan error, 1)
				go func() { ended <- s.Watch(context.Background(), func() { close(ready) }, func(authn.Change) {}) }()
				<-ready
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
				const callers = 20
				errs := make(chan error, callers)
				for range callers {
					go func() { errs <- begin(s) }()
				}
				for range callers {
					if err := <-errs; !errors.Is(err, ErrDamaged) {
						t.Errorf("got %v, want %v", err, ErrDamaged)
					}
				}
				if err := <-ended; !errors.Is(err, ErrDamaged) {
					t.Errorf("Watch: got %v, want %v", err, ErrDamaged)
				}
				if err := s.Close(); err != nil {
					t.Errorf("Close: got %v", err)
				}
			})
		}
	}
}

// overwriteHeaders writes over both headers of a store.
func overwriteHeaders(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 2*os.Getpagesize()), 0)
	return errors.Join(err, f.Close())
}

// TestVisible: after a commit that failed, what readers see decides whether
// the store can go on.
func TestVisible(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	btx, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	id := btx.ID()
	if s.visible(id) {
		t.Error("a transaction under way is taken for committed")
	}
	if err := btx.Commit(); err != nil {
		t.Fatal(err)
	}
	if !s.visible(id) {
		t.Error("a committed transaction is taken for undone")
	}
}

func TestCloseLetsCallersGo(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	var ok atomic.Int32
	var wg sync.WaitGroup
	started := make(chan struct{}, 1000)
	for w := range 16 {
		wg.Go(func() {
			for n := 0; ; n++ {
				err := s.Update(context.Background(), signUp(fmt.Sprintf("%dx%d", w, n)))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				ok.Add(1)
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	<-started
	path := s.path
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if got := total(t, openAt(t, path)); got != int(ok.Load()) {
		t.Errorf("got %d users, %d were acknowledged", got, ok.Load())
	}
}

// TestCrashInABatch: what shares a transaction with a fn that crashes runs
// again, and has its effect once; what its caller gave up has none.
func TestCrashInABatch(t *testing.T) {
	s, _ := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), ordinaryRoom)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var runs atomic.Int32
	add := func(tx authn.Tx) error {
		runs.Add(1)
		c, err := tx.Counter("n")
		if err != nil && err != authn.ErrNotFound {
			return err
		}
		return tx.PutCounter(authn.Counter{Key: "n", Count: c.Count + 1})
	}
	var batch []*call
	var waits []chan error
	for _, in := range []struct {
		ctx context.Context
		fn  func(authn.Tx) error
	}{
		{t.Context(), add},
		{t.Context(), func(tx authn.Tx) error { return errors.Join(add(tx), errors.New("refused")) }},
		{ended, add},
		{t.Context(), func(tx authn.Tx) error { add(tx); panic("in fn") }},
		{t.Context(), add},
	} {
		c := newCall()
		done := make(chan error, 1)
		if in.ctx == ended {
			done <- c.wait(in.ctx, in.fn)
		} else {
			go func() { done <- c.wait(in.ctx, in.fn) }()
		}
		batch, waits = append(batch, c), append(waits, done)
	}
	s.process(batch)
	for i, want := range []string{"", "refused", "context canceled", "panic", ""} {
		if err := <-waits[i]; (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("call %d: got %v, want %q", i, err, want)
		}
	}
	err := s.View(t.Context(), func(tx authn.Tx) error {
		c, err := tx.Counter("n")
		if c.Count != 2 {
			t.Errorf("got a count of %v, want 2", c.Count)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if got := runs.Load(); got != 6 { // the two before the crash ran twice
		t.Errorf("got %d runs, want 6", got)
	}
}
