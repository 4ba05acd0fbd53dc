package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// raw is what a bucket itself has under a key.
func raw(t *testing.T, s *Store, b bucket, key string) string {
	t.Helper()
	var v string
	if err := s.db.View(func(btx *bbolt.Tx) error { v = string(btx.Bucket([]byte(b)).Get([]byte(key))); return nil }); err != nil {
		t.Fatal(err)
	}
	return v
}

// rooms are where entries stand apart for good, move when there is a break, move
// as soon as others are written, and both.
var rooms = map[string]room{"for good": {1 << 20, 1 << 20}, "break": {0, 1 << 20}, "overfull": {1 << 20, 2}, "both": {1, 2}}

// TestStandsApart: who writes in the middle of a bucket leaves its pages alone,
// and who writes at its end does not stand apart.
func TestStandsApart(t *testing.T) {
	s := openIn(t, filepath.Join(t.TempDir(), "doorward.db"), room{1 << 20, 1 << 20})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	x := authn.Session{User: "u", CreatedAt: now, IdleEnd: now.Add(time.Hour), End: now.Add(9 * time.Hour)}
	put := func(id, from string) error {
		x.ID, x.ClientIP = id, from
		return s.Update(t.Context(), func(tx authn.Tx) error { return tx.PutSession(x) })
	}
	if err := errors.Join(put("s1", "192.0.2.1"), put("s2", "192.0.2.1"), put("s3", "192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if n := s.Apart(); n != 0 {
		t.Errorf("got %d entries that stand apart after writing in order, want none", n)
	}
	before := raw(t, s, sessionsBucket, "s2")
	for range 3 {
		if err := put("s2", "198.51.100.7"); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Apart(); n != 1 {
		t.Errorf("got %d entries that stand apart of a session written three times, want 1", n)
	}
	if after := raw(t, s, sessionsBucket, "s2"); after != before {
		t.Errorf("the bucket itself was written to: got %s, had %s", after, before)
	}
	mustBeConsistent(t, s)
}

// TestSettles: where there is quiet all of it moves to where it belongs; past
// the most there may be, it does so without.
func TestSettles(t *testing.T) {
	const sessions = 200
	for name, tt := range map[string]struct {
		room  room
		most  int  // of them apart when all are written
		later bool // and there is quiet
	}{
		"in a break":         {room{0, 1 << 20}, 0, true},
		"in quiet":           {room{1 << 20, 1 << 20}, 0, true},
		"beside what others": {room{1 << 20, 10}, 13, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			path := filepath.Join(t.TempDir(), "doorward.db")
			commits := make(chan struct{}, 1)
			s, err := open(t.Context(), path, Options{Observe: func(op string, _ time.Duration, _ error) {
				select {
				case commits <- struct{}{}:
				default:
				}
			}}, tt.room)
			if err != nil {
				t.Fatal(err)
			}
			go s.write()
			defer s.Close()
			for i := range sessions {
				if err := s.Update(t.Context(), signUp(fmt.Sprintf("s%03d", (i*77)%sessions))); err != nil {
					t.Fatal(err)
				}
			}
			for s.Apart() > tt.most {
				if !tt.later {
					t.Fatalf("%d entries stand apart, want at most %d", s.Apart(), tt.most)
				}
				select {
				case <-commits:
				case <-ctx.Done():
					t.Fatalf("%d entries stand apart after a minute", s.Apart())
				}
			}
			mustBeConsistent(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, path)
			mustBeConsistent(t, s)
			for i := range sessions {
				id := fmt.Sprintf("s%03d", i)
				err := s.View(t.Context(), func(tx authn.Tx) error {
					_, err := tx.Session(id)
					held, inErr := tx.SessionsOf(id)
					if events, _ := tx.Events(authn.EventQuery{User: id, Limit: 5}); len(held) != 1 || len(events) != 1 {
						t.Errorf("%s has %d sessions and %d events, want one of each", id, len(held), len(events))
					}
					return errors.Join(err, inErr)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestPatience: what is too much to be kept moves in any break, the rest once
// there is quiet, and all of it on once that has begun.
func TestPatience(t *testing.T) {
	s, _ := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), room{most: 1 << 20})
	put := func(id string) {
		t.Helper()
		if err := errors.Join(together(t, s, signUp(id))...); err != nil {
			t.Fatal(err)
		}
	}
	want := func(keep int, quiet, begun time.Duration) {
		t.Helper()
		s.recent.keep = keep
		if q, b := s.patience(quietAfter), s.patience(breakAfter); q != quiet || b != begun {
			t.Errorf("%d apart and %d to keep: got %v, and %v once it has begun, want %v and %v", s.Apart(), keep, q, b, quiet, begun)
		}
		if f := s.patience(forever); f != forever {
			t.Errorf("%d apart and %d to keep: got %v where it has failed, want that it waits for somebody", s.Apart(), keep, f)
		}
	}
	put("z") // in its place: nothing comes after it
	want(4, forever, forever)
	put("y") // a user, a session, and an entry of two indexes
	want(4, quietAfter, breakAfter)
	want(3, breakAfter, breakAfter)
}

// TestSettlesInOneGo: once it has begun it goes on until nothing stands apart.
func TestSettlesInOneGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openIn(t, filepath.Join(t.TempDir(), "doorward.db"), room{1 << 20, 1 << 20})
		for i := range 2 * settleAtOnce {
			if err := s.Update(t.Context(), signUp(fmt.Sprintf("s%03d", 999-i))); err != nil {
				t.Fatal(err)
			}
		}
		before := s.Apart()
		time.Sleep(2 * quietAfter)
		if after := s.Apart(); before <= 2*settleAtOnce || after != 0 {
			t.Errorf("got %d entries that stand apart, and %d after two seconds, want many and none", before, after)
		}
	})
}

// TestSettlesOnceItCan: what cannot be moved is left alone, and holds up nobody,
// until somebody has come.
func TestSettlesOnceItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openIn(t, filepath.Join(t.TempDir(), "doorward.db"), room{1 << 20, 1 << 20})
		first := number(1)
		set := func(value []byte) (old []byte) {
			t.Helper()
			err := s.db.Update(func(btx *bbolt.Tx) error {
				bb := btx.Bucket([]byte(recentBucket))
				old = bytes.Clone(bb.Get(first))
				return bb.Put(first, value)
			})
			if err != nil {
				t.Fatal(err)
			}
			return old
		}
		put := func(id string) {
			t.Helper()
			if err := s.Update(t.Context(), signUp(id)); err != nil {
				t.Fatal(err)
			}
		}
		put("z")
		put("a")
		whole := set([]byte("?"))
		time.Sleep(2 * quietAfter)
		tried := s.db.Stats()
		time.Sleep(time.Minute)
		now := s.db.Stats()
		if more := now.Sub(&tried).TxStats; more.GetCursorCount() != 0 || s.Apart() == 0 {
			t.Errorf("it was tried again while nobody came: %d more looks, and %d entries stand apart", more.GetCursorCount(), s.Apart())
		}
		set(whole)
		put("zz")
		time.Sleep(2 * quietAfter)
		if n := s.Apart(); n != 0 {
			t.Errorf("got %d entries that stand apart, want none", n)
		}
		mustBeConsistent(t, s)
	})
}

