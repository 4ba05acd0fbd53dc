package authn_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

func TestSessionRecord(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	c := client("::ffff:192.0.2.1")
	c.UserAgent = strings.Repeat("é", 200) + "\xff"
	in, err := f.Login(ctx, authn.LoginAttempt{Login: "ada", Password: password}, c)
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.stored(t, in.Session.ID)
	if err != nil {
		t.Fatal(err)
	}
	if x.Mode != authn.ModeToken || x.ClientIP != "192.0.2.1" || x.UserAgent != strings.Repeat("é", 128) {
		t.Errorf("mode %s, ip %s, user agent of %d bytes", x.Mode, x.ClientIP, len(x.UserAgent))
	}
	if got, want := x.IdleEnd.Sub(start), 168*time.Hour; got != want {
		t.Errorf("idle end after %v, want %v", got, want)
	}
	if got, want := x.End.Sub(start), 720*time.Hour; got != want {
		t.Errorf("end after %v, want %v", got, want)
	}
}

// TestDeviceIsPlainText: what a client calls itself is shown on the terminal of
// whoever looks after the accounts.
func TestDeviceIsPlainText(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	c := client("192.0.2.1")
	c.UserAgent = "one\x1b[2J \u009b31mtwo\tthree\r\n\u2028four \u202efive é"
	in, err := f.Login(ctx, authn.LoginAttempt{Login: "ada", Password: password}, c)
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.stored(t, in.Session.ID)
	if want := "one[2J 31mtwothreefour five é"; err != nil || x.UserAgent != want {
		t.Errorf("got %q, %v, want %q", x.UserAgent, err, want)
	}
}

// TestSessionsPerUser: the oldest makes room, and one that is over needs none.
func TestSessionsPerUser(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Sessions.PerUser = 3 })
	u := f.newUser(t, "ada", "user")
	f.newUser(t, "bob", "user")
	bobs := f.signIn(t, "bob", authn.ModeToken)
	var ins []authn.SignIn
	for range 5 {
		f.advance(time.Second)
		ins = append(ins, f.signIn(t, "ada", authn.ModeToken))
	}
	for i, in := range ins {
		_, err := f.bearer(in.AccessToken.Reveal())
		if want := i >= 2; (err == nil) != want {
			t.Errorf("session %d: %v, want alive %v", i, err, want)
		}
	}
	if _, err := f.bearer(bobs.AccessToken.Reveal()); err != nil {
		t.Errorf("someone else's session: %v", err)
	}
	ended := slices.DeleteFunc(f.events(t, u.ID), func(k string) bool { return k != "session.ended limit" })
	if len(ended) != 2 {
		t.Errorf("%d sessions ended by the limit, want 2", len(ended))
	}
	list, err := f.Sessions(ctx, u.ID)
	if err != nil || len(list) != 3 || list[0].ID != ins[4].Session.ID || list[2].ID != ins[2].Session.ID {
		t.Errorf("sessions %v, %v", list, err)
	}
	f.advance(f.Config.Sessions.Idle)
	if list, err := f.Sessions(ctx, u.ID); err != nil || len(list) != 0 {
		t.Errorf("sessions that are over are listed: %v, %v", list, err)
	}
	f.signIn(t, "ada", authn.ModeToken)
	if got := f.events(t, u.ID); !slices.Contains(got, "session.ended expired") {
		t.Errorf("events %q", got)
	}
}

func TestSessionsWithoutALimit(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Sessions.PerUser = 0 })
	u := f.newUser(t, "ada", "user")
	for range 8 {
		f.signIn(t, "ada", authn.ModeSessionCookie)
	}
	if list, err := f.Sessions(ctx, u.ID); err != nil || len(list) != 8 {
		t.Errorf("%d sessions, %v; want 8", len(list), err)
	}
}

