package authn

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// HoldHashing keeps every worker of the pool busy until release is called, as
// if each hash took the time given; 0 leaves the estimate alone.
func (s *Service) HoldHashing(each time.Duration) (release func()) {
	gate, started := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	for range s.hashes.workers {
		held.Go(func() {
			_ = s.hashes.run(context.Background(), func() { started <- struct{}{}; <-gate })
		})
		<-started
	}
	s.hashes.mu.Lock()
	if each > 0 {
		s.hashes.estimate = each
	}
	s.hashes.mu.Unlock()
	return sync.OnceFunc(func() { close(gate); held.Wait() })
}

// BePatient lets the queue of the pool be as long as it likes: how long a hash
// takes on the machine of the tests is not what they are about.
func (s *Service) BePatient() {
	s.hashes.mu.Lock()
	s.hashes.maxWait = 24 * time.Hour
	s.hashes.mu.Unlock()
}

// DeliverDue sends what is due by the clock, as the postman does, and waits for
// what he has sent off, and until it has arrived.
func (s *Service) DeliverDue(ctx context.Context) (next time.Time, err error) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	for begun := true; begun && err == nil; {
		s.outbox.flights.hold()()
		begun, next, err = s.round(ctx)
	}
	return next, err
}

// LookIntoOutbox is the postman's look at it, which waits for no letter.
func (s *Service) LookIntoOutbox(ctx context.Context) error {
	_, err := s.deliverDue(ctx)
	return err
}

// hold waits until no letter is under way, and keeps it so until release is
// called.
func (f *flights) hold() (release func()) {
	for range maxFlights {
		f.places <- struct{}{}
	}
	return func() {
		for range maxFlights {
			<-f.places
		}
	}
}

// HoldPostman keeps the outbox as it is until release is called.
func (s *Service) HoldPostman() (release func()) {
	s.outbox.mu.Lock()
	free := s.outbox.flights.hold()
	return sync.OnceFunc(func() { free(); s.outbox.mu.Unlock() })
}

// SetPatience is how long Close waits for letters under way.
func (s *Service) SetPatience(d time.Duration) {
	defer s.HoldPostman()()
	s.outbox.patience = d
}

// HashWork is what has been hashed so far, in units of 2^cost.
func (s *Service) HashWork() int64 { return s.passwords.work.Load() }

// FillMailLimit counts a mail to each of n addresses.
func (s *Service) FillMailLimit(n int, now time.Time) (size int) {
	for i := range n {
		s.mailLimit.take(MailResetPassword, fmt.Sprintf("stranger%d@example.com", i), now)
	}
	return len(s.mailLimit.count)
}

const (
	MaxCounters = maxCounters
	MaxFlights  = maxFlights
)

// Stop ends the background work as Close does, and does not wait for it.
func (s *Service) Stop() { s.stop() }
