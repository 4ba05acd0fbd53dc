package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseLoad(t *testing.T) {
	for _, c := range []struct {
		name, out, err string
		want           sample
	}{
		{"a line among others", "Running 1s test\nresult 1000 2000000 500 9000 0\n", "",
			sample{requests: 1000, took: 2 * time.Second, p50: 500 * time.Microsecond, p99: 9 * time.Millisecond}},
		{"some refused", "result 1000 2000000 500 9000 3\n", "of 1000 requests 3 failed", sample{}},
		{"none answered", "result 0 2000000 0 0 0\n", "of 0 requests 0 failed", sample{}},
		{"broken", "result 1000 many\n", "wrk said", sample{}},
		{"none", "unable to connect\n", "no result", sample{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseLoad(c.out)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want %q", err, c.err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	text := "12 (a) (b c) S 1 7 7 0 -1 4194560 100 0 0 0 40 30 2 1 20 0 9 0 100\n"
	got, err := parseStat([]byte(text))
	if want := (stat{group: 7, ticks: 73}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := parseStat([]byte("12 (a) S 1")); err == nil {
		t.Errorf("of too few fields: got %+v, want an error", got)
	}
}

func TestParseCPUs(t *testing.T) {
	got, err := parseCPUs("0-2,5")
	if want := []int{0, 1, 2, 5}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := parseCPUs("none"); err == nil {
		t.Errorf("of no list: got %v, want an error", got)
	}
}

// When a program has ended there is nothing to count, which must not pass for
// nothing used.
func TestProcessIsAccountedFor(t *testing.T) {
	p, err := start(-1, t.TempDir()+"/log", "sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := p.memory()
	if err != nil || memory <= 0 {
		t.Errorf("got memory %d, %v", memory, err)
	}
	if _, err := p.cpu(); err != nil {
		t.Errorf("got cpu error %v", err)
	}
	p.stop()
	if got, err := p.cpu(); err == nil {
		t.Errorf("after its end: got cpu %v, want an error", got)
	}
}
