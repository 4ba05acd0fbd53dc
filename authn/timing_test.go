//go:build timing

package authn_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// These tests measure time, so they are no part of the ordinary run, where the
// work is counted instead: make timing runs them, on a quiet machine.

// samples is how often each of two calls is timed, taking turns.
const samples = 150

// taken are the times of two calls made in turn, so that whatever else the
// machine does falls on both.
func taken(t testing.TB, known, unknown func(i int)) (a, b []float64) {
	t.Helper()
	for i := range samples {
		first, second := known, unknown
		if i%2 == 1 {
			first, second = unknown, known
		}
		x, y := timed(first, i), timed(second, i)
		if i%2 == 1 {
			x, y = y, x
		}
		a, b = append(a, x), append(b, y)
	}
	return a, b
}

func timed(f func(i int), i int) float64 {
	start := time.Now()
	f(i)
	return time.Since(start).Seconds()
}

// distinguishable judges as an attacker would: by the Mann-Whitney test at 1%,
// and only if the medians differ by what can be seen over a network.
func distinguishable(a, b []float64) (bool, string) {
	p, gap := mannWhitney(a, b), math.Abs(median(a)-median(b))
	return p < 0.01 && gap >= 0.005, fmt.Sprintf("p = %.4f, medians %.2f ms and %.2f ms", p, 1000*median(a), 1000*median(b))
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}

// mannWhitney is the two-sided p of the rank-sum test, by its normal
// approximation, which holds from about twenty samples on.
func mannWhitney(a, b []float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	var ranks float64
	for _, x := range a {
		low, _ := slices.BinarySearch(all, x)
		high, _ := slices.BinarySearch(all, math.Nextafter(x, math.Inf(1)))
		ranks += float64(low+high+1) / 2
	}
	n, m := float64(len(a)), float64(len(b))
	u := ranks - n*(n+1)/2
	z := (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return math.Erfc(math.Abs(z) / math.Sqrt2)
}

// realCost is the configuration of people: hashes that take time, and no
// lockout, which would end the measurement.
func realCost(d *authn.Deps) {
	d.Config.Accounts.Password.BcryptCost = 10
	d.Config.Accounts.Lockout.Failures, d.Config.Accounts.Lockout.Ceiling = 0, 0
}

func signInTimes(t testing.TB, f *fixture) (known, unknown []float64) {
	t.Helper()
	f.newUser(t, "ada")
	try := func(login string) {
		if _, err := f.Login(ctx, authn.LoginAttempt{Login: login, Password: "not the password"}, here); err == nil {
			t.Fatal("a wrong password was taken")
		}
	}
	return taken(t,
		func(int) { try("ada") },
		func(i int) { try(fmt.Sprintf("nobody%d", i)) })
}

func TestTimingOfSignIn(t *testing.T) {
	known, unknown := signInTimes(t, newService(t, realCost))
	told, how := distinguishable(known, unknown)
	t.Log(how)
	if told {
		t.Error("the time of a sign-in tells whether the account exists")
	}
}

// TestTimingNoticesTheMutant shows that the measurement can fail.
func TestTimingNoticesTheMutant(t *testing.T) {
	f := newService(t, realCost)
	f.ForgetDummy()
	known, unknown := signInTimes(t, f)
	told, how := distinguishable(known, unknown)
	t.Log(how)
	if !told {
		t.Error("without the dummy hash nothing was noticed: the measurement is of no use")
	}
}

func TestTimingOfWhatIsMailed(t *testing.T) {
	calls := map[string]func(m mailing, email string, i int) error{
		"forgot": func(m mailing, email string, _ int) error { return m.ForgotPassword(ctx, email, here) },
		"resend": func(m mailing, email string, _ int) error { return m.ResendVerification(ctx, email, here) },
		"register": func(m mailing, email string, i int) error {
			_, err := m.Register(ctx, authn.Registration{Username: fmt.Sprintf("newcomer%d", i), Email: email, Password: password}, here)
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			m := newMailing(t, func(d *authn.Deps) { realCost(d); required(d) })
			m.newUser(t, "ada")
			n := 0
			try := func(email string) {
				n++
				if err := call(m, email, n); err != nil {
					t.Fatal(err)
				}
			}
			known, unknown := taken(t,
				func(int) { try(adaMail) },
				func(i int) { try(fmt.Sprintf("nobody%d@example.com", i)) })
			told, how := distinguishable(known, unknown)
			t.Log(how)
			if told {
				t.Error("the time tells whether the address has an account")
			}
		})
	}
}
