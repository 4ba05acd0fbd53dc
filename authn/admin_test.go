package authn_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var cli = authn.Actor{ID: authn.ActorCLI}

func TestCreateUser(t *testing.T) {
	f := newService(t, nil)
	u, made, err := f.CreateUser(ctx, authn.NewUser{Username: "root", Roles: []string{"ops", "admin", "ops"}}, cli)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(u.Roles, []string{"admin", "ops"}) || !u.Active || len(made) != 20 {
		t.Errorf("created %+v with a password of %d characters", u, len(made))
	}
	if err := f.login("root", made); err != nil {
		t.Errorf("sign in with the made password: %v", err)
	}
	v, made, err := f.CreateUser(ctx, authn.NewUser{Email: "bob@example.com", Password: password, EmailVerified: true}, cli)
	if err != nil || made != "" || !slices.Equal(v.Roles, []string{"user"}) || !v.EmailVerified {
		t.Errorf("created %+v, made %v, %v; want the default roles and no made password", v, made != "", err)
	}
	if got := f.events(t, v.ID); !slices.Equal(got, []string{"user.created"}) {
		t.Errorf("events %v", got)
	}
}

func TestCreateUserRefusals(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada")
	for _, c := range []struct {
		name string
		n    authn.NewUser
		want string
		is   error
	}{
		{"no name to sign in with", authn.NewUser{Name: "Ada"}, "email required", nil},
		{"verified what", authn.NewUser{Username: "bob", EmailVerified: true}, "email required", nil},
		{"role", authn.NewUser{Username: "bob", Roles: []string{"Admin,root"}}, "roles format", nil},
		{"password", authn.NewUser{Username: "bob", Password: "bob"}, "password too_short, password same_as_identity, password common", nil},
		{"username taken", authn.NewUser{Username: "ADA"}, "", authn.ErrUsernameTaken},
		{"email taken", authn.NewUser{Email: "Ada@EXAMPLE.com"}, "", authn.ErrEmailTaken},
	} {
		_, made, err := f.CreateUser(ctx, c.n, cli)
		if err == nil || codes(err) != c.want || c.is != nil && !errors.Is(err, c.is) || made != "" {
			t.Errorf("%s: %v (%s), want %s %v", c.name, err, codes(err), c.want, c.is)
		}
	}
}

