package authn

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testLockout(cfg LockoutConfig) *lockout {
	return &lockout{cfg: cfg, key: []byte("k"), table: map[string]*tally{}}
}

// tries makes n attempts that fail, and says how many were admitted.
func tries(l *lockout, a account, network string, n int, now time.Time) (admitted int) {
	for range n {
		if room, _, _, err := l.reserve(a, network, now); err == nil {
			l.failed(room, now)
			admitted++
		}
	}
	return admitted
}

func TestLockoutDrainsEvenly(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 5, Window: 15 * time.Minute, Ceiling: 50})
	a, now := account{user: "u1"}, noon
	for _, c := range []struct {
		after    time.Duration
		admitted int
	}{
		{0, 5}, {0, 0}, {2*time.Minute + 59*time.Second, 0}, {time.Second, 1}, {0, 0},
		{6 * time.Minute, 2}, {24 * time.Hour, 5},
	} {
		now = now.Add(c.after)
		if got := tries(l, a, "n1", 9, now); got != c.admitted {
			t.Errorf("at %v: %d attempts admitted, want %d", now.Sub(noon), got, c.admitted)
		}
	}
}

func TestLockoutSaysWhenToComeBack(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 5, Window: 15 * time.Minute, Ceiling: 50})
	a := account{user: "u1"}
	tries(l, a, "n1", 5, noon)
	var retry *RetryError
	_, _, first, err := l.reserve(a, "n1", noon)
	if !errors.As(err, &retry) || !errors.Is(err, ErrTooManyAttempts) || retry.After != 3*time.Minute || !first {
		t.Errorf("sixth attempt: %v (first %v), want ErrTooManyAttempts for 3m and first", err, first)
	}
	if _, _, first, _ := l.reserve(a, "n1", noon); first {
		t.Error("the second refusal of a lock counts as the first")
	}
	if got := tries(l, a, "n1", 1, noon.Add(retry.After)); got != 1 {
		t.Error("no attempt is admitted after the time given")
	}
	if _, _, first, _ := l.reserve(a, "n1", noon.Add(retry.After)); !first {
		t.Error("the first refusal of the next lock does not count as the first")
	}
}

func TestLockoutCeiling(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 5, Window: 15 * time.Minute, Ceiling: 50})
	stranger, owner := account{user: "u1"}, account{user: "u1", known: true}
	admitted := 0
	for n := range 100 {
		admitted += tries(l, stranger, fmt.Sprint("n", n), 5, noon)
	}
	if admitted != 50 {
		t.Errorf("%d attempts admitted from a hundred networks, want 50", admitted)
	}
	if got := tries(l, owner, "home", 9, noon); got != 5 {
		t.Errorf("%d attempts admitted from the owner's network, want its own 5", got)
	}
	if got := tries(l, account{user: "u2"}, "n1", 9, noon); got != 5 {
		t.Errorf("%d attempts admitted on another account, want 5", got)
	}
}

func TestLockoutGivesBack(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 2, Window: time.Minute, Ceiling: 3})
	a := account{name: "nobody"}
	for range 20 {
		room, _, _, err := l.reserve(a, "n1", noon)
		if err != nil {
			t.Fatalf("an attempt that never happened was counted: %v", err)
		}
		l.release(room, noon)
	}
	if len(l.table) != 0 {
		t.Errorf("%d counters are left of attempts that never happened", len(l.table))
	}
	tries(l, a, "n1", 1, noon)
	room, _, _, _ := l.reserve(a, "n1", noon)
	l.succeeded(room, noon)
	if got := tries(l, a, "n1", 9, noon); got != 2 {
		t.Errorf("%d attempts admitted after a success, want 2", got)
	}
}

