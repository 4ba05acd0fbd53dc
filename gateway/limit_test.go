package gateway

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// from makes a request come from an address: the tests' peer is trusted.
func from(ip string) string { return "X-Forwarded-For: " + ip }

func limited(mutate func(*LimitConfig)) func(*Config) {
	return func(c *Config) {
		c.Server.TrustedProxies = []string{"127.0.0.1"}
		mutate(&c.Limits)
	}
}

func TestRequestsAreLimitedByClient(t *testing.T) {
	g := newGateway(t, limited(func(l *LimitConfig) { l.Requests = Rate{2, 20 * time.Second} }))
	for range 2 {
		if a := g.get("/public/x", from("203.0.113.1")); a.Status != 200 {
			t.Fatalf("within the limit: got %d, want 200", a.Status)
		}
	}
	a := g.get("/public/x", from("203.0.113.1"))
	if a.Status != 429 || a.code() != "RATE_LIMITED" {
		t.Fatalf("got %d %s, want 429 RATE_LIMITED", a.Status, a.code())
	}
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 10 {
		t.Errorf("Retry-After: got %q, want whole seconds from 1 to 10", a.Header.Get("Retry-After"))
	}
	if got, want := a.Header.Get("RateLimit-Policy"), `"requests";q=2;w=20`; got != want {
		t.Errorf("RateLimit-Policy: got %s, want %s", got, want)
	}
	if got, want := a.Header.Get("RateLimit"), fmt.Sprintf(`"requests";r=0;t=%d`, wait); got != want {
		t.Errorf("RateLimit: got %s, want %s", got, want)
	}
	if a := g.get("/public/x", from("203.0.113.2")); a.Status != 200 {
		t.Errorf("another client: got %d, want 200", a.Status)
	}
	g.clock.advance(time.Duration(wait) * time.Second)
	if a := g.get("/public/x", from("203.0.113.1")); a.Status != 200 {
		t.Errorf("after Retry-After: got %d, want 200", a.Status)
	}
}

func TestOneClientHasOneBudget(t *testing.T) {
	tests := []struct {
		name          string
		first, second string
		same          bool
	}{
		{"another port", "203.0.113.1:1000", "203.0.113.1:2000", true},
		{"IPv4 in IPv6", "203.0.113.2", "::ffff:203.0.113.2", true},
		{"a made-up entry to the left", "1.1.1.1, 203.0.113.3", "2.2.2.2, 203.0.113.3", true},
		{"the same IPv6 /64", "2001:db8:1:1::1", "2001:db8:1:1:ffff::2", true},
		{"another IPv6 /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"a zone", "fe80::1%a", "fe80::1%b", true},
		{"no address: the proxy itself", "unknown", "nonsense", true},
		{"another address", "203.0.113.5", "203.0.113.6", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t, limited(func(l *LimitConfig) { l.Requests = Rate{1, time.Hour} }))
			g.get("/public/x", from(tt.first))
			if a := g.get("/public/x", from(tt.second)); (a.Status == 429) != tt.same {
				t.Errorf("got %d, want one budget: %v", a.Status, tt.same)
			}
		})
	}
}

func TestForwardedForOfStrangerMakesNoBudget(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Requests = Rate{1, time.Hour} })
	g.get("/public/x", from("203.0.113.1"))
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP"} {
		if a := g.get("/public/x", name+": 203.0.113.2"); a.Status != 429 {
			t.Errorf("%s: got %d, want 429", name, a.Status)
		}
	}
}

func TestRequestsOfUserAreLimitedByUser(t *testing.T) {
	g := newGateway(t, limited(func(l *LimitConfig) { l.Requests = Rate{1, time.Hour} }))
	anna, ben := g.bearer("anna"), g.bearer("ben")
	if a := g.get("/x", from("203.0.113.1"), "Authorization: "+anna); a.Status != 200 {
		t.Fatalf("got %d, want 200", a.Status)
	}
	if a := g.get("/x", from("203.0.113.2"), "Authorization: "+anna); a.Status != 429 {
		t.Errorf("the same user from elsewhere: got %d, want 429", a.Status)
	}
	if a := g.get("/x", from("203.0.113.1"), "Authorization: "+ben); a.Status != 200 {
		t.Errorf("another user from the same client: got %d, want 200", a.Status)
	}
	if a := g.get("/x", from("203.0.113.1")); a.Status != 401 {
		t.Errorf("nobody from the same client: got %d, want 401", a.Status)
	}
	if a := g.get("/x", from("203.0.113.1"), "Authorization: Bearer forged"); a.Status != 429 {
		t.Errorf("a forged token after the client's budget is spent: got %d, want 429", a.Status)
	}
}

func TestRouteHasItsOwnBudget(t *testing.T) {
	g := newGateway(t, limited(func(l *LimitConfig) { l.Requests = Rate{1, time.Hour} }))
	cfg := g.live.Load().cfg
	cfg.Routes[1].Limit = Rate{2, time.Hour} // /public/**
	if err := g.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	g.get("/secret", from("203.0.113.1")) // spends limits.requests
	for i, want := range []int{200, 200, 429} {
		if a := g.get("/public/x", from("203.0.113.1")); a.Status != want {
			t.Errorf("request %d: got %d, want %d", i, a.Status, want)
		}
	}
}

