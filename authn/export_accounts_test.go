package authn

import (
	"context"
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
