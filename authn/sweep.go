package authn

import (
	"context"
	"errors"
	"time"
)

const (
	sweepPause = 30 * time.Second
	sweepBatch = 256 // records one transaction removes
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
			err = s.flush(ctx, s.deps.Now())
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
// it removes.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	err := s.flush(ctx, now) // or a session in use would look idle
	if s.deps.Mail == nil {
		// Nobody else takes away what waits from a time when there was mail.
		err = errors.Join(err, s.giveUpExpired(ctx, now))
	}
	return errors.Join(err, s.sweepRecords(ctx, now), s.sweepSeeds(ctx, now), s.sweepKeys(ctx, now))
}

func (s *Service) sweepRecords(ctx context.Context, now time.Time) error {
	for {
		var found, removed int
		err := s.deps.Store.Update(ctx, func(tx Tx) error {
			due, err := tx.Expired(now, sweepBatch)
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
		if err != nil || found < sweepBatch || removed == 0 {
			return err
		}
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