// TestLockoutWaitsForWhatIsUnderWay: attempts under way take room, but are no
// failures yet.
func TestLockoutWaitsForWhatIsUnderWay(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 2, Window: time.Minute, Ceiling: 50})
	a := account{user: "u1"}
	one, _, _, _ := l.reserve(a, "n1", noon)
	two, _, _, _ := l.reserve(a, "n1", noon)
	_, busy, _, err := l.reserve(a, "n1", noon)
	if err != nil || busy == nil {
		t.Fatalf("third attempt with two under way: %v, busy %v; want to wait", err, busy != nil)
	}
	l.failed(one, noon)
	select {
	case <-busy:
	default:
		t.Fatal("nobody was told that one is settled")
	}
	if _, again, _, err := l.reserve(a, "n1", noon); err != nil || again == nil {
		t.Errorf("with one failed and one under way: %v, busy %v; want to wait", err, again != nil)
	}
	l.failed(two, noon)
	if _, _, _, err := l.reserve(a, "n1", noon); !errors.Is(err, ErrTooManyAttempts) {
		t.Errorf("with both failed: %v, want ErrTooManyAttempts", err)
	}
}

func TestLockoutSwitchedOff(t *testing.T) {
	l := testLockout(LockoutConfig{Window: time.Minute})
	if got := tries(l, account{user: "u1"}, "n1", 100, noon); got != 100 || len(l.table) != 0 {
		t.Errorf("%d of 100 admitted and %d counters kept, want all and none", got, len(l.table))
	}
}

func TestLockoutForgetsOneAccountOnly(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 1, Window: time.Hour, Ceiling: 2})
	one, two := account{user: "u1"}, account{user: "u2"}
	for _, network := range []string{"n1", "n2"} {
		tries(l, one, network, 1, noon)
		tries(l, two, network, 1, noon)
	}
	l.forget(one)
	if got := tries(l, one, "n1", 9, noon); got != 1 {
		t.Errorf("%d attempts admitted after unlocking, want 1", got)
	}
	if got := tries(l, two, "n1", 9, noon); got != 0 {
		t.Errorf("%d attempts admitted on the other account, want 0", got)
	}
}

// TestLockoutMemory is the limiter memory row: 200,000 names fill the table to
// its bound, and do not push out the accounts that are locked.
func TestLockoutMemory(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 5, Window: 15 * time.Minute, Ceiling: 50})
	const victims = 20
	for n := range victims {
		tries(l, account{user: fmt.Sprint("v", n), known: true}, "n1", 5, noon)
	}
	for n := range 200_000 {
		tries(l, account{name: fmt.Sprint("random ", n)}, "n2", 1, noon)
	}
	if got := len(l.table); got > maxCounters {
		t.Errorf("%d counters kept, want at most %d", got, maxCounters)
	}
	for n := range victims {
		if got := tries(l, account{user: fmt.Sprint("v", n), known: true}, "n1", 1, noon); got != 0 {
			t.Errorf("account %d was pushed out of the table and is unlocked", n)
		}
	}
}

func TestLockoutKeysShowNothing(t *testing.T) {
	l := testLockout(LockoutConfig{Failures: 5, Window: 15 * time.Minute, Ceiling: 50})
	tries(l, account{name: "hunter2"}, "192.0.2.1", 1, noon)
	for key := range l.table {
		if strings.Contains(key, "hunter2") || strings.Contains(key, "192.0.2.1") {
			t.Errorf("key %q shows what was typed or from where", key)
		}
	}
}

func TestLearnNetwork(t *testing.T) {
	var known []KnownNetwork
	for n := range 30 {
		known = learnNetwork(known, fmt.Sprint("n", n), noon.Add(time.Duration(n)*time.Hour))
	}
	now := noon.Add(30 * time.Hour)
	known = learnNetwork(known, "n15", now)
	known = learnNetwork(known, "unknown", now)
	if len(known) != knownNetworks || known[len(known)-1].Network != "n15" {
		t.Errorf("kept %v, want the latest %d with n15 last", known, knownNetworks)
	}
	u := User{Networks: known}
	for network, want := range map[string]bool{"n15": true, "n29": true, "n1": false, "unknown": false} {
		if got := knownFrom(u, network, now); got != want {
			t.Errorf("knownFrom(%s) = %v, want %v", network, got, want)
		}
	}
	later := now.Add(knownNetworkOf)
	if knownFrom(u, "n15", later) {
		t.Error("a network is still known after its time")
	}
	if got := learnNetwork(known, "new", later); len(got) != 1 {
		t.Errorf("%d networks kept after their time, want the new one", len(got))
	}
}
