//go:build scale

package bolt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

// TestScale fills a store with a million users and as many sessions and says
// what everyday calls then cost beside a store of a thousand. It measures and
// judges nothing: make scale runs it, on a quiet machine.
func TestScale(t *testing.T) {
	small := measureScale(t, 1_000)
	large := measureScale(t, 1_000_000)
	t.Logf("%-46s %12s %12s %8s", "", "1,000", "1,000,000", "ratio")
	for _, name := range small.names {
		a, b := small.took[name], large.took[name]
		t.Logf("%-46s %12v %12v %8.2f", name, a.Round(time.Microsecond), b.Round(time.Microsecond), float64(b)/float64(a))
	}
	t.Logf("memory in use after opening: %d MiB and %d MiB; file %d MiB and %d MiB", small.heap>>20, large.heap>>20, small.file>>20, large.file>>20)
}

// scaled is what was measured over one size.
type scaled struct {
	names []string
	took  map[string]time.Duration
	heap  uint64
	file  int64
}

func (s *scaled) time(t *testing.T, name string, f func() error) {
	t.Helper()
	start := time.Now()
	if err := f(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	s.note(name, time.Since(start))
}

func (s *scaled) note(name string, took time.Duration) {
	s.names = append(s.names, name)
	s.took[name] = took
}

func measureScale(t *testing.T, n int) *scaled {
	t.Helper()
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "scale.db")
	db, err := bolt.Open(ctx, file, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	for from := 0; from < n; from += 1000 {
		if err := db.Update(ctx, func(tx authn.Tx) error {
			for i := from; i < min(from+1000, n); i++ {
				if err := putPerson(tx, i, now); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	s := &scaled{took: map[string]time.Duration{}}
	s.time(t, "open", func() (err error) { db, err = bolt.Open(ctx, file, bolt.Options{}); return err })
	defer db.Close()
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	s.heap = mem.HeapInuse
	if info, err := os.Stat(file); err == nil {
		s.file = info.Size()
	}
	list := func(q authn.UserQuery) func() error {
		return func() error {
			return db.View(ctx, func(tx authn.Tx) error {
				page, err := tx.Users(q)
				if err == nil && len(page.Users) == 0 {
					err = fmt.Errorf("nobody was found")
				}
				return err
			})
		}
	}
	s.time(t, "page 1 of the users", list(authn.UserQuery{Limit: 10}))
	s.time(t, "the last page", list(authn.UserQuery{Limit: 10, Skip: n - 10}))
	s.time(t, "a prefix of few, counted to 10,000", list(authn.UserQuery{Prefix: "person00000099", Limit: 10, CountTo: 10_000}))
	s.time(t, "a role few have, counted to 10,000", list(authn.UserQuery{Role: "admin", Limit: 10, CountTo: 10_000}))
	s.time(t, "a prefix everybody has, counted to 10,000", list(authn.UserQuery{Prefix: "person", Limit: 10, CountTo: 10_000}))
	s.note("read of a session, median", median(2000, func(i int) {
		_ = db.View(ctx, func(tx authn.Tx) error { _, err := tx.Session(scaleID(i * 7 % n)); return err })
	}))
	s.note("write of a session, one writer, median", median(500, func(i int) { touchScale(t, db, i*7%n, now) }))
	s.note("write of a session, 64 writers, p99", contended(t, db, n, now))
	s.time(t, "sweep of the sessions that ended", func() error { return sweepScale(db, now) })
	return s
}

// scaleID is the i-th id: 26 characters, in order.
func scaleID(i int) string { return fmt.Sprintf("0%025d", i) }

// putPerson writes a user and a session; one in a hundred is an admin, one in
// ten has a session that has ended, at most 100,000 of them.
func putPerson(tx authn.Tx, i int, now time.Time) error {
	roles := []string{"user"}
	if i%100 == 0 {
		roles = []string{"admin", "user"}
	}
	name := fmt.Sprintf("person%09d", i)
	err := tx.PutUser(authn.User{ID: scaleID(i), Username: name, Email: name + "@example.com", Name: "Person of the test",
		Roles: roles, Active: true, PasswordHash: "$dw1$k=00000000$2a$12$0123456789012345678901234567890123456789012345678901", CreatedAt: now, UpdatedAt: now})
	if err != nil {
		return err
	}
	end := now.Add(24 * time.Hour)
	if i%10 == 0 {
		end = now.Add(-time.Hour)
	}
	return tx.PutSession(scaleSession(i, end))
}

func scaleSession(i int, end time.Time) authn.Session {
	return authn.Session{ID: scaleID(i), User: scaleID(i), Mode: authn.ModeToken, ClientIP: "192.0.2.1", UserAgent: "a browser of ordinary length on some system",
		CreatedAt: end.Add(-time.Hour), LastUsedAt: end.Add(-time.Hour), IdleEnd: end, End: end.Add(24 * time.Hour),
		Chain: &authn.Chain{TagKey: make([]byte, 32), Gen: 1, CurHash: make([]byte, 32)}}
}

func touchScale(t testing.TB, db authn.Store, i int, now time.Time) {
	if i%10 == 0 {
		i++ // those have ended
	}
	if err := db.Update(t.Context(), func(tx authn.Tx) error {
		return tx.PutSession(scaleSession(i, now.Add(48*time.Hour)))
	}); err != nil {
		t.Error(err)
	}
}

func median(n int, f func(i int)) time.Duration {
	var took []time.Duration
	for i := range n {
		start := time.Now()
		f(i)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func contended(t testing.TB, db authn.Store, n int, now time.Time) time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for worker := range 64 {
		all.Go(func() {
			for i := range 200 {
				start := time.Now()
				touchScale(t, db, (worker*7919+i*104729)%(n-1), now)
				d := time.Since(start)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// sweepScale removes what has ended in batches, as the service does.
func sweepScale(db authn.Store, now time.Time) error {
	for {
		var n int
		err := db.Update(context.Background(), func(tx authn.Tx) error {
			ended, err := tx.Expired(now, 500)
			if err != nil {
				return err
			}
			for _, e := range ended {
				if err := tx.DeleteSession(e.ID); err != nil {
					return err
				}
			}
			n = len(ended)
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
