package main

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// side is traffic at a steady rate beside whatever is being measured: what
// everyone else notices of it.
type side struct {
	st     *stand
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu        sync.Mutex
	latencies []time.Duration
	failed    map[string]int // by what went wrong
}

const sideConnections = 16

// beside starts it; it goes on until end.
func (st *stand) beside(ctx context.Context, rate int) *side {
	ctx, cancel := context.WithCancel(ctx)
	s := &side{st: st, cancel: cancel, failed: map[string]int{}}
	client := newClient()
	begin := time.Now()
	for i := range sideConnections {
		s.all.Go(func() { s.pace(ctx, client, begin, time.Second/time.Duration(rate), i) })
	}
	return s
}

// pace sends one connection's share, each request at its time. Who wakes up
// late counts from then: that is ours, not the gateway's.
func (s *side) pace(ctx context.Context, client *http.Client, begin time.Time, every time.Duration, share int) {
	for due := begin.Add(time.Duration(share) * every); ; due = due.Add(sideConnections * every) {
		from := due
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			from = time.Now()
		}
		if ctx.Err() != nil {
			return
		}
		why := s.ask(client)
		took := time.Since(from)
		s.mu.Lock()
		s.latencies = append(s.latencies, took)
		if why != "" {
			s.failed[why]++
		}
		s.mu.Unlock()
	}
}

// ask says what went wrong.
func (s *side) ask(client *http.Client) string {
	r, err := http.NewRequest(http.MethodGet, s.st.gateway.url("/app/page"), nil)
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Authorization", "Bearer "+s.st.tokens[standAlgorithm].hot)
	status, err := exchange(client, r)
	switch {
	case err != nil:
		return err.Error()
	case status != http.StatusOK:
		return strconv.Itoa(status)
	}
	return ""
}

// quiet is one stretch of side traffic.
type quiet struct {
	requests, failed int
	why              string // the first of it
	p50, p99         time.Duration
}

// cut ends a stretch and begins another.
func (s *side) cut() quiet {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.latencies
	q := quiet{requests: len(l)}
	for why, n := range s.failed {
		q.failed, q.why = q.failed+n, why
	}
	s.latencies, s.failed = nil, map[string]int{}
	if len(l) > 0 {
		slices.Sort(l)
		q.p50, q.p99 = l[len(l)/2], l[len(l)*99/100]
	}
	return q
}

// stretch is the side traffic of the next so long.
func (s *side) stretch(ctx context.Context, length time.Duration) quiet {
	s.cut()
	rest(ctx, length)
	return s.cut()
}

func (s *side) end() {
	s.cancel()
	s.all.Wait()
}

// rest waits, unless the run ends first.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
