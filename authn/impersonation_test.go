package authn_test

import (
	"errors"
	"testing"

	"github.com/doorward/doorward/authn"
)

// wantField is err's one field and code, "name taken".
func wantField(t testing.TB, err error, want string) {
	t.Helper()
	var input *authn.InputError
	if !errors.As(err, &input) || len(input.Fields) != 1 || input.Fields[0].Field+" "+input.Fields[0].Code != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestUsernameIsNobodysID: a backend is told the id of somebody without a
// username, so an id must not be a username somebody can take.
func TestUsernameIsNobodysID(t *testing.T) {
	f := newService(t, nil)
	victim := f.newUser(t, "victim")
	_, err := f.Register(ctx, authn.Registration{Username: victim.ID, Password: password}, here)
	wantField(t, err, "username format")
	_, _, err = f.CreateUser(ctx, authn.NewUser{Username: victim.ID, Password: password}, cli)
	wantField(t, err, "username format")
	if _, err := f.Register(ctx, authn.Registration{Username: "christopherjohnsonsmithers", Password: password}, here); err != nil {
		t.Errorf("a long username that is no id: %v", err)
	}
}

// TestNamesThatPassForOthers: what people call themselves goes to backends too.
func TestNamesThatPassForOthers(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "victim")
	in, err := f.Register(ctx, authn.Registration{Username: "mallory", Name: "Mallory", Password: password}, here)
	if err != nil {
		t.Fatal(err)
	}
	me := authn.Identity{User: &in.User, Session: in.Session.ID}
	for name, want := range map[string]string{
		"victim": "name taken", "VICTIM": "name taken", "ｖictim": "name taken",
		"admin": "name reserved", "Ad min": "name reserved", "root.": "name reserved",
		"vic\u200btim": "name taken", "\u2060Victim\ufe0f": "name taken", "vic\u00adtim\u3164": "name taken",
		"ad\u034fmin": "name reserved", "admin\u3164": "name reserved", "\U000e0041root": "name reserved",
		"victim@example.com": "name format",
	} {
		_, err := f.SetName(ctx, me, name, here)
		wantField(t, err, want)
		_, err = f.Register(ctx, authn.Registration{Username: "mallory2", Name: name, Password: password}, here)
		wantField(t, err, want)
	}
	for _, name := range []string{"Mallory Victim", "mallory", "Åsa 山田", "Administrative Assistant", "Ada \U0001f469\u200d\U0001f4bb"} {
		if _, err := f.SetName(ctx, me, name, here); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, username := range []string{"admin", "ad-min", "Root_", "s.u.p.p.o.r.t"} {
		_, err := f.Register(ctx, authn.Registration{Username: username, Password: password}, here)
		wantField(t, err, "username reserved")
	}
}
