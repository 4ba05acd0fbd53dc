package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"time"
)

const (
	excessSide = 300 // proxied requests a second beside it
	// excessGrowth is how much more memory anything may take.
	excessGrowth = 64 * mb
	// excessKept is what caches may hold of it afterwards: they are bounded.
	excessKept = 48 * mb
	// These are conf/endure.yaml's.
	headerTimeout   = 5 * time.Second
	bodyTimeout     = 5 * time.Second
	responseTimeout = 2 * time.Second
	// onTime is what a busy machine may add to them.
	onTime = 3 * time.Second
)

// excess does too much of everything, one thing after the other, and looks what
// it costs: in memory, until it is refused or cut, and to everyone else.
func excess(ctx context.Context, o options) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	// Who calls from 127.0.0.1 may say which address it is for.
	st, err := openStand(ctx, settings{proxies: `"127.0.0.1"`, retention: time.Hour, ttl: ttl})
	if err != nil {
		return err
	}
	defer st.close()
	if err := st.holds(ctx, st.gateway); err != nil {
		return err
	}
	beside := st.beside(ctx, excessSide)
	defer beside.end()
	beside.stretch(ctx, 5*time.Second) // warms up
	fmt.Printf("Beside each, %d proxied requests a second of somebody else; the machine's load was %s when it began.\n", excessSide, o.load)
	fmt.Printf("Gateway, application and load share %d processors: where the load takes all of them, that is in the p99 too.\n\n", runtime.NumCPU())
	fmt.Println("| too much | what came of it | took s | memory before MB | grew by MB | heap in use MB | p99 before ms | p50 beside ms | p99 beside ms | failed beside |")
	fmt.Println("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	begun, err := st.vitals(ctx)
	if err != nil {
		return err
	}
	var wrong error
	for _, e := range excesses {
		if !only.MatchString(e.name) {
			continue
		}
		if err := st.exceed(ctx, beside, e, o.slice); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", e.name, err))
		}
		if err := errors.Join(ctx.Err(), st.gateway.process.alive()); err != nil {
			return errors.Join(wrong, err)
		}
		st.gateway.process.emptyLog()
	}
	text, err := st.comesBack(ctx, begun, excessKept)
	fmt.Println("\n- when it is all over, " + text)
	return errors.Join(wrong, err)
}

// tooMuch is one kind of it. It says what came of it; an error if that is not
// as it should be.
type tooMuch struct {
	name string
	do   func(context.Context, *stand) (string, error)
}

// exceed does it, and prints its line.
func (st *stand) exceed(ctx context.Context, beside *side, e tooMuch, slice time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	before := beside.stretch(ctx, slice)
	held, err := st.vitals(ctx)
	if err != nil {
		return err
	}
	most, began := st.peak(), time.Now()
	beside.cut()
	came, err := e.do(ctx, st)
	took, during, grew := time.Since(began), beside.cut(), most.end()-held.memory
	after, vitalsErr := st.vitals(ctx)
	err = errors.Join(err, vitalsErr)
	fmt.Printf("| %s | %s | %.1f | %.0f | %.1f | %+.1f | %.1f | %.1f | %.1f | %d |\n", e.name, came, took.Seconds(), float64(held.memory)/mb,
		float64(grew)/mb, float64(after.live-held.live)/mb, milliseconds(before.p99), milliseconds(during.p50), milliseconds(during.p99), during.failed)
	if grew > excessGrowth {
		err = errors.Join(err, fmt.Errorf("memory has grown by %d MB", grew/mb))
	}
	if during.failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests beside it failed: %s", during.failed, during.why))
	}
	return err
}

var excesses = []tooMuch{
	{"1,000 connections that say nothing", silentClients},
	{"1,000 headers, a byte a second", slowHeaders},
	{"500 uploads that stop", stoppedUploads},
	{"500 sign-ins whose body stops", stoppedBodies},
	{"500 sign-ins, their body a byte a second", slowBodies},
	{"200,000 addresses", manyAddresses},
	{"200,000 credentials nobody gave out", manyCredentials},
	{"100,000 tokens of ours whose session is gone", manyGone},
	{"200,000 refresh tokens nobody gave out", manyRefreshTokens},
	{"200 passwords of 1 MB", longPasswords},
	{"50 bodies of 10 MB of JSON", wideJSON},
	{"200 bodies of JSON 100,000 deep", deepJSON},
	{"200 bodies of JSON as deep as fits", deepJSONWithin},
	{"an endless answer, read for 3 s", endlessRead},
	{"50 endless answers nobody reads", endlessUnread},
	{"50 endless answers whose reader leaves", endlessLeft},
	{"20 endless headers of an answer", endlessHeaders},
	{"200 requests the application never answers", hanging},
	{"200 such whose client leaves", hangingLeft},
}