func TestUpdateUser(t *testing.T) {
	for _, c := range []struct {
		name   string
		change authn.UserChange
		want   func(authn.User) bool
		events []string // newest first
		live   int      // sessions left of one
	}{
		{"nothing", authn.UserChange{}, func(u authn.User) bool { return u.UpdatedAt.Equal(start) }, nil, 1},
		{"what it is already", authn.UserChange{Username: ptr("ada"), Active: ptr(true)},
			func(u authn.User) bool { return u.UpdatedAt.Equal(start) }, nil, 1},
		{"names", authn.UserChange{Name: ptr(" Ada "), Username: ptr("Countess")},
			func(u authn.User) bool {
				return u.Name == "Ada" && u.Username == "Countess" && u.UpdatedAt.After(start)
			},
			[]string{"user.updated"}, 1},
		{"no name", authn.UserChange{Name: ptr("")}, func(u authn.User) bool { return u.Name == "" }, nil, 1},
		{"no username", authn.UserChange{Username: ptr("")}, func(u authn.User) bool { return u.Username == "" }, []string{"user.updated"}, 1},
		{"another address is unverified", authn.UserChange{Email: ptr("ADA@other.example")},
			func(u authn.User) bool { return u.Email == "ada@other.example" && !u.EmailVerified }, []string{"user.updated"}, 1},
		{"another address, vouched for", authn.UserChange{Email: ptr("ada@other.example"), EmailVerified: ptr(true)},
			func(u authn.User) bool { return u.Email == "ada@other.example" && u.EmailVerified }, []string{"user.updated"}, 1},
		{"roles", authn.UserChange{Roles: &[]string{"ops", "dev", "ops"}},
			func(u authn.User) bool { return slices.Equal(u.Roles, []string{"dev", "ops"}) }, []string{"user.roles_changed"}, 1},
		{"disabled and renamed", authn.UserChange{Active: ptr(false), Name: ptr("X")},
			func(u authn.User) bool { return !u.Active && u.Name == "X" },
			[]string{"user.updated", "session.ended disabled", "user.disabled"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newService(t, nil)
			u := f.newUser(t, "ada", "user")
			in := f.signIn(t, "ada", authn.ModeToken)
			before := len(f.events(t, u.ID))
			f.advance(time.Minute)
			got, err := f.UpdateUser(ctx, u.ID, c.change, f.newAdmin(t, "root"))
			if err != nil || !c.want(got) || !c.want(f.record(t, u.ID)) {
				t.Errorf("UpdateUser: %+v, %v", got, err)
			}
			all := f.events(t, u.ID)
			if fresh := all[:len(all)-before]; !slices.Equal(fresh, c.events) {
				t.Errorf("events %v, want %v", fresh, c.events)
			}
			if live := f.live(t, u.ID); live != c.live {
				t.Errorf("%d sessions, want %d", live, c.live)
			}
			id, err := f.Identify(ctx, authn.Credential{Bearer: in.AccessToken})
			if c.live == 0 != errors.Is(err, authn.ErrTokenRevoked) || err == nil && !slices.Equal(id.User.Roles, got.Roles) {
				t.Errorf("the token is of %+v, %v; it must follow the record at once", id.User, err)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestUpdateUserRefusals(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "admin")
	f.newUser(t, "bob")
	for _, c := range []struct {
		name string
		id   string
		ch   authn.UserChange
		want string
		is   error
	}{
		{"everything wrong at once", u.ID, authn.UserChange{Username: ptr("a b"), Email: ptr("x"), Name: ptr("\n\x00"), Roles: &[]string{"A B"}},
			"username format, email format, name format, roles format", nil},
		{"no name left", u.ID, authn.UserChange{Username: ptr(""), Email: ptr("")}, "email required", nil},
		{"verified what", u.ID, authn.UserChange{Email: ptr(""), EmailVerified: ptr(true)}, "email required", nil},
		{"username taken", u.ID, authn.UserChange{Username: ptr("BOB")}, "", authn.ErrUsernameTaken},
		{"email taken", u.ID, authn.UserChange{Email: ptr("bob@example.com")}, "", authn.ErrEmailTaken},
		{"unknown", "nobody", authn.UserChange{Name: ptr("x")}, "", authn.ErrNotFound},
		{"last admin demoted", u.ID, authn.UserChange{Roles: &[]string{"user"}}, "", authn.ErrLastAdmin},
		{"last admin disabled", u.ID, authn.UserChange{Active: ptr(false)}, "", authn.ErrLastAdmin},
	} {
		_, err := f.UpdateUser(ctx, c.id, c.ch, cli)
		if err == nil || codes(err) != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v (%s), want %s %v", c.name, err, codes(err), c.want, c.is)
		}
	}
	got := f.record(t, u.ID)
	if got.Username != "ada" || got.Email != "ada@example.com" || !got.Active || !got.HasRole("admin") {
		t.Errorf("after refusals only: %+v", got)
	}
	if err := f.DeleteUser(ctx, u.ID, cli); !errors.Is(err, authn.ErrLastAdmin) {
		t.Errorf("last admin deleted: %v, want ErrLastAdmin", err)
	}
	if events := f.events(t, u.ID); len(events) != 1 {
		t.Errorf("events of refusals: %v", events)
	}
}

// TestInvitedAdminIsNoneYet: the last admin who can sign in stays until one who
// was invited has set a password, and an invitation can be taken back.
func TestInvitedAdminIsNoneYet(t *testing.T) {
	m := newMailing(t, nil)
	ada := m.newUser(t, "ada", "admin")
	bob, _, err := m.CreateUser(ctx, authn.NewUser{Email: "bob@example.com", Roles: []string{"admin"}}, cli)
	if err != nil {
		t.Fatal(err)
	}
	eve, _, err := m.CreateUser(ctx, authn.NewUser{Email: "eve@example.com", Roles: []string{"admin"}}, cli)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func() error{
		"demote":  func() error { return second(m.UpdateUser(ctx, ada.ID, authn.UserChange{Roles: &[]string{}}, cli)) },
		"disable": func() error { return second(m.UpdateUser(ctx, ada.ID, authn.UserChange{Active: ptr(false)}, cli)) },
		"delete":  func() error { return m.DeleteUser(ctx, ada.ID, cli) },
	}
	for name, act := range ways {
		if err := act(); !errors.Is(err, authn.ErrLastAdmin) {
			t.Errorf("%s: %v, want ErrLastAdmin", name, err)
		}
	}
	if err := m.DeleteUser(ctx, eve.ID, cli); err != nil {
		t.Errorf("taking an invitation back: %v", err)
	}
	if err := second(m.SetPassword(ctx, bob.ID, nextPassword, cli)); err != nil {
		t.Fatal(err)
	}
	if err := ways["demote"](); err != nil {
		t.Errorf("with another who can sign in: %v", err)
	}
}

// TestTwoAdminsDemoteEachOther: whatever they do to each other at once, one
// stays.
func TestTwoAdminsDemoteEachOther(t *testing.T) {
	f := newService(t, nil)
	ways := map[string]func(id string) error{
		"demote":  func(id string) error { return second(f.UpdateUser(ctx, id, authn.UserChange{Roles: &[]string{}}, cli)) },
		"disable": func(id string) error { return second(f.UpdateUser(ctx, id, authn.UserChange{Active: ptr(false)}, cli)) },
		"delete":  func(id string) error { return f.DeleteUser(ctx, id, cli) },
	}
	admins := []authn.User{f.newUser(t, "ada", "admin"), f.newUser(t, "bob", "admin")}
	for name, act := range ways {
		var errs [2]error
		var both sync.WaitGroup
		for n, u := range admins {
			both.Go(func() { errs[n] = act(u.ID) })
		}
		both.Wait()
		refused := 0
		for n, err := range errs {
			switch {
			case errors.Is(err, authn.ErrLastAdmin):
				refused++
			case err != nil:
				t.Errorf("%s: %v", name, err)
			default: // make a second admin again
				admins[n] = f.newUser(t, "x"+name, "admin")
			}
		}
		if refused != 1 {
			t.Errorf("%s: %d of two refused (%v), want 1", name, refused, errs)
		}
	}
}

func TestSetPassword(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	f.signIn(t, "ada", authn.ModeToken)
	for range 6 {
		_ = f.login("ada", "nonsense")
	}
	made, err := f.SetPassword(ctx, u.ID, "", cli)
	if err != nil || len(made) != 20 {
		t.Fatalf("SetPassword: made %d characters, %v", len(made), err)
	}
	if got := f.live(t, u.ID); got != 0 {
		t.Errorf("%d sessions, want 0", got)
	}
	if got, want := f.events(t, u.ID)[:2], []string{"session.ended password", "user.password_reset"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if err := f.login("ada", password); !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Errorf("the old password: %v", err)
	}
	if err := f.login("ada", made); err != nil {
		t.Errorf("the made password, after a lockout: %v", err)
	}
	if made, err := f.SetPassword(ctx, u.ID, password, cli); err != nil || made != "" || f.login("ada", password) != nil {
		t.Errorf("a password that was given: made %v, %v", made != "", err)
	}
	if _, err := f.SetPassword(ctx, u.ID, "ada", cli); !strings.Contains(codes(err), "same_as_identity") {
		t.Errorf("a bad password: %v", err)
	}
	if _, err := f.SetPassword(ctx, "nobody", password, cli); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("nobody's: %v, want ErrNotFound", err)
	}
}

func TestDeleteUser(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada")
	in := f.signIn(t, "ada", authn.ModeToken)
	if err := f.DeleteUser(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Identify(ctx, authn.Credential{Bearer: in.AccessToken}); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("its token: %v, want ErrTokenRevoked", err)
	}
	if err := f.login("ada", password); !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Errorf("its login: %v, want ErrInvalidCredentials", err)
	}
	if err := f.DeleteUser(ctx, u.ID, cli); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("once more: %v, want ErrNotFound", err)
	}
}

