package authn_test

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func cookies(values ...authn.Secret) authn.Credential { return authn.Credential{Cookies: values} }
func bearer(token authn.Secret) authn.Credential      { return authn.Credential{Bearer: token} }

func onStore(st authn.Store) func(*authn.Deps) { return func(d *authn.Deps) { d.Store = st } }

func TestIdentifyNobody(t *testing.T) {
	f := newService(t, nil)
	for name, c := range map[string]authn.Credential{
		"nothing": {}, "an empty cookie": cookies(""), "an odd cookie": cookies("\x00", "x y", authn.Secret(strings.Repeat("A", 1<<16))),
		"a well-formed cookie of nobody": cookies(authn.Secret(strings.Repeat("A", 64))),
	} {
		if _, err := f.Identify(ctx, c); !errors.Is(err, authn.ErrNotSignedIn) {
			t.Errorf("%s: got %v, want %v", name, err, authn.ErrNotSignedIn)
		}
	}
}

func TestIdentifyCookie(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	if in.AccessToken != "" || in.RefreshToken != "" || in.CookieExpiresIn != 720*time.Hour {
		t.Errorf("a cookie session came with %+v for %v", in, in.CookieExpiresIn)
	}
	id, err := f.Identify(ctx, cookies(in.Cookie))
	if err != nil || id.User.ID != u.ID || id.Session != in.Session.ID || !id.Cookie || id.Mode != authn.ModeSessionCookie {
		t.Fatalf("got %+v, %v", id, err)
	}
	if id.User.PasswordHash != "" {
		t.Error("an identity carries the password hash")
	}
	x, err := f.stored(t, in.Session.ID)
	if err != nil {
		t.Fatal(err)
	}
	if secret := unb64(t, in.Cookie.Reveal())[16:]; bytes.Contains(x.CookieHash, secret) || x.Chain != nil {
		t.Error("the store holds what the cookie holds")
	}
}

// TestIdentifyForgedCookies: knowing a session's id opens nothing.
func TestIdentifyForgedCookies(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	tokens := f.signIn(t, "ada", authn.ModeToken)
	good := in.Cookie.Reveal()
	raw := unb64(t, good)
	tokenSID := unb64(t, tokens.RefreshToken.Reveal())[:16]
	for name, value := range map[string]string{
		"zero secret":                  b64.EncodeToString(append(bytes.Clone(raw[:16]), make([]byte, 32)...)),
		"one bit off":                  b64.EncodeToString(append(bytes.Clone(raw[:47]), raw[47]^1)),
		"the secret of another":        b64.EncodeToString(append(bytes.Clone(tokenSID), raw[16:]...)),
		"a session without a cookie":   b64.EncodeToString(append(bytes.Clone(tokenSID), make([]byte, 32)...)),
		"the refresh token":            tokens.RefreshToken.Reveal(),
		"the start of a refresh token": tokens.RefreshToken.Reveal()[:64],
		"padded":                       good + "=",
		"quoted":                       `"` + good + `"`,
		"line break":                   good[:10] + "\n" + good[10:],
	} {
		if _, err := f.Identify(ctx, cookies(authn.Secret(value))); !errors.Is(err, authn.ErrNotSignedIn) {
			t.Errorf("%s: got %v, want %v", name, err, authn.ErrNotSignedIn)
		}
	}
}

// TestIdentifyCookieTossing: of several cookies the one that verifies counts,
// wherever it stands; thousands are not looked at.
func TestIdentifyCookieTossing(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	u := f.newUser(t, "ada", "user")
	good := f.signIn(t, "ada", authn.ModeSessionCookie).Cookie
	for _, values := range [][]authn.Secret{
		{good}, {"junk", good}, {good, "junk"}, {authn.Secret(strings.Repeat("A", 64)), "", good, "x"},
	} {
		if id, err := f.Identify(ctx, cookies(values...)); err != nil || id.User.ID != u.ID {
			t.Errorf("%d cookies: %v", len(values), err)
		}
	}
	spy.views.Store(0)
	many := slices.Repeat([]authn.Secret{authn.Secret(strings.Repeat("A", 64))}, 3000)
	if _, err := f.Identify(ctx, cookies(many...)); !errors.Is(err, authn.ErrNotSignedIn) {
		t.Errorf("got %v, want %v", err, authn.ErrNotSignedIn)
	}
	if n := spy.views.Load(); n > 16 {
		t.Errorf("3000 cookies cost %d reads", n)
	}
}

