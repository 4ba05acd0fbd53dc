package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	soakPeople  = 48  // who have a password and come and go
	soakTokens  = 500 // sessions that only call, of those that were there before
	soakWorkers = 24
	soakHolding = 100 // streams and sockets open at once
	soakLogSize = 32 * mb
)

// soak lets everything that people and strangers do go on for long, and looks
// whether the gateway is still the same at the end.
func soak(ctx context.Context, o options) error {
	if o.soak < 20*time.Second || o.soak > 45*time.Minute || o.rate < 20 || o.rate > 2000 {
		return errors.New("soak for 20s to 45m, with 20 to 2000 requests a second")
	}
	// Events live for a fifth of the time, so that the store can come to rest, and
	// tokens for an eighth, so that memory can: what is remembered of a token goes
	// when the token ends.
	st, err := openStand(ctx, settings{retention: max(o.soak/5, 30*time.Second), ttl: max(o.soak/8, 2*time.Minute)})
	if err != nil {
		return err
	}
	defer st.close()
	if err := st.holds(ctx, st.gateway); err != nil {
		return err
	}
	k := &soaking{stand: st, tally: newTally(), holding: make(chan struct{}, soakHolding), hot: clientFrom(loopback(0)), length: o.soak}
	k.callers.Store(st.tokens[standAlgorithm])
	before, err := st.vitals(ctx)
	if err != nil {
		return err
	}
	if err := k.moveIn(ctx); err != nil {
		return err
	}
	st.say("soaking for %v with %d requests a second; the machine's load was %s", o.soak, o.rate, o.load)
	samples, err := k.run(ctx, o.rate)
	if err != nil {
		return err
	}
	after, settled := k.settle(ctx, before)
	k.readLog()
	verdict := printSoak(samples, before, after, o.soak)
	fmt.Println()
	return errors.Join(verdict, settled, k.tally.print(), st.gateway.process.alive())
}

// soaking is a soak under way.
type soaking struct {
	*stand
	tally   *tally
	length  time.Duration
	people  []*person
	callers atomic.Pointer[tokens] // of sessions that only call
	hot     *http.Client
	holding chan struct{} // a place for each stream
	long    sync.WaitGroup
	outage  outage
	logAt   int64 // up to where the log was read
}

// moveIn registers people; each has an address of their own. However long that
// takes, everybody's token is in time afterwards.
func (k *soaking) moveIn(ctx context.Context) error {
	for i := range soakPeople {
		p := k.person(fmt.Sprintf("soaker%d", i), 100+i)
		if _, err := p.register(ctx); err != nil {
			return fmt.Errorf("register: %w", err)
		}
		if _, err := p.signInByCookie(ctx); err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		k.people = append(k.people, p)
	}
	return k.renew(ctx)
}

// run has workers take turns at a steady rate, while somebody samples, renews
// tokens, reloads and restarts. What has begun is finished after the end.
func (k *soaking) run(ctx context.Context, rate int) ([]vitals, error) {
	issuing, stop := context.WithTimeout(ctx, k.length)
	defer stop()
	turns := make(chan struct{}, rate) // a stall of a second is made up for, no more
	var all sync.WaitGroup
	for i := range soakWorkers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), uint64(k.began.Unix())))
			for range turns {
				k.perform(ctx, r)
			}
		})
	}
	all.Go(func() { k.janitor(issuing) })
	all.Go(func() { k.renewals(issuing) })
	var samples []vitals
	var failed error
	all.Go(func() { samples, failed = k.sample(issuing) })
	begin := time.Now()
	for due := begin; issuing.Err() == nil; due = due.Add(time.Second / time.Duration(rate)) {
		rest(issuing, time.Until(due))
		select {
		case turns <- struct{}{}:
		default:
			k.tally.late()
		}
	}
	close(turns)
	all.Wait()
	k.long.Wait()
	return samples, errors.Join(failed, ctx.Err())
}

// perform does one thing, chosen by weight. What takes long has a goroutine of
// its own, if there is a place.
func (k *soaking) perform(ctx context.Context, r *rand.Rand) {
	a := choose(r)
	if !a.long {
		k.account(ctx, a, r)
		return
	}
	select {
	case k.holding <- struct{}{}:
	default:
		return
	}
	r = rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
	k.long.Go(func() {
		defer func() { <-k.holding }()
		k.account(ctx, a, r)
	})
}

