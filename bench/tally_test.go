package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// soaked is samples a second apart, of so many goroutines.
func soaked(goroutines func(i int) int64) []vitals {
	var samples []vitals
	for i := range 100 {
		samples = append(samples, vitals{at: time.Duration(i) * time.Second, memory: 80 * mb, goroutines: goroutines(i)})
	}
	return samples
}

func TestGrowthIsFound(t *testing.T) {
	for _, c := range []struct {
		name       string
		goroutines func(i int) int64
		grown      bool
	}{
		{"the same all along", func(int) int64 { return 100 }, false},
		{"up and down", func(i int) int64 { return 100 + int64(i%7)*20 }, false},
		{"up while warming up", func(i int) int64 { return min(int64(i)*50, 400) }, false},
		{"one for every second", func(i int) int64 { return 100 + int64(i) }, true},
		{"once, and for good", func(i int) int64 { return 100 + int64(i/60)*80 }, true},
	} {
		err := printSoak(soaked(c.goroutines), vitals{}, vitals{}, 100*time.Second)
		if got := err != nil && strings.Contains(err.Error(), "goroutines"); got != c.grown {
			t.Errorf("%s: got %v, want growth %v", c.name, err, c.grown)
		}
	}
	if err := printSoak(nil, vitals{}, vitals{}, time.Minute); err == nil {
		t.Error("no samples: got a verdict")
	}
}

func TestSlope(t *testing.T) {
	if got, want := slope([]float64{0, 1, 2}, []float64{5, 7, 9}), 2.0; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := slope([]float64{1}, []float64{5}); got != 0 {
		t.Errorf("one point: got %v, want 0", got)
	}
}

func TestOneUnaskedAnswerFailsTheSoak(t *testing.T) {
	tally := newTally()
	tally.asked("page", "200")
	if err := tally.print(); err != nil {
		t.Errorf("got %v, want none", err)
	}
	tally.unasked("page", &errWant{"500 INTERNAL", "200"})
	if err := tally.print(); err == nil {
		t.Error("a 500 went by")
	}
}

// While the application is away, only what needs it is excused, and no mix-up.
func TestOutageExcuses(t *testing.T) {
	var o outage
	at := func(s int) time.Time { return time.Now().Add(time.Duration(s) * time.Second) }
	if o.overlaps(at(-1), at(0)) {
		t.Error("there was none yet")
	}
	o.begins()
	for _, c := range []struct {
		name     string
		from, to int
		want     bool
	}{
		{"before", -20, -10, false},
		{"into it", -20, 1, true},
		{"within", 5, 6, true},
	} {
		if got := o.overlaps(at(c.from), at(c.to)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	o.ends()
	if o.overlaps(at(10), at(11)) {
		t.Error("long after it: excused")
	}
	if !o.overlaps(at(1), at(11)) {
		t.Error("on a connection kept from before: not excused")
	}
}

func TestAccountExcusesNoMixUp(t *testing.T) {
	k := &soaking{tally: newTally()}
	k.outage.begins()
	broken := errors.New("broke off")
	for _, c := range []struct {
		name    string
		proxied bool
		err     error
		wrong   int
	}{
		{"a page", true, broken, 0},
		{"a sign-in", false, broken, 1},
		{"another's page", true, errMixedUp, 2},
	} {
		k.account(t.Context(), &action{name: c.name, proxied: c.proxied, do: answering(c.err)}, nil)
		if got := len(k.tally.wrong); got != c.wrong {
			t.Errorf("after %s: got %d lines that were not asked for, want %d", c.name, got, c.wrong)
		}
	}
}

func TestJudgeLine(t *testing.T) {
	for _, c := range []struct {
		line, want string
		asked      bool
	}{
		{`{"level":"INFO","msg":"request","status":200}`, "", false},
		{`{"level":"WARN","msg":"upstream failed"}`, "", false},
		{`{"level":"ERROR","msg":"configuration rejected: the one in use stays"}`, "ERROR configuration rejected: the one in use stays", true},
		{`{"level":"ERROR","msg":"background work failed"}`, `{"level":"ERROR","msg":"background work failed"}`, false},
		{`{"level":"WARN","msg":"request failed","err":"panic: nil"}`, `{"level":"WARN","msg":"request failed","err":"panic: nil"}`, false},
		{"panic: runtime error", "panic: runtime error", false},
	} {
		if got, asked := judgeLine([]byte(c.line)); got != c.want || asked != c.asked {
			t.Errorf("%s: got %q %v, want %q %v", c.line, got, asked, c.want, c.asked)
		}
	}
}

func answering(err error) func(context.Context, *soaking, *rand.Rand) (string, error) {
	return func(context.Context, *soaking, *rand.Rand) (string, error) { return "", err }
}
