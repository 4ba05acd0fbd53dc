package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const connections = 64

// sample is one slice of one contender's time.
type sample struct {
	requests int64
	took     time.Duration
	cpu      time.Duration // of the proxy
	p50, p99 time.Duration
	memory   int64 // bytes, at the end

	// foreign is how much of the machine went to others meanwhile: 1 is one
	// whole processor.
	foreign float64
}

// A slice of which others took more than this is measured again, as long as
// there are spare slices; of several tries the quietest counts.
const (
	tolerated = 0.15 // the accounting itself leaves up to 0.1 unexplained
	maxTries  = 4
)

// perRequest is CPU time for one request, in microseconds.
func (s sample) perRequest() float64 {
	return float64(s.cpu.Nanoseconds()) / 1000 / float64(s.requests)
}

// rate is requests per second.
func (s sample) rate() float64 { return float64(s.requests) / s.took.Seconds() }

// measure loads a contender for a slice of time.
func measure(ctx context.Context, s *site, c *contender, slice time.Duration) (sample, error) {
	before, err := c.process.cpu()
	if err != nil {
		return sample{}, err
	}
	idle, began := idleTime(), time.Now()
	upstream, err := s.upstream.cpu()
	if err != nil {
		return sample{}, err
	}
	got, loader, err := s.load(ctx, c, slice)
	if err != nil {
		return got, fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := c.process.cpu()
	if err != nil {
		return got, err
	}
	got.cpu = after - before
	upstreamAfter, err := s.upstream.cpu()
	if err != nil {
		return got, err
	}
	took := time.Since(began)
	ours := got.cpu + loader + upstreamAfter - upstream
	busy := time.Duration(runtime.NumCPU())*took - (idleTime() - idle)
	got.foreign = max(0, (busy-ours).Seconds()/took.Seconds())
	if got.memory, err = c.process.memory(); err != nil {
		return got, err
	}
	c.process.emptyLog()
	return got, nil
}

// load runs wrk against a contender, and says what CPU time wrk took. An answer
// that is not a success makes the slice worthless, so it is an error.
func (s *site) load(ctx context.Context, c *contender, slice time.Duration) (sample, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, slice+30*time.Second)
	defer cancel()
	args := []string{"-c", strconv.Itoa(s.loadCPU), "wrk", "-t1", "-c" + strconv.Itoa(connections),
		"-d" + strconv.Itoa(int(slice.Seconds())) + "s", "-s", s.file("load.lua")}
	var env []string
	if c.many {
		env = []string{"TOKENS=" + s.tokens[c.tokenAlgorithm()].file}
	} else {
		args = append(args, "-H", "Authorization: Bearer "+s.tokens[c.tokenAlgorithm()].hot)
	}
	out, used, err := output(ctx, env, "taskset", append(args, c.url("/app/page"))...)
	if err != nil {
		return sample{}, 0, err
	}
	got, err := parseLoad(out)
	return got, used, err
}

// parseLoad finds the line that load.lua prints.
func parseLoad(out string) (sample, error) {
	for line := range strings.Lines(out) {
		rest, ok := strings.CutPrefix(line, "result ")
		if !ok {
			continue
		}
		var n [5]int64
		if _, err := fmt.Sscan(rest, &n[0], &n[1], &n[2], &n[3], &n[4]); err != nil {
			return sample{}, fmt.Errorf("wrk said %q: %w", line, err)
		}
		if n[4] > 0 || n[0] == 0 {
			return sample{}, fmt.Errorf("of %d requests %d failed", n[0], n[4])
		}
		us := time.Microsecond
		return sample{requests: n[0], took: time.Duration(n[1]) * us, p50: time.Duration(n[2]) * us, p99: time.Duration(n[3]) * us}, nil
	}
	return sample{}, fmt.Errorf("wrk gave no result: %s", out)
}

// rounds measures every contender once a round, in turning order: what changes
// on the machine meanwhile falls on all alike.
func rounds(ctx context.Context, s *site, all []*contender, n int, slice time.Duration) error {
	for _, c := range all { // caches, connections and heaps as they are in use
		if _, err := measure(ctx, s, c, max(slice, 2*time.Second)); err != nil {
			return err
		}
	}
	spare := n * len(all)
	for round := range n {
		s.say("round %d of %d", round+1, n)
		for i := range all {
			c := all[i]
			if round%2 == 1 {
				c = all[len(all)-1-i]
			}
			best, err := measure(ctx, s, c, slice)
			for try := 1; err == nil && best.foreign > tolerated && try < maxTries && spare > 0; try++ {
				spare--
				var again sample
				if again, err = measure(ctx, s, c, slice); again.foreign < best.foreign {
					best = again
				}
			}
			if err != nil {
				return err
			}
			c.samples = append(c.samples, best)
		}
	}
	return nil
}