// TestIdentifyBearerDecidesAlone: a good cookie does not mend a bad bearer.
func TestIdentifyBearerDecidesAlone(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	f.newUser(t, "bob", "user")
	cookie := f.signIn(t, "ada", authn.ModeSessionCookie).Cookie
	token := f.signIn(t, "bob", authn.ModeToken).AccessToken
	id, err := f.Identify(ctx, authn.Credential{Bearer: token, Cookies: []authn.Secret{cookie}})
	if err != nil || id.User.Username != "bob" || id.Cookie {
		t.Errorf("got %s, %v; want bob", id.User.Username, err)
	}
	if _, err := f.Identify(ctx, authn.Credential{Bearer: "junk", Cookies: []authn.Secret{cookie}}); !errors.Is(err, authn.ErrTokenInvalid) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenInvalid)
	}
}

// TestIdentifyOfAnothersSession: a token with the key's signature, but of a
// session that is someone else's.
func TestIdentifyOfAnothersSession(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	f.newUser(t, "bob", "user")
	ada, bob := f.signIn(t, "ada", authn.ModeToken), f.signIn(t, "bob", authn.ModeToken)
	token := stolen(t, f, ada.AccessToken).with("sid", `"`+bob.Session.ID+`"`).token(t)
	if _, err := f.bearer(token); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenRevoked)
	}
}

// TestIdentifyReadsNothing: once a session is known, a request costs no read.
func TestIdentifyReadsNothing(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	f.newUser(t, "ada", "user")
	for name, c := range map[string]authn.Credential{
		"bearer": bearer(f.signIn(t, "ada", authn.ModeToken).AccessToken),
		"cookie": cookies(f.signIn(t, "ada", authn.ModeSessionCookie).Cookie),
	} {
		if _, err := f.Identify(ctx, c); err != nil {
			t.Fatal(err)
		}
		spy.views.Store(0)
		spy.updates.Store(0)
		for range 1000 {
			if _, err := f.Identify(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		if v, u := spy.views.Load(), spy.updates.Load(); v != 0 || u != 0 {
			t.Errorf("%s: %d reads and %d writes, want none", name, v, u)
		}
	}
}

// TestTokensOfEndedSessionsAreNotRemembered: they are genuine, and whoever has
// signed in and out a lot could fill the memory with them.
func TestTokensOfEndedSessionsAreNotRemembered(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	ended, live := f.signIn(t, "ada", authn.ModeToken), f.signIn(t, "ada", authn.ModeToken)
	if err := f.Logout(ctx, authn.Credential{}, ended.RefreshToken, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		token authn.Secret
		err   error
		held  int
	}{
		{"of an ended session", ended.AccessToken, authn.ErrTokenRevoked, 0},
		{"of a live one", live.AccessToken, nil, 1},
		{"the same again", live.AccessToken, nil, 1},
	} {
		if _, err := f.Identify(ctx, bearer(c.token)); !errors.Is(err, c.err) {
			t.Fatalf("%s: got %v, want %v", c.name, err, c.err)
		}
		if got := f.TokensHeld(); got != c.held {
			t.Errorf("%s: %d tokens are remembered, want %d", c.name, got, c.held)
		}
	}
}

// TestTokensAreRememberedUntilTheyEnd, and not until thousands of others have
// come; those whose time is not over stay.
func TestTokensAreRememberedUntilTheyEnd(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	first := f.signIn(t, "ada", authn.ModeToken)
	f.advance(time.Minute)
	second := f.signIn(t, "ada", authn.ModeToken)
	for _, in := range []authn.SignIn{first, second} {
		if _, err := f.Identify(ctx, bearer(in.AccessToken)); err != nil {
			t.Fatal(err)
		}
	}
	end := start.Add(f.Config.Tokens.AccessTTL)
	for _, c := range []struct {
		name string
		at   time.Time
		held int
	}{
		{"before the first ends", end.Add(-1), 2},
		{"as the first ends", end, 1},
		{"before the second ends", end.Add(time.Minute - 1), 1},
		{"as the second ends", end.Add(time.Minute), 0},
	} {
		f.set(c.at)
		if err := f.Sweep(ctx, f.at()); err != nil {
			t.Fatal(err)
		}
		if got := f.TokensHeld(); got != c.held {
			t.Errorf("%s: %d tokens are remembered, want %d", c.name, got, c.held)
		}
	}
	// What is forgotten is answered as before, and not remembered again.
	if _, err := f.Identify(ctx, bearer(first.AccessToken)); !errors.Is(err, authn.ErrTokenExpired) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenExpired)
	}
	if got := f.TokensHeld(); got != 0 {
		t.Errorf("%d tokens are remembered after the use of one that has ended", got)
	}
}

