//go:build scale

package bolt_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// pauseOf is the goal for the longest pause anyone else sees beside a sweep.
const pauseOf = 50 * time.Millisecond

// sweepBeside sweeps the town's sessions that have ended while others read and
// refresh, and says how long the slowest of them waited, beside how long the
// slowest waits without a sweep.
func sweepBeside(t *testing.T, w *town) {
	t.Helper()
	var n int
	quiet := others(t, w, func() { time.Sleep(10 * time.Second) })
	var all time.Duration
	start := time.Now()
	beside := others(t, w, func() {
		var err error
		n, err = w.sweep(t.Context(), w.now, true)
		all = time.Since(start)
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("sweep of %d sessions that had ended: %v, %.0f/s", n, all.Round(time.Millisecond), float64(n)/all.Seconds())
	for _, who := range []string{"reader", "writer"} {
		q, b := quiet[who], beside[who]
		t.Logf("a %s beside it: %d calls, p50 %v, p99 %v, longest %v; without it p50 %v, p99 %v, longest %v", who,
			len(b), b.at(.5), b.at(.99), b.at(1), q.at(.5), q.at(.99), q.at(1))
		goal(t, "longest wait of a "+who+" beside a sweep", took(b.at(1)), took(pauseOf))
	}
}

// others has a reader and a writer at work while f runs.
func others(t *testing.T, w *town, f func()) map[string]sample {
	t.Helper()
	work := map[string]func() error{
		"reader": func() error { return w.read(t) },
		"writer": func() error { return w.refreshes(t) },
	}
	got := map[string]sample{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	done := make(chan struct{})
	for who, do := range work {
		wg.Go(func() {
			var s sample
			for over := false; !over; {
				took, _ := run(t, 1, 1, do)
				s = append(s, took...)
				select {
				case <-done:
					over = true
				case <-time.After(time.Millisecond):
				}
			}
			mu.Lock()
			defer mu.Unlock()
			got[who] = s
		})
	}
	f()
	close(done)
	wg.Wait()
	return got
}

// sweep removes what has ended as the service does: in batches that go by how
// long the last one took, and others have the store in between for as long.
func (w *town) sweep(ctx context.Context, now time.Time, rest bool) (removed int, err error) {
	for batch := firstBatch; ; {
		var n int
		start := time.Now()
		err := w.db.Update(ctx, func(tx authn.Tx) error {
			ended, err := tx.Expired(now, batch)
			n = len(ended)
			for _, e := range ended {
				if err == nil {
					err = w.remove(tx, e, now)
				}
			}
			return err
		})
		if err != nil || n == 0 {
			return removed, err
		}
		removed += n
		if took := time.Since(start); rest {
			time.Sleep(took)
			batch = nextBatch(batch, took)
		}
	}
}

func (w *town) remove(tx authn.Tx, e authn.Expired, now time.Time) error {
	switch e.Kind {
	case authn.ExpiredEvent:
		return tx.DeleteEvent(e.ID)
	case authn.ExpiredSession:
		x, err := tx.Session(e.ID)
		if err != nil {
			return err
		}
		return w.end(tx, x, now)
	}
	return nil
}

const (
	firstBatch = 16
	leastBatch = 4
	mostBatch  = 256
	batchTakes = 10 * time.Millisecond
)

func nextBatch(n int, took time.Duration) int {
	switch {
	case took > 2*batchTakes:
		return max(n/2, leastBatch)
	case took < batchTakes/2:
		return min(2*n, mostBatch)
	}
	return n
}
