package authn

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	maxMarks   = 1 << 16 // sessions waiting for something; past it none is noted
	touchPause = time.Minute
)

// marks are sessions that wait for a write, and since when. No answer to a
// request waits for them. A crash forgets them: that costs a session a minute
// of its idle time, and lets the seed of a rotation lie until the next one.
type marks struct {
	mu sync.Mutex
	at map[string]time.Time
}

// add notes the session; the latest time counts.
func (m *marks) add(sid string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.at[sid]
	if !known && len(m.at) >= maxMarks {
		return
	}
	if m.at == nil {
		m.at = make(map[string]time.Time)
	}
	if !known || at.After(before) {
		m.at[sid] = at
	}
}

func (m *marks) last(sid string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.at[sid]
	return at, ok
}

// due returns a batch of those noted at or before then. They stay until done
// says they are written.
func (m *marks) due(then time.Time, most int) map[string]time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch := make(map[string]time.Time)
	for sid, at := range m.at {
		if len(batch) == most {
			break
		}
		if !at.After(then) {
			batch[sid] = at
		}
	}
	return batch
}

func (m *marks) done(batch map[string]time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for sid, at := range batch {
		if m.at[sid].Equal(at) {
			delete(m.at, sid)
		}
	}
}

// pace is how much is written at a time where nobody waits for it.
type pace struct {
	batch int  // sessions the first transaction writes
	rest  bool // whether to let others write in between, and go by how long it took
}

var (
	beside = pace{batch: firstBatch, rest: true}
	last   = pace{batch: mostBatch} // when the service ends and nobody else writes
)

// writeDue changes the sessions that are due, a batch a transaction. change
// reports whether there is anything to write.
func (s *Service) writeDue(ctx context.Context, p pace, m *marks, then time.Time, change func(x *Session, at time.Time) bool) error {
	for batch := m.due(then, p.batch); len(batch) > 0; batch = m.due(then, p.batch) {
		start := time.Now()
		err := s.deps.Store.Update(ctx, func(tx Tx) error {
			for sid, at := range batch {
				x, err := tx.Session(sid)
				if errors.Is(err, ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				if !change(&x, at) {
					continue
				}
				if err := tx.PutSession(x); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		m.done(batch)
		if took := time.Since(start); p.rest && len(batch) == p.batch {
			if !breathe(ctx, took) {
				return ctx.Err()
			}
			p.batch = nextBatch(p.batch, took)
		}
	}
	return nil
}

// touch notes that the session's cookie was used, at most once a minute, or a
// tenth of the idle time where that is shorter.
func (s *Service) touch(x *Session, now time.Time) {
	if now.Sub(x.LastUsedAt) >= min(touchPause, s.deps.Config.Sessions.Idle/10) {
		s.touches.add(x.ID, now)
	}
}

// flush writes the uses of sessions noted until now.
func (s *Service) flush(ctx context.Context, p pace, now time.Time) error {
	return s.writeDue(ctx, p, &s.touches, now, s.extend)
}

// extend moves the idle end of a session that was found usable at a time, be it
// thanks to a use that was not written yet. Nothing ever moves back.
func (s *Service) extend(x *Session, at time.Time) bool {
	if !at.Before(x.End) || !at.After(x.LastUsedAt) {
		return false
	}
	x.LastUsedAt = at
	if end := earlier(at.Add(s.deps.Config.Sessions.Idle), x.End); end.After(x.IdleEnd) {
		x.IdleEnd = end
	}
	return true
}

// sweepSeeds forgets the seeds of rotations past their grace.
func (s *Service) sweepSeeds(ctx context.Context, now time.Time) error {
	grace := s.deps.Config.Tokens.RefreshGrace
	return s.writeDue(ctx, beside, &s.rotated, now.Add(-grace-1), func(x *Session, _ time.Time) bool {
		if x.Chain == nil {
			return false
		}
		kept := x.Chain.fresh(now, grace)
		dropped := len(kept) < len(x.Chain.Links)
		x.Chain.Links = kept
		return dropped
	})
}