// account does it, and notes what came of it. While the application is away,
// what is for it may fail; nothing excuses a mix-up.
func (k *soaking) account(ctx context.Context, a *action, r *rand.Rand) {
	began := time.Now()
	got, err := a.do(ctx, k, r)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		k.tally.asked(a.name, got)
	case a.proxied && !errors.Is(err, errMixedUp) && k.outage.overlaps(began, time.Now()):
		k.tally.asked(a.name, "the application was away")
	default:
		k.tally.unasked(a.name, err)
	}
}

// sample looks at the gateway every so often.
func (k *soaking) sample(ctx context.Context) (samples []vitals, err error) {
	every := min(max(k.length/240, time.Second), 5*time.Second)
	begin := time.Now()
	for {
		rest(ctx, every)
		if ctx.Err() != nil {
			return samples, nil
		}
		v, err := k.vitals(context.WithoutCancel(ctx))
		if err != nil {
			return samples, err
		}
		v.at = time.Since(begin)
		samples = append(samples, v)
		k.readLog()
	}
}

// janitor reloads the configuration, sometimes another and sometimes a broken
// one, and restarts the application: eight times of each in a soak.
func (k *soaking) janitor(ctx context.Context) {
	for i := 0; ; i++ {
		rest(ctx, k.length/17)
		if ctx.Err() != nil {
			return
		}
		var err error
		if i%2 == 0 {
			err = k.reload(context.WithoutCancel(ctx), i/2)
			k.tally.note("reload", err)
		} else {
			k.outage.begins()
			err = k.restartBackend(context.WithoutCancel(ctx), 500*time.Millisecond)
			k.outage.ends()
			k.tally.note("restart of the application", err)
		}
	}
}

// reload offers the next configuration and waits for the gateway to say that it
// took it, or would not.
func (k *soaking) reload(ctx context.Context, turn int) error {
	extra, ok := "", 1.0
	switch turn % 4 {
	case 1:
		extra = `  - {path: "/more/**", upstream: app, allow: authenticated}`
	case 2:
		extra, ok = `  - {path: "/more/**", upstream: nowhere, allow: authenticated}`, 0
	}
	if _, err := k.configure(extra); err != nil {
		return err
	}
	if err := syscall.Kill(k.gateway.process.cmd.Process.Pid, syscall.SIGHUP); err != nil {
		return err
	}
	_, err := until(ctx, 10*time.Second, func() (bool, error) {
		m, err := k.metrics(ctx)
		return m["doorward_config_last_reload_successful"] == ok, err
	})
	return err
}

// settle waits until everybody has left, and looks at what is still held.
func (k *soaking) settle(ctx context.Context, before vitals) (after vitals, err error) {
	k.hot.CloseIdleConnections()
	for _, p := range k.people {
		p.client.CloseIdleConnections()
	}
	const few = 16
	_, err = until(ctx, 30*time.Second, func() (_ bool, err error) {
		after, err = k.vitals(ctx)
		return after.goroutines <= before.goroutines+few && after.descriptors <= before.descriptors+few, err
	})
	if err != nil {
		err = fmt.Errorf("everybody has left, and from %d goroutines and %d descriptors there are %d and %d: %w",
			before.goroutines, before.descriptors, after.goroutines, after.descriptors, err)
	}
	return after, err
}

// readLog looks for errors in what the gateway has logged since it last looked,
// and empties a log that has grown long.
func (k *soaking) readLog() {
	file, err := os.Open(k.gateway.process.log.Name())
	if err != nil {
		k.tally.unasked("log", err)
		return
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, k.logAt, 1<<40))
	if err != nil {
		k.tally.unasked("log", err)
		return
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	k.logAt += int64(len(whole))
	for line := range bytes.Lines(whole) {
		if name, asked := judgeLine(line); asked {
			k.tally.asked("log", name)
		} else if name != "" {
			k.tally.unasked("log", errors.New(name))
		}
	}
	if k.logAt > soakLogSize {
		k.gateway.process.emptyLog()
		k.logAt = 0
	}
}
