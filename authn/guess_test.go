package authn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// TestLockoutSpellings is the lockout key row through the door: every spelling
// and the email share one budget.
func TestLockoutSpellings(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	for _, login := range []string{"ada", "ADA@example.com", " ada ", "ａｄａ", "ada@EXAMPLE.com\n"} {
		if err := f.login(login, "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) {
			t.Fatalf("%q: %v", login, err)
		}
	}
	for _, login := range []string{"ada", "ada@example.com", "\tADA"} {
		before := f.hashes()
		if err := f.login(login, password); !errors.Is(err, authn.ErrTooManyAttempts) || f.hashes() != before {
			t.Errorf("the right password for %q after five failures: %v with %d hashes, want ErrTooManyAttempts with none",
				login, err, f.hashes()-before)
		}
	}
	f.advance(3 * time.Minute)
	if err := f.login("ada", password); err != nil {
		t.Errorf("the right password when one attempt has drained: %v", err)
	}
	if err := f.login("ada", "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Errorf("a success did not clear the count: %v", err)
	}
	if got := f.count(authn.MetricSignIns, "locked"); got != 3 {
		t.Errorf("%v sign-ins counted as locked, want 3", got)
	}
}

func TestLockIsLoggedOnce(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	for range 50 {
		_ = f.login("ada", "nonsense")
	}
	got := f.events(t, u.ID)
	want := []string{"sign_in.locked", "sign_in.failed password", "sign_in.failed password", "sign_in.failed password",
		"sign_in.failed password", "sign_in.failed password", "user.created"}
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// TestStrangersCannotLockTheOwnerOut is the lockout DoS row.
func TestStrangersCannotLockTheOwnerOut(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	const home = "198.51.100.1"
	if err := f.loginFrom(home, "ada", password); err != nil {
		t.Fatal(err)
	}
	before := f.hashes()
	for n := range 200 {
		_ = f.loginFrom(fmt.Sprintf("203.0.113.%d", n), "ada", "nonsense")
	}
	if got := f.hashes() - before; got != 50 {
		t.Errorf("%d guesses hashed from 200 networks, want the ceiling, 50", got)
	}
	if err := f.loginFrom("203.0.113.250", "ada", password); !errors.Is(err, authn.ErrTooManyAttempts) {
		t.Errorf("a new network past the ceiling: %v, want ErrTooManyAttempts", err)
	}
	if err := f.loginFrom(home, "ada", password); err != nil {
		t.Errorf("the owner at home: %v", err)
	}
	for range 300 {
		_ = f.loginFrom("203.0.113.9", "nobody", "nonsense")
	}
	f.newUser(t, "bob")
	if err := f.loginFrom("203.0.113.9", "bob", password); err != nil {
		t.Errorf("someone else, after 300 unknown names: %v", err)
	}
}

// TestParallelGuesses is the atomicity row: 200 guesses at once, no more
// hashes than the limit.
func TestParallelGuesses(t *testing.T) {
	for _, login := range []string{"ada", "nobody"} {
		f := newService(t, nil)
		f.newUser(t, "ada")
		before := f.hashes()
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				err := f.login(login, "nonsense")
				if !errors.Is(err, authn.ErrInvalidCredentials) && !errors.Is(err, authn.ErrTooManyAttempts) {
					t.Errorf("guess: %v", err)
				}
			})
		}
		all.Wait()
		if got := f.hashes() - before; got != 5 {
			t.Errorf("%s: %d guesses hashed, want 5", login, got)
		}
	}
}

// TestRestartKeepsTheCounters: failures, and their end, outlive the process.
func TestRestartKeepsTheCounters(t *testing.T) {
	st := newStore(t)
	f := newServiceOn(t, st, nil)
	f.newUser(t, "ada")
	f.newUser(t, "bob")
	for range 5 {
		_ = f.login("ada", "nonsense")
		_ = f.login("nobody", "nonsense")
		_ = f.login("bob", "nonsense")
	}
	f.advance(3 * time.Minute)
	if err := f.login("bob", password); err != nil {
		t.Fatal(err)
	}
	f.Close()
	g := newServiceOn(t, st, nil)
	for login, want := range map[string]error{
		"ada": authn.ErrTooManyAttempts, "nobody": authn.ErrTooManyAttempts, "bob": nil,
	} {
		if err := g.login(login, password); !errors.Is(err, want) {
			t.Errorf("%s after a restart: %v, want %v", login, err, want)
		}
	}
	g.set(start.Add(time.Hour))
	if err := g.login("ada", password); err != nil {
		t.Errorf("ada once the window has passed: %v", err)
	}
}

// TestTheRightPasswordForgetsTheWrongOnes: a person who mistypes now and then is
// not locked out for it, however often they get it right in between.
func TestTheRightPasswordForgetsTheWrongOnes(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	for range 3 {
		for range f.Config.Accounts.Lockout.Failures - 1 {
			if err := f.login("ada", "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) {
				t.Fatalf("a wrong password: %v, want ErrInvalidCredentials", err)
			}
		}
		if err := f.login("ada", password); err != nil {
			t.Fatalf("the right password: %v", err)
		}
	}
}

// TestTheRightPasswordOfADisabledAccountIsNoFailure, however often it is given.
func TestTheRightPasswordOfADisabledAccountIsNoFailure(t *testing.T) {
	f := newService(t, nil)
	f.put(t, f.newUser(t, "ada"), func(u *authn.User) { u.Active = false })
	for range 2 * f.Config.Accounts.Lockout.Failures {
		if err := f.login("ada", password); !errors.Is(err, authn.ErrAccountDisabled) {
			t.Fatalf("got %v, want ErrAccountDisabled", err)
		}
	}
}