// TestTooManyBecomeFewer: past the most there may be, each write moves more than
// it adds.
func TestTooManyBecomeFewer(t *testing.T) {
	s, _ := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), room{1 << 20, 1 << 20})
	for _, id := range []string{"z", "y", "x", "w", "v", "u"} {
		if err := together(t, s, signUp(id))[0]; err != nil {
			t.Fatal(err)
		}
	}
	before := s.Apart()
	s.recent.most = 1
	if err := together(t, s, signUp("t"))[0]; err != nil {
		t.Fatal(err)
	}
	if after := s.Apart(); after >= before || after < before/2 {
		t.Errorf("got %d entries that stand apart, had %d, want some fewer", after, before)
	}
}

// TestDamagedWhileOpen: where too many stand apart, one that cannot be read fails
// the writes that would move it, and no more than those.
func TestDamagedWhileOpen(t *testing.T) {
	s, _ := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), room{1 << 20, 1 << 20})
	if err := errors.Join(together(t, s, signUp("z"), signUp("a"))...); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(btx *bbolt.Tx) error { return btx.Bucket([]byte(recentBucket)).Put(number(1), []byte("?")) })
	if err != nil {
		t.Fatal(err)
	}
	s.recent.most = 0
	if err := together(t, s, signUp("b"))[0]; !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want that it is damaged", err)
	}
	s.recent.most = 1 << 20
	if err := together(t, s, signUp("c"))[0]; err != nil {
		t.Error(err)
	}
}

