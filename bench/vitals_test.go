package main

import (
	"slices"
	"testing"
	"time"
)

func TestParseMetric(t *testing.T) {
	for _, c := range []struct {
		line, name string
		value      float64
		ok         bool
	}{
		{"go_goroutines 21", "go_goroutines", 21, true},
		{"go_memstats_next_gc_bytes 6.1e+06", "go_memstats_next_gc_bytes", 6.1e6, true},
		{"# HELP go_goroutines Number of goroutines.", "", 0, false},
		{`doorward_http_requests_total{route="/a b",method="GET"} 3`, "", 0, false},
		{"go_goroutines", "", 0, false},
		{"go_goroutines many", "", 0, false},
	} {
		name, value, ok := parseMetric(c.line)
		if ok != c.ok || ok && (name != c.name || value != c.value) {
			t.Errorf("%s: got %q %v %v, want %q %v %v", c.line, name, value, ok, c.name, c.value, c.ok)
		}
	}
}

// The next collection begins at what survived, and four times that and the stacks.
func TestSurvived(t *testing.T) {
	const live, stacks = 10 * mb, 3 * mb
	if got, want := survived(live+4*(live+stacks), stacks, 400), int64(live); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if got, want := survived(4*mb, 50*mb, 400), int64(0); got != want {
		t.Errorf("stacks grown since: got %d, want %d", got, want)
	}
}

// Connections from one address share its ports, and to a gateway an address is
// a client: no two may fall together, and all are loopback.
func TestLoopbackAddresses(t *testing.T) {
	seen := map[string]bool{"127.0.0.1": true}
	for n := range 70_000 {
		ip := loopback(n)
		if !ip.IsLoopback() || seen[ip.String()] || ip.To4()[3] == 0 && ip.To4()[2] == 0 && ip.To4()[1] == 0 {
			t.Fatalf("address %d: %v, want another of loopback", n, ip)
		}
		seen[ip.String()] = true
	}
	if ip := loopback(1000 + 1<<20); !ip.IsLoopback() {
		t.Errorf("got %v, want an address of loopback", ip)
	}
}

func TestCutSortsAndForgets(t *testing.T) {
	s := &side{failed: map[string]int{"503": 2}}
	for i := range 100 {
		s.latencies = append(s.latencies, time.Duration(100-i)*time.Millisecond)
	}
	want := quiet{requests: 100, failed: 2, why: "503", p50: 51 * time.Millisecond, p99: 100 * time.Millisecond}
	if got := s.cut(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := s.cut(), (quiet{}); got != want {
		t.Errorf("the next stretch: got %+v, want %+v", got, want)
	}
}

// Each action must come up, or a soak would leave it out without a word.
func TestEveryActionHasAWeight(t *testing.T) {
	var names []string
	for _, a := range actions {
		if a.weight <= 0 || a.do == nil || slices.Contains(names, a.name) {
			t.Errorf("%q: weight %d, want a name of its own, a weight and something to do", a.name, a.weight)
		}
		names = append(names, a.name)
	}
}