// TestUnlock holds after a restart too: nothing of the account may be left in
// the store.
func TestUnlock(t *testing.T) {
	st := newStore(t)
	f := newServiceOn(t, st, nil)
	u := f.newUser(t, "ada")
	f.newUser(t, "bob")
	for n := range 60 {
		_ = f.loginFrom([]string{"192.0.2.1", "192.0.2.2"}[n%2], "ada", "nonsense")
		_ = f.login("bob", "nonsense")
	}
	if !f.Locked(u.ID) || !newServiceOn(t, st, nil).Locked(u.ID) {
		t.Error("after many failures: not locked, or not after a restart")
	}
	if err := f.Unlock(ctx, u.ID, cli); err != nil {
		t.Fatal(err)
	}
	if f.Locked(u.ID) {
		t.Error("after Unlock: still locked")
	}
	if err := f.Unlock(ctx, "nobody", cli); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("unlock nobody: %v, want ErrNotFound", err)
	}
	if got := f.events(t, u.ID)[0]; got != "user.unlocked" {
		t.Errorf("event %s, want user.unlocked", got)
	}
	check := func(s *fixture) {
		t.Helper()
		if err := s.loginFrom("192.0.2.2", "ada", "nonsense"); !errors.Is(err, authn.ErrInvalidCredentials) {
			t.Errorf("ada, unlocked: %v, want ErrInvalidCredentials", err)
		}
		if err := s.login("bob", password); !errors.Is(err, authn.ErrTooManyAttempts) {
			t.Errorf("bob, whom nobody unlocked: %v, want ErrTooManyAttempts", err)
		}
	}
	check(newServiceOn(t, st, nil)) // before f counts again and writes over what may be left
	check(f)
}

