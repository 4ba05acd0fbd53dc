package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var expiryTests = []test{
	{"what ends at now has expired, a nanosecond later has not", expiryBoundary},
	{"the earliest come first, up to the limit", expiryOrder},
	{"a session expires by whichever end comes first", sessionEnds},
	{"putting a record again moves its expiry", expiryMoves},
	{"a session whose end was put off is swept at its last end, whoever looked before", expiryPutOff},
	{"sessions put off take their part of the limit, and hide nobody for long", expiryPutOffMany},
	{"a deleted record does not expire", expiryDeleted},
	{"every kind can be swept by what it is called", sweep},
	{"times far away keep their place", farTimes},
}

func (f *fixture) expired(t *testing.T, now time.Time, limit int) []authn.Expired {
	t.Helper()
	var got []authn.Expired
	f.view(t, func(tx authn.Tx) (err error) {
		got, err = tx.Expired(now, limit)
		return err
	})
	return got
}

func until(key string, expires time.Time) authn.Counter {
	return authn.Counter{Key: key, Count: 1, Expires: expires}
}

func expiryBoundary(t *testing.T, f *fixture) {
	f.put(t, until("c", at(5)))
	wantEqual(t, len(f.expired(t, at(5).Add(-1), 10)), 0)
	want := []authn.Expired{{Kind: authn.ExpiredCounter, ID: "c", At: at(5)}}
	wantEqual(t, f.expired(t, at(5), 10), want)
	wantEqual(t, f.expired(t, at(5).Add(1), 10), want)
	f.reopen(t)
	wantEqual(t, f.expired(t, at(5), 10), want)
}

func expiryOrder(t *testing.T, f *fixture) {
	f.put(t, until("c", at(30)), until("a", at(40)), until("d", at(10)), until("b", at(20)))
	var got []string
	for _, e := range f.expired(t, at(35), 2) {
		got = append(got, e.ID)
	}
	wantEqual(t, got, []string{"d", "b"})
	wantEqual(t, len(f.expired(t, at(35), 10)), 3)
}

func sessionEnds(t *testing.T, f *fixture) {
	idle, absolute := session(1, id(1)), session(2, id(1))
	idle.IdleEnd, idle.End = at(10), at(20)
	absolute.IdleEnd, absolute.End = at(20), at(15)
	f.put(t, idle, absolute)
	wantEqual(t, f.expired(t, at(100), 10), []authn.Expired{
		{Kind: authn.ExpiredSession, ID: idle.ID, At: at(10)},
		{Kind: authn.ExpiredSession, ID: absolute.ID, At: at(15)},
	})
}

func expiryMoves(t *testing.T, f *fixture) {
	s := session(1, id(1))
	k := ticket(1, id(1))
	s.IdleEnd, k.ExpiresAt = at(10), at(10)
	f.put(t, s, k, until("c", at(10)))
	s.IdleEnd, k.ExpiresAt = at(30), at(32)
	f.put(t, s, k, until("c", at(31)))
	wantEqual(t, len(f.expired(t, at(29), 10)), 0)
	wantEqual(t, f.expired(t, at(100), 10), []authn.Expired{
		{Kind: authn.ExpiredSession, ID: s.ID, At: at(30)},
		{Kind: authn.ExpiredCounter, ID: "c", At: at(31)},
		{Kind: authn.ExpiredTicket, ID: k.ID, At: at(32)},
	})
	s.IdleEnd = at(5)
	f.put(t, s)
	wantEqual(t, len(f.expired(t, at(5), 10)), 1)
}

// sweptAt is what an Update is told to remove at a time.
func (f *fixture) sweptAt(t *testing.T, now time.Time, limit int) (due []authn.Expired, moved int) {
	t.Helper()
	f.update(t, func(tx authn.Tx) error {
		due, moved = nil, 0
		all, err := tx.Expired(now, limit)
		for _, e := range all {
			if e.Kind == authn.ExpiredMoved {
				moved++
			} else {
				due = append(due, e)
			}
		}
		if len(all) > limit {
			t.Errorf("got %d expired, want at most %d", len(all), limit)
		}
		return err
	})
	return due, moved
}