// TestARememberedTokenKeepsNobodyAlive who was replaced in the caches: the token
// may never be used again. Who is still current stays, and costs no read.
func TestARememberedTokenKeepsNobodyAlive(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	u := f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	use := func() {
		t.Helper()
		if _, err := f.Identify(ctx, bearer(in.AccessToken)); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func() {
		t.Helper()
		if err := f.Sweep(ctx, f.at()); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
	}
	use()
	session, user := f.CachedSession(in.Session.ID), f.CachedUser(u.ID)
	sweep()
	if session.Value() == nil || user.Value() == nil {
		t.Fatal("a sweep lets go of who is current")
	}
	spy.views.Store(0)
	use()
	if n := spy.views.Load(); n != 0 {
		t.Errorf("after a sweep a request costs %d reads, want none", n)
	}

	if err := f.Store.Update(ctx, func(tx authn.Tx) error {
		x, err := tx.Session(in.Session.ID)
		return errors.Join(err, tx.PutSession(x))
	}); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if session.Value() != nil {
		t.Error("the token keeps a session that was replaced")
	}
	touchUser(t, f, u.ID)
	sweep()
	if user.Value() != nil {
		t.Error("after a sweep the token keeps a user who was replaced")
	}
	if got := f.TokensHeld(); got != 1 {
		t.Errorf("%d tokens are remembered, want the one", got)
	}
	use()
}

// TestIdentifyAfterRevocation: whatever ends a session or changes its user
// holds from the next request on, however well it was cached.
func TestIdentifyAfterRevocation(t *testing.T) {
	cli := authn.Actor{ID: authn.ActorCLI}
	off, admin := false, []string{"admin", "user"}
	type end struct {
		do   func(f *fixture, u authn.User, in authn.SignIn) error
		dead bool
		role string // held afterwards, where alive
	}
	ends := map[string]end{
		"logout by bearer": {func(f *fixture, _ authn.User, in authn.SignIn) error {
			return f.Logout(ctx, authn.Credential{Bearer: in.AccessToken, Cookies: []authn.Secret{in.Cookie}}, "", client("192.0.2.1"))
		}, true, ""},
		"logout all": {func(f *fixture, u authn.User, in authn.SignIn) error {
			return f.LogoutAll(ctx, authn.Identity{User: &u, Session: in.Session.ID}, client("192.0.2.1"))
		}, true, ""},
		"ended from another device": {func(f *fixture, u authn.User, in authn.SignIn) error {
			return f.EndSession(ctx, u.ID, in.Session.ID, authn.Actor{ID: u.ID})
		}, true, ""},
		"disabled": {func(f *fixture, u authn.User, _ authn.SignIn) error {
			_, err := f.UpdateUser(ctx, u.ID, authn.UserChange{Active: &off}, cli)
			return err
		}, true, ""},
		"deleted": {func(f *fixture, u authn.User, _ authn.SignIn) error { return f.DeleteUser(ctx, u.ID, cli) }, true, ""},
		"password changed": {func(f *fixture, u authn.User, in authn.SignIn) error {
			return f.ChangePassword(ctx, authn.Identity{User: &u, Session: in.Session.ID}, password, "another long walk off it", client("192.0.2.1"))
		}, true, ""},
		"password set by an admin": {func(f *fixture, u authn.User, _ authn.SignIn) error {
			_, err := f.SetPassword(ctx, u.ID, "", cli)
			return err
		}, true, ""},
		"idle too long": {func(f *fixture, _ authn.User, in authn.SignIn) error {
			return f.Store.Update(ctx, func(tx authn.Tx) error {
				x, err := tx.Session(in.Session.ID)
				x.IdleEnd = start
				return errors.Join(err, tx.PutSession(x))
			})
		}, true, ""},
		"a role more": {func(f *fixture, u authn.User, _ authn.SignIn) error {
			_, err := f.UpdateUser(ctx, u.ID, authn.UserChange{Roles: &admin}, cli)
			return err
		}, false, "admin"},
	}
	for name, e := range ends {
		for _, mode := range []authn.Mode{authn.ModeToken, authn.ModeSessionCookie} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				f := newService(t, nil)
				u := f.newUser(t, "ada", "user")
				in := f.signIn(t, "ada", mode)
				c, want := bearer(in.AccessToken), authn.ErrTokenRevoked
				if mode == authn.ModeSessionCookie {
					c, want = cookies(in.Cookie), authn.ErrNotSignedIn
				}
				id, err := f.Identify(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := e.do(f, u, in); err != nil {
					t.Fatal(err)
				}
				after, err := f.Identify(ctx, c)
				current, errNow := f.Current(ctx, id)
				if !e.dead {
					if err != nil || errNow != nil || !after.User.HasRole(e.role) || !current.User.HasRole(e.role) {
						t.Errorf("got %v, %v (%v, %v), want role %s", after.User.Roles, current.User.Roles, err, errNow, e.role)
					}
					return
				}
				if !errors.Is(err, want) || !errors.Is(errNow, want) {
					t.Errorf("Identify: %v, Current: %v; want %v", err, errNow, want)
				}
			})
		}
	}
}

