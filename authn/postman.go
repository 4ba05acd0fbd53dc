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

// deliverDue begins to send every mail whose time has come, and returns when the
// next one's will; the zero time if nothing waits but behind a letter under way,
// whose end calls the postman. Mails are made here, one at a time.
func (s *Service) deliverDue(ctx context.Context) (next time.Time, err error) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	for begun := true; begun && err == nil; {
		begun, next, err = s.round(ctx)
	}
	return next, err
}

// round is one look at the outbox. begun says that another is worth while.
func (s *Service) round(ctx context.Context) (begun bool, next time.Time, err error) {
	var waiting []Outgoing
	total := 0
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) {
		waiting, total, err = tx.Outbox(postmanBatch)
		return err
	})
	if err != nil {
		return false, time.Time{}, err
	}
	s.observe(MetricMailQueue, "", float64(total))
	behind := map[string]bool{} // whose turn is after that of a mail passed over
	for _, o := range waiting {
		if o.NextAt.After(s.deps.Now()) {
			return begun, o.NextAt, nil
		}
		if behind[o.Email] || s.outbox.flights.toward(o.Email) {
			behind[o.Email] = true
			continue
		}
		if err := s.try(ctx, o); err != nil {
			return false, time.Time{}, err
		}
		begun = true
	}
	return begun, time.Time{}, nil
}

// try makes one attempt at a mail, once there is a place for it. What has to be
// written first is written when it returns; how the attempt ends is not waited
// for. The error is the store's, or that of ctx.
func (s *Service) try(ctx context.Context, o Outgoing) error {
	if err := s.outbox.flights.enter(ctx, o.Email); err != nil {
		return err
	}
	ctx, done := attemptContext(ctx, s.outbox.patience)
	over := func() {
		done()
		s.outbox.flights.leave(o.Email)
	}
	now := s.deps.Now() // the place may have been long in coming
	l, due, err := s.compose(ctx, o, now)
	if err != nil || !due {
		over()
		return err
	}
	s.work.Go(func() {
		s.fly(ctx, o, l, now)
		over()
		s.wakePostman() // for what waits behind it, and to say how many wait
	})
	return nil
}

// compose makes the letter of a mail. due is false where there is nothing to send:
// the mail is gone from the outbox then.
func (s *Service) compose(ctx context.Context, o Outgoing, now time.Time) (l Letter, due bool, err error) {
	_, sent := s.outbox.flights.sent.Load(o.ID)
	switch {
	case sent: // and only the record was left behind
		return Letter{}, false, s.remove(ctx, o.ID)
	case !now.Before(o.ExpiresAt):
		return Letter{}, false, s.giveUp(ctx, o, "expired", now)
	}
	l, due, err = s.prepare(ctx, o, now)
	if errors.Is(err, errMailLimit) {
		s.deps.Log.Info("a mail was not sent: its address has had limits.mail", "kind", string(o.Kind), "mail", o.ID)
		return Letter{}, false, s.withhold(ctx, o, now)
	}
	return l, due, err
}

// remove takes a mail out of the outbox.
func (s *Service) remove(ctx context.Context, id string) error {
	ctx, cancel := settle(ctx)
	defer cancel()
	err := s.deps.Store.Update(ctx, func(tx Tx) error { return tx.DeleteOutgoing(id) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("take a mail out of the outbox: %w", err)
	}
	s.outbox.flights.sent.Delete(id)
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