// TestAClockSetBackLocksNobodyOut: a failure of hours from now is one failure.
func TestAClockSetBackLocksNobodyOut(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	_ = f.login("ada", "nonsense")
	f.advance(-5 * time.Hour)
	if err := f.login("ada", password); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestTheOwnersSignInForgetsNoStrangers: the failures of other networks are not
// theirs, and who made them gets no more of them for it.
func TestTheOwnersSignInForgetsNoStrangers(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Accounts.Lockout.Ceiling = 10 })
	f.newUser(t, "ada")
	for n := range 9 {
		if err := f.loginFrom(fmt.Sprintf("198.51.100.%d", n), "ada", "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) {
			t.Fatalf("guess %d: %v, want ErrInvalidCredentials", n, err)
		}
	}
	if err := f.loginFrom("192.0.2.1", "ada", password); err != nil {
		t.Fatalf("the owner: %v", err)
	}
	if err := f.loginFrom("198.51.100.9", "ada", "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Fatalf("the tenth guess: %v, want ErrInvalidCredentials", err)
	}
	if err := f.loginFrom("198.51.100.10", "ada", "nonsense"); !errors.Is(err, authn.ErrTooManyAttempts) {
		t.Errorf("the eleventh guess: %v, want ErrTooManyAttempts", err)
	}
}

// TestALockThatWasLiftedStaysLifted: also in the store.
func TestALockThatWasLiftedStaysLifted(t *testing.T) {
	for name, lift := range map[string]func(m mailing, t *testing.T, u authn.User) error{
		"unlocked": func(m mailing, _ *testing.T, u authn.User) error { return m.Unlock(ctx, u.ID, cli) },
		"a password set by an admin": func(m mailing, _ *testing.T, u authn.User) error {
			return second(m.SetPassword(ctx, u.ID, password, cli))
		},
		"a password set by mail": func(m mailing, t *testing.T, u authn.User) error {
			if err := m.ForgotPassword(ctx, u.Email, here); err != nil {
				return err
			}
			return m.ResetPassword(ctx, m.newest(t, "reset_password", u.Email), password, here)
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStore(t)
			m := newMailingOn(t, st, nil)
			u := m.newUser(t, "ada")
			for range m.Config.Accounts.Lockout.Failures {
				_ = m.login("ada", "nonsense")
			}
			if err := m.login("ada", password); !errors.Is(err, authn.ErrTooManyAttempts) {
				t.Fatalf("before: %v, want ErrTooManyAttempts", err)
			}
			if err := lift(m, t, u); err != nil {
				t.Fatal(err)
			}
			m.Close()
			if err := newServiceOn(t, st, nil).login("ada", password); err != nil {
				t.Errorf("after a restart: %v", err)
			}
		})
	}
}

// TestFullQueue: past three seconds of expected waiting the answer is
// immediate, and costs nobody an attempt.
func TestFullQueue(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	release := f.HoldHashing(1000 * time.Hour)
	for range 20 {
		var retry *authn.RetryError
		err := f.login("ada", "nonsense")
		if !errors.Is(err, authn.ErrOverloaded) || !errors.As(err, &retry) || retry.After < time.Second {
			t.Fatalf("login with a full queue: %v, want ErrOverloaded in a RetryError", err)
		}
		_, err = f.Register(ctx, authn.Registration{Username: "eve", Password: password}, client("192.0.2.1"))
		if !errors.Is(err, authn.ErrOverloaded) {
			t.Fatalf("register with a full queue: %v, want ErrOverloaded", err)
		}
	}
	release()
	if err := f.login("ada", password); err != nil {
		t.Errorf("login after the storm: %v", err)
	}
	if got := f.count(authn.MetricSignIns, "overloaded"); got != 20 {
		t.Errorf("%v sign-ins counted as overloaded, want 20", got)
	}
}

func TestLeavingTheQueueCostsNoAttempt(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	release := f.HoldHashing(0)
	for range 10 {
		gone, leave := context.WithCancel(ctx)
		left := make(chan error)
		go func() {
			_, err := f.Login(gone, authn.LoginAttempt{Login: "ada", Password: "nonsense"}, client("192.0.2.1"))
			left <- err
		}()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatalf("login of someone who left: %v, want context.Canceled", err)
		}
	}
	release()
	if err := f.login("ada", password); err != nil {
		t.Errorf("login after ten left: %v", err)
	}
}

// TestHangingUpCounts: a guess whose hash has begun is counted and logged,
// though nobody waits for the answer.
func TestHangingUpCounts(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	for range 5 {
		gone, leave := context.WithCancel(ctx)
		f.onHash(leave)
		_, err := f.Login(gone, authn.LoginAttempt{Login: "ada", Password: "nonsense"}, client("192.0.2.1"))
		if !errors.Is(err, authn.ErrInvalidCredentials) {
			t.Fatalf("login: %v", err)
		}
	}
	f.onHash(nil)
	if err := f.login("ada", password); !errors.Is(err, authn.ErrTooManyAttempts) {
		t.Errorf("after five guesses that hung up: %v, want ErrTooManyAttempts", err)
	}
	if got := strings.Count(strings.Join(f.events(t, u.ID), " "), "sign_in.failed"); got != 5 {
		t.Errorf("%d failures logged, want 5", got)
	}
}
