//go:build scale

package bolt_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// What a sign-in and a refresh ask of the store, transaction by transaction as
// package authn does it, without the hash and the signature.

// signIn opens a session for a user.
func (w *town) signIn(ctx context.Context, login, sid string, now time.Time) error {
	var u authn.User
	err := w.db.View(ctx, func(tx authn.Tx) (err error) {
		u, err = tx.UserByUsername(login)
		return err
	})
	if err != nil {
		return err
	}
	return w.db.Update(ctx, func(tx authn.Tx) error {
		u, err := tx.User(u.ID)
		if err != nil {
			return err
		}
		if err := tx.DeleteCounter("n/0123456789abcdef/" + u.ID); err != nil && !errors.Is(err, authn.ErrNotFound) {
			return err
		}
		u.LastLoginAt = now
		u.Networks = []authn.KnownNetwork{{Network: "192.0.2.1", SeenAt: now}}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		held, err := tx.SessionsOf(u.ID)
		if err != nil {
			return err
		}
		for len(held) >= perUser {
			if err := w.end(tx, held[0], now); err != nil {
				return err
			}
			held = held[1:]
		}
		return errors.Join(
			tx.PutSession(w.newSession(u.ID, sid, now)),
			tx.AddEvent(authn.Event{Time: now, Kind: authn.SignInSucceeded, Actor: u.ID, Subject: u.ID, Session: sid, ClientIP: "192.0.2.1",
				RequestID: "0123456789abcdef", Detail: map[string]string{"mode": "token"}}, now.Add(w.retention)),
		)
	})
}

// end removes a session and says so.
func (w *town) end(tx authn.Tx, x authn.Session, now time.Time) error {
	return errors.Join(
		tx.DeleteSession(x.ID),
		tx.AddEvent(authn.Event{Time: now, Kind: authn.SessionEnded, Subject: x.User, Session: x.ID,
			Detail: map[string]string{"reason": "expired"}}, now.Add(w.retention)),
	)
}

// refresh rotates a session's token.
func (w *town) refresh(ctx context.Context, sid string, now time.Time) error {
	look := func(tx authn.Tx) (x authn.Session, err error) {
		if x, err = tx.Session(sid); err == nil {
			_, err = tx.User(x.User)
		}
		return x, err
	}
	if err := w.db.View(ctx, func(tx authn.Tx) error { _, err := look(tx); return err }); err != nil {
		return err
	}
	return w.db.Update(ctx, func(tx authn.Tx) error {
		x, err := look(tx)
		if err != nil {
			return err
		}
		x.Chain.Links = []authn.Link{{Gen: x.Chain.Gen, Hash: x.Chain.CurHash, Seed: make([]byte, 32), At: now}}
		x.Chain.Gen++
		x.LastUsedAt, x.IdleEnd = now, now.Add(w.idle)
		return tx.PutSession(x)
	})
}

// judged are the figures with a goal.
var judged = []string{"a sign-in's store share, 64 at once, p99", "a refresh, 64 at once, p99"}

// bounded are the figures that no disk has a say in.
var bounded = []string{"a sign-in's store share, 64 at once, written", "a refresh, 64 at once, written"}

const (
	rounds  = 12  // of every figure, in each town in turn: a p99 is of the worst few commits
	alone   = 150 // calls of a round, one at a time
	crowd   = 64  // callers at once
	perHead = 25  // calls of each of them in a round
	floodOf = 60_000
)

