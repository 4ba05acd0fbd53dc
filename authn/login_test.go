package authn_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// login tries to sign in from 192.0.2.1.
func (f *fixture) login(login string, p authn.Secret) error {
	return f.loginFrom("192.0.2.1", login, p)
}

func (f *fixture) loginFrom(ip, login string, p authn.Secret) error {
	_, err := f.Login(ctx, authn.LoginAttempt{Login: login, Password: p}, client(ip))
	return err
}

// traces is what the store holds: kinds of events and a number of counters.
func (f *fixture) traces(t testing.TB) string {
	t.Helper()
	list, err := f.Events(ctx, authn.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range list {
		kinds[string(e.Kind)+fmt.Sprint(e.Detail)]++
	}
	counters := 0
	err = f.Store.View(ctx, func(tx authn.Tx) error {
		return tx.Counters("", func(authn.Counter) bool { counters++; return true })
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(kinds, counters)
}

// TestNobodyIsToldApart is the enumeration row: every account that cannot be
// signed in to gives the same answers, does the same work and leaves the same
// traces, through to the lockout and past it.
func TestNobodyIsToldApart(t *testing.T) {
	type outcome struct{ answers, traces string }
	cases := map[string]func(f *fixture, t *testing.T) string{ // returns the login
		"wrong password": func(f *fixture, t *testing.T) string { f.newUser(t, "ada"); return "ada" },
		"by email":       func(f *fixture, t *testing.T) string { f.newUser(t, "ada"); return "ada@example.com" },
		"unknown":        func(f *fixture, t *testing.T) string { f.newUser(t, "ada"); return "eve" },
		"unknown email":  func(f *fixture, t *testing.T) string { f.newUser(t, "ada"); return "eve@example.com" },
		"nobody's form":  func(f *fixture, t *testing.T) string { f.newUser(t, "ada"); return "ada\x00" },
		"disabled": func(f *fixture, t *testing.T) string {
			f.put(t, f.newUser(t, "ada"), func(u *authn.User) { u.Active = false })
			return "ada"
		},
		"without a password": func(f *fixture, t *testing.T) string {
			f.put(t, f.newUser(t, "ada"), func(u *authn.User) { u.PasswordHash = "" })
			return "ada"
		},
		"unverified": func(f *fixture, t *testing.T) string {
			f.put(t, f.newUser(t, "ada"), func(u *authn.User) { u.EmailVerified = false })
			return "ada"
		},
	}
	outcomes := map[string]outcome{}
	for name, prepare := range cases {
		f := newService(t, func(d *authn.Deps) { d.Config.Accounts.EmailVerification = "required" })
		login := prepare(f, t)
		var answers []string
		for range 8 {
			before := f.hashes()
			err := f.login(login, "nonsense")
			answers = append(answers, fmt.Sprintf("%v, %d hashes", err, f.hashes()-before))
			f.advance(time.Second)
		}
		outcomes[name] = outcome{strings.Join(answers, "\n"), f.traces(t)}
	}
	want := outcomes["unknown"]
	if strings.Count(want.answers, "1 hashes") != 5 || strings.Count(want.answers, "too many") != 3 {
		t.Fatalf("an unknown name got\n%s\nwant five failures and three refusals", want.answers)
	}
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		if got := outcomes[name]; got != want {
			t.Errorf("%s can be told from an unknown name:\n%s\n%s\nwant\n%s\n%s", name, got.answers, got.traces, want.answers, want.traces)
		}
	}
}

// put changes a record behind the service's back.
func (f *fixture) put(t testing.TB, u authn.User, change func(*authn.User)) {
	t.Helper()
	err := f.Store.Update(ctx, func(tx authn.Tx) error {
		u, err := tx.User(u.ID)
		if err != nil {
			return err
		}
		change(&u)
		return tx.PutUser(u)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOnlyTheRightPasswordLearnsWhy: see also TestNobodyIsToldApart.
func TestOnlyTheRightPasswordLearnsWhy(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Accounts.EmailVerification = "required" })
	u := f.newUser(t, "ada")
	for _, c := range []struct {
		name   string
		change func(*authn.User)
		want   error
		event  string
		label  string
	}{
		{"unverified", func(u *authn.User) { u.EmailVerified = false }, authn.ErrEmailNotVerified, "sign_in.failed unverified", "unverified"},
		{"disabled and unverified", func(u *authn.User) { u.Active = false }, authn.ErrAccountDisabled, "sign_in.failed disabled", "disabled"},
		{"no address to verify", func(u *authn.User) { u.Active, u.Email = true, "" }, nil, "sign_in.succeeded", "succeeded"},
	} {
		f.put(t, u, c.change)
		if err := f.login("ada", password); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if got := f.events(t, u.ID); got[0] != c.event {
			t.Errorf("%s: events %v, want %s first", c.name, got, c.event)
		}
		if got := f.count(authn.MetricSignIns, c.label); got != 1 {
			t.Errorf("%s: %v sign-ins counted as %s, want 1", c.name, got, c.label)
		}
	}
}

func TestLoginInput(t *testing.T) {
	f := newService(t, nil)
	for _, c := range []struct {
		name string
		l    authn.LoginAttempt
		want string
	}{
		{"nothing", authn.LoginAttempt{}, "login required, password required"},
		{"a megabyte each", authn.LoginAttempt{Login: strings.Repeat("x", 1<<20), Password: authn.Secret(strings.Repeat("x", 1<<20))}, "login too_long, password too_long"},
		{"unknown mode", authn.LoginAttempt{Login: "ada", Password: "x", Mode: "magic"}, "mode format"},
	} {
		before := f.hashes()
		_, err := f.Login(ctx, c.l, client("192.0.2.1"))
		if codes(err) != c.want || f.hashes() != before {
			t.Errorf("%s: %v and %d hashes, want %s and none", c.name, err, f.hashes()-before, c.want)
		}
	}
}

func TestLoginRemembers(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	f.advance(time.Hour)
	if err := f.loginFrom("2001:db8::1", "ADA@example.com", password); err != nil {
		t.Fatal(err)
	}
	got := f.record(t, u.ID)
	if !got.LastLoginAt.Equal(f.at()) || len(got.Networks) != 1 || got.Networks[0].Network != "2001:db8::/64" || !got.UpdatedAt.Equal(u.UpdatedAt) {
		t.Errorf("after a sign-in: last %v, networks %v, updated %v", got.LastLoginAt, got.Networks, got.UpdatedAt)
	}
	list, err := f.Events(ctx, authn.EventQuery{User: u.ID, Kind: authn.SignInSucceeded, Limit: 1})
	if err != nil || len(list) != 1 {
		t.Fatalf("events %v, %v", list, err)
	}
	e := list[0]
	if e.Actor != u.ID || e.ClientIP != "2001:db8::1" || e.RequestID != "r1" || e.Session == "" || !e.Time.Equal(f.at()) {
		t.Errorf("event %+v", e)
	}
}

// TestChangedWhileHashing: what was checked is looked at again in the
// transaction that acts on it.
func TestChangedWhileHashing(t *testing.T) {
	other := newService(t, nil)
	foreign := other.record(t, other.newUser(t, "other").ID).PasswordHash // of the same password, another salt
	bad := other.newUserWith(t, "bad", "another walk off a longer pier").PasswordHash
	for _, c := range []struct {
		name   string
		change func(*authn.User)
		want   error
	}{
		{"password changed", func(u *authn.User) { u.PasswordHash = bad }, authn.ErrInvalidCredentials},
		{"hash renewed", func(u *authn.User) { u.PasswordHash = foreign }, nil},
		{"disabled", func(u *authn.User) { u.Active = false }, authn.ErrAccountDisabled},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newService(t, nil)
			u := f.newUser(t, "ada")
			f.onHash(sync.OnceFunc(func() { f.put(t, u, c.change) }))
			if err := f.login("ada", password); !errors.Is(err, c.want) {
				t.Errorf("login: %v, want %v", err, c.want)
			}
			if got, want := f.live(t, u.ID), map[bool]int{true: 1}[c.want == nil]; got != want {
				t.Errorf("%d sessions, want %d", got, want)
			}
		})
	}
	t.Run("name becomes somebody's username", func(t *testing.T) {
		f := newService(t, nil)
		bob := f.newUser(t, "bob")
		f.onHash(sync.OnceFunc(func() { f.put(t, bob, func(u *authn.User) { u.Username = "grace" }) }))
		_, err := f.Register(ctx, authn.Registration{Username: "eve", Name: "Grace", Password: password}, here)
		if codes(err) != "name taken" {
			t.Errorf("Register: %v, want the name taken", err)
		}
	})
	t.Run("change of password overtaken", func(t *testing.T) {
		f := newService(t, nil)
		u := f.newUser(t, "ada")
		id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
		f.onHash(sync.OnceFunc(func() { f.put(t, u, func(u *authn.User) { u.PasswordHash = bad }) }))
		err := f.ChangePassword(ctx, id, password, "a third walk off another pier", client("192.0.2.1"))
		if codes(err) != "current_password incorrect" || f.record(t, u.ID).PasswordHash != bad {
			t.Errorf("ChangePassword: %v; it must not undo the change that overtook it", err)
		}
	})
}

// TestANetworkHasOneSpelling: limits and locks count by it.
func TestANetworkHasOneSpelling(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "::ffff:192.0.2.2": "192.0.2.2", "::ffff:192.0.2.1%eth0": "192.0.2.1",
		"2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1%eth0": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64",
	} {
		if got := (authn.Client{IP: netip.MustParseAddr(ip)}).Network(); got != want {
			t.Errorf("%s: got %s, want %s", ip, got, want)
		}
	}
	if got := (authn.Client{RequestID: "x"}).Network(); got != "unknown" {
		t.Errorf("no address: got %s, want unknown", got)
	}
}

