package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	stormRate    = 2_000 // proxied requests a second
	stormSigners = 32    // people signing in at once
	stormCost    = 12
	// patience is what someone who was told OVERLOADED waits before trying
	// again: less than Retry-After asks for.
	patience = 250 * time.Millisecond
	password = "a long enough pass phrase 7"
)

// weather is what one slice of time was like.
type weather struct {
	latencies  []time.Duration // of proxied requests
	failed     int             // of those
	accepted   int             // sign-ins
	overloaded int
	refusal    time.Duration // the longest time it took to say OVERLOADED
	wrong      int           // any other answer to a sign-in
	took       time.Duration
}

func (w *weather) percentile(p int) time.Duration {
	if len(w.latencies) == 0 {
		return 0
	}
	return w.latencies[min(len(w.latencies)-1, len(w.latencies)*p/100)]
}

// storm measures what it is like for others while many sign in. Nothing is
// pinned: gateway, upstream, load and hashing share all processors.
func storm(ctx context.Context, s *site, o options) error {
	c := &contender{name: "Doorward", algorithm: "EdDSA"}
	c.start = func(ctx context.Context, s *site, c *contender) (*process, error) {
		return s.startDoorward(ctx, c, s.file("doorward"), -1)
	}
	if err := s.run(ctx, c); err != nil {
		return err
	}
	if err := s.holds(ctx, c); err != nil {
		return err
	}
	client := newClient()
	if err := c.register(ctx, client); err != nil {
		return err
	}
	hash, err := timeHash()
	if err != nil {
		return err
	}
	fmt.Printf("bcrypt at cost %d takes %.0f ms here: one processor has room for %.2f sign-ins a second\n\n", stormCost, milliseconds(hash), 1/hash.Seconds())
	fmt.Println("| round | weather | proxied/s | failed | p50 ms | p99 ms | max ms | signed in/s | of one processor's | OVERLOADED/s | slowest OVERLOADED ms | other answers |")
	fmt.Println("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for round := range o.rounds {
		for _, signers := range []int{0, stormSigners} {
			w, err := c.live(ctx, s, client, o.storm, signers)
			if err != nil {
				return err
			}
			printWeather(round+1, signers, w, hash)
			c.process.emptyLog()
		}
	}
	return nil
}

func printWeather(round, signers int, w *weather, hash time.Duration) {
	name := "quiet"
	if signers > 0 {
		name = "storm"
	}
	seconds := w.took.Seconds()
	fmt.Printf("| %d | %s | %.0f | %d | %.2f | %.2f | %.2f | %.2f | %.0f%% | %.1f | %.1f | %d |\n", round, name,
		float64(len(w.latencies))/seconds, w.failed, milliseconds(w.percentile(50)), milliseconds(w.percentile(99)), milliseconds(w.percentile(100)),
		float64(w.accepted)/seconds, 100*float64(w.accepted)/seconds*hash.Seconds(), float64(w.overloaded)/seconds, milliseconds(w.refusal), w.wrong)
}

func newClient() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
}

// timeHash is how long one password takes one processor that has nothing else
// to do: the best of a few.
func timeHash() (time.Duration, error) {
	best := time.Hour
	for range 3 {
		begun := time.Now()
		if _, err := bcrypt.GenerateFromPassword([]byte(password), stormCost); err != nil {
			return 0, err
		}
		best = min(best, time.Since(begun))
	}
	return best, nil
}

func stormer(i int) string { return fmt.Sprintf("stormer%d", i) }

// register signs up those who will sign in.
func (c *contender) register(ctx context.Context, client *http.Client) error {
	for i := range stormSigners {
		status, err := c.post(ctx, client, "/auth/register", map[string]string{"username": stormer(i), "password": password})
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("sign up: status %d, %w", status, err)
		}
	}
	return nil
}

func (c *contender) post(ctx context.Context, client *http.Client, path string, body map[string]string) (int, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(path), bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	return exchange(client, r)
}

// exchange makes a request, reads the whole answer and returns its status.
func exchange(client *http.Client, r *http.Request) (int, error) {
	res, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// live lets proxied requests come at their rate for a slice of time while so
// many people sign in, again and again.
func (c *contender) live(ctx context.Context, s *site, client *http.Client, slice time.Duration, signers int) (*weather, error) {
	ctx, cancel := context.WithTimeout(ctx, slice+30*time.Second)
	defer cancel()
	w := &weather{took: slice}
	var mu sync.Mutex
	var all sync.WaitGroup
	begin := time.Now()
	end := begin.Add(slice)
	for i := range connections {
		all.Go(func() {
			latencies, failed := c.pace(ctx, client, s.tokens[c.algorithm].hot, begin, end, i)
			mu.Lock()
			defer mu.Unlock()
			w.latencies, w.failed = append(w.latencies, latencies...), w.failed+failed
		})
	}
	for i := range signers {
		all.Go(func() { c.signIn(ctx, client, i, end, w, &mu) })
	}
	all.Wait()
	slices.Sort(w.latencies)
	return w, ctx.Err()
}

// pace sends one connection's share of the requests, each at its time. A
// request that is late because the one before it was slow counts from when it
// was due; one that is late because we woke up late counts from then.
func (c *contender) pace(ctx context.Context, client *http.Client, token string, begin, end time.Time, share int) (latencies []time.Duration, failed int) {
	every := time.Second / stormRate
	for due := begin.Add(time.Duration(share) * every); due.Before(end) && ctx.Err() == nil; due = due.Add(connections * every) {
		from := due
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			from = time.Now()
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url("/app/page"), nil)
		if err != nil {
			return latencies, failed + 1
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if status, err := exchange(client, r); err != nil || status != http.StatusOK {
			failed++
		}
		latencies = append(latencies, time.Since(from))
	}
	return latencies, failed
}

// signIn is one person who signs in until the end of the slice. What is still
// under way then counts for nobody.
func (c *contender) signIn(ctx context.Context, client *http.Client, i int, end time.Time, w *weather, mu *sync.Mutex) {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for ctx.Err() == nil {
		asked := time.Now()
		status, err := c.post(ctx, client, "/auth/login", map[string]string{"login": stormer(i), "password": password})
		if ctx.Err() != nil {
			return
		}
		mu.Lock()
		switch {
		case err == nil && status == http.StatusOK:
			w.accepted++
		case err == nil && status == http.StatusServiceUnavailable:
			w.overloaded++
			w.refusal = max(w.refusal, time.Since(asked))
		default:
			w.wrong++
		}
		mu.Unlock()
		if status != http.StatusOK {
			select {
			case <-ctx.Done():
			case <-time.After(patience):
			}
		}
	}
}
