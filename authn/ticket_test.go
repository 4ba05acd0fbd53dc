package authn_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

// tickets are ways to come by one ticket each, for ada: what it is for, how it
// is asked for, and how it is used.
var tickets = []struct {
	name string
	kind string // of the mail
	to   string
	ask  func(m mailing, t testing.TB) error
	use  func(m mailing, token authn.Secret) error
}{
	{"reset", "reset_password", adaMail,
		func(m mailing, _ testing.TB) error { return m.ForgotPassword(ctx, adaMail, here) }, useReset},
	{"admin's reset", "reset_password", adaMail,
		func(m mailing, t testing.TB) error { return m.AdminResetPassword(ctx, m.user(t, "ada").ID, cli) }, useReset},
	{"change of email", "verify_change", "ada@new.example",
		func(m mailing, t testing.TB) error {
			id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
			return m.ChangeEmail(ctx, id, password, "ada@new.example", here)
		}, useVerify},
	{"verification", "verify_email", adaMail,
		func(m mailing, t testing.TB) error {
			m.put(t, m.user(t, "ada"), func(u *authn.User) { u.EmailVerified = false })
			return m.ResendVerification(ctx, adaMail, here)
		}, useVerify},
	{"registration", "verify_registration", "eve@example.com",
		func(m mailing, _ testing.TB) error {
			_, err := m.Register(ctx, authn.Registration{Email: "eve@example.com", Username: "eve", Password: password}, here)
			return err
		}, useVerify},
	{"invitation", "invitation", "bob@example.com",
		func(m mailing, _ testing.TB) error {
			_, _, err := m.CreateUser(ctx, authn.NewUser{Email: "bob@example.com"}, cli)
			return err
		}, useReset},
}

func useReset(m mailing, token authn.Secret) error {
	return m.ResetPassword(ctx, token, nextPassword, here)
}
func useVerify(m mailing, token authn.Secret) error {
	return second(m.VerifyEmail(ctx, token, "", here))
}

// newest is the token of the last letter of the kind to the address.
func (m mailing) newest(t testing.TB, kind, to string) authn.Secret {
	t.Helper()
	token := authn.Secret("")
	for _, l := range m.arrived(t) {
		if string(l.Kind) == kind && l.To == to {
			token = l.Token
		}
	}
	if token == "" {
		t.Fatalf("no %s to %s", kind, to)
	}
	return token
}

// TestOneWinner: of 20 who use one ticket at once, one gets what it is for.
func TestOneWinner(t *testing.T) {
	for _, k := range tickets {
		t.Run(k.name, func(t *testing.T) {
			m := newMailing(t, required)
			m.newUser(t, "ada")
			if err := k.ask(m, t); err != nil {
				t.Fatal(err)
			}
			token := m.newest(t, k.kind, k.to)
			var all sync.WaitGroup
			errs := make([]error, 20)
			for n := range errs {
				all.Go(func() { errs[n] = k.use(m, token) })
			}
			all.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, authn.ErrTicketInvalid) {
					t.Errorf("a loser got %v, want ErrTicketInvalid", err)
				}
			}
			if won != 1 {
				t.Errorf("%d of 20 won, want 1", won)
			}
		})
	}
}

// TestTicketsEnd at their time, not a moment before, and the sweep takes them.
func TestTicketsEnd(t *testing.T) {
	for _, k := range tickets {
		t.Run(k.name, func(t *testing.T) {
			for _, late := range []bool{false, true} {
				m := newMailing(t, required)
				m.newUser(t, "ada")
				if err := k.ask(m, t); err != nil {
					t.Fatal(err)
				}
				token := m.newest(t, k.kind, k.to)
				life := 24 * time.Hour
				if k.kind == "reset_password" {
					life = time.Hour
				}
				m.set(start.Add(life - 1))
				var want error
				if late {
					m.advance(1)
					want = authn.ErrTicketInvalid
				}
				if err := k.use(m, token); !errors.Is(err, want) {
					t.Errorf("late %v: %v, want %v", late, err, want)
				}
				if err := m.Sweep(ctx, m.at()); err != nil {
					t.Fatal(err)
				}
				if got := m.ticketsLeft(t); got != 0 {
					t.Errorf("late %v: %d tickets left", late, got)
				}
			}
		})
	}
}

