//go:build scale

package bolt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// A day of a store of 20,000 people in which everything comes and goes: 500
// sign in every hour, refresh every 15 minutes for an hour and are gone; a
// session lasts two hours without use and an event four hours. After some hours
// as much goes as comes, and the file is to grow no more: what is freed is used
// again. Without the quiet of a real day it would have up to 49,152 entries more
// that stand apart, some 15 MiB here.

const (
	dwellers = 20_000
	arrivals = 500 // an hour
	slot     = 15 * time.Minute
	settled  = 8 // hours after which the file is to stay as it is

	growsByAtMost = 1.05 // from settled to the end of the day
	timesItsData  = 2    // how large the file may be beside a compact copy
)

func TestScaleChurn(t *testing.T) {
	w := newTown(t, dwellers, false)
	w.open(t)
	w.idle, w.retention = 2*time.Hour, 4*time.Hour
	var after int64
	var d day
	for hour := range 24 {
		for range time.Hour / slot {
			w.now = w.now.Add(slot)
			w.slot(t, &d)
		}
		size, compact := w.size(t, w.file), w.compact(t)
		t.Logf("hour %2d: file %.1f MiB, compact copy %.1f MiB, %d sessions, %d removed", hour+1, mib(size), mib(compact), len(d.sessions), d.removed)
		switch {
		case hour+1 == settled:
			after = size
		case hour+1 < settled:
			continue
		}
		if float64(size) > growsByAtMost*float64(after) {
			t.Errorf("hour %d: the file has %.1f MiB and had %.1f after %d hours: it goes on growing", hour+1, mib(size), mib(after), settled)
		}
		if float64(size) > timesItsData*float64(compact) {
			t.Errorf("hour %d: the file has %.1f MiB for %.1f MiB of data", hour+1, mib(size), mib(compact))
		}
	}
}

// day is what has happened so far.
type day struct {
	sessions []string // those in use, oldest first
	made     int
	removed  int
}

// slot lets a quarter of an hour pass: some sign in, everyone there refreshes,
// the seeds of that are forgotten, those who came an hour ago go silent, and
// what has ended is swept.
func (w *town) slot(t *testing.T, d *day) {
	t.Helper()
	const comers = arrivals / int(time.Hour/slot)
	fresh := make([]string, comers)
	each(t, comers, func(i int) error {
		fresh[i] = id(w.now, d.made+i)
		return w.signIn(t.Context(), w.login((d.made+i)*7919%w.n), fresh[i], w.now)
	})
	d.made += comers
	each(t, len(d.sessions), func(i int) error { return w.refresh(t.Context(), d.sessions[i], w.now) })
	each(t, len(d.sessions), func(i int) error {
		return w.db.Update(t.Context(), func(tx authn.Tx) error {
			x, err := tx.Session(d.sessions[i])
			if err != nil {
				return err
			}
			x.Chain.Links = nil
			return tx.PutSession(x)
		})
	})
	d.sessions = append(d.sessions, fresh...)
	d.sessions = d.sessions[max(0, len(d.sessions)-arrivals):]
	removed, err := w.sweep(t.Context(), w.now, false)
	if err != nil {
		t.Fatal(err)
	}
	d.removed += removed
	w.settle(t) // most of a quarter of an hour is quiet
}

// each calls do with 0 to n-1, 64 at once.
func each(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	var next atomic.Int64
	run(t, crowd, n/crowd+1, func() error {
		if i := int(next.Add(1)) - 1; i < n {
			return do(i)
		}
		return nil
	})
}

func (w *town) size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// compact is how large a backup is.
func (w *town) compact(t *testing.T) int64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), fmt.Sprint(w.now.Unix()))
	if err := w.db.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	return w.size(t, file)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
