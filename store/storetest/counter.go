package storetest

import (
	"errors"
	"testing"

	"github.com/doorward/doorward/authn"
)

var counterTests = []test{
	{"a counter comes back as it was put", counterRoundTrip},
	{"an unknown counter is ErrNotFound", unknownCounter},
	{"counters are walked until fn says stop", counterWalk},
	{"a walk can be of one prefix", counterWalkOfPrefix},
	{"fn of the walk may delete", counterWalkDeletes},
}

func counterRoundTrip(t *testing.T, f *fixture) {
	want := authn.Counter{Key: "odd \x00\xff key", Count: 1.0 / 3, At: at(1), Expires: at(2)}
	f.put(t, counter("other", 1), want)
	f.reopen(t)
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Counter(want.Key)
		wantEqual(t, got, want)
		return err
	})
	want.Count = 4
	f.put(t, want)
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Counter(want.Key)
		wantEqual(t, got, want)
		return err
	})
}

func unknownCounter(t *testing.T, f *fixture) {
	f.update(t, func(tx authn.Tx) error {
		_, err := tx.Counter("c")
		wantNotFound(t, err)
		wantNotFound(t, tx.DeleteCounter("c"))
		return nil
	})
}

func counterWalk(t *testing.T, f *fixture) {
	f.put(t, counter("a", 1), counter("b", 2), counter("c", 3))
	f.view(t, func(tx authn.Tx) error {
		sum, calls := 0.0, 0
		err1 := tx.Counters("", func(c authn.Counter) bool { sum += c.Count; return true })
		err2 := tx.Counters("", func(authn.Counter) bool { calls++; return calls < 2 })
		wantEqual(t, sum, 6.0)
		wantEqual(t, calls, 2)
		return errors.Join(err1, err2)
	})
}

func counterWalkDeletes(t *testing.T, f *fixture) {
	const n = 500
	f.update(t, func(tx authn.Tx) error {
		for i := range n {
			must(t, tx.PutCounter(counter(id(i), 1)))
		}
		return nil
	})
	f.update(t, func(tx authn.Tx) error {
		seen := 0
		err := tx.Counters("", func(c authn.Counter) bool {
			seen++
			must(t, tx.DeleteCounter(c.Key))
			return true
		})
		wantEqual(t, seen, n)
		return err
	})
	wantEqual(t, len(dump(t, f).Counters), 0)
}

func counterWalkOfPrefix(t *testing.T, f *fixture) {
	f.put(t, counter("n/1", 1), counter("n/12/a", 2), counter("n/1/a", 3), counter("n/1/\xff", 4), counter("n/2", 5), counter("n/1/b", 6))
	for prefix, want := range map[string]int{"n/1/": 3, "n/1": 5, "n/": 6, "": 6, "m": 0, "n/1/\xff\xff": 0, "z": 0} {
		f.view(t, func(tx authn.Tx) error {
			got := 0
			err := tx.Counters(prefix, func(authn.Counter) bool { got++; return true })
			if got != want {
				t.Errorf("%d counters begin with %q, want %d", got, prefix, want)
			}
			return err
		})
	}
}