func TestLoginFailuresCountFailuresOnly(t *testing.T) {
	g := newGatewayWith(t, limited(func(l *LimitConfig) { l.LoginFailures = Rate{3, time.Hour} }),
		func(c *authn.Config) { c.Accounts.Lockout = authn.LockoutConfig{Window: time.Minute} })
	g.addUser("anna")
	right := `{"login":"anna","password":"` + testPassword + `"}`
	wrong := `{"login":"anna","password":"wrong-horse"}`
	for range 5 {
		if a := g.post("/auth/login", right, from("203.0.113.1")); a.Status != 200 {
			t.Fatalf("right password: got %d %s, want 200", a.Status, a.Body)
		}
	}
	for range 3 {
		if a := g.post("/auth/login", wrong, from("203.0.113.1")); a.Status != 401 {
			t.Fatalf("wrong password: got %d %s, want 401", a.Status, a.Body)
		}
	}
	a := g.post("/auth/login", right, from("203.0.113.1"))
	if a.Status != 429 || a.code() != "TOO_MANY_ATTEMPTS" || a.Header.Get("Retry-After") == "" {
		t.Errorf("budget spent: got %d %s, want 429 TOO_MANY_ATTEMPTS with Retry-After", a.Status, a.code())
	}
	if a := g.post("/auth/login", right, from("203.0.113.2")); a.Status != 200 {
		t.Errorf("another client: got %d, want 200", a.Status)
	}
}

func TestParallelGuessesAreCountedBeforeTheyAreMade(t *testing.T) {
	g := newGatewayWith(t, limited(func(l *LimitConfig) { l.LoginFailures = Rate{5, 24 * time.Hour} }),
		func(c *authn.Config) { c.Accounts.Lockout = authn.LockoutConfig{Window: time.Minute} })
	var tried atomic.Int64
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			a := g.post("/auth/login", fmt.Sprintf(`{"login":"nobody%d","password":"wrong-horse"}`, i), from("203.0.113.1"))
			if a.Status != 429 {
				tried.Add(1)
			}
		})
	}
	all.Wait()
	if got := tried.Load(); got != 5 {
		t.Errorf("%d guesses were tried, want 5", got)
	}
}

func TestRegisterIsLimitedByClient(t *testing.T) {
	g := newGateway(t, limited(func(l *LimitConfig) { l.Register = Rate{2, time.Hour} }))
	for i, want := range []int{201, 201, 429} {
		a := g.post("/auth/register", fmt.Sprintf(`{"username":"user%d","password":"%s"}`, i, testPassword), from("203.0.113.1"))
		if a.Status != want {
			t.Errorf("registration %d: got %d %s, want %d", i, a.Status, a.Body, want)
		}
		if want == 429 && !strings.HasPrefix(a.Header.Get("RateLimit-Policy"), `"register";q=2;w=3600`) {
			t.Errorf("RateLimit-Policy: got %s", a.Header.Get("RateLimit-Policy"))
		}
	}
}

func TestBucketsStayBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	bs, now, limit := newBuckets(), time.Now(), Rate{10, time.Hour}
	for i := range 200_000 {
		bs.take(bucketKey{limit: "requests", holder: fmt.Sprintf("2001:db8:%x:%x::/64", i>>16, i&0xffff)}, limit, now)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := bs.len(); got > bucketSets*bucketsInSet {
		t.Errorf("%d buckets, want at most %d", got, bucketSets*bucketsInSet)
	}
	// The process may take five times that, for so far garbage grows.
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("they take %d MiB, want at most 8", grown>>20)
	}
	t.Logf("%d buckets take %d KiB", bs.len(), (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
	runtime.KeepAlive(bs)
}

// Whoever can make up keys must not get their own spent budget evicted by them;
// and what they make up has a full one, whatever was in its place before.
func TestSpentBucketOutlivesStrangers(t *testing.T) {
	bs, now, limit := newBuckets(), time.Now(), Rate{10, time.Hour}
	spend := func(name string, i, times int) (taken int) {
		for range times {
			if ok, _ := bs.take(bucketKey{limit: "requests", holder: fmt.Sprint(name, i)}, limit, now); ok {
				taken++
			}
		}
		return taken
	}
	for i := range 100 {
		spend("spent ", i, 10)
	}
	for i := range 200_000 {
		if got := spend("made up ", i, 1+i%3); got != 1+i%3 {
			t.Fatalf("a new budget has %d, want 10", got)
		}
	}
	kept := 0
	for i := range 100 {
		if spend("spent ", i, 1) == 0 {
			kept++
		}
	}
	if kept != 100 {
		t.Errorf("%d of 100 spent budgets are remembered", kept)
	}
	if got := spend("another ", 0, 20); got != 10 {
		t.Errorf("a new budget has %d, want 10", got)
	}
}

func TestEmptyKeyIsABudgetToo(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Mail = Rate{1, time.Hour} })
	x := &exchange{live: g.live.Load()}
	if err := g.allow(x, limitMail, ""); err != nil {
		t.Fatal(err)
	}
	if err := g.allow(x, limitMail, ""); err == nil || codeOf(err) != "RATE_LIMITED" {
		t.Errorf("got %v, want RATE_LIMITED", err)
	}
}
