package bolt

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// spoil makes every record of a bucket unreadable but those kept. Whatever
// still answers has not decoded them.
func spoil(t *testing.T, s *Store, b bucket, keep ...string) {
	t.Helper()
	err := s.db.Update(func(btx *bbolt.Tx) error {
		bb := btx.Bucket([]byte(b))
		var keys [][]byte
		bb.ForEach(func(k, _ []byte) error {
			for _, id := range keep {
				if string(k) == id {
					return nil
				}
			}
			keys = append(keys, bytes.Clone(k))
			return nil
		})
		for _, k := range keys {
			if err := bb.Put(k, []byte("spoiled")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestListingDecodesOnlyThePage(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	const n = 500
	for i := 0; i < n; i += 100 {
		err := s.Update(t.Context(), func(tx authn.Tx) error {
			for k := i; k < i+100; k++ {
				if err := tx.PutUser(person(k)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	first, last, middle := person(n-1), person(0), person(250)
	spoil(t, s, usersBucket, first.ID, last.ID, middle.ID)
	yes := true
	err := s.View(t.Context(), func(tx authn.Tx) error {
		for name, tt := range map[string]struct {
			q    authn.UserQuery
			want authn.User
		}{
			"first page":           {authn.UserQuery{}, first},
			"last page":            {authn.UserQuery{Skip: n - 1}, last},
			"last page, counted":   {authn.UserQuery{Skip: n - 1, Active: &yes, CountTo: n}, last},
			"after":                {authn.UserQuery{After: person(251).ID}, middle},
			"role":                 {authn.UserQuery{Role: "user", Skip: n - 1, CountTo: n}, last},
			"prefix":               {authn.UserQuery{Prefix: "user", CountTo: n}, first},
			"prefix, last page":    {authn.UserQuery{Prefix: "URSULA", Active: &yes, Role: "user", Skip: n - 1, CountTo: n}, last},
			"prefix of one person": {authn.UserQuery{Prefix: "user250@", CountTo: n}, middle},
		} {
			tt.q.Limit = 1
			page, err := tx.Users(tt.q)
			if err != nil || len(page.Users) != 1 || page.Users[0].ID != tt.want.ID {
				t.Errorf("%s: got %v, %v, want %s", name, page.Users, err, tt.want.ID)
			}
		}
		if got, err := tx.CountActive("user", n); got != n || err != nil {
			t.Errorf("CountActive: got %d, %v, want %d", got, err, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEventsDecodeOnlyTheAnswer(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		for i := range 300 {
			e := authn.Event{Time: day.Add(time.Duration(i) * time.Minute), Kind: authn.SignInFailed, Subject: "u"}
			if i == 150 {
				e.Kind = authn.UserUnlocked
			}
			if err := tx.AddEvent(e, day); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, s, eventsBucket, "0000000000000097", "000000000000012c") // the 151st and the last
	err = s.View(t.Context(), func(tx authn.Tx) error {
		for name, q := range map[string]authn.EventQuery{
			"kind":          {Kind: authn.UserUnlocked, Limit: 5},
			"user and kind": {User: "u", Kind: authn.UserUnlocked, Limit: 5},
			"newest":        {Limit: 1},
			"since":         {Since: day.Add(299 * time.Minute), Limit: 5},
		} {
			if got, err := tx.Events(q); err != nil || len(got) != 1 {
				t.Errorf("%s: got %v, %v, want one event", name, got, err)
			}
		}
		got, err := tx.Expired(day, 1000)
		if len(got) != 300 {
			t.Errorf("got %d expired, want 300", len(got))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSinceStopsTheWalk: once every event left is too old, none is looked at.
func TestSinceStopsTheWalk(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		for i := range 10 {
			if err := tx.AddEvent(authn.Event{Time: day.Add(time.Duration(i) * time.Hour), Kind: authn.SignInFailed}, day); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.db.Update(func(btx *bbolt.Tx) error { // a mark that cannot be read, far back
		return btx.Bucket([]byte(eventLogBucket)).Put([]byte("0000000000000002"), []byte("x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(tx authn.Tx) error {
		got, err := tx.Events(authn.EventQuery{Since: day.Add(6 * time.Hour), Limit: 100})
		if err != nil || len(got) != 4 {
			t.Errorf("got %d events, %v, want 4", len(got), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTombstonesHoldNoName: the file must not go on listing who was here.
func TestTombstonesHoldNoName(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		u := authn.User{ID: "i", Username: "Annabel", Email: "annabel@example.com", Name: "Annabel"}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		u.Username = "Annabella"
		if err := tx.PutUser(u); err != nil {
			return err
		}
		return tx.DeleteUser("i")
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBeConsistent(t, s)
	tombstones := 0
	err = s.db.View(func(btx *bbolt.Tx) error {
		for _, b := range buckets {
			btx.Bucket([]byte(b)).ForEach(func(k, v []byte) error {
				if bytes.Contains(bytes.ToLower(k), []byte("annabel")) || bytes.Contains(bytes.ToLower(v), []byte("annabel")) {
					t.Errorf("%s still holds the name: %q %q", b, k, v)
				}
				if b == tombstonesBucket {
					tombstones++
				}
				return nil
			})
		}
		return nil
	})
	if tombstones != 3 || err != nil {
		t.Errorf("got %d tombstones, %v, want 3", tombstones, err)
	}
}

// TestWritesOnlyWhatMoves: every entry written again is a page more of the
// commit, and in a large store several.
func TestWritesOnlyWhatMoves(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	u := person(1)
	x := authn.Session{ID: "s", User: u.ID, CreatedAt: now, IdleEnd: now.Add(time.Hour), End: now.Add(9 * time.Hour)}
	for _, tt := range []struct {
		name string
		do   func(tx authn.Tx) error
		want []bucket
	}{
		{"a sign-in", func(tx authn.Tx) error { u := u; u.LastLoginAt = now; return tx.PutUser(u) }, []bucket{usersBucket}},
		{"a new name", func(tx authn.Tx) error { u := u; u.Name = "Una"; return tx.PutUser(u) }, []bucket{namesBucket, usersBucket}},
		{"disabled", func(tx authn.Tx) error { u := u; u.Active = false; return tx.PutUser(u) }, []bucket{rolesBucket, statesBucket, usersBucket}},
		{"a seed forgotten", func(tx authn.Tx) error { return tx.PutSession(x) }, []bucket{sessionsBucket}},
		{"a refresh", func(tx authn.Tx) error { x := x; x.IdleEnd = now.Add(2 * time.Hour); return tx.PutSession(x) }, []bucket{sessionsBucket}},
		{"a session that ends sooner", func(tx authn.Tx) error { x := x; x.IdleEnd = now.Add(time.Minute); return tx.PutSession(x) }, []bucket{expiryBucket, sessionsBucket}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, begin := openUnwritten(t, filepath.Join(t.TempDir(), "doorward.db"), ordinaryRoom)
			var got []bucket
			ended := together(t, s,
				func(tx authn.Tx) error { return errors.Join(tx.PutUser(u), tx.PutSession(x)) },
				func(at authn.Tx) error {
					err := tt.do(at)
					for _, u := range at.(*tx).undo {
						got = append(got, u.bucket)
					}
					return err
				})
			if err := errors.Join(ended...); err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, tt.want) {
				t.Errorf("got writes to %v, want %v", got, tt.want)
			}
			begin()
			mustBeConsistent(t, s)
		})
	}
}