// ticketsLeft counts the tickets of everyone the tests know.
func (m mailing) ticketsLeft(t testing.TB) (n int) {
	t.Helper()
	err := m.Store.View(ctx, func(tx authn.Tx) error {
		page, err := tx.Users(authn.UserQuery{Limit: 100})
		subjects := []string{authn.Ticket{Email: "eve@example.com"}.Subject()}
		for _, u := range page.Users {
			subjects = append(subjects, u.ID)
		}
		for _, s := range subjects {
			held, err := tx.TicketsOf(s)
			if err != nil {
				return err
			}
			n += len(held)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWhatVoidsATicket walks every ticket past everything that can happen.
func TestWhatVoidsATicket(t *testing.T) {
	all := []string{"reset", "admin's reset", "change of email", "verification"}
	password3 := authn.Secret("a third walk off no pier at all")
	for _, c := range []struct {
		name   string
		happen func(m mailing, t *testing.T, u authn.User) error
		voids  []string
	}{
		{"nothing", func(mailing, *testing.T, authn.User) error { return nil }, nil},
		{"a change of password", func(m mailing, t *testing.T, u authn.User) error {
			id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
			return m.ChangePassword(ctx, id, password, password3, here)
		}, []string{"reset", "admin's reset", "change of email"}},
		{"a password set by an admin", func(m mailing, _ *testing.T, u authn.User) error {
			return second(m.SetPassword(ctx, u.ID, password3, cli))
		}, []string{"reset", "admin's reset", "change of email"}},
		{"a newer reset that is used", func(m mailing, t *testing.T, u authn.User) error {
			if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
				return err
			}
			return m.ResetPassword(ctx, m.newest(t, "reset_password", adaMail), password3, here)
		}, all}, // a reset proves the address: there is no need to verify it any more
		{"a newer reset", func(m mailing, t *testing.T, u authn.User) error {
			err := m.ForgotPassword(ctx, adaMail, here)
			m.arrived(t)
			return err
		}, []string{"reset", "admin's reset"}},
		{"being disabled, and enabled again", func(m mailing, _ *testing.T, u authn.User) error {
			_, err := m.UpdateUser(ctx, u.ID, authn.UserChange{Active: ptr(false)}, cli)
			return errors.Join(err, second(m.UpdateUser(ctx, u.ID, authn.UserChange{Active: ptr(true)}, cli)))
		}, all},
		{"another address", func(m mailing, _ *testing.T, u authn.User) error {
			return second(m.UpdateUser(ctx, u.ID, authn.UserChange{Email: ptr("ada@other.example"), EmailVerified: ptr(true)}, cli))
		}, all},
		{"a move to another address", func(m mailing, t *testing.T, u authn.User) error {
			id := m.identify(t, m.signIn(t, "ada", authn.ModeToken))
			if err := m.ChangeEmail(ctx, id, password, "ada@other.example", here); err != nil {
				return err
			}
			return useVerify(m, m.newest(t, "verify_change", "ada@other.example"))
		}, all},
		{"deletion", func(m mailing, _ *testing.T, u authn.User) error { return m.DeleteUser(ctx, u.ID, cli) }, all},
		{"a change of name", func(m mailing, _ *testing.T, u authn.User) error {
			return second(m.UpdateUser(ctx, u.ID, authn.UserChange{Name: ptr("Ada")}, cli))
		}, nil},
	} {
		for _, k := range tickets[:len(all)] {
			t.Run(c.name+" and a "+k.name, func(t *testing.T) {
				m := newMailing(t, nil)
				u := m.newUser(t, "ada")
				if err := k.ask(m, t); err != nil {
					t.Fatal(err)
				}
				token := m.newest(t, k.kind, k.to)
				if err := c.happen(m, t, u); err != nil {
					t.Fatal(err)
				}
				var want error
				for _, void := range c.voids {
					if void == k.name {
						want = authn.ErrTicketInvalid
					}
				}
				if m.rests(t, u.ID, token) != (want == nil) {
					t.Errorf("the ticket rests in the store: %v, want %v", want != nil, want == nil)
				}
				if err := k.use(m, token); !errors.Is(err, want) {
					t.Errorf("the link afterwards: %v, want %v", err, want)
				}
			})
		}
	}
}

// rests reports whether the store still holds the ticket that a token opens.
func (m mailing) rests(t testing.TB, user string, token authn.Secret) (there bool) {
	t.Helper()
	sum := sha256.Sum256([]byte(token.Reveal()))
	err := m.Store.View(ctx, func(tx authn.Tx) error {
		held, err := tx.TicketsOf(user)
		for _, k := range held {
			there = there || slices.ContainsFunc(k.Hashes, func(h []byte) bool { return bytes.Equal(h, sum[:]) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// TestMovingWithoutMailVoidsTickets: links of a time when there was mail went to
// the address the account has left.
func TestMovingWithoutMailVoidsTickets(t *testing.T) {
	st := newStore(t)
	m := newMailingOn(t, st, nil)
	u := m.newUser(t, "ada")
	if err := m.ForgotPassword(ctx, adaMail, here); err != nil {
		t.Fatal(err)
	}
	token := m.newest(t, "reset_password", adaMail)
	m.Close()
	f := newServiceOn(t, st, nil)
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	if err := f.ChangeEmail(ctx, id, password, "ada@other.example", here); err != nil {
		t.Fatal(err)
	}
	if (mailing{fixture: f}).rests(t, u.ID, token) {
		t.Error("the link to a new password, sent to the address before, rests in the store")
	}
}

// TestALateResetEndsOnTime: a link to a new password is good for an hour from
// when it was asked for, however late its mail could be sent.
func TestALateResetEndsOnTime(t *testing.T) {
	m := newMailing(t, nil)
	u := m.newUser(t, "ada")
	m.box.answer(errors.New("try again"))
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	m.arrived(t)
	m.box.answer(nil)
	m.advance(50 * time.Minute)
	token := m.newest(t, "reset_password", adaMail)
	m.set(start.Add(time.Hour))
	if err := useReset(m, token); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("an hour after it was asked for: %v, want ErrTicketInvalid", err)
	}
}

// TestTicketOfAnotherTime: a ticket that was not made void as it should have
// been opens nothing all the same.
func TestTicketOfAnotherTime(t *testing.T) {
	for name, change := range map[string]func(*authn.User){
		"another address": func(u *authn.User) { u.Email = "ada@other.example" },
		"no address":      func(u *authn.User) { u.Email = "" },
		"disabled":        func(u *authn.User) { u.Active = false },
	} {
		for _, k := range tickets[:4] {
			if k.name == "change of email" && name != "disabled" {
				continue
			}
			m := newMailing(t, nil)
			u := m.newUser(t, "ada")
			if err := k.ask(m, t); err != nil {
				t.Fatal(err)
			}
			token := m.newest(t, k.kind, k.to)
			m.put(t, u, change)
			if err := k.use(m, token); !errors.Is(err, authn.ErrTicketInvalid) {
				t.Errorf("%s after %s: %v, want ErrTicketInvalid", k.name, name, err)
			}
		}
	}
}

// TestInvitationAndReset: whichever is used first voids the other.
func TestInvitationAndReset(t *testing.T) {
	m := newMailing(t, nil)
	u, _, err := m.CreateUser(ctx, authn.NewUser{Email: adaMail}, cli)
	if err != nil {
		t.Fatal(err)
	}
	invitation := m.token(t, "invitation", adaMail)
	if err := m.AdminResetPassword(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	if err := m.ResetPassword(ctx, m.token(t, "reset_password", adaMail), nextPassword, here); err != nil {
		t.Fatal(err)
	}
	if err := m.ResetPassword(ctx, invitation, password, here); !errors.Is(err, authn.ErrTicketInvalid) {
		t.Errorf("the invitation after the reset: %v, want ErrTicketInvalid", err)
	}
}

// TestTicketTextVariants: of every token there is one spelling, good for one
// thing.
func TestTicketTextVariants(t *testing.T) {
	m := newMailing(t, required)
	m.newUser(t, "ada")
	in := m.signIn(t, "ada", authn.ModeToken)
	cookie := m.signIn(t, "ada", authn.ModeSessionCookie).Cookie
	tokens := map[string]string{}
	for _, k := range tickets {
		if k.name == "admin's reset" || k.name == "verification" {
			continue
		}
		if err := k.ask(m, t); err != nil {
			t.Fatal(err)
		}
		tokens[k.name] = m.newest(t, k.kind, k.to).Reveal()
	}
	good, other := tokens["reset"], tokens["invitation"]
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil || len(raw) != 48 || len(good) != 64 {
		t.Fatalf("a token of %d characters, %d bytes, %v; want 64, 48", len(good), len(raw), err)
	}
	flip := func(i int) string {
		b := bytes.Clone(raw)
		b[i] ^= 1
		return base64.RawURLEncoding.EncodeToString(b)
	}
	bad := map[string]string{
		"empty": "", "space before": " " + good, "newline behind": good + "\n", "newline inside": good[:20] + "\n" + good[20:],
		"padding": good + "=", "padded": good[:63] + "=", "cut": good[:63], "longer": good + "A", "twice": good + good,
		"standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(good) + "==", "lower": strings.ToLower(good), "upper": strings.ToUpper(good),
		"first byte": flip(0), "last of the id": flip(15), "first of the secret": flip(16), "last byte": flip(47),
		"id alone": good[:22], "secret alone": good[22:], "no secret": base64.RawURLEncoding.EncodeToString(append(bytes.Clone(raw[:16]), make([]byte, 32)...)),
		"secret of another": base64.RawURLEncoding.EncodeToString(append(bytes.Clone(raw[:16]), decoded(t, other)[16:]...)),
		"access token":      in.AccessToken.Reveal(), "refresh token": in.RefreshToken.Reveal(), "cookie": cookie.Reveal(),
		"a megabyte": strings.Repeat("A", 1<<20), "not UTF-8": "\xff\xfe" + good[2:],
		"for an address": tokens["change of email"], "for an account": tokens["registration"],
	}
	before := m.hashes()
	for name, text := range bad {
		if err := m.ResetPassword(ctx, authn.Secret(text), nextPassword, here); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("reset with %s: %v, want ErrTicketInvalid", name, err)
		}
		if name == "for an address" || name == "for an account" {
			continue
		}
		if _, err := m.VerifyEmail(ctx, authn.Secret(text), "", here); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("verify with %s: %v, want ErrTicketInvalid", name, err)
		}
	}
	if got := m.hashes() - before; got != 0 {
		t.Errorf("%d hashes for tokens that are none, want 0", got)
	}
	for _, text := range []string{good, other} {
		if _, err := m.VerifyEmail(ctx, authn.Secret(text), "", here); !errors.Is(err, authn.ErrTicketInvalid) {
			t.Errorf("verify with a ticket for a password: %v, want ErrTicketInvalid", err)
		}
		if err := m.ResetPassword(ctx, authn.Secret(text), nextPassword, here); err != nil {
			t.Errorf("the token itself, after all that: %v", err)
		}
	}
}

func decoded(t testing.TB, token string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNoTicketRestsInClear: whoever copies the database can open nothing.
func TestNoTicketRestsInClear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	st, err := bolt.Open(context.Background(), path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	m := newMailingOn(t, st, required)
	m.newUser(t, "ada")
	var seen []authn.Letter
	m.box.refuse = func(l authn.Letter) error { // so that all of it stays in the store
		seen = append(seen, l)
		return errors.New("not now")
	}
	for _, k := range tickets {
		if err := k.ask(m, t); err != nil {
			t.Fatal(err)
		}
		m.arrived(t)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte("eve@example.com")) {
		t.Fatal("the registration is not in the file: this test looks at nothing")
	}
	carried := 0
	for _, l := range seen {
		if l.Token == "" {
			continue
		}
		carried++
		secret := decoded(t, l.Token.Reveal())[16:]
		for name, text := range map[string][]byte{
			"token": []byte(l.Token), "secret": secret, "secret in base64": []byte(base64.StdEncoding.EncodeToString(secret)),
			"token in base64": []byte(base64.StdEncoding.EncodeToString([]byte(l.Token))),
		} {
			if bytes.Contains(file, text) {
				t.Errorf("the %s of a %s is in the file", name, l.Kind)
			}
		}
	}
	if carried != len(tickets) {
		t.Errorf("%d letters with a token, want %d", carried, len(tickets))
	}
	if bytes.Contains(file, []byte(password)) {
		t.Error("a password is in the file")
	}
}