func TestEndSession(t *testing.T) {
	f := newService(t, nil)
	ada, bob := f.newUser(t, "ada", "user"), f.newUser(t, "bob", "user")
	x := f.signIn(t, "ada", authn.ModeToken).Session.ID
	y := f.signIn(t, "ada", authn.ModeToken).Session.ID
	self := authn.Actor{ID: ada.ID, Client: client("192.0.2.1")}
	for name, sid := range map[string]string{"unknown": "00000000000000000000000000", "empty": "", "odd": "../" + x} {
		if err := f.EndSession(ctx, ada.ID, sid, self); !errors.Is(err, authn.ErrNotFound) {
			t.Errorf("%s: got %v, want %v", name, err, authn.ErrNotFound)
		}
	}
	if err := f.EndSession(ctx, bob.ID, x, authn.Actor{ID: bob.ID}); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("someone else's: got %v, want %v", err, authn.ErrNotFound)
	}
	if err := f.EndSession(ctx, ada.ID, x, self); err != nil {
		t.Fatal(err)
	}
	if err := f.EndSession(ctx, ada.ID, x, self); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("twice: got %v, want %v", err, authn.ErrNotFound)
	}
	if err := f.EndSession(ctx, ada.ID, y, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	if got := f.events(t, ada.ID)[:2]; !slices.Equal(got, []string{"session.ended admin", "session.ended logout"}) {
		t.Errorf("events %q", got)
	}
}

// TestLogout is every way to say which session to end.
func TestLogout(t *testing.T) {
	type said struct {
		cred    authn.Credential
		refresh authn.Secret
	}
	for _, c := range []struct {
		name string
		mode authn.Mode
		say  func(f *fixture, in authn.SignIn) said
		ends bool
	}{
		{"refresh token", authn.ModeToken, func(_ *fixture, in authn.SignIn) said { return said{refresh: in.RefreshToken} }, true},
		{"exchanged refresh token", authn.ModeToken, func(f *fixture, in authn.SignIn) said {
			f.refresh(in.RefreshToken)
			f.advance(time.Hour)
			return said{refresh: in.RefreshToken}
		}, true},
		{"bearer", authn.ModeToken, func(_ *fixture, in authn.SignIn) said { return said{cred: bearer(in.AccessToken)} }, true},
		{"expired bearer", authn.ModeToken, func(f *fixture, in authn.SignIn) said {
			f.advance(time.Hour)
			return said{cred: bearer(in.AccessToken)}
		}, true},
		{"cookie", authn.ModeSessionCookie, func(_ *fixture, in authn.SignIn) said { return said{cred: cookies("x", in.Cookie)} }, true},
		{"bad bearer and refresh token", authn.ModeToken, func(_ *fixture, in authn.SignIn) said {
			return said{bearer("junk"), in.RefreshToken}
		}, true},
		{"everything at once", authn.ModeToken, func(_ *fixture, in authn.SignIn) said {
			return said{bearer(in.AccessToken), in.RefreshToken}
		}, true},
		{"nothing", authn.ModeToken, func(*fixture, authn.SignIn) said { return said{} }, false},
		{"forged bearer", authn.ModeToken, func(_ *fixture, in authn.SignIn) said {
			return said{cred: bearer(authn.Secret(flip(in.AccessToken.Reveal())))}
		}, false},
		{"forged refresh token", authn.ModeToken, func(_ *fixture, in authn.SignIn) said {
			return said{refresh: authn.Secret(flip(in.RefreshToken.Reveal()))}
		}, false},
		{"forged cookie", authn.ModeSessionCookie, func(_ *fixture, in authn.SignIn) said {
			return said{cred: cookies(authn.Secret(flip(in.Cookie.Reveal())))}
		}, false},
		{"bearer of another user", authn.ModeToken, func(f *fixture, in authn.SignIn) said {
			w := stolen(t, f, in.AccessToken).with("sub", `"00000000000000000000000000"`)
			return said{cred: bearer(authn.Secret(w.token(t)))}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newService(t, nil)
			u := f.newUser(t, "ada", "user")
			other := f.signIn(t, "ada", authn.ModeToken)
			in := f.signIn(t, "ada", c.mode)
			s := c.say(f, in)
			for range 2 { // the second has nothing to do, and that is no error
				if err := f.Logout(ctx, s.cred, s.refresh, client("192.0.2.1")); err != nil {
					t.Fatal(err)
				}
			}
			_, err := f.stored(t, in.Session.ID)
			if errors.Is(err, authn.ErrNotFound) != c.ends {
				t.Errorf("the session: %v, want ended %v", err, c.ends)
			}
			if _, err := f.stored(t, other.Session.ID); err != nil {
				t.Errorf("the other session: %v", err)
			}
			if got := f.events(t, u.ID)[0] == "session.ended logout"; got != c.ends {
				t.Errorf("events %q", f.events(t, u.ID))
			}
		})
	}
}

