package authn

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
)

func ignore(Metric, string, float64) {}

// busyPool is a pool whose workers are all held until release is called.
func busyPool(t *testing.T) (p *hashPool, release func()) {
	t.Helper()
	p = newHashPool(ignore)
	gate, started := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	for range p.workers {
		held.Go(func() {
			if err := p.run(context.Background(), func() { started <- struct{}{}; <-gate }); err != nil {
				t.Errorf("run on an idle pool: %v", err)
			}
		})
		<-started
	}
	release = sync.OnceFunc(func() { close(gate); held.Wait() })
	t.Cleanup(func() { release(); p.Close() })
	return p, release
}

func (p *hashPool) setEstimate(d time.Duration) {
	p.mu.Lock()
	p.estimate = d
	p.mu.Unlock()
}

func (p *hashPool) length() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

func TestPoolRefusesWhatWouldWaitTooLong(t *testing.T) {
	p, release := busyPool(t)
	p.setEstimate(time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	for n := range 3 * p.workers { // three seconds' worth
		waiting.Go(func() { _ = p.run(ctx, func() {}) })
		waitFor(t, func() bool { return p.length() == n+1 })
	}
	patient, stop := context.WithTimeout(ctx, 20*time.Second) // a queue without an end is noticed all the same
	defer stop()
	err := p.run(patient, func() { t.Error("ran all the same") })
	var retry *RetryError
	if !errors.Is(err, ErrOverloaded) || !errors.As(err, &retry) || retry.After < time.Second {
		t.Errorf("run with a full queue: %v, want ErrOverloaded in a RetryError of at least a second", err)
	}
	cancel()
	waiting.Wait()
	if got := p.length(); got != 0 {
		t.Errorf("%d jobs wait after their callers have gone, want 0", got)
	}
	release()
	if err := p.run(context.Background(), func() {}); err != nil {
		t.Errorf("run once the storm is over: %v", err)
	}
}

func TestPoolTakesWorkWheneverAWorkerIsFree(t *testing.T) {
	p := newHashPool(ignore)
	defer p.Close()
	p.setEstimate(time.Hour) // one unlucky measurement
	ran := false
	if err := p.run(context.Background(), func() { ran = true }); err != nil || !ran {
		t.Errorf("run on an idle pool: %v, ran %v; a wrong estimate must not last", err, ran)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.estimate >= time.Hour {
		t.Errorf("estimate still %v", p.estimate)
	}
}

func TestPoolDoesNotRunWhatNobodyWaitsFor(t *testing.T) {
	p, release := busyPool(t)
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() { gone <- p.run(ctx, func() { t.Error("ran after its caller left") }) }()
	waitFor(t, func() bool { return p.length() == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v, want context.Canceled", err)
	}
	release()
	if err := p.run(ctx, func() { t.Error("ran for a caller that had left") }); !errors.Is(err, context.Canceled) {
		t.Errorf("run with a dead context: %v, want context.Canceled", err)
	}
}

func TestPoolFinishesTheQueueAndRefusesTheRestWhenItCloses(t *testing.T) {
	p, release := busyPool(t)
	queued := make(chan error)
	ran := false
	go func() { queued <- p.run(context.Background(), func() { ran = true }) }()
	waitFor(t, func() bool { return p.length() == 1 })
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	waitFor(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.closed
	})
	if err := p.run(context.Background(), func() {}); !errors.Is(err, ErrOverloaded) {
		t.Errorf("run on a closing pool: %v, want ErrOverloaded", err)
	}
	release()
	if err := <-queued; err != nil || !ran {
		t.Errorf("what was queued: %v, ran %v", err, ran)
	}
	<-closed
}

func TestPoolReportsQueueAndWait(t *testing.T) {
	var mu sync.Mutex
	var queue []float64
	waits := 0
	p := newHashPool(func(m Metric, _ string, v float64) {
		mu.Lock()
		defer mu.Unlock()
		switch m {
		case MetricHashQueue:
			queue = append(queue, v)
		case MetricHashWait:
			waits++
		}
	})
	if err := p.run(context.Background(), func() {}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	mu.Lock()
	defer mu.Unlock()
	if len(queue) != 2 || queue[0] != 1 || queue[1] != 0 || waits != 1 {
		t.Errorf("queue lengths %v and %d waits, want [1 0] and 1", queue, waits)
	}
}

// waitFor waits for something another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited a minute in vain")
		}
		runtime.Gosched()
	}
}