// TestRehash: an old cost and a missing pepper are mended at the next sign-in,
// also by several at once.
func TestRehash(t *testing.T) {
	st := newStore(t)
	old := newServiceOn(t, st, nil)
	u := old.newUser(t, "ada")
	old.Close()
	f := newServiceOn(t, st, func(d *authn.Deps) {
		d.Config.Accounts.Password.BcryptCost, d.Config.Accounts.Password.Pepper = 5, "pepper of some length"
	})
	if err := f.login("ada", "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) || f.record(t, u.ID).PasswordHash != u.PasswordHash {
		t.Fatalf("a wrong password: %v; it must not change the hash", err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := f.login("ada", password); err != nil {
				t.Errorf("login: %v", err)
			}
		})
	}
	all.Wait()
	renewed := f.record(t, u.ID).PasswordHash
	if !strings.Contains(renewed, "$2a$05$") || renewed[:16] == u.PasswordHash[:16] {
		t.Errorf("hash after sign-in %.24q, before %.24q; want the new cost and key", renewed, u.PasswordHash)
	}
	if err := f.login("ada", password); err != nil || f.record(t, u.ID).PasswordHash != renewed {
		t.Errorf("login again: %v; a hash by today's rules must stay", err)
	}
}

func TestParallelSignInsDoNotMix(t *testing.T) {
	f := newService(t, nil)
	names := []string{"ada", "bob", "cyd", "dee"}
	for _, n := range names {
		f.newUser(t, n)
	}
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			login := names[n%len(names)]
			in, err := f.Login(ctx, authn.LoginAttempt{Login: login, Password: password}, client("192.0.2.1"))
			if err != nil || in.User.Username != login || in.Session.User != in.User.ID {
				t.Errorf("login of %s: %q, %v", login, in.User.Username, err)
			}
		})
	}
	all.Wait()
}