// TestLogoutWithoutASessionWritesNothing: anyone can ask.
func TestLogoutWithoutASessionWritesNothing(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	if err := f.Logout(ctx, authn.Credential{}, in.RefreshToken, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	spy.updates.Store(0)
	forged := authn.Secret(flip(in.RefreshToken.Reveal()))
	for _, token := range []authn.Secret{in.RefreshToken, forged, ""} {
		if err := f.Logout(ctx, bearer(in.AccessToken), token, client("192.0.2.1")); err != nil {
			t.Error(err)
		}
		f.refresh(token)
	}
	if n := spy.updates.Load(); n != 0 {
		t.Errorf("%d transactions to write nothing", n)
	}
}

func TestLogoutAll(t *testing.T) {
	f := newService(t, nil)
	u := f.newUser(t, "ada", "user")
	f.newUser(t, "bob", "user")
	bob := f.signIn(t, "bob", authn.ModeToken)
	var ids []authn.Credential
	for range 2 {
		ids = append(ids, bearer(f.signIn(t, "ada", authn.ModeToken).AccessToken), cookies(f.signIn(t, "ada", authn.ModeSessionCookie).Cookie))
	}
	id, err := f.Identify(ctx, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := f.LogoutAll(ctx, id, client("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	for i, c := range ids {
		if _, err := f.Identify(ctx, c); err == nil {
			t.Errorf("credential %d still works", i)
		}
	}
	if _, err := f.bearer(bob.AccessToken.Reveal()); err != nil {
		t.Errorf("someone else: %v", err)
	}
	if got := f.events(t, u.ID)[:4]; !slices.Equal(got, slices.Repeat([]string{"session.ended logout_all"}, 4)) {
		t.Errorf("events %q", got)
	}
}

// TestLogoutBesideRefresh: whoever wins, the session is over afterwards.
func TestLogoutBesideRefresh(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	for range 20 {
		in := f.signIn(t, "ada", authn.ModeToken)
		refreshed := make(chan authn.SignIn, 1)
		go func() {
			next, _ := f.refresh(in.RefreshToken)
			refreshed <- next
		}()
		if err := f.Logout(ctx, bearer(in.AccessToken), in.RefreshToken, client("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
		next := <-refreshed
		if next.AccessToken != "" {
			if _, err := f.bearer(next.AccessToken.Reveal()); !errors.Is(err, authn.ErrTokenRevoked) {
				t.Fatalf("the refreshed access token: %v", err)
			}
		}
		if _, err := f.refresh(in.RefreshToken); !errors.Is(err, authn.ErrRefreshInvalid) {
			t.Fatalf("the refresh token: %v", err)
		}
	}
}

// TestCookieUseMovesTheIdleEnd, at the cost of one write a minute.
func TestCookieUseMovesTheIdleEnd(t *testing.T) {
	spy := newSpy(t)
	f := newService(t, onStore(spy))
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	sid, c := in.Session.ID, cookies(in.Cookie)
	use := func() {
		t.Helper()
		if _, err := f.Identify(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	f.advance(59 * time.Second)
	use()
	if f.Waiting(sid) {
		t.Error("a use within a minute of the last waits to be written")
	}
	f.advance(time.Second)
	spy.updates.Store(0)
	for range 100 {
		use()
	}
	if n := spy.updates.Load(); n > 1 { // the ticker may have been there
		t.Errorf("requests wrote %d times", n)
	}
	if err := f.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n := spy.updates.Load(); n != 1 {
		t.Errorf("a hundred uses cost %d writes, want 1", n)
	}
	x, err := f.stored(t, sid)
	if err != nil || !x.LastUsedAt.Equal(f.at()) || !x.IdleEnd.Equal(f.at().Add(168*time.Hour)) {
		t.Errorf("last used %v, idle end %v (%v)", x.LastUsedAt, x.IdleEnd, err)
	}
	for range 4 { // never past the end
		f.advance(167 * time.Hour)
		use()
		if err := f.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if x, err = f.stored(t, sid); err != nil || !x.IdleEnd.Equal(x.End) {
		t.Errorf("idle end %v, end %v (%v)", x.IdleEnd, x.End, err)
	}
	f.advance(x.End.Sub(f.at()))
	if _, err := f.Identify(ctx, c); !errors.Is(err, authn.ErrNotSignedIn) {
		t.Errorf("at its end: %v", err)
	}
}

// TestCookieUseCountsBeforeItIsWritten: the session does not idle out because
// its last use still waits, nor does the sweep take it.
func TestCookieUseCountsBeforeItIsWritten(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	c := cookies(in.Cookie)
	f.advance(167 * time.Hour)
	if _, err := f.Identify(ctx, c); err != nil {
		t.Fatal(err)
	}
	f.advance(2 * time.Hour)
	id, err := f.Identify(ctx, c)
	if err != nil {
		t.Fatalf("used two hours ago: %v", err)
	}
	if _, err := f.SetName(ctx, id, "Ada", here); err != nil {
		t.Errorf("who may call may act: %v", err)
	}
	f.signIn(t, "ada", authn.ModeToken)
	if got := f.live(t, id.User.ID); got != 2 {
		t.Errorf("after another sign-in: %d sessions, want both", got)
	}
	if err := f.Sweep(ctx, f.at()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Identify(ctx, c); err != nil {
		t.Errorf("after the sweep: %v", err)
	}
}

// TestCookieIdlesOut whatever was used after its end.
func TestCookieIdlesOut(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	f.advance(168*time.Hour - 1)
	if _, err := f.Identify(ctx, cookies(in.Cookie)); err != nil {
		t.Fatal(err)
	}
	in2 := f.signIn(t, "ada", authn.ModeSessionCookie)
	f.advance(168 * time.Hour)
	for range 2 {
		if _, err := f.Identify(ctx, cookies(in2.Cookie)); !errors.Is(err, authn.ErrNotSignedIn) {
			t.Errorf("got %v, want %v", err, authn.ErrNotSignedIn)
		}
		if _, err := f.Identify(ctx, cookies(in.Cookie)); !errors.Is(err, authn.ErrNotSignedIn) {
			t.Errorf("used once since, and then no more: got %v, want %v", err, authn.ErrNotSignedIn)
		}
	}
}

// TestBearerUseDoesNotMoveTheIdleEnd: its refresh does.
func TestBearerUseDoesNotMoveTheIdleEnd(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	f.advance(10 * time.Minute)
	if _, err := f.bearer(in.AccessToken.Reveal()); err != nil {
		t.Fatal(err)
	}
	if f.Waiting(in.Session.ID) {
		t.Error("a bearer's use waits to be written")
	}
}

// TestCloseWritesWhatWaits
func TestCloseWritesWhatWaits(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	f.advance(time.Hour)
	if _, err := f.Identify(ctx, cookies(in.Cookie)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	x, err := f.stored(t, in.Session.ID)
	if err != nil || !x.LastUsedAt.Equal(f.at()) {
		t.Errorf("last used %v (%v), want %v", x.LastUsedAt, err, f.at())
	}
}

// TestSessionsOutliveARestart: sessions, keys and rotations are all in the store.
func TestSessionsOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	open := func() (authn.Store, *fixture) {
		st, err := bolt.Open(ctx, path, bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return st, newServiceOn(t, st, nil)
	}
	st, f := open()
	f.newUser(t, "ada", "user")
	in, cookie := f.signIn(t, "ada", authn.ModeToken), f.signIn(t, "ada", authn.ModeSessionCookie)
	next := f.rotated(t, in.RefreshToken)
	if err := errors.Join(f.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
	st, f = open()
	defer st.Close()
	defer f.Close()
	if _, err := f.bearer(next.AccessToken.Reveal()); err != nil {
		t.Errorf("bearer: %v", err)
	}
	if _, err := f.Identify(ctx, cookies(cookie.Cookie)); err != nil {
		t.Errorf("cookie: %v", err)
	}
	if again := f.rotated(t, in.RefreshToken); again.RefreshToken != next.RefreshToken {
		t.Error("the answer lost in the restart is another one now")
	}
}

// TestCookieUseIsWrittenInTheBackground without anyone asking for it.
func TestCookieUseIsWrittenInTheBackground(t *testing.T) {
	f := newService(t, func(d *authn.Deps) { d.Config.Sessions.Idle = time.Second })
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeSessionCookie)
	id, err := f.Identify(ctx, cookies(in.Cookie))
	if err != nil {
		t.Fatal(err)
	}
	told := follow(t, f, id)
	f.advance(time.Second / 2)
	if _, err := f.Identify(ctx, cookies(in.Cookie)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the write", told)
	if x, err := f.stored(t, in.Session.ID); err != nil || !x.LastUsedAt.Equal(f.at()) {
		t.Errorf("last used %v (%v), want %v", x.LastUsedAt, err, f.at())
	}
}