// TestIdentifyOnDeletedAndRegisteredAgain: the new account of the same person
// is not reached by the old account's token.
func TestIdentifyOnDeletedAndRegisteredAgain(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "admin")
	f.newUser(t, "eve", "admin")
	token := f.signIn(t, "ada", authn.ModeToken).AccessToken
	if err := f.DeleteUser(ctx, u.ID, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	f.newUser(t, "ada2", "user")
	if _, err := f.Identify(ctx, bearer(token)); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenRevoked)
	}
}

// TestIdentifyStaleFill is the race of a cache: a request reads the session,
// the session ends, and only then is what was read put into the cache.
func TestIdentifyStaleFill(t *testing.T) {
	type change func(tx authn.Tx, u authn.User, sid string) error
	for name, end := range map[string]struct {
		cached bool // the session is in the cache, the user is not
		end    change
	}{
		"session": {false, func(tx authn.Tx, _ authn.User, sid string) error { return tx.DeleteSession(sid) }},
		"user": {true, func(tx authn.Tx, u authn.User, _ string) error {
			u.Active = false
			return tx.PutUser(u)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			spy := newSpy(t)
			f := newService(t, onStore(spy))
			u := f.newUser(t, "ada", "user")
			in := f.signIn(t, "ada", authn.ModeToken)
			if end.cached {
				if _, err := f.Identify(ctx, bearer(in.AccessToken)); err != nil {
					t.Fatal(err)
				}
				touchUser(t, f, u.ID)
			}
			h := spy.holdNext()
			slow := make(chan struct{})
			go func() {
				defer close(slow)
				f.Identify(ctx, bearer(in.AccessToken)) // in time: either answer is right
			}()
			wait(t, "the read", h.read)
			if err := f.Store.Update(ctx, func(tx authn.Tx) error { return end.end(tx, u, in.Session.ID) }); err != nil {
				t.Fatal(err)
			}
			close(h.release)
			wait(t, "the slow request", slow)
			if _, err := f.Identify(ctx, bearer(in.AccessToken)); !errors.Is(err, authn.ErrTokenRevoked) {
				t.Errorf("got %v, want %v", err, authn.ErrTokenRevoked)
			}
		})
	}
}

