package authn

import (
	"context"
	"sync"
	"time"
)

// Letters on their way to the mail server. They are made one after another
// (postman.go), and handed over several at once: a server or a recipient that
// takes its time does not keep everybody else's waiting, nor tell them by it
// that somebody got a letter.

const (
	maxFlights   = 8
	attemptLimit = 50 * time.Second // for one letter; less than the shortest backoff
)

// flights are the letters under way, one to an address at most. So the letter of
// a mail that is still under way when its next turn comes is not sent a second
// time beside it, and letters to one person arrive in order: a newer link makes
// the older void, and were it to overtake it, the one that came last would be
// the one that does not work.
type flights struct {
	places chan struct{} // one for each there may be

	mu sync.Mutex
	to map[string]struct{} // their addresses

	sent sync.Map // ids of mails that were taken and are not crossed off yet
}

func newFlights() *flights {
	return &flights{places: make(chan struct{}, maxFlights), to: map[string]struct{}{}}
}

// enter waits for a place for a letter. The error is that of ctx.
func (f *flights) enter(ctx context.Context, email string) error {
	if err := ctx.Err(); err != nil { // a free place would do as well
		return err
	}
	select {
	case f.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to[email] = struct{}{}
	return nil
}

// leave gives the place back.
func (f *flights) leave(email string) {
	f.mu.Lock()
	delete(f.to, email)
	f.mu.Unlock()
	<-f.places
}

// toward reports whether a letter to the address is under way.
func (f *flights) toward(email string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, under := f.to[email]
	return under
}

// fly hands a letter over. Afterwards its mail is gone from the outbox, or has
// its next turn when prepare said.
func (s *Service) fly(ctx context.Context, o Outgoing, l Letter, now time.Time) {
	err := s.deps.Mail.Deliver(ctx, l)
	switch {
	case err == nil:
		s.outbox.flights.sent.Store(o.ID, nil)
		s.observe(MetricMails, "sent", 1)
		err = s.remove(ctx, o.ID)
	case isPermanent(err):
		s.deps.Log.Warn("a mail was refused for good", "kind", string(l.Kind), "mail", o.ID, "error", err)
		err = s.giveUp(ctx, o, "refused", now)
	default:
		s.deps.Log.Warn("a mail could not be sent; it is tried again", "kind", string(l.Kind), "mail", o.ID, "attempts", o.Attempts+1, "error", err)
		s.observe(MetricMails, "failed", 1)
		return
	}
	if err != nil {
		s.deps.Log.Error("what became of a mail cannot be written; it is tried again", "mail", o.ID, "error", err)
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
