package authn_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// TestEveryKindOfEvent does everything there is an event for, and then walks
// the tables of kinds and of reasons: none is there that nothing emits.
func TestEveryKindOfEvent(t *testing.T) {
	store := &failingStore{Store: newStore(t)}
	m := newMailingOn(t, store, func(d *authn.Deps) { d.Config.Tokens.RefreshGrace = 0 })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	letter := func() authn.Letter {
		t.Helper()
		got := m.arrived(t)
		if len(got) == 0 {
			t.Fatal("no letter came")
		}
		return got[0]
	}
	identity := func(in authn.SignIn) authn.Identity {
		return authn.Identity{User: &in.User, Session: in.Session.ID, Mode: in.Session.Mode}
	}

	// A life: registering, proving the address, changing it, being renamed.
	in, err := m.Register(ctx, authn.Registration{Username: "eve", Email: "eve@example.com", Password: password}, here)
	must(err)
	_, err = m.VerifyEmail(ctx, letter().Token, "", here)
	must(err)
	must(m.ChangeEmail(ctx, identity(in), password, "eve@example.org", here))
	for _, l := range m.arrived(t) {
		if l.To == "eve@example.org" {
			_, err = m.VerifyEmail(ctx, l.Token, "", here)
			must(err)
		}
	}
	_, err = m.SetName(ctx, identity(in), "Eve", here)
	must(err)

	// Every way for a session to end.
	must(m.Logout(ctx, authn.Credential{Bearer: in.AccessToken}, "", here))
	must(m.LogoutAll(ctx, identity(m.signIn(t, "eve", authn.ModeToken)), here))
	must(m.ChangePassword(ctx, identity(m.signIn(t, "eve", authn.ModeToken)), password, nextPassword, here))
	must(m.ForgotPassword(ctx, "eve@example.org", here))
	for _, l := range m.arrived(t) {
		if l.Token != "" {
			must(m.ResetPassword(ctx, l.Token, password, here))
		}
	}
	for range m.Config.Sessions.PerUser + 1 {
		in = m.signIn(t, "eve", authn.ModeToken)
	}
	must(m.EndSession(ctx, in.User.ID, in.Session.ID, cli))
	in = m.signIn(t, "eve", authn.ModeToken)
	_, err = m.Refresh(ctx, in.RefreshToken, here)
	must(err)
	m.advance(time.Second)
	if _, err := m.Refresh(ctx, in.RefreshToken, here); err == nil {
		t.Fatal("a replay was taken")
	}
	m.signIn(t, "eve", authn.ModeToken)
	m.advance(m.Config.Sessions.Max)
	must(m.Sweep(ctx, m.at()))

	// What admins do.
	u := m.newUser(t, "mal")
	roles, off, on := []string{"user", "staff"}, false, true
	_, err = m.UpdateUser(ctx, u.ID, authn.UserChange{Roles: &roles}, cli)
	must(err)
	m.signIn(t, "mal", authn.ModeToken)
	_, err = m.UpdateUser(ctx, u.ID, authn.UserChange{Active: &off}, cli)
	must(err)
	_, err = m.UpdateUser(ctx, u.ID, authn.UserChange{Active: &on}, cli)
	must(err)
	for range m.Config.Accounts.Lockout.Failures + 1 {
		if _, err := m.Login(ctx, authn.LoginAttempt{Login: "mal", Password: "something else"}, here); err == nil {
			t.Fatal("a wrong password was taken")
		}
	}
	must(m.Unlock(ctx, u.ID, cli))
	m.box.answer(errBusy)
	must(m.AdminResetPassword(ctx, u.ID, cli))
	m.arrived(t)
	m.advance(2 * time.Hour)
	m.arrived(t)
	m.signIn(t, "mal", authn.ModeToken)
	must(m.DeleteUser(ctx, u.ID, cli))

	_, err = m.ExportUsers(ctx, "", 10, false, cli)
	must(err)

	// The machine.
	_, err = m.RotateKeys(ctx, cli)
	must(err)
	must(m.Record(ctx, authn.ConfigLoaded, authn.Actor{}, nil))
	must(m.Record(ctx, authn.ConfigRejected, authn.Actor{}, nil))
	store.broken.Store(true)
	if _, err := m.RotateKeys(ctx, cli); err == nil {
		t.Fatal("a broken store kept a key")
	}
	store.broken.Store(false)
	m.newUser(t, "last")

	seen := map[string]bool{}
	for after := ""; ; {
		list, err := m.Events(ctx, authn.EventQuery{After: after, Limit: 100})
		must(err)
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			seen[string(e.Kind)] = true
			if e.Kind == authn.SessionEnded {
				seen["ended by "+e.Detail["reason"]] = true
			}
			after = e.ID
		}
	}
	for _, kind := range constantsOf(t, "event.go", "Kind") {
		if !seen[kind] {
			t.Errorf("nothing was recorded as %s", kind)
		}
	}
	for _, reason := range constantsOf(t, "event.go", "Reason") {
		if !seen["ended by "+reason] {
			t.Errorf("no session ended by %s", reason)
		}
	}
}

// constantsOf are the values of the string constants of a type, as written in
// a file of this package.
func constantsOf(t testing.TB, file, kind string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if named, ok := spec.Type.(*ast.Ident); !ok || named.Name != kind {
			return true
		}
		for _, v := range spec.Values {
			value, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, kind)
	}
	return values
}
