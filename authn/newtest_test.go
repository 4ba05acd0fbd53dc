package authn_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

// start is when every test begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// password is what the people of the tests have.
const password authn.Secret = "a long walk off a short pier"

// fixture is a Service over a real store, with a clock that moves when told.
type fixture struct {
	*authn.Service
	Config authn.Config
	Store  authn.Store
	now    atomic.Pointer[time.Time]

	mu       sync.Mutex
	observed map[string]float64 // "metric label" -> sum
	hashed   int                // turns of the hashing pool
	hook     func()             // called as each turn begins
}

// newService makes a service in a folder of its own. change may alter its
// dependencies first.
func newService(t testing.TB, change func(*authn.Deps)) *fixture {
	t.Helper()
	return newServiceOn(t, newStore(t), change)
}

func newStore(t testing.TB) authn.Store {
	t.Helper()
	st, err := bolt.Open(context.Background(), filepath.Join(t.TempDir(), "test.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// newServiceOn makes a service over a store that is already there.
func newServiceOn(t testing.TB, st authn.Store, change func(*authn.Deps)) *fixture {
	t.Helper()
	f := &fixture{observed: map[string]float64{}}
	f.set(start)
	cfg := authn.Default()
	cfg.Tokens.Issuer = "https://gate.example"
	cfg.Accounts.Registration = "open"
	cfg.Accounts.Password.BcryptCost = 4 // the least there is: tests hash a lot
	d := authn.Deps{
		Config: cfg, Store: st, Now: f.at,
		Log: slog.New(slog.DiscardHandler), Observe: f.observe,
	}
	if change != nil {
		change(&d)
	}
	s, err := authn.New(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	s.BePatient()
	f.Service, f.Config, f.Store = s, d.Config, d.Store
	t.Cleanup(func() { s.Close() })
	return f
}

func (f *fixture) at() time.Time           { return *f.now.Load() }
func (f *fixture) set(now time.Time)       { f.now.Store(&now) }
func (f *fixture) advance(d time.Duration) { f.set(f.at().Add(d)) }

func (f *fixture) observe(m authn.Metric, label string, v float64) {
	f.mu.Lock()
	f.observed[fmt.Sprintf("%s %s", m, label)] += v
	var hook func()
	if m == authn.MetricHashWait {
		f.hashed++
		hook = f.hook
	}
	f.mu.Unlock()
	if hook != nil {
		hook()
	}
}

// hashes is how many turns of the hashing pool there have been.
func (f *fixture) hashes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hashed
}

// onHash has hook called as each turn of the hashing pool begins, after the
// record it is about was read.
func (f *fixture) onHash(hook func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// count is the sum of what was observed.
func (f *fixture) count(m authn.Metric, label string) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.observed[fmt.Sprintf("%s %s", m, label)]
}

// newUser makes an active account with the password of the tests.
func (f *fixture) newUser(t testing.TB, username string, roles ...string) authn.User {
	t.Helper()
	return f.newUserWith(t, username, password, roles...)
}

func (f *fixture) newUserWith(t testing.TB, username string, p authn.Secret, roles ...string) authn.User {
	t.Helper()
	n := authn.NewUser{Username: username, Email: username + "@example.com", Password: p, Roles: roles, EmailVerified: true}
	u, _, err := f.CreateUser(context.Background(), n, authn.Actor{ID: authn.ActorCLI})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// signIn signs the user in.
func (f *fixture) signIn(t testing.TB, username string, m authn.Mode) authn.SignIn {
	t.Helper()
	in, err := f.Login(context.Background(), authn.LoginAttempt{Login: username, Password: password, Mode: m}, client("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// actor is who does what is done with a sign-in.
func (f *fixture) actor(t testing.TB, in authn.SignIn) authn.Actor {
	t.Helper()
	id, err := f.bearer(in.AccessToken.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return authn.Actor{ID: id.User.ID, SignedIn: id, Client: client("192.0.2.9")}
}

// newAdmin makes an admin and signs them in.
func (f *fixture) newAdmin(t testing.TB, username string) authn.Actor {
	t.Helper()
	f.newUser(t, username, "admin")
	return f.actor(t, f.signIn(t, username, authn.ModeToken))
}

// events returns the kinds of the user's events, newest first; "session.ended
// limit" where there is a reason.
func (f *fixture) events(t testing.TB, user string) []string {
	t.Helper()
	list, err := f.Events(context.Background(), authn.EventQuery{User: user, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range list {
		kind := string(e.Kind)
		if why := e.Detail["reason"]; why != "" {
			kind += " " + why
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func client(ip string) authn.Client {
	return authn.Client{IP: netip.MustParseAddr(ip), UserAgent: "test", RequestID: "r1"}
}