// TestAdminNoMore: what an admin began before they were demoted, disabled or
// signed out does not come about after it.
func TestAdminNoMore(t *testing.T) {
	ends := map[string]struct {
		do   func(f *fixture, id string) error
		want error
	}{
		"demoted": {func(f *fixture, id string) error {
			_, err := f.UpdateUser(ctx, id, authn.UserChange{Roles: &[]string{"user"}}, cli)
			return err
		}, authn.ErrNotAdmin},
		"disabled": {func(f *fixture, id string) error {
			_, err := f.UpdateUser(ctx, id, authn.UserChange{Active: ptr(false)}, cli)
			return err
		}, authn.ErrTokenRevoked},
		"deleted":    {func(f *fixture, id string) error { return f.DeleteUser(ctx, id, cli) }, authn.ErrTokenRevoked},
		"signed out": {func(f *fixture, id string) error { return f.SignOut(ctx, id, cli) }, authn.ErrTokenRevoked},
	}
	acts := map[string]func(m mailing, id string, a authn.Actor) error{
		"create": func(m mailing, _ string, a authn.Actor) error {
			_, _, err := m.CreateUser(ctx, authn.NewUser{Username: "eve", Password: password, Roles: []string{"admin"}}, a)
			return err
		},
		"update": func(m mailing, id string, a authn.Actor) error {
			_, err := m.UpdateUser(ctx, id, authn.UserChange{Roles: &[]string{"admin"}}, a)
			return err
		},
		"set password": func(m mailing, id string, a authn.Actor) error {
			_, err := m.SetPassword(ctx, id, nextPassword, a)
			return err
		},
		"delete":         func(m mailing, id string, a authn.Actor) error { return m.DeleteUser(ctx, id, a) },
		"reset password": func(m mailing, id string, a authn.Actor) error { return m.AdminResetPassword(ctx, id, a) },
		"unlock":         func(m mailing, id string, a authn.Actor) error { return m.Unlock(ctx, id, a) },
		"sign out":       func(m mailing, id string, a authn.Actor) error { return m.SignOut(ctx, id, a) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			m := newMailing(t, nil)
			m.newUser(t, "root", "admin")
			u, a := m.newUser(t, "ada"), m.newAdmin(t, "mal")
			before := m.events(t, u.ID)
			if err := end.do(m.fixture, a.ID); err != nil {
				t.Fatal(err)
			}
			for what, act := range acts {
				if err := act(m, u.ID, a); !errors.Is(err, end.want) {
					t.Errorf("%s: got %v, want %v", what, err, end.want)
				}
			}
			if after := m.events(t, u.ID); !slices.Equal(after, before) {
				t.Errorf("got events %v, want %v as before", after, before)
			}
		})
	}
}

// TestSignOut: all of an account's sessions end in one transaction, so that none
// that begins meanwhile slips through and a failure leaves all or none.
func TestSignOut(t *testing.T) {
	st := &countingStore{Store: newStore(t)}
	m := newMailingOn(t, st, nil)
	u, root := m.newUser(t, "ada", "admin"), m.newAdmin(t, "root")
	for _, reason := range []string{"admin", "logout_all"} {
		a := root
		for _, mode := range []authn.Mode{authn.ModeSessionCookie, authn.ModeRefreshCookie, authn.ModeToken} {
			in := m.signIn(t, "ada", mode)
			if reason == "logout_all" && mode == authn.ModeToken {
				a = m.actor(t, in)
			}
		}
		if err := m.SignOut(counted, u.ID, a); err != nil {
			t.Fatal(err)
		}
		if got, want := st.take(), "Update User User AddEvent AddEvent AddEvent"; got != want { // who acts, and on whom
			t.Errorf("%s: got %s, want %s", reason, got, want)
		}
		if left, err := m.Sessions(ctx, u.ID); err != nil || len(left) != 0 {
			t.Errorf("%s: %d sessions left, %v; want none", reason, len(left), err)
		}
		found, err := m.Events(ctx, authn.EventQuery{User: u.ID, Kind: authn.SessionEnded, Limit: 1})
		if err != nil || len(found) != 1 || found[0].Detail["reason"] != reason || found[0].Actor != a.ID {
			t.Errorf("got events %+v, %v; want one by %s, reason %s", found, err, a.ID, reason)
		}
	}
	if err := m.SignOut(ctx, "nobody", cli); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("nobody: got %v, want ErrNotFound", err)
	}
}