// TestAFeedThatSaysOnlyThatSomethingChanged: then everything may have.
func TestAFeedThatSaysOnlyThatSomethingChanged(t *testing.T) {
	for name, end := range map[string]func(tx authn.Tx, u authn.User, sid string) error{
		"session": func(tx authn.Tx, _ authn.User, sid string) error { return tx.DeleteSession(sid) },
		"user": func(tx authn.Tx, u authn.User, _ string) error {
			u.Active = false
			return tx.PutUser(u)
		},
	} {
		t.Run(name, func(t *testing.T) {
			spy := newSpy(t)
			f := newService(t, onStore(spy))
			u := f.newUser(t, "ada", "user")
			in := f.signIn(t, "ada", authn.ModeToken)
			for range 2 { // that everything is cached
				if _, err := f.Identify(ctx, bearer(in.AccessToken)); err != nil {
					t.Fatal(err)
				}
			}
			spy.vague.Store(true)
			if err := f.Store.Update(ctx, func(tx authn.Tx) error { return end(tx, u, in.Session.ID) }); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Identify(ctx, bearer(in.AccessToken)); !errors.Is(err, authn.ErrTokenRevoked) {
				t.Errorf("got %v, want %v", err, authn.ErrTokenRevoked)
			}
		})
	}
}

// touchUser writes the user as it is, so that it is not in the cache.
func touchUser(t *testing.T, f *fixture, id string) {
	t.Helper()
	if err := f.Store.Update(ctx, func(tx authn.Tx) error {
		u, err := tx.User(id)
		return errors.Join(err, tx.PutUser(u))
	}); err != nil {
		t.Fatal(err)
	}
}