// traffic measures the towns in turns.
func traffic(t *testing.T, towns []*town) {
	t.Helper()
	type key struct {
		w    *town
		name string
	}
	got, clock, wrote := map[key]sample{}, map[key]time.Duration{}, map[key]int64{}
	kinds := []struct {
		name string
		do   func(w *town) func() error
	}{
		{"a read of a session", func(w *town) func() error { return func() error { return w.read(t) } }},
		{"a sign-in's store share", func(w *town) func() error { return w.signIns(t) }},
		{"a refresh", func(w *town) func() error { return func() error { return w.refreshes(t) } }},
	}
	for range rounds {
		for _, k := range kinds {
			for _, w := range towns {
				one, all := key{w, k.name + ", alone"}, key{w, k.name + ", 64 at once"}
				w.settle(t)
				s, _ := run(t, 1, alone, k.do(w))
				got[one] = append(got[one], s...)
				before := written(t)
				s, d := run(t, crowd, perHead, k.do(w))
				got[all], clock[all], wrote[all] = append(got[all], s...), clock[all]+d, wrote[all]+written(t)-before
				w.signOut(t)
				w.settle(t)
			}
		}
	}
	for _, w := range towns {
		for _, k := range kinds {
			for _, how := range []string{", alone", ", 64 at once"} {
				s := got[key{w, k.name + how}]
				w.note(k.name+how+", p50", took(s.at(.5)))
				w.note(k.name+how+", p99", took(s.at(.99)))
			}
			all := key{w, k.name + ", 64 at once"}
			w.note(k.name+", 64 at once", figure{float64(len(got[all])) / clock[all].Seconds(), "/s"})
			if wrote[all] == 0 {
				continue
			}
			w.note(k.name+", 64 at once, written", figure{float64(wrote[all]) / float64(len(got[all])), "bytes"})
		}
	}
}

// settle waits until nothing stands apart, so that a town at rest does not keep
// the disk busy while another is measured.
func (w *town) settle(t *testing.T) {
	t.Helper()
	start, n := time.Now(), w.db.Apart()
	for w.db.Apart() > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	w.settled, w.settling = w.settled+n, w.settling+time.Since(start)
}

// flood is longer than what may stand apart: then every commit moves as much to
// its place as it adds.
func flood(t *testing.T, towns []*town) {
	t.Helper()
	for _, w := range towns {
		w.settle(t)
		for _, part := range []string{"the first", "the last"} {
			s, d := run(t, crowd, floodOf/crowd, func() error { return w.refreshes(t) })
			w.note("a long flood of refreshes, "+part+" 60,000, p50", took(s.at(.5)))
			w.note("a long flood of refreshes, "+part+" 60,000, p99", took(s.at(.99)))
			w.note("a long flood of refreshes, "+part+" 60,000", figure{float64(len(s)) / d.Seconds(), "/s"})
		}
	}
}

// run has callers do something so many times each.
func run(t *testing.T, callers, times int, do func() error) (sample, time.Duration) {
	t.Helper()
	all := make([]sample, callers)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	began := time.Now()
	for c := range callers {
		wg.Go(func() {
			for range times {
				start := time.Now()
				if err := do(); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				all[c] = append(all[c], time.Since(start))
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	var s sample
	for _, one := range all {
		s = append(s, one...)
	}
	return s, time.Since(began)
}

// anyone is somebody whose session has not ended.
func (w *town) anyone() int {
	i := rand.IntN(w.n - 1)
	if i%10 == 0 {
		i++
	}
	return i
}

func (w *town) read(t *testing.T) error {
	return w.db.View(t.Context(), func(tx authn.Tx) error { _, err := tx.Session(w.session(w.anyone())); return err })
}

func (w *town) refreshes(t *testing.T) error {
	return w.refresh(t.Context(), w.session(w.anyone()), time.Now().UTC())
}

// signIns goes through the people in an order of its own, so that nobody's
// sessions come to the limit within a round.
func (w *town) signIns(t *testing.T) func() error {
	var n atomic.Int64
	start := rand.IntN(w.n)
	return func() error {
		now, i := time.Now().UTC(), int(n.Add(1))
		return w.signIn(t.Context(), w.login((start+w.scattered(i%w.n))%w.n), id(now, w.n+i), now)
	}
}

// signOut ends what the last round opened: a small town would else be full of
// sessions that a large one has room for.
func (w *town) signOut(t *testing.T) {
	t.Helper()
	err := w.db.Update(t.Context(), func(tx authn.Tx) error {
		events, err := tx.Events(authn.EventQuery{Kind: authn.SignInSucceeded, Limit: alone + crowd*perHead})
		for _, e := range events {
			if gone := tx.DeleteSession(e.Session); err == nil && !errors.Is(gone, authn.ErrNotFound) {
				err = gone
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
