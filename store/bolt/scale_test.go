//go:build scale

package bolt_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

// What a store of a million people costs beside one of a thousand. make scale
// runs these on a quiet machine; the people are in scale_people_test.go, what
// they do in scale_traffic_test.go, and the process, the sweep and a day of
// churn in files of their own.
//
// The two stores are measured in turns, so that what else the machine does
// meets both: what is judged is the ratio.

var people = flag.Int("people", 1_000_000, "how many users and sessions the large store has")

const fewPeople = 1000

const (
	// worseByAtMost is the goal for a sign-in and a refresh, p99, 64 at once. A
	// disk decides whether it is met: the pages a commit changes lie together in
	// a small file and apart in a large one.
	worseByAtMost = 1.5
	// writesMoreByAtMost bounds what a commit hands to the disk, on any disk.
	writesMoreByAtMost = 3.5
)

func TestScale(t *testing.T) {
	small, large := newTown(t, fewPeople, true), newTown(t, *people, true)
	towns := []*town{small, large}
	for _, w := range towns {
		measureProcess(t, w)
		warm(t, w.file)
		w.open(t)
		w.lists(t)
	}
	traffic(t, towns)
	flood(t, towns)
	t.Logf("%-50s %12d %12d %8s", "", small.n, large.n, "ratio")
	for _, name := range small.names {
		a, b := small.got[name], large.got[name]
		t.Logf("%-50s %12s %12s %8.2f", name, a, b, b.n/a.n)
	}
	for _, w := range towns {
		t.Logf("%d people: afterwards, with nobody waiting, %d entries were moved to where they belong, %.0f/s", w.n, w.settled, float64(w.settled)/w.settling.Seconds())
	}
	rss, own := resident(t, os.Getpid())
	t.Logf("memory after all that, both stores open: %.0f MiB of this process, and %.0f MiB of pages of the files", mib(own), mib(rss-own))
	if own > memoryOf {
		t.Errorf("memory of the process: got %.0f MiB, want under %.0f", mib(own), mib(memoryOf))
	}
	for _, name := range judged {
		goal(t, name+", of a large store beside a small one", small.beside(large, name), figure{worseByAtMost, "times"})
	}
	for _, name := range bounded {
		if got := small.beside(large, name); got.n > writesMoreByAtMost {
			t.Errorf("%s: got %s what it is with %d people, want at most %.1f", name, got, small.n, writesMoreByAtMost)
		}
	}
	sweepBeside(t, large)
}

// goal says whether a time came out as it should: it is the machine's too, so
// missing it is reported and is no failure.
func goal(t *testing.T, name string, got, want figure) {
	t.Helper()
	verdict := "met"
	if got.n > want.n {
		verdict = "MISSED"
	}
	t.Logf("goal %s: %s: %s, want at most %s", verdict, name, got, want)
}

// beside is a figure of the large town as a multiple of this one's.
func (w *town) beside(large *town, name string) figure {
	return figure{large.got[name].n / w.got[name].n, "times"}
}

// town is a store of n people and what was measured of it.
type town struct {
	n    int
	file string
	now  time.Time
	db   *bolt.Store

	idle, retention time.Duration

	settled  int // entries that were moved to where they belong after the others had gone
	settling time.Duration

	names []string
	got   map[string]figure
}

// figure is a time, a number of bytes or a rate.
type figure struct {
	n    float64
	unit string
}

func took(d time.Duration) figure { return figure{float64(d), "time"} }

func (f figure) String() string {
	switch f.unit {
	case "time":
		return time.Duration(f.n).Round(time.Microsecond).String()
	case "bytes":
		if f.n < 1<<20 {
			return fmt.Sprintf("%.1f KiB", f.n/(1<<10))
		}
		return fmt.Sprintf("%.1f MiB", f.n/(1<<20))
	case "times":
		return fmt.Sprintf("%.2f times", f.n)
	}
	return fmt.Sprintf("%.0f %s", f.n, f.unit)
}

func (w *town) note(name string, f figure) {
	w.names = append(w.names, name)
	w.got[name] = f
}

func (w *town) time(t *testing.T, name string, f func() error) {
	t.Helper()
	start := time.Now()
	if err := f(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	w.note(name, took(time.Since(start)))
}

// newTown fills a store and closes it.
func newTown(t *testing.T, n int, sessions bool) *town {
	t.Helper()
	w := &town{n: n, file: filepath.Join(t.TempDir(), "scale.db"), now: time.Now().UTC(), got: map[string]figure{},
		idle: 168 * time.Hour, retention: 2160 * time.Hour}
	w.open(t)
	const atOnce = 4000
	for from := 0; from < n; from += atOnce {
		if err := w.db.Update(t.Context(), func(tx authn.Tx) error {
			for i := from; i < min(from+atOnce, n); i++ {
				if err := w.moveIn(tx, i); err != nil {
					return err
				}
				if !sessions {
					continue
				}
				if err := w.begin(tx, i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(w.file); err == nil {
		w.note("the file", figure{float64(info.Size()), "bytes"})
	}
	return w
}

func (w *town) open(t *testing.T) {
	t.Helper()
	db, err := bolt.Open(t.Context(), w.file, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.db = db
	t.Cleanup(func() { db.Close() })
}

func (w *town) lists(t *testing.T) {
	t.Helper()
	list := func(q authn.UserQuery) func() error {
		return func() error {
			return w.db.View(t.Context(), func(tx authn.Tx) error {
				page, err := tx.Users(q)
				if err == nil && len(page.Users) == 0 {
					err = fmt.Errorf("nobody was found")
				}
				return err
			})
		}
	}
	w.time(t, "page 1 of the users", list(authn.UserQuery{Limit: 10}))
	w.time(t, "the last page", list(authn.UserQuery{Limit: 10, Skip: w.n - 10}))
	w.time(t, "a prefix of few, counted to 10,000", list(authn.UserQuery{Prefix: "person00000099", Limit: 10, CountTo: 10_000}))
	w.time(t, "a role few have, counted to 10,000", list(authn.UserQuery{Role: "admin", Limit: 10, CountTo: 10_000}))
	w.time(t, "a prefix everybody has, counted to 10,000", list(authn.UserQuery{Prefix: "person", Limit: 10, CountTo: 10_000}))
}

// sample is how long calls took.
type sample []time.Duration

func (s sample) at(share float64) time.Duration {
	slices.Sort(s)
	return s[min(len(s)-1, int(float64(len(s))*share))]
}
