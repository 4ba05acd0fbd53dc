package authn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func (f *fixture) refresh(token authn.Secret) (authn.SignIn, error) {
	return f.Refresh(context.Background(), token, client("198.51.100.7"))
}

// rotated refreshes and wants it to work.
func (f *fixture) rotated(t testing.TB, token authn.Secret) authn.SignIn {
	t.Helper()
	in, err := f.refresh(token)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// stored is the session as the store has it.
func (f *fixture) stored(t testing.TB, sid string) (x authn.Session, err error) {
	t.Helper()
	err = f.Store.View(context.Background(), func(tx authn.Tx) (err error) { x, err = tx.Session(sid); return err })
	return x, err
}

func TestRefreshRotates(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	first := f.signIn(t, "ada", authn.ModeRefreshCookie)
	f.advance(time.Hour)
	second := f.rotated(t, first.RefreshToken)
	if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken {
		t.Error("a rotation gave the same tokens again")
	}
	if second.Session.ID != first.Session.ID || second.Session.Mode != authn.ModeRefreshCookie || second.User.ID != u.ID {
		t.Errorf("got %s of %s in mode %s", second.Session.ID, second.User.ID, second.Session.Mode)
	}
	if second.RefreshExpiresIn != 168*time.Hour {
		t.Errorf("the idle end moved to %v from now, want 168h", second.RefreshExpiresIn)
	}
	if id, err := f.bearer(second.AccessToken.Reveal()); err != nil || id.User.ID != u.ID {
		t.Errorf("the new access token: %v, %v", id, err)
	}
	f.rotated(t, second.RefreshToken)
	if got := f.count(authn.MetricRefreshes, "rotated"); got != 2 {
		t.Errorf("observed %v rotations, want 2", got)
	}
}

// TestRefreshRolesAreCurrent: the new access token says what the record says now.
func TestRefreshRolesAreCurrent(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	roles := []string{"editor"}
	if _, err := f.UpdateUser(context.Background(), u.ID, authn.UserChange{Roles: &roles}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	next := f.rotated(t, in.RefreshToken)
	if got, want := stolen(t, f, next.AccessToken).claims.get("roles"), `["editor"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRefreshConcurrently is a hundred tabs with one token: everyone gets the
// same successor, and there is one live chain.
func TestRefreshConcurrently(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	answers := make([]authn.SignIn, 100)
	errs := make([]error, len(answers))
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], errs[i] = f.refresh(in.RefreshToken) })
	}
	all.Wait()
	for i, a := range answers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if a.RefreshToken != answers[0].RefreshToken {
			t.Fatal("two successors of one token")
		}
		if _, err := f.bearer(a.AccessToken.Reveal()); err != nil {
			t.Fatal(err)
		}
	}
	x, err := f.stored(t, in.Session.ID)
	if err != nil || x.Chain.Gen != 2 || len(x.Chain.Links) != 1 {
		t.Fatalf("generation %d, %d links (%v); want 2, 1", x.Chain.Gen, len(x.Chain.Links), err)
	}
	if got := f.count(authn.MetricRefreshes, "rotated"); got != 1 {
		t.Errorf("%v rotations, want 1", got)
	}
	f.rotated(t, answers[0].RefreshToken)
}

// TestRefreshLostAnswer: a client that never got the answer asks again.
func TestRefreshLostAnswer(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	lost := f.rotated(t, in.RefreshToken)
	before, _ := f.stored(t, in.Session.ID)
	f.advance(f.Config.Tokens.RefreshGrace) // the last moment
	again := f.rotated(t, in.RefreshToken)
	if again.RefreshToken != lost.RefreshToken {
		t.Error("the second answer names another successor")
	}
	if after, _ := f.stored(t, in.Session.ID); !reflect.DeepEqual(before, after) {
		t.Error("a repeat wrote something")
	}
	if got := f.count(authn.MetricRefreshes, "repeated"); got != 1 {
		t.Errorf("observed %v repeats, want 1", got)
	}
}

// TestRefreshRepeatWalksToTheHead: any token of the grace leads to the current one.
func TestRefreshRepeatWalksToTheHead(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	tokens := []authn.Secret{f.signIn(t, "ada", authn.ModeToken).RefreshToken}
	for i := range 5 {
		f.advance(time.Second)
		tokens = append(tokens, f.rotated(t, tokens[i]).RefreshToken)
	}
	for i, token := range tokens[:5] {
		if got := f.rotated(t, token).RefreshToken; got != tokens[5] {
			t.Errorf("token %d does not lead to the head", i)
		}
	}
}

// TestRefreshReplayAfterTheGrace is theft: one of the two that hold the chain
// is not its owner.
func TestRefreshReplayAfterTheGrace(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	next := f.rotated(t, in.RefreshToken)
	f.advance(f.Config.Tokens.RefreshGrace + 1)
	if _, err := f.refresh(in.RefreshToken); !errors.Is(err, authn.ErrRefreshReused) {
		t.Fatalf("got %v, want %v", err, authn.ErrRefreshReused)
	}
	// Once; the session is gone for both.
	for name, token := range map[string]authn.Secret{"the replayed": in.RefreshToken, "the current": next.RefreshToken} {
		if _, err := f.refresh(token); !errors.Is(err, authn.ErrRefreshInvalid) {
			t.Errorf("%s token: got %v, want %v", name, err, authn.ErrRefreshInvalid)
		}
	}
	if _, err := f.bearer(next.AccessToken.Reveal()); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("access token: got %v, want %v", err, authn.ErrTokenRevoked)
	}
	if got := f.events(t, u.ID)[:2]; !slices.Equal(got, []string{"session.ended reuse", "refresh.reused"}) {
		t.Errorf("events %q", got)
	}
	if got := f.count(authn.MetricRefreshes, "reused"); got != 1 {
		t.Errorf("observed %v reuses, want 1", got)
	}
}

// TestRefreshReplayOfAnOldGeneration: within the grace of a later rotation, but
// long after its own.
func TestRefreshReplayOfAnOldGeneration(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	first := f.signIn(t, "ada", authn.ModeToken).RefreshToken
	second := f.rotated(t, first).RefreshToken
	f.advance(time.Hour)
	f.rotated(t, second)
	if _, err := f.refresh(first); !errors.Is(err, authn.ErrRefreshReused) {
		t.Errorf("got %v, want %v", err, authn.ErrRefreshReused)
	}
}

// TestRefreshForged: nothing a stranger makes up changes anything.
func TestRefreshForged(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	f.newUser(t, "eve", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	in = f.rotated(t, in.RefreshToken)
	f.advance(time.Hour)
	evil := f.signIn(t, "eve", authn.ModeToken)
	before, _ := f.stored(t, in.Session.ID)

	good := unb64(t, in.RefreshToken.Reveal())
	eves := unb64(t, evil.RefreshToken.Reveal())
	changed := func(at int, b ...byte) string {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return b64.EncodeToString(c)
	}
	forged := map[string]string{
		"empty": "", "text": "refresh", "zeroes": b64.EncodeToString(make([]byte, 72)),
		"another secret":          changed(24, make([]byte, 32)...),
		"another tag":             changed(56, make([]byte, 16)...),
		"one bit of the tag":      changed(71, good[71]^1),
		"an older generation":     changed(16, binary.BigEndian.AppendUint64(nil, 1)...),
		"a later generation":      changed(16, binary.BigEndian.AppendUint64(nil, 1<<63)...),
		"another session's tag":   changed(56, eves[56:]...),
		"our sid, their rest":     changed(16, eves[16:]...),
		"their sid, our rest":     b64.EncodeToString(append(bytes.Clone(eves[:16]), good[16:]...)),
		"unknown session":         changed(0, make([]byte, 16)...),
		"cut":                     in.RefreshToken.Reveal()[:95],
		"longer":                  in.RefreshToken.Reveal() + "A",
		"padded":                  in.RefreshToken.Reveal() + "=",
		"line break":              in.RefreshToken.Reveal()[:50] + "\n" + in.RefreshToken.Reveal()[50:],
		"the access token":        in.AccessToken.Reveal(),
		"huge":                    strings.Repeat("A", 1<<20),
		"right length, no base64": strings.Repeat("*", 96),
	}
	for name, token := range forged {
		if _, err := f.refresh(authn.Secret(token)); !errors.Is(err, authn.ErrRefreshInvalid) {
			t.Errorf("%s: got %v, want %v", name, err, authn.ErrRefreshInvalid)
		}
		if err := f.Logout(context.Background(), authn.Credential{}, authn.Secret(token), client("192.0.2.66")); err != nil {
			t.Errorf("%s at logout: %v", name, err)
		}
	}
	if after, err := f.stored(t, in.Session.ID); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("a forged token changed the session (%v)", err)
	}
	f.rotated(t, in.RefreshToken)
}

// TestRefreshNinthInOneGrace: nobody needs nine tokens in half a minute.
func TestRefreshNinthInOneGrace(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	token := f.signIn(t, "ada", authn.ModeToken).RefreshToken
	for range authn.MaxLinks {
		token = f.rotated(t, token).RefreshToken
		f.advance(time.Second)
	}
	_, err := f.refresh(token)
	var retry *authn.RetryError
	if !errors.Is(err, authn.ErrRefreshTooMany) || !errors.As(err, &retry) {
		t.Fatalf("got %v, want %v", err, authn.ErrRefreshTooMany)
	}
	if retry.After < time.Second || retry.After > f.Config.Tokens.RefreshGrace {
		t.Errorf("retry after %v", retry.After)
	}
	if got := f.count(authn.MetricRefreshes, "limited"); got != 1 {
		t.Errorf("observed %v, want 1", got)
	}
	f.advance(retry.After) // as told, and the token is still good
	f.rotated(t, token)
}

// TestRefreshEnds is every way in which a refresh token stops to count.
func TestRefreshEnds(t *testing.T) {
	off := false
	cli := authn.Actor{ID: authn.ActorCLI}
	for name, end := range map[string]func(f *fixture, u authn.User, in authn.SignIn) error{
		"idle": func(f *fixture, _ authn.User, _ authn.SignIn) error {
			f.advance(f.Config.Sessions.Idle)
			return nil
		},
		"logout": func(f *fixture, _ authn.User, in authn.SignIn) error {
			return f.Logout(context.Background(), authn.Credential{}, in.RefreshToken, client("192.0.2.1"))
		},
		"disabled": func(f *fixture, u authn.User, _ authn.SignIn) error {
			_, err := f.UpdateUser(context.Background(), u.ID, authn.UserChange{Active: &off}, cli)
			return err
		},
		"deleted": func(f *fixture, u authn.User, _ authn.SignIn) error {
			return f.DeleteUser(context.Background(), u.ID, cli)
		},
		"password changed by an admin": func(f *fixture, u authn.User, _ authn.SignIn) error {
			_, err := f.SetPassword(context.Background(), u.ID, "", cli)
			return err
		},
		"the clock went back": func(f *fixture, _ authn.User, _ authn.SignIn) error {
			f.advance(-time.Hour)
			return nil
		},
		"the record says inactive": func(f *fixture, u authn.User, _ authn.SignIn) error {
			return f.Store.Update(context.Background(), func(tx authn.Tx) error {
				u, err := tx.User(u.ID)
				u.Active = false
				return errors.Join(err, tx.PutUser(u))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newService(t, nil)
			u := f.newUser(t, "ada", "user")
			in := f.signIn(t, "ada", authn.ModeToken)
			if err := end(f, u, in); err != nil {
				t.Fatal(err)
			}
			if _, err := f.refresh(in.RefreshToken); !errors.Is(err, authn.ErrRefreshInvalid) {
				t.Errorf("got %v, want %v", err, authn.ErrRefreshInvalid)
			}
		})
	}
}

// TestRefreshAbsoluteEnd: refreshing keeps a session from idling, not from ending.
func TestRefreshAbsoluteEnd(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Sessions.Idle, d.Config.Sessions.Max = 24*time.Hour, 60*time.Hour })
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	for _, want := range []time.Duration{24 * time.Hour, 20 * time.Hour} {
		f.advance(20 * time.Hour)
		if in = f.rotated(t, in.RefreshToken); in.RefreshExpiresIn != want {
			t.Errorf("expires in %v, want %v", in.RefreshExpiresIn, want)
		}
	}
	f.advance(20 * time.Hour)
	if _, err := f.refresh(in.RefreshToken); !errors.Is(err, authn.ErrRefreshInvalid) {
		t.Errorf("got %v, want %v", err, authn.ErrRefreshInvalid)
	}
}

// TestRefreshStoresNothingThatCouldBePresented reads what a thief of the
// database would read.
func TestRefreshStoresNothingThatCouldBePresented(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	next := f.rotated(t, in.RefreshToken)
	x, err := f.stored(t, in.Session.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []authn.Secret{in.RefreshToken, next.RefreshToken} {
		secret := unb64(t, token.Reveal())[24:56]
		kept := append([][]byte{x.Chain.TagKey, x.Chain.CurHash}, x.Chain.Links[0].Hash, x.Chain.Links[0].Seed)
		if slices.ContainsFunc(kept, func(b []byte) bool { return bytes.Contains(b, secret) }) {
			t.Error("the secret of a token lies in the store")
		}
	}
}

// TestRefreshSeedsGoWithTheGrace: on rotation, and by the sweep where none comes.
func TestRefreshSeedsGoWithTheGrace(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	in = f.rotated(t, in.RefreshToken)
	links := func() int {
		x, err := f.stored(t, in.Session.ID)
		if err != nil {
			t.Fatal(err)
		}
		return len(x.Chain.Links)
	}
	f.advance(f.Config.Tokens.RefreshGrace)
	if err := f.Sweep(context.Background(), f.at()); err != nil || links() != 1 {
		t.Fatalf("within the grace: %d links (%v), want 1", links(), err)
	}
	f.advance(1)
	if err := f.Sweep(context.Background(), f.at()); err != nil || links() != 0 {
		t.Fatalf("after the grace: %d links (%v), want 0", links(), err)
	}
	in = f.rotated(t, in.RefreshToken)
	f.advance(time.Hour)
	f.rotated(t, in.RefreshToken)
	if got := links(); got != 1 {
		t.Errorf("after another rotation: %d links, want 1", got)
	}
}

// TestRefreshRandomly plays a client that loses answers, retries and waits, and
// a thief who copies one token at a random moment. As long as both act, the
// theft is found.
func TestRefreshRandomly(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Sessions.PerUser = 0 })
	f.newUser(t, "ada", "user")
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		token := f.signIn(t, "ada", authn.ModeToken).RefreshToken
		sid := ""
		for range 30 { // the client alone: it is never signed out
			f.advance(time.Duration(r.IntN(300)+5) * time.Second)
			in := f.rotated(t, token)
			for range r.IntN(3) { // the answer was lost; it asks again within the grace
				f.advance(time.Duration(r.IntN(10)) * time.Second)
				if again := f.rotated(t, token); again.RefreshToken != in.RefreshToken {
					t.Fatalf("seed %d: another successor", seed)
				}
			}
			token, sid = in.RefreshToken, in.Session.ID
		}
		copied := token
		f.advance(time.Hour)
		thief, owner := f.rotated(t, copied), token
		f.advance(time.Hour)
		if _, err := f.refresh(owner); !errors.Is(err, authn.ErrRefreshReused) {
			t.Fatalf("seed %d: got %v, want %v", seed, err, authn.ErrRefreshReused)
		}
		if _, err := f.refresh(thief.RefreshToken); !errors.Is(err, authn.ErrRefreshInvalid) {
			t.Fatalf("seed %d: the thief goes on: %v", seed, err)
		}
		if _, err := f.stored(t, sid); !errors.Is(err, authn.ErrNotFound) {
			t.Fatalf("seed %d: the session is still there: %v", seed, err)
		}
	}
}

func FuzzRefreshParse(f *testing.F) {
	s := newService(f, nil)
	s.newUser(f, "ada", "user")
	good := s.signIn(f, "ada", authn.ModeToken).RefreshToken.Reveal()
	f.Add(good)
	f.Add(flip(good))
	f.Add("")
	f.Add(strings.Repeat("A", 96))
	f.Fuzz(func(t *testing.T, text string) {
		_, err := s.refresh(authn.Secret(text))
		switch {
		case text == good:
			if err != nil && !errors.Is(err, authn.ErrRefreshTooMany) {
				t.Errorf("the genuine token: %v", err)
			}
		case !errors.Is(err, authn.ErrRefreshInvalid):
			t.Errorf("%q: %v", text, err)
		}
	})
}