// TestReadersSeeOneState: a reader that comes while a commit is under way, or
// while entries move, sees all of what one writer wrote or nothing of it, and
// never again what it has seen the end of.
func TestReadersSeeOneState(t *testing.T) {
	for name, r := range rooms {
		t.Run(name, func(t *testing.T) { readersSeeOneState(t, openIn(t, filepath.Join(t.TempDir(), "doorward.db"), r)) })
	}
}

func readersSeeOneState(t *testing.T, s *Store) {
	const people, rounds = 4, 60
	write := func(n int) func(tx authn.Tx) error {
		return func(tx authn.Tx) error {
			var err error
			for i := range people {
				u := person(i)
				u.Name = strconv.Itoa(n)
				x := authn.Session{ID: fmt.Sprintf("s%d", i), User: u.ID, UserAgent: u.Name, End: time.Now()}
				err = errors.Join(err, tx.PutUser(u), tx.PutSession(x))
			}
			return err
		}
	}
	if err := s.Update(t.Context(), write(0)); err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for last := 0; !over.Load(); {
				err := s.View(context.Background(), func(tx authn.Tx) error {
					seen := map[string]bool{}
					for i := range people {
						u, err := tx.User(person(i).ID)
						held, inErr := tx.SessionsOf(u.ID)
						if err := errors.Join(err, inErr); err != nil || len(held) != 1 {
							return fmt.Errorf("%d sessions: %w", len(held), err)
						}
						seen[u.Name], seen[held[0].UserAgent] = true, true
						if n, _ := strconv.Atoi(u.Name); n >= last {
							last = n
						} else {
							return fmt.Errorf("%d after %d", n, last)
						}
					}
					if len(seen) != 1 {
						return fmt.Errorf("of several states: %v", seen)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range rounds {
		if err := s.Update(t.Context(), write(n+1)); err != nil {
			t.Error(err)
			break
		}
	}
	over.Store(true)
	wg.Wait()
	mustBeConsistent(t, s)
}

// TestAsAMap writes at random in batches of which some calls are refused, and
// holds what is found, and in which order, against a map.
func TestAsAMap(t *testing.T) {
	for name, r := range rooms {
		t.Run(name, func(t *testing.T) {
			s, begin := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), r)
			asAMap(t, s)
			begin()
			if err := s.Update(t.Context(), func(at authn.Tx) error { mustHaveWholePages(t, at.(*tx)); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

func asAMap(t *testing.T, s *Store) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	refused := errors.New("refused")
	want := map[string]string{}
	key := func() string { return string(rune('a' + r.IntN(26))) }
	for round := range 150 {
		var fns []func(authn.Tx) error
		for range 1 + r.IntN(4) {
			refuse, changes := r.IntN(3) == 0, map[string]string{}
			for range 1 + r.IntN(6) {
				value := strconv.Itoa(r.IntN(1000))
				if r.IntN(3) == 0 {
					value = "gone"
				}
				changes[key()] = value
			}
			fns = append(fns, func(at authn.Tx) error {
				var err error
				for k, v := range changes {
					if v == "gone" {
						err = errors.Join(err, at.(*tx).del(sessionsOfBucket, pair("u", k)))
					} else {
						err = errors.Join(err, at.(*tx).put(sessionsOfBucket, pair("u", k), []byte(v)))
					}
				}
				if refuse {
					return errors.Join(err, refused)
				}
				return err
			})
			if !refuse {
				maps.Copy(want, changes)
			}
		}
		maps.DeleteFunc(want, func(_, v string) bool { return v == "gone" })
		for i, err := range together(t, s, fns...) {
			if err != nil && err.Error() != refused.Error() {
				t.Fatalf("seed %d, round %d, call %d: %v", seed, round, i, err)
			}
		}
		got, order := map[string]string{}, ""
		err := s.View(t.Context(), func(at authn.Tx) error {
			at.(*tx).ascend(sessionsOfBucket, pair("u", ""), func(k, v []byte) bool {
				got[string(k)], order = string(v), order+string(k)
				return true
			})
			at.(*tx).descend(sessionsOfBucket, pair("u", ""), "", func(k, v []byte) bool {
				if !strings.HasSuffix(order, string(k)) {
					return false
				}
				order = strings.TrimSuffix(order, string(k))
				return string(v) == string(at.(*tx).get(sessionsOfBucket, pair("u", string(k))))
			})
			return nil
		})
		if err != nil || order != "" || !maps.Equal(got, want) {
			t.Fatalf("seed %d, round %d: %v, left over downwards %q, got %v, want %v", seed, round, err, order, got, want)
		}
		if r.IntN(4) == 0 {
			if err := s.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWalksInOrder: a walk in either direction, from any place, passes what
// stands apart where it belongs, each key once and with its newest value.
func TestWalksInOrder(t *testing.T) {
	s := openIn(t, filepath.Join(t.TempDir(), "doorward.db"), room{1 << 20, 1 << 20})
	put := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			err := s.Update(t.Context(), func(at authn.Tx) error { return at.(*tx).put(eventsOfBucket, pair("u", k), []byte(k+"!")) })
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put("m", "k", "b", "x", "d", "k", "z", "a", "m")
	put("b")
	err := s.Update(t.Context(), func(at authn.Tx) error { return at.(*tx).del(eventsOfBucket, pair("u", "d")) })
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Apart(); n != 4 { // a, b, k and m
		t.Fatalf("%d entries stand apart, want some and not all", n)
	}
	walk := func(how func(tx *tx, fn func(k, v []byte) bool), limit int) (got string) {
		err := s.View(t.Context(), func(at authn.Tx) error {
			how(at.(*tx), func(k, v []byte) bool {
				if string(v) != string(k)+"!" {
					t.Errorf("%s has the value %q", k, v)
				}
				got += string(k)
				return len(got) < limit
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	const all = "abkmxz"
	backwards := []byte(all)
	slices.Reverse(backwards)
	for limit := 1; limit <= len(all)+1; limit++ {
		want := all[:min(limit, len(all))]
		if got := walk(func(tx *tx, fn func(k, v []byte) bool) { tx.ascend(eventsOfBucket, pair("u", ""), fn) }, limit); got != want {
			t.Errorf("up to %d upwards: got %s, want %s", limit, got, want)
		}
		for _, before := range []string{"", "a", "b", "c", "m", "x", "zz"} {
			want := string(backwards)
			if before != "" {
				want = want[strings.IndexFunc(want+"\x00", func(r rune) bool { return string(r) < before }):]
			}
			want = want[:min(limit, len(want))]
			if got := walk(func(tx *tx, fn func(k, v []byte) bool) { tx.descend(eventsOfBucket, pair("u", ""), before, fn) }, limit); got != want {
				t.Errorf("up to %d downwards from %q: got %s, want %s", limit, before, got, want)
			}
		}
	}
}

// TestDamagedApart: what cannot be read is said when the file is opened, not
// when somebody is signed out by it.
func TestDamagedApart(t *testing.T) {
	whole := written{sessionsBucket, []byte("s"), []byte("{}")}.encode()
	other := written{sessionsBucket, []byte("r"), []byte("{}")}.encode()
	for name, tt := range map[string]struct{ key, value []byte }{
		"nothing":           {number(7), nil},
		"an unknown letter": {number(7), []byte("x\x01s")},
		"cut in the key":    {number(7), []byte("s\x05se")},
		"a length cut":      {number(7), []byte("s\x80")},
		"a short number":    {[]byte("7"), other},
		"a long number":     {[]byte("123456789"), other},
		"number nought":     {number(0), other},
		"a key twice":       {number(7), whole},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "doorward.db")
			s := openAt(t, path)
			err := s.db.Update(func(btx *bbolt.Tx) error {
				bb := btx.Bucket([]byte(recentBucket))
				return errors.Join(bb.Put(number(3), whole), bb.Put(tt.key, tt.value))
			})
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v, want that it is damaged", err)
				if err == nil {
					s.Close()
				}
			}
		})
	}
}
