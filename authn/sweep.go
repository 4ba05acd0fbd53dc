package authn

import (
	"context"
	"errors"
	"time"
)

const (
	sweepPause = 30 * time.Second
	flushPause = 5 * time.Second
)

// background does what nobody waits for, until ctx ends.
func (s *Service) background(ctx context.Context) {
	flush := time.NewTicker(max(min(flushPause, s.deps.Config.Sessions.Idle/20), 10*time.Millisecond))
	defer flush.Stop()
	sweep := time.NewTicker(sweepPause)
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-s.reload:
			err = s.loadRing(ctx)
		case <-flush.C:
			s.observe(MetricSessions, "", float64(s.sessions.len()))
			err = s.flush(ctx, beside, s.deps.Now())
			if s.ringStale.Load() { // loading it failed before
				err = errors.Join(err, s.loadRing(ctx))
			}
		case <-sweep.C:
			err = s.sweep(ctx, s.deps.Now())
		}
		if err != nil && ctx.Err() == nil {
			s.deps.Log.Error("background work failed; it is tried again", "error", err)
		}
	}
}

// sweep removes what has expired by now: sessions, tickets, events, counters
// and keys, and the seeds of refresh links past their grace. Its cost is by what
// it removes; only the tokens that are remembered, of which there are a bounded
// number, are all looked at.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	err := s.flush(ctx, beside, now) // or a session in use would look idle
	if s.deps.Mail == nil {
		// Nobody else takes away what waits from a time when there was mail.
		err = errors.Join(err, s.giveUpExpired(ctx, now))
	}
	err = errors.Join(err, s.sweepRecords(ctx, now), s.sweepSeeds(ctx, now), s.sweepKeys(ctx, now))
	s.sweepTokens(now) // last, as what has ended here holds no token any more
	return err
}

// What nobody waits for is written in batches small enough that whoever shares
// a commit with one hardly notices. How many records that is depends on the
// disk and on how scattered they lie, so each batch goes by how long the last
// one took.
const (
	firstBatch = 16 // records
	leastBatch = 4
	mostBatch  = 256
	batchTakes = 10 * time.Millisecond
)

// nextBatch is how many records to write after n of them took so long.
func nextBatch(n int, took time.Duration) int {
	switch {
	case took > 2*batchTakes:
		return max(n/2, leastBatch)
	case took < batchTakes/2:
		return min(2*n, mostBatch)
	}
	return n
}

// breathe lets others have the store for as long as the last batch had it, so
// that what is done for nobody costs whoever waits little more than one batch.
// False if ctx ended meanwhile.
func breathe(ctx context.Context, took time.Duration) bool {
	pause := time.NewTimer(took)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) sweepRecords(ctx context.Context, now time.Time) error {
	for n := firstBatch; ; {
		start := time.Now()
		var found, removed int
		err := s.deps.Store.Update(ctx, func(tx Tx) error {
			due, err := tx.Expired(now, n)
			if err != nil {
				return err
			}
			found, removed = len(due), 0
			for _, e := range due {
				err := s.sweepRecord(tx, e, now)
				switch {
				case err == nil:
					removed++
				case !errors.Is(err, ErrNotFound): // gone already
					return err
				}
			}
			return nil
		})
		// A batch of which nothing can be removed would come back for ever.
		if err != nil || found < n || removed == 0 {
			return err
		}
		took := time.Since(start)
		if !breathe(ctx, took) {
			return ctx.Err()
		}
		n = nextBatch(n, took)
	}
}

func (s *Service) sweepRecord(tx Tx, e Expired, now time.Time) error {
	switch e.Kind {
	case ExpiredEvent:
		return tx.DeleteEvent(e.ID)
	case ExpiredTicket:
		return tx.DeleteTicket(e.ID)
	case ExpiredCounter:
		return tx.DeleteCounter(e.ID)
	case ExpiredSession:
		x, err := tx.Session(e.ID)
		if err != nil {
			return err
		}
		return s.endSession(tx, x, EndedByExpiry, Actor{}, now)
	case ExpiredMoved:
		return nil
	default: // of a newer version
		return ErrNotFound
	}
}