func expiryPutOff(t *testing.T, f *fixture) {
	s := session(1, id(1))
	for end := 10; end <= 40; end += 10 {
		s.IdleEnd = at(end)
		f.put(t, s)
		for now := end - 15; now < end; now += 5 {
			due, _ := f.sweptAt(t, at(now), 10)
			wantEqual(t, len(due), 0)
			wantEqual(t, len(f.expired(t, at(now), 10)), 0)
		}
	}
	f.reopen(t)
	want := []authn.Expired{{Kind: authn.ExpiredSession, ID: s.ID, At: at(40)}}
	wantEqual(t, f.expired(t, at(40), 10), want)
	due, moved := f.sweptAt(t, at(40), 10)
	wantEqual(t, due, want)
	wantEqual(t, moved, 0)
	s.IdleEnd = at(50)
	f.put(t, s)
	f.update(t, func(tx authn.Tx) error { return tx.DeleteSession(s.ID) })
	due, moved = f.sweptAt(t, at(100), 10)
	wantEqual(t, len(due)+moved, 0)
}

func expiryPutOffMany(t *testing.T, f *fixture) {
	for i := range 10 {
		s := session(i, id(1))
		s.IdleEnd = at(10 + i)
		f.put(t, s)
		s.IdleEnd = at(1000 + i)
		f.put(t, s)
	}
	last := session(50, id(1))
	last.IdleEnd = at(100)
	f.put(t, last)
	var found []authn.Expired
	for range 11 {
		due, moved := f.sweptAt(t, at(100), 3)
		found = append(found, due...)
		if len(due)+moved < 3 {
			break
		}
	}
	wantEqual(t, found, []authn.Expired{{Kind: authn.ExpiredSession, ID: last.ID, At: at(100)}})
}

func expiryDeleted(t *testing.T, f *fixture) {
	f.put(t, session(1, id(1)), ticket(1, id(1)), until("c", at(1)), event(1, authn.UserCreated, "", ""))
	f.update(t, func(tx authn.Tx) error {
		events, err := tx.Events(authn.EventQuery{Limit: 1})
		return errors.Join(err, tx.DeleteSession(id(1)), tx.DeleteTicket(id(1)), tx.DeleteCounter("c"), tx.DeleteEvent(events[0].ID))
	})
	wantEqual(t, len(f.expired(t, at(1<<30), 10)), 0)
}

func sweep(t *testing.T, f *fixture) {
	f.put(t, session(1, id(1)), session(2, id(1)), ticket(1, id(1)), until("c", at(1)), event(1, authn.UserCreated, "", ""))
	f.update(t, func(tx authn.Tx) error {
		expired, err := tx.Expired(at(1<<30), 10)
		wantEqual(t, len(expired), 5)
		for _, e := range expired {
			switch e.Kind {
			case authn.ExpiredSession:
				err = errors.Join(err, tx.DeleteSession(e.ID))
			case authn.ExpiredEvent:
				err = errors.Join(err, tx.DeleteEvent(e.ID))
			case authn.ExpiredTicket:
				err = errors.Join(err, tx.DeleteTicket(e.ID))
			case authn.ExpiredCounter:
				err = errors.Join(err, tx.DeleteCounter(e.ID))
			default:
				t.Errorf("got the kind %q", e.Kind)
			}
		}
		return err
	})
	wantEqual(t, dump(t, f), snapshot{})
}

func farTimes(t *testing.T, f *fixture) {
	f.put(t,
		until("never", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)),
		until("zero", time.Time{}),
		until("before 1970", time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)),
		until("soon", at(1)))
	var got []string
	for _, e := range f.expired(t, at(1), 10) {
		got = append(got, e.ID)
	}
	wantEqual(t, got, []string{"zero", "before 1970", "soon"})
}
