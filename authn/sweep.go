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
	flush := time.NewTicker(max(min(flushPause, s.Config.Sessions.Idle/20), 10*time.Millisecond))
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
			err = s.flush(ctx, s.Now())
			if s.ringStale.Load() { // loading it failed before
				err = errors.Join(err, s.loadRing(ctx))
			}
		case <-sweep.C:
			err = s.sweep(ctx, s.Now())
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Error("background work failed; it is tried again", "error", err)
		}
	}
}

// sweep removes what has expired by now: sessions, events, counters and keys,
// and the seeds of refresh links past their grace. Its cost is by what it
// removes.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	err := s.flush(ctx, now) // or a session in use would look idle
	err = errors.Join(err, s.sweepRecords(ctx, now), s.sweepSeeds(ctx, now), s.sweepKeys(ctx, now))
	s.observe(MetricSessions, "", float64(s.sessions.len()))
	return err
}

func (s *Service) sweepRecords(ctx context.Context, now time.Time) error {
	for {
		removed := 0
		err := s.Store.Update(ctx, func(tx Tx) error {
			removed = 0
			due, err := tx.Expired(now, sweepBatch)
			if err != nil {
				return err
			}
			for _, e := range due {
				if err := s.sweepRecord(tx, e, now); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
			}
			removed = len(due)
			return nil
		})
		if err != nil || removed < sweepBatch {
			return err
		}
	}
}

func (s *Service) sweepRecord(tx Tx, e Expired, now time.Time) error {
	switch e.Kind {
	case ExpiredEvent:
		return tx.DeleteEvent(e.ID)
	case ExpiredCounter:
		return tx.DeleteCounter(e.ID)
	case ExpiredSession:
		x, err := tx.Session(e.ID)
		if err != nil {
			return err
		}
		return s.endSession(tx, x, EndedByExpiry, Actor{}, now)
	}
	return nil
}
