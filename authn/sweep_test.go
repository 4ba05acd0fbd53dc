package authn_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestSweepSessions(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	first := f.signIn(t, "ada", authn.ModeToken)
	f.advance(time.Hour)
	second := f.signIn(t, "ada", authn.ModeSessionCookie)
	there := func(sid string) bool {
		_, err := f.stored(t, sid)
		return !errors.Is(err, authn.ErrNotFound)
	}
	f.set(first.Session.IdleEnd.Add(-1))
	if err := f.Sweep(ctx, f.at()); err != nil || !there(first.Session.ID) {
		t.Errorf("a moment before its end the session is gone (%v)", err)
	}
	f.advance(1)
	if err := f.Sweep(ctx, f.at()); err != nil || there(first.Session.ID) || !there(second.Session.ID) {
		t.Errorf("at its end: there %v, the other there %v (%v)", there(first.Session.ID), there(second.Session.ID), err)
	}
	if got := f.events(t, u.ID)[0]; got != "session.ended expired" {
		t.Errorf("event %q", got)
	}
}

// TestSweepTellsFollowers: an open stream ends with the session that idled out.
func TestSweepTellsFollowers(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	id, err := f.Identify(ctx, cookies(in.Cookie))
	if err != nil {
		t.Fatal(err)
	}
	told := follow(t, f, id)
	f.set(in.Session.IdleEnd)
	if err := f.Sweep(ctx, f.at()); err != nil {
		t.Fatal(err)
	}
	wait(t, "the sweep", told)
	if _, err := f.Current(ctx, id); !errors.Is(err, authn.ErrNotSignedIn) {
		t.Errorf("got %v, want %v", err, authn.ErrNotSignedIn)
	}
}

// TestSweepInBatches takes more than one transaction for a lot.
func TestSweepInBatches(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Events.Retention = time.Hour })
	const n = 600
	if err := f.Store.Update(ctx, func(tx authn.Tx) error {
		for range n {
			if err := tx.AddEvent(authn.Event{Time: start, Kind: authn.ConfigLoaded}, start.Add(time.Hour)); err != nil {
				return err
			}
		}
		return tx.PutCounter(authn.Counter{Key: "c", Count: 1, At: start, Expires: start.Add(time.Hour)})
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Record(ctx, authn.ConfigLoaded, authn.Actor{}, nil); err != nil {
		t.Fatal(err)
	}
	left := func() (events int, counter bool) {
		err := f.Store.View(ctx, func(tx authn.Tx) error {
			list, err := tx.Events(authn.EventQuery{Limit: 2 * n})
			events = len(list)
			_, missing := tx.Counter("c")
			counter = missing == nil
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return events, counter
	}
	if err := f.Sweep(ctx, start.Add(time.Hour-1)); err != nil {
		t.Fatal(err)
	}
	if e, c := left(); e != n+1 || !c {
		t.Errorf("before their end: %d events, counter %v", e, c)
	}
	if err := f.Sweep(ctx, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if e, c := left(); e != 0 || c {
		t.Errorf("at their end: %d events, counter %v", e, c)
	}
}

func TestRecord(t *testing.T) {
	f := newService(t, nil)
	a := authn.Actor{ID: authn.ActorCLI, Client: client("192.0.2.9")}
	if err := f.Record(ctx, authn.ConfigRejected, a, map[string]string{"problems": "2"}); err != nil {
		t.Fatal(err)
	}
	list, err := f.Events(ctx, authn.EventQuery{Limit: 10})
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	e := list[0]
	if e.Kind != authn.ConfigRejected || e.Actor != "cli" || e.ClientIP != "192.0.2.9" || e.Detail["problems"] != "2" || !e.Time.Equal(start) {
		t.Errorf("got %+v", e)
	}
	if err := f.Sweep(ctx, start.Add(f.Config.Events.Retention-1)); err != nil {
		t.Fatal(err)
	}
	if list, _ := f.Events(ctx, authn.EventQuery{Limit: 10}); !slices.ContainsFunc(list, func(e authn.Event) bool { return e.Kind == authn.ConfigRejected }) {
		t.Error("an event went before its time")
	}
}
