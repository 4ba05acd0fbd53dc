package authn_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var ctx = context.Background()

// codes joins what an InputError says, "field code" each; "" for another error.
func codes(err error) string {
	var e *authn.InputError
	if !errors.As(err, &e) {
		return ""
	}
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Field+" "+f.Code)
	}
	return strings.Join(all, ", ")
}

// record reads a user as the store has it.
func (f *fixture) record(t testing.TB, id string) authn.User {
	t.Helper()
	u, err := f.User(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// identify is who the holder of a sign-in is.
func (f *fixture) identify(t testing.TB, in authn.SignIn) authn.Identity {
	t.Helper()
	id, err := f.Identify(ctx, authn.Credential{Bearer: in.AccessToken})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (f *fixture) live(t testing.TB, user string) int {
	t.Helper()
	list, err := f.Sessions(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestRegister(t *testing.T) {
	f := newService(t, nil)
	in, err := f.Register(ctx, authn.Registration{
		Email: " Ada@Example.com", Username: "Ada", Name: " Ada L. ", Password: password,
	}, client("192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	u := f.record(t, in.User.ID)
	if u.Email != "ada@example.com" || u.Username != "Ada" || u.Name != "Ada L." || !u.Active || u.EmailVerified ||
		!slices.Equal(u.Roles, []string{"user"}) || !u.LastLoginAt.Equal(start) || !u.CreatedAt.Equal(start) {
		t.Errorf("registered %+v", u)
	}
	if strings.Contains(u.PasswordHash, password.Reveal()) || !strings.HasPrefix(u.PasswordHash, "$dw1$k=") {
		t.Errorf("stored hash %q", u.PasswordHash)
	}
	if in.AccessToken == "" || in.RefreshToken == "" || in.Cookie != "" {
		t.Errorf("signed in with access %v, refresh %v, cookie %v; want the first two",
			in.AccessToken != "", in.RefreshToken != "", in.Cookie != "")
	}
	if got, want := f.events(t, u.ID), []string{"sign_in.succeeded", "user.registered"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if id := f.identify(t, in); id.User.ID != u.ID {
		t.Errorf("the token is of %q, want %q", id.User.ID, u.ID)
	}
}

func TestRegisterRefusals(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "taken")
	for _, c := range []struct {
		name string
		r    authn.Registration
		want string
		is   error
	}{
		{"nothing", authn.Registration{}, "email required, password required", nil},
		{"everything wrong at once", authn.Registration{Email: "x", Username: "a b", Name: "\x00", Password: "abc", Mode: "magic"},
			"username format, email format, name format, password too_short, password common, mode format", nil},
		{"reserved", authn.Registration{Username: "ADMIN", Password: password}, "username reserved", nil},
		{"own address", authn.Registration{Email: "countess.of@example.com", Password: "countess.of@example.com"}, "password same_as_identity", nil},
		{"a megabyte", authn.Registration{Username: "ada", Password: authn.Secret(strings.Repeat("x", 1<<20))}, "password too_long", nil},
		{"email taken", authn.Registration{Email: "TAKEN@example.com", Password: password}, "", authn.ErrEmailTaken},
		{"username taken", authn.Registration{Username: "TAKEN", Password: password}, "", authn.ErrUsernameTaken},
	} {
		t.Run(c.name, func(t *testing.T) {
			hashes := f.hashes()
			_, err := f.Register(ctx, c.r, client("192.0.2.7"))
			if err == nil || codes(err) != c.want || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v (%s), want %s %v", err, codes(err), c.want, c.is)
			}
			if got := f.hashes() - hashes; got != 0 { // the answer tells it all: no work hides anything
				t.Errorf("%d hashes, want none", got)
			}
		})
	}
	page, err := f.Users(ctx, authn.UserQuery{})
	if err != nil || len(page.Users) != 1 {
		t.Errorf("%d users after refusals only, %v; want 1", len(page.Users), err)
	}
}

func TestRegistrationClosed(t *testing.T) {
	for name, change := range map[string]func(*authn.AccountConfig){
		"closed":                       func(c *authn.AccountConfig) { c.Registration = "closed" },
		"open, address to prove first": func(c *authn.AccountConfig) { c.EmailVerification = "required" },
	} {
		f := newService(t, func(d *authn.Deps) { change(&d.Config.Accounts) })
		_, err := f.Register(ctx, authn.Registration{Username: "ada", Password: password}, client("192.0.2.7"))
		if !errors.Is(err, authn.ErrRegistrationClosed) {
			t.Errorf("%s: %v, want ErrRegistrationClosed", name, err)
		}
	}
}

// TestRegistrationRace: 50 registrations of one address make one account.
func TestRegistrationRace(t *testing.T) {
	f := newService(t, nil)
	spellings := []string{"ada@example.com", "ADA@example.com", " ada@EXAMPLE.com"}
	var mu sync.Mutex
	made, taken := 0, 0
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			r := authn.Registration{Email: spellings[n%3], Username: fmt.Sprint("ada", n), Password: password}
			_, err := f.Register(ctx, r, client("192.0.2.7"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case errors.Is(err, authn.ErrEmailTaken):
				taken++
			default:
				t.Errorf("register: %v", err)
			}
		})
	}
	all.Wait()
	page, err := f.Users(ctx, authn.UserQuery{Limit: 100})
	if err != nil || made != 1 || taken != 49 || len(page.Users) != 1 {
		t.Errorf("%d made, %d refused, %d accounts, %v; want 1, 49, 1", made, taken, len(page.Users), err)
	}
	if got := f.live(t, page.Users[0].ID); got != 1 {
		t.Errorf("%d sessions, want 1", got)
	}
}

func TestUserByLogin(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "Ada")
	for typed, want := range map[string]error{
		"ada": nil, " ADA ": nil, "ａｄａ": nil, "Ada@Example.com": nil, u.ID: authn.ErrNotFound,
		"": authn.ErrNotFound, "ada\x00": authn.ErrNotFound, "eve": authn.ErrNotFound, strings.Repeat("a", 1<<20): authn.ErrNotFound,
	} {
		got, err := f.UserByLogin(ctx, typed)
		if !errors.Is(err, want) || err == nil && got.ID != u.ID {
			t.Errorf("UserByLogin(%.20q) = %q, %v; want %v", typed, got.ID, err, want)
		}
	}
}

func TestSetName(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	f.advance(time.Minute)
	got, err := f.SetName(ctx, id, " Ada ", client("192.0.2.1"))
	if err != nil || got.Name != "Ada" || !got.UpdatedAt.Equal(f.at()) || f.record(t, u.ID).Name != "Ada" {
		t.Errorf("SetName: %+v, %v", got, err)
	}
	if events := f.events(t, u.ID); events[0] != "user.updated" {
		t.Errorf("events %v, want user.updated first", events)
	}
	for name, want := range map[string]string{"": "name too_short", strings.Repeat("x", 101): "name too_long", "a\nb": "name format"} {
		if _, err := f.SetName(ctx, id, name, client("192.0.2.1")); codes(err) != want {
			t.Errorf("SetName(%.10q): %v, want %s", name, err, want)
		}
	}
	if err := f.LogoutAll(ctx, id, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetName(ctx, id, "Eve", client("192.0.2.1")); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("SetName after the session ended: %v, want ErrTokenRevoked", err)
	}
	id.Cookie = true
	if _, err := f.SetName(ctx, id, "Eve", client("192.0.2.1")); !errors.Is(err, authn.ErrNotSignedIn) {
		t.Errorf("SetName with a cookie of a session ended: %v, want ErrNotSignedIn", err)
	}
}

func TestChangePassword(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	f.signIn(t, "ada", authn.ModeSessionCookie)
	const next authn.Secret = "another walk off a longer pier"
	for _, c := range []struct{ name, current, next, want string }{
		{"wrong", "nonsense", next.Reveal(), "current_password incorrect"},
		{"weak", password.Reveal(), "abc", "new_password too_short, new_password common"},
		{"the current one again", password.Reveal(), password.Reveal(), "new_password duplicate"},
		{"the same wrong one twice", "a walk off no pier at all", "a walk off no pier at all", "new_password duplicate, current_password incorrect"},
		{"the same, spelt otherwise", "a walk off the pie\u0301r", "a walk off the pi\u00e9r", "new_password duplicate, current_password incorrect"},
		{"wrong and weak", "nonsense", "password", "new_password common, current_password incorrect"},
		{"nothing", "", "", "current_password required, new_password required"},
		{"a megabyte", strings.Repeat("x", 1<<20), next.Reveal(), "current_password too_long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := f.ChangePassword(ctx, id, authn.Secret(c.current), authn.Secret(c.next), client("192.0.2.1"))
			if codes(err) != c.want {
				t.Errorf("got %v (%s), want %s", err, codes(err), c.want)
			}
			if got := f.live(t, u.ID); got != 2 {
				t.Errorf("%d sessions, want 2", got)
			}
		})
	}
	if err := f.ChangePassword(ctx, id, password, next, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if got := f.live(t, u.ID); got != 0 {
		t.Errorf("%d sessions after the change, want 0", got)
	}
	want := []string{"session.ended password", "session.ended password", "user.password_changed"}
	if got := f.events(t, u.ID)[:3]; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	for p, want := range map[authn.Secret]error{password: authn.ErrInvalidCredentials, next: nil} {
		if _, err := f.Login(ctx, authn.LoginAttempt{Login: "ada", Password: p}, client("192.0.2.1")); !errors.Is(err, want) {
			t.Errorf("login with %q: %v, want %v", p.Reveal(), err, want)
		}
	}
}

func TestWrongCurrentPasswordCounts(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	for range 5 {
		if err := f.DeleteAccount(ctx, id, "nonsense", client("192.0.2.1")); codes(err) != "current_password incorrect" {
			t.Fatalf("wrong password: %v", err)
		}
	}
	for name, err := range map[string]error{
		"delete": f.DeleteAccount(ctx, id, password, client("192.0.2.1")),
		"change": f.ChangePassword(ctx, id, password, "another walk off a longer pier", client("192.0.2.1")),
		"login":  second(f.Login(ctx, authn.LoginAttempt{Login: "ada", Password: password}, client("192.0.2.1"))),
	} {
		if !errors.Is(err, authn.ErrTooManyAttempts) {
			t.Errorf("%s after five wrong ones: %v, want ErrTooManyAttempts", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestDeleteAccount(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	in := f.signIn(t, "ada", authn.ModeToken)
	if err := f.DeleteAccount(ctx, f.identify(t, in), password, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.User(ctx, u.ID); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("the account is still there: %v", err)
	}
	if _, err := f.Identify(ctx, authn.Credential{Bearer: in.AccessToken}); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("its token: %v, want ErrTokenRevoked", err)
	}
	_, err := f.Register(ctx, authn.Registration{Username: "ADA", Password: password}, client("192.0.2.1"))
	if !errors.Is(err, authn.ErrUsernameTaken) {
		t.Errorf("its username for someone else: %v, want ErrUsernameTaken", err)
	}
	if got, want := f.events(t, u.ID)[:2], []string{"user.deleted", "session.ended deleted"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestLastAdminCannotLeave(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "admin")
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	if err := f.DeleteAccount(ctx, id, password, client("192.0.2.1")); !errors.Is(err, authn.ErrLastAdmin) {
		t.Fatalf("the last admin leaves: %v, want ErrLastAdmin", err)
	}
	if got := f.live(t, id.User.ID); got != 1 {
		t.Errorf("%d sessions after a refusal, want 1", got)
	}
}

// TestWhoActsIsStillSignedIn: what a person asks for after they were identified
// is done only if they still are who they were then.
func TestWhoActsIsStillSignedIn(t *testing.T) {
	acts := map[string]func(f *fixture, id authn.Identity) error{
		"name": func(f *fixture, id authn.Identity) error { return second(f.SetName(ctx, id, "Ada L.", here)) },
		"password": func(f *fixture, id authn.Identity) error {
			return f.ChangePassword(ctx, id, password, "a third walk off another pier", here)
		},
		"email": func(f *fixture, id authn.Identity) error {
			return f.ChangeEmail(ctx, id, password, "ada@other.example", here)
		},
		"deletion": func(f *fixture, id authn.Identity) error { return f.DeleteAccount(ctx, id, password, here) },
	}
	for what, act := range acts {
		for over, mode := range map[error]authn.Mode{authn.ErrTokenRevoked: authn.ModeToken, authn.ErrNotSignedIn: authn.ModeSessionCookie} {
			for why, happen := range map[string]func(t *testing.T, f *fixture, id *authn.Identity){
				"signed out": func(_ *testing.T, f *fixture, id *authn.Identity) { f.LogoutAll(ctx, *id, here) },
				"idled out":  func(_ *testing.T, f *fixture, _ *authn.Identity) { f.advance(f.Config.Sessions.Idle) },
				"disabled": func(t *testing.T, f *fixture, id *authn.Identity) {
					f.put(t, *id.User, func(u *authn.User) { u.Active = false })
				},
				"another's": func(t *testing.T, f *fixture, id *authn.Identity) { bob := f.newUser(t, "bob"); id.User = &bob },
			} {
				t.Run(what+" "+why+" "+string(mode), func(t *testing.T) {
					f := newService(t, nil)
					u := f.newUser(t, "ada")
					in := f.signIn(t, "ada", mode)
					id := authn.Identity{User: &u, Session: in.Session.ID, Mode: mode, Cookie: mode == authn.ModeSessionCookie}
					happen(t, f, &id)
					before := f.record(t, id.User.ID)
					if err := act(f, id); !errors.Is(err, over) {
						t.Errorf("got %v, want %v", err, over)
					}
					if got := f.record(t, id.User.ID); !reflect.DeepEqual(got, before) {
						t.Errorf("the record is %+v, was %+v", got, before)
					}
				})
			}
		}
	}
}

// TestWhoIsSignedOutWhileHashingChangesNothing: the password was right, and the
// session is over by the time that is known.
func TestWhoIsSignedOutWhileHashingChangesNothing(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	id := f.identify(t, f.signIn(t, "ada", authn.ModeToken))
	before := f.record(t, u.ID)
	f.onHash(sync.OnceFunc(func() { f.LogoutAll(ctx, id, here) }))
	err := f.ChangePassword(ctx, id, password, "a third walk off another pier", here)
	if after := f.record(t, u.ID); !errors.Is(err, authn.ErrTokenRevoked) || after.PasswordHash != before.PasswordHash {
		t.Errorf("got %v, want ErrTokenRevoked and the password there was", err)
	}
}
