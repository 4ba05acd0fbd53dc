package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var eventTests = []test{
	{"an event comes back as it was added, with an id", eventRoundTrip},
	{"ids follow the order of writing", eventIDsFollow},
	{"every query answers like a walk over all events", eventsLikeAWalk},
	{"a deleted event is gone everywhere", eventDeleted},
}

func eventRoundTrip(t *testing.T, f *fixture) {
	full := event(1, authn.SessionEnded, id(1), id(2))
	full.ID = "mine" // the store gives its own
	f.put(t, full, authn.Event{Kind: authn.ConfigLoaded})
	f.reopen(t)
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Events(authn.EventQuery{Limit: 5})
		must(t, err)
		if len(got) != 2 || got[0].ID == "" || got[1].ID == "" || got[1].ID == "mine" {
			t.Fatalf("got %+v, want two events with ids of the store", got)
		}
		got[0].ID, got[1].ID, full.ID = "", "", ""
		wantEqual(t, got, []authn.Event{{Kind: authn.ConfigLoaded}, full})
		return nil
	})
}

func eventIDsFollow(t *testing.T, f *fixture) {
	f.put(t, counter("n", 0))
	add := func(int) {
		f.update(t, func(tx authn.Tx) error {
			c, err := tx.Counter("n")
			c.Count++
			return errors.Join(err, put(tx, c, event(int(c.Count), authn.UserUpdated, "", "")))
		})
	}
	together(crowd, add)
	f.reopen(t)
	add(0)
	f.view(t, func(tx authn.Tx) error {
		events, err := tx.Events(authn.EventQuery{Limit: 2 * crowd})
		must(t, err)
		wantEqual(t, len(events), crowd+1)
		slices.Reverse(events)
		for i, e := range events {
			wantEqual(t, e.Time, at(i+1))
			if i > 0 && e.ID <= events[i-1].ID {
				t.Errorf("the id %q comes after %q", e.ID, events[i-1].ID)
			}
		}
		return nil
	})
}

func eventsLikeAWalk(t *testing.T, f *fixture) {
	kinds := []authn.Kind{authn.SignInSucceeded, authn.SignInFailed, authn.SessionEnded}
	f.update(t, func(tx authn.Tx) error {
		for i := range 80 {
			// The clock stumbles: times do not follow the order of writing.
			when := i + (i%7)*5 - (i%3)*9
			actor, subject := id(i%3), id(i%5)
			if i%4 == 0 {
				actor = "cli"
			}
			if i%11 == 0 {
				subject = ""
			}
			must(t, put(tx, event(when, kinds[i%len(kinds)], actor, subject)))
		}
		return nil
	})
	f.view(t, func(tx authn.Tx) error {
		all, err := tx.Events(authn.EventQuery{Limit: 100})
		must(t, err)
		wantEqual(t, len(all), 80)
		for _, who := range []string{"", id(0), id(2), id(4), "cli", "nobody", "cl"} {
			for _, kind := range []authn.Kind{"", authn.SignInFailed, authn.SessionEnded, "session"} {
				for _, since := range []time.Time{{}, at(0), at(40), at(40).Add(1), at(200)} {
					for _, after := range []string{"", all[0].ID, all[33].ID, all[79].ID} {
						for _, limit := range []int{1, 7, 100} {
							q := authn.EventQuery{User: who, Kind: kind, Since: since, After: after, Limit: limit}
							got, err := tx.Events(q)
							must(t, err)
							if want := naiveEvents(all, q); !slices.EqualFunc(got, want, func(a, b authn.Event) bool { return a.ID == b.ID }) {
								t.Fatalf("%+v: got %d events, want %d\n%v\n%v", q, len(got), len(want), got, want)
							}
						}
					}
				}
			}
		}
		return nil
	})
}

// naiveEvents is the listing written as its definition; all are newest first.
func naiveEvents(all []authn.Event, q authn.EventQuery) []authn.Event {
	matches := slices.DeleteFunc(slices.Clone(all), func(e authn.Event) bool {
		return q.User != "" && e.Actor != q.User && e.Subject != q.User ||
			q.Kind != "" && e.Kind != q.Kind ||
			e.Time.Before(q.Since) ||
			q.After != "" && e.ID >= q.After
	})
	return matches[:min(q.Limit, len(matches))]
}

func eventDeleted(t *testing.T, f *fixture) {
	f.put(t, event(1, authn.UserCreated, id(1), id(2)), event(2, authn.UserCreated, id(1), id(1)))
	f.update(t, func(tx authn.Tx) error {
		events, err := tx.Events(authn.EventQuery{Limit: 1})
		must(t, err)
		must(t, tx.DeleteEvent(events[0].ID))
		wantNotFound(t, tx.DeleteEvent(events[0].ID))
		return nil
	})
	f.view(t, func(tx authn.Tx) error {
		for _, q := range []authn.EventQuery{{}, {User: id(1)}, {Kind: authn.UserCreated}, {User: id(1), Kind: authn.UserCreated}} {
			q.Limit = 10
			events, err := tx.Events(q)
			must(t, err)
			if len(events) != 1 || !events[0].Time.Equal(at(1)) {
				t.Errorf("%+v: got %v, want the event that is left", q, events)
			}
		}
		expired, err := tx.Expired(at(1<<30), 10)
		wantEqual(t, len(expired), 1)
		return err
	})
	// The number of a deleted event is not given again.
	f.reopen(t)
	f.put(t, event(3, authn.UserCreated, "", ""), event(4, authn.UserCreated, "", ""))
	f.view(t, func(tx authn.Tx) error {
		events, err := tx.Events(authn.EventQuery{Limit: 10})
		wantEqual(t, len(events), 3)
		return err
	})
}
