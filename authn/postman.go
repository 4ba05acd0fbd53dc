package authn

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	postmanPause = 30 * time.Second // at most this long until the outbox is looked at again
	postmanBatch = 100
	attemptLimit = 50 * time.Second // for one letter; less than the shortest backoff

	firstBackoff = time.Minute
	maxBackoff   = time.Hour
)

// backoff is how long after attempt n (from 1) the next one comes.
func backoff(n int) time.Duration {
	if n > 6 {
		return maxBackoff
	}
	return min(maxBackoff, firstBackoff<<(n-1))
}

// postman sends what is in the outbox until ctx ends: what is there at the
// start too, for it was left by a process that is gone.
func (s *Service) postman(ctx context.Context) {
	for {
		next, err := s.deliverDue(ctx)
		wait := postmanPause
		if err != nil && ctx.Err() == nil {
			s.deps.Log.Error("the outbox cannot be worked off; it is tried again", "error", err)
			wait = feedPauseMax
		} else if !next.IsZero() {
			wait = max(0, min(wait, next.Sub(s.deps.Now())))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.outbox.wake:
		case <-time.After(wait):
		}
	}
}

// deliverDue tries to send every mail whose time has come, and returns when the
// next one's will; the zero time if nothing waits.
func (s *Service) deliverDue(ctx context.Context) (next time.Time, err error) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	for ctx.Err() == nil {
		var waiting []Outgoing
		total := 0
		err := s.deps.Store.View(ctx, func(tx Tx) (err error) {
			waiting, total, err = tx.Outbox(postmanBatch)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
		s.observe(MetricMailQueue, "", float64(total))
		if total == 0 {
			return time.Time{}, nil
		}
		for _, o := range waiting {
			now := s.deps.Now()
			if o.NextAt.After(now) {
				return o.NextAt, nil
			}
			if ctx.Err() != nil {
				return time.Time{}, ctx.Err()
			}
			if err := s.try(ctx, o, now); err != nil {
				return time.Time{}, err
			}
		}
	}
	return time.Time{}, ctx.Err()
}

// try makes one attempt at a mail. Afterwards it is gone from the outbox or its
// next turn is in the future. The error is the store's.
func (s *Service) try(ctx context.Context, o Outgoing, now time.Time) error {
	ctx, done := attemptContext(ctx, s.outbox.patience)
	defer done()
	_, sent := s.outbox.sent[o.ID]
	switch {
	case sent: // and only the record was left behind
		return s.remove(ctx, o.ID)
	case !now.Before(o.ExpiresAt):
		return s.giveUp(ctx, o, "expired", now)
	}
	l, due, err := s.prepare(ctx, o, now)
	if errors.Is(err, errMailLimit) {
		s.deps.Log.Info("a mail was not sent: its address has had limits.mail", "kind", string(o.Kind), "mail", o.ID)
		return s.withhold(ctx, o, now)
	}
	if err != nil || !due {
		return err
	}
	err = s.deps.Mail.Deliver(ctx, l)
	switch {
	case err == nil:
		s.outbox.sent[o.ID] = struct{}{}
		s.observe(MetricMails, "sent", 1)
		return s.remove(ctx, o.ID)
	case isPermanent(err):
		s.deps.Log.Warn("a mail was refused for good", "kind", string(l.Kind), "mail", o.ID, "error", err)
		return s.giveUp(ctx, o, "refused", now)
	default:
		s.deps.Log.Warn("a mail could not be sent; it is tried again", "kind", string(l.Kind), "mail", o.ID, "attempts", o.Attempts+1, "error", err)
		s.observe(MetricMails, "failed", 1)
		return nil
	}
}

// attemptContext outlives the end of ctx for a moment: a letter that is just
// being handed over is not dropped half-way, and what became of it is written.
func attemptContext(ctx context.Context, patience time.Duration) (context.Context, func()) {
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptLimit)
	release := context.AfterFunc(ctx, func() {
		hurry := time.AfterFunc(patience, cancel)
		context.AfterFunc(attempt, func() { hurry.Stop() })
	})
	return attempt, func() { release(); cancel() }
}