// brokenStore is a real store whose disk can fail.
type brokenStore struct {
	authn.Store
	reads, writes atomic.Bool // fail
}

var errDisk = errors.New("no space left on device")

func (b *brokenStore) View(ctx context.Context, fn func(authn.Tx) error) error {
	if b.reads.Load() {
		return errDisk
	}
	return b.Store.View(ctx, fn)
}

func (b *brokenStore) Update(ctx context.Context, fn func(authn.Tx) error) error {
	if b.writes.Load() {
		return errDisk
	}
	return b.Store.Update(ctx, fn)
}

// TestBrokenStoreRefuses: whatever fails, nobody gets in, and no guess goes
// uncounted because it could not be written down.
func TestBrokenStoreRefuses(t *testing.T) {
	st := &brokenStore{Store: newStore(t)}
	f := newServiceOn(t, st, nil)
	u := f.newUser(t, "ada")
	st.reads.Store(true)
	before := f.hashes()
	if err := f.login("ada", password); !errors.Is(err, errDisk) || f.hashes() != before {
		t.Errorf("login without reads: %v and %d hashes, want the error and none", err, f.hashes()-before)
	}
	st.reads.Store(false)
	st.writes.Store(true)
	for range 10 { // more than the lockout allows failures
		if err := f.login("ada", password); !errors.Is(err, errDisk) {
			t.Fatalf("login without writes: %v, want the error", err)
		}
	}
	if _, err := f.Register(ctx, authn.Registration{Username: "eve", Password: password}, client("192.0.2.1")); !errors.Is(err, errDisk) {
		t.Errorf("register without writes: %v, want the error", err)
	}
	for range 5 {
		if err := f.login("ada", "nonsense"); !errors.Is(err, errDisk) {
			t.Errorf("wrong password without writes: %v, want the error", err)
		}
	}
	if err := f.login("ada", password); !errors.Is(err, authn.ErrTooManyAttempts) {
		t.Errorf("after five guesses without writes: %v, want ErrTooManyAttempts", err)
	}
	st.writes.Store(false)
	f.advance(3 * time.Minute)
	if err := f.login("ada", password); err != nil {
		t.Errorf("login with the disk back: %v", err)
	}
	if got := f.live(t, u.ID); got != 1 {
		t.Errorf("%d sessions, want 1", got)
	}
}