// TestIdentifyWhileTheFeedIsDown: with nobody to tell of a change, every
// request reads; when the feed is back, nothing from before is believed.
func TestIdentifyWhileTheFeedIsDown(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	u := f.newUser(t, "ada", "user")
	c := bearer(f.signIn(t, "ada", authn.ModeToken).AccessToken)
	id, err := f.Identify(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	told := follow(t, f, id)
	mend := spy.cutFeed()
	wait(t, "followers when the feed ends", told)

	if f.Ready(ctx)["store"] == nil {
		t.Error("ready while the feed is down")
	}
	for range 3 {
		before := spy.views.Load()
		if _, err := f.Identify(ctx, c); err != nil {
			t.Fatal(err)
		}
		if n := spy.views.Load() - before; n < 2 {
			t.Errorf("%d reads while the feed was down, want the session and the user", n)
		}
	}
	setActive := func(active bool) {
		if err := spy.Store.Update(ctx, func(tx authn.Tx) error {
			u, err := tx.User(u.ID)
			u.Active = active
			return errors.Join(err, tx.PutUser(u))
		}); err != nil {
			t.Fatal(err)
		}
	}
	setActive(false)
	if _, err := f.Identify(ctx, c); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenRevoked)
	}
	setActive(true)
	mend()
	for f.Ready(ctx)["store"] != nil {
		wait(t, "followers when the feed is back", told)
	}
	for range 2 {
		if _, err := f.Identify(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	before := spy.views.Load()
	if _, err := f.Identify(ctx, c); err != nil || spy.views.Load() != before {
		t.Errorf("with the feed back a request still reads (%v)", err)
	}
}

// TestIdentifyWhenTheStoreFails: no answer is not a yes, and not a "signed out" either.
func TestIdentifyWhenTheStoreFails(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	cookie := f.signIn(t, "ada", authn.ModeSessionCookie)
	spy.Store.Close()
	for name, c := range map[string]authn.Credential{"bearer": bearer(in.AccessToken), "cookie": cookies(cookie.Cookie)} {
		_, err := f.Identify(ctx, c)
		if err == nil || errors.Is(err, authn.ErrNotSignedIn) || errors.Is(err, authn.ErrTokenRevoked) {
			t.Errorf("%s: got %v, want the store's error", name, err)
		}
	}
	if _, err := f.refresh(in.RefreshToken); err == nil || errors.Is(err, authn.ErrRefreshInvalid) {
		t.Errorf("refresh: got %v, want the store's error", err)
	}
	if f.Ready(ctx)["store"] == nil {
		t.Error("ready without a store")
	}
}

// TestIdentifyManyAtOnce mixes nobody up.
func TestIdentifyManyAtOnce(t *testing.T) {
	f := newService(t, nil)
	names := []string{"ada", "bob", "cyd", "dan"}
	var all sync.WaitGroup
	for _, name := range names {
		f.newUser(t, name, "user")
		c := bearer(f.signIn(t, name, authn.ModeToken).AccessToken)
		k := cookies(f.signIn(t, name, authn.ModeSessionCookie).Cookie)
		for range 4 {
			all.Go(func() {
				for range 200 {
					a, err := f.Identify(ctx, c)
					b, err2 := f.Identify(ctx, k)
					if err != nil || err2 != nil || a.User.Username != name || b.User.Username != name {
						t.Errorf("want %s, got %s and %s (%v, %v)", name, a.User.Username, b.User.Username, err, err2)
						return
					}
				}
			})
		}
		all.Go(func() { // meanwhile everything is forgotten again and again
			for range 20 {
				u, err := f.UserByLogin(ctx, name)
				if err != nil {
					t.Error(err)
					return
				}
				err = f.Store.Update(ctx, func(tx authn.Tx) error { return tx.PutUser(u) })
				if err := errors.Join(err, f.Sweep(ctx, f.at())); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestFollow(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	f.newUser(t, "bob", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	id, err := f.Identify(ctx, bearer(in.AccessToken))
	if err != nil {
		t.Fatal(err)
	}
	told := follow(t, f, id)
	stopped := make(chan struct{}, 100)
	stop := f.Follow(id, func() { stopped <- struct{}{} })
	stop()

	roles := []string{"editor"}
	if _, err := f.UpdateUser(ctx, u.ID, authn.UserChange{Roles: &roles}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	wait(t, "a change of roles", told)
	if now, err := f.Current(ctx, id); err != nil || !reflect.DeepEqual(now.User.Roles, roles) || now.Session != id.Session {
		t.Errorf("got %+v, %v", now, err)
	}
	f.advance(time.Hour) // an access token's end is not a stream's
	if _, err := f.Current(ctx, id); err != nil {
		t.Errorf("after the access token's end: %v", err)
	}
	if err := f.Logout(ctx, authn.Credential{}, in.RefreshToken, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of the session", told)
	if _, err := f.Current(ctx, id); !errors.Is(err, authn.ErrTokenRevoked) {
		t.Errorf("got %v, want %v", err, authn.ErrTokenRevoked)
	}
	if len(stopped) != 0 {
		t.Error("called after stop")
	}
}

// TestWhoStoppedFollowingIsForgotten: streams come and go by the thousand.
func TestWhoStoppedFollowingIsForgotten(t *testing.T) {
	f := newService(t, nil)
	for n := range 100 {
		id := strconv.Itoa(n)
		stop := f.Follow(authn.Identity{User: &authn.User{ID: "u" + id}, Session: "s" + id}, func() {})
		defer f.Follow(authn.Identity{User: &authn.User{ID: "u" + id}, Session: "s"}, func() {})()
		stop()
	}
	if got := f.Following(); got != 101 { // each user's other session, and that
		t.Errorf("%d are told of changes, want 101", got)
	}
}

// TestFollowNeverRunsTwiceAtOnce, and a change that comes meanwhile is not lost.
func TestFollowNeverRunsTwiceAtOnce(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	running, release, runs := make(chan struct{}, 10), make(chan struct{}), make(chan struct{}, 10)
	stop := f.Follow(authn.Identity{User: &u, Session: "none"}, func() {
		running <- struct{}{}
		<-release
		runs <- struct{}{}
	})
	defer stop()
	touchUser(t, f, u.ID)
	wait(t, "the first change", running)
	for range 5 {
		touchUser(t, f, u.ID)
	}
	if len(running) != 0 {
		t.Error("fn runs twice at once")
	}
	close(release)
	wait(t, "the first run", runs)
	wait(t, "the run for what came meanwhile", runs)
}