// remove takes a mail out of the outbox.
func (s *Service) remove(ctx context.Context, id string) error {
	ctx, cancel := settle(ctx)
	defer cancel()
	err := s.deps.Store.Update(ctx, func(tx Tx) error { return tx.DeleteOutgoing(id) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("take a mail out of the outbox: %w", err)
	}
	delete(s.outbox.sent, id)
	return nil
}

// settle gives what became of an attempt its own time to be written: the
// attempt may have used up its own.
func settle(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
}

// giveUp takes a mail out of the outbox that will never be sent, for everyone
// to see.
func (s *Service) giveUp(ctx context.Context, o Outgoing, why string, now time.Time) error {
	ctx, cancel := settle(ctx)
	defer cancel()
	err := s.deps.Store.Update(ctx, func(tx Tx) error {
		kept, err := tx.Outgoing(o.ID) // the postman may have found out whose it is
		if err != nil {
			return err
		}
		if err := tx.DeleteOutgoing(o.ID); err != nil {
			return err
		}
		return s.addEvent(tx, MailGivenUp, Actor{Client: o.asker()}, kept.User, "", now, map[string]string{"mail": string(kept.Kind), "reason": why})
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("give a mail up: %w", err)
	}
	s.observe(MetricMails, "given_up", 1)
	return nil
}

// giveUpExpired gives up what has waited for too long.
func (s *Service) giveUpExpired(ctx context.Context, now time.Time) error {
	for {
		var waiting []Outgoing
		err := s.deps.Store.View(ctx, func(tx Tx) (err error) {
			waiting, _, err = tx.Outbox(postmanBatch)
			return err
		})
		if err != nil {
			return err
		}
		expired := 0
		for _, o := range waiting {
			if now.Before(o.ExpiresAt) {
				continue
			}
			if err := s.giveUp(ctx, o, "expired", now); err != nil {
				return err
			}
			expired++
		}
		if expired < postmanBatch {
			return nil // what is behind those that may still wait has its turn later
		}
	}
}

// errMailLimit says that the address has had enough mails of this kind.
var errMailLimit = errors.New("limits.mail is used up")

// prepare makes the letter of a mail, in the transaction that notes the
// attempt: a crash from here on finds the next attempt in the future, and the
// ticket opened by the token that may be under way. due is false where nobody
// is to get anything: the record is gone then. With errMailLimit nothing has
// happened: a link that was mailed before still opens.
func (s *Service) prepare(ctx context.Context, o Outgoing, now time.Time) (l Letter, due bool, err error) {
	secret, ticketID := randomBytes(ticketSecret), newID(now)
	counts := false
	err = s.deps.Store.Update(ctx, func(tx Tx) error {
		l, due, counts = Letter{}, false, false
		o, err := tx.Outgoing(o.ID)
		if err != nil {
			return err
		}
		r := resolution{tx: tx, o: o, now: now}
		if err := s.resolve(&r, ticketID); err != nil {
			return err
		}
		if r.drop {
			return tx.DeleteOutgoing(o.ID)
		}
		counts = o.Limited && o.Attempts == 0
		if counts && !s.mailLimit.room(r.o.Kind, o.Email, now) {
			return errMailLimit
		}
		token := Secret("")
		if r.o.Ticket != "" {
			token = ticketToken(r.ticket.ID, secret)
			r.ticket.admit(token, now)
			if err := tx.PutTicket(r.ticket); err != nil {
				return err
			}
		}
		l, due = r.letter(token), true
		r.o.Attempts++
		r.o.NextAt = earlier(now.Add(backoff(r.o.Attempts)), r.o.ExpiresAt)
		return tx.PutOutgoing(r.o)
	})
	if errors.Is(err, ErrNotFound) {
		return Letter{}, false, nil
	}
	if err != nil {
		return Letter{}, false, fmt.Errorf("make a mail: %w", err)
	}
	if counts { // one mail is made at a time: there is room still
		s.mailLimit.take(l.Kind, l.To, now)
	}
	return l, due, nil
}
