package main

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestOnlyTheRightWaysInTime(t *testing.T) {
	for _, c := range []struct {
		name string
		ends map[string]time.Duration
		want string
	}{
		{"all as they should", map[string]time.Duration{"cut": 5 * time.Second, "408": 6 * time.Second}, ""},
		{"one is still open", map[string]time.Duration{"cut": 5 * time.Second, "still open": 6 * time.Second}, "want 2 of: cut, 408"},
		{"one is missing", map[string]time.Duration{"cut": 5 * time.Second}, "want 2 of: cut, 408"},
		{"one is early", map[string]time.Duration{"cut": time.Second, "408": 5 * time.Second}, "want all after 4s to 8s"},
		{"one is late", map[string]time.Duration{"cut": 5 * time.Second, "408": 9 * time.Second}, "want all after 4s to 8s"},
	} {
		var w waves
		for way, took := range c.ends {
			w.end(way, took)
		}
		got := ""
		if err := w.only(2, 4*time.Second, 8*time.Second, "cut", "408"); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestToldFindsOtherAnswers(t *testing.T) {
	text, err := told(map[string]int{"401 TOKEN_INVALID": 7, "401 TOKEN_REVOKED": 2}, nil, "401 TOKEN_INVALID", "401 TOKEN_REVOKED")
	if want := "401 TOKEN_INVALID: 7, 401 TOKEN_REVOKED: 2"; text != want || err != nil {
		t.Errorf("got %q %v, want %q", text, err, want)
	}
	if _, err := told(map[string]int{"401 TOKEN_INVALID": 7, "200": 1}, nil, "401 TOKEN_INVALID"); err == nil || !strings.Contains(err.Error(), "1 answers were 200") {
		t.Errorf("one was let in: got %v", err)
	}
	broken := errors.New("broken")
	if _, err := told(nil, broken, "401"); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// Each is a client of its own only if the gateway can read it.
func TestAnyAddressIsOne(t *testing.T) {
	r, seen := rand.New(rand.NewPCG(1, 2)), map[string]bool{}
	for range 10_000 {
		line := strings.TrimSpace(anyAddress(r))
		_, text, _ := strings.Cut(line, ": ")
		if _, err := netip.ParseAddr(text); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen[text] = true
	}
	if len(seen) < 9_900 {
		t.Errorf("got %d different of 10000", len(seen))
	}
}
