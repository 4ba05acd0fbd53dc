package authn

import (
	"context"
	"math"
	"runtime"
	"sync"
	"time"
)

// maxHashWait is how long a hash may be expected to wait for its turn. Past
// it, saying so at once is kinder than an answer nobody waits for any more.
const maxHashWait = 3 * time.Second

// hashPool runs password hashes, a few at a time. A hash is made to be
// expensive, so without bounds a storm of sign-ins would take the machine from
// the traffic behind the gateway. The pool therefore has few workers, the
// workers have the lowest priority, and the queue in front of them is bounded
// in expected waiting time, which stays right whatever the cost of a hash and
// the speed of the machine.
type hashPool struct {
	workers int
	maxWait time.Duration
	observe func(m Metric, label string, v float64)

	mu       sync.Mutex
	wake     *sync.Cond // something is queued, or the pool closes
	queue    []*hashJob
	running  int
	standing int // callers of standBy
	closed   bool
	estimate time.Duration // moving average of what one job takes
	done     sync.WaitGroup
}

// hashJob is one unit of work, waiting or running.
type hashJob struct {
	work     func()
	queuedAt time.Time
	finished chan struct{}
}

// newHashPool starts one worker for every two processors. observe must not be
// nil.
func newHashPool(observe func(Metric, string, float64)) *hashPool {
	p := &hashPool{workers: max(1, runtime.GOMAXPROCS(0)/2), maxWait: maxHashWait, observe: observe}
	p.wake = sync.NewCond(&p.mu)
	p.done.Add(p.workers)
	for range p.workers {
		go p.worker()
	}
	return p
}

// run calls work on a worker and returns when it is done. It returns a
// RetryError of ErrOverloaded at once when the wait would be too long, and
// ctx's error when ctx ends first; after any error work has not run and will
// not run. Work that has begun is waited for, whatever happens to ctx.
func (p *hashPool) run(ctx context.Context, work func()) error {
	j := &hashJob{work: work, finished: make(chan struct{})}
	if err := p.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.finished:
		return nil
	case <-ctx.Done():
	}
	if p.withdraw(j) {
		return ctx.Err()
	}
	<-j.finished
	return nil
}

func (p *hashPool) enqueue(ctx context.Context, j *hashJob) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.closed {
		return overloaded(0)
	}
	if wait := p.expectedWait(0); wait > p.maxWait {
		return overloaded(wait)
	}
	j.queuedAt = time.Now() // a duration is measured, not the time told: the clock of Deps has no say
	p.queue = append(p.queue, j)
	p.gauge()
	p.wake.Signal()
	return nil
}

// overloaded asks to come back when the work now queued is done.
func overloaded(wait time.Duration) error {
	return &RetryError{Err: ErrOverloaded, After: max(time.Second, wait.Round(time.Second))}
}

// expectedWait is how long one more job would wait behind those in the pool
// and others. While a worker is free it is nothing, so an estimate that went
// wrong can always be corrected.
func (p *hashPool) expectedWait(others int) time.Duration {
	ahead := len(p.queue) + p.running + others
	if ahead < p.workers {
		return 0
	}
	turns := math.Ceil(float64(ahead-p.workers+1) / float64(p.workers))
	return time.Duration(turns * float64(p.estimate))
}

// standBy waits until ready is closed, for someone who will want a turn then.
// Who stands by is bounded like the queue is, and the errors are those of run.
func (p *hashPool) standBy(ctx context.Context, ready <-chan struct{}) error {
	p.mu.Lock()
	if wait := p.expectedWait(p.standing); wait > p.maxWait {
		p.mu.Unlock()
		return overloaded(wait)
	}
	p.standing++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.standing--
		p.mu.Unlock()
	}()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withdraw takes a job back out of the queue; false if it has begun.
func (p *hashPool) withdraw(j *hashJob) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range p.queue {
		if q == j {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.gauge()
			return true
		}
	}
	return false
}

// worker takes jobs until the pool is closed and the queue is empty.
func (p *hashPool) worker() {
	defer p.done.Done()
	beNice()
	for {
		j := p.next()
		if j == nil {
			return
		}
		begun := time.Now()
		p.observe(MetricHashWait, "", begun.Sub(j.queuedAt).Seconds())
		j.work()
		p.finish(j, time.Since(begun))
	}
}

// next waits for a job; nil when there will be none.
func (p *hashPool) next() *hashJob {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil
		}
		p.wake.Wait()
	}
	j := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	p.running++
	return j
}

func (p *hashPool) finish(j *hashJob, took time.Duration) {
	p.mu.Lock()
	p.running--
	if p.estimate == 0 {
		p.estimate = took
	} else {
		p.estimate += (took - p.estimate) / 5
	}
	p.gauge()
	p.mu.Unlock()
	close(j.finished)
}

// gauge reports how many hashes wait or run.
func (p *hashPool) gauge() {
	p.observe(MetricHashQueue, "", float64(len(p.queue)+p.running))
}

// Close refuses new work, finishes what is queued and ends the workers.
func (p *hashPool) Close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.done.Wait()
}
