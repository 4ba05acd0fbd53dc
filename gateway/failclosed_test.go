package gateway

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// TestAFullStoreAdmitsNobodyNewAndForgetsNobody: who is signed in goes on, who
// is not stays out, and what could not be kept never happened.
func TestAFullStoreAdmitsNobodyNewAndForgetsNobody(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g, store := newFrailGateway(t, behind(up.url(), to("/**", signedin), to("/admin/**", roles("admin"))))
	ann := g.person(t, "ann", "user")
	extra := g.signIn("ann", authn.ModeToken)
	store.full.Store(true)

	reached := len(up.requests())
	for _, c := range []struct{ name, path, header, want string }{
		{"a token", "/x", ann.bearer, ""},
		{"a cookie", "/x", "Cookie: " + ann.cookie, ""},
		{"nobody", "/x", "Accept: */*", "AUTHENTICATION_REQUIRED"},
		{"no token", "/x", "Authorization: Bearer x", "TOKEN_INVALID"},
		{"no admin", "/admin/x", ann.bearer, "INSUFFICIENT_ROLE"},
	} {
		if a := g.get(c.path, c.header); a.code() != c.want {
			t.Errorf("%s: got %d %q, want %q", c.name, a.Status, a.code(), c.want)
		}
	}
	if got := len(up.requests()) - reached; got != 2 {
		t.Errorf("%d requests reached the backend, want the 2 of ann", got)
	}
	refresh := fmt.Sprintf(`{"refresh_token":%q}`, extra.RefreshToken.Reveal())
	for name, ask := range map[string]func() reply{
		"sign-in":        func() reply { return g.login("ann", "token") },
		"cookie sign-in": func() reply { return g.login("ann", "session_cookie") },
		"wrong password": func() reply { return g.post("/auth/login", `{"login":"ann","password":"not-the-password-at-all"}`) },
		"registration":   func() reply { return g.post("/auth/register", `{"username":"bob","password":"`+testPassword+`"}`) },
		"refresh":        func() reply { return g.post("/auth/refresh", refresh) },
		"logout":         func() reply { return g.post("/auth/logout", "", ann.bearer) },
		"logout-all":     func() reply { return g.post("/auth/logout-all", "", ann.bearer) },
	} {
		a := ask()
		wantProblem(t, a, 500, "INTERNAL")
		if t.Failed() {
			t.Fatalf("%s: got %d %s, cookies %q", name, a.Status, a.Body, a.Header.Values("Set-Cookie"))
		}
		if len(a.Header.Values("Set-Cookie")) > 0 || strings.Contains(a.Body, "space") {
			t.Errorf("%s: got cookies %q and %s, want none and nothing from inside", name, a.Header.Values("Set-Cookie"), a.Body)
		}
	}

	if a := g.ops("/readyz"); a.Status != 503 || !strings.Contains(a.Body, "store") {
		t.Errorf("/readyz: got %d %s, want 503 for the store", a.Status, a.Body)
	}

	store.full.Store(false)
	if a := g.get("/x", ann.bearer); a.Status != 200 {
		t.Errorf("the token after a logout that failed: got %d %s, want 200", a.Status, a.Body)
	}
	if a := g.login("bob", "token"); a.code() != "INVALID_CREDENTIALS" {
		t.Errorf("the account that could not be kept: got %d %s, want none", a.Status, a.Body)
	}
	if a := g.post("/auth/refresh", refresh); a.Status != 200 {
		t.Errorf("the refresh token after a refresh that failed: got %d %s, want 200", a.Status, a.Body)
	}
	if a := g.post("/auth/logout", "", ann.bearer); a.Status != 204 || g.get("/x", ann.bearer).code() != "TOKEN_REVOKED" {
		t.Errorf("logout with room again: got %d %s, want 204 and an end", a.Status, a.Body)
	}
}

// TestNoCacheIsBelievedWhileTheFeedIsDown: a change that nobody tells of counts
// on the next request all the same, and the gateway says that it is not well.
func TestNoCacheIsBelievedWhileTheFeedIsDown(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g, store := newFrailGateway(t, behind(up.url(), to("/**", signedin)))
	ann := g.person(t, "ann", "user")
	if a := g.get("/x", ann.bearer); a.Status != 200 || g.ops("/readyz").Status != 200 {
		t.Fatalf("before: got %d %s", a.Status, a.Body)
	}
	store.cut.Store(true)
	close(store.cutNow)
	g.eventually("/readyz to say so", func() bool {
		a := g.ops("/readyz")
		return a.Status == 503 && strings.Contains(a.Body, "feed")
	})
	if !strings.Contains(g.logs.String(), "the change feed of the store failed") {
		t.Errorf("the log does not say that the feed failed:\n%s", g.logs)
	}
	if a := g.get("/x", ann.bearer); a.Status != 200 {
		t.Errorf("while the feed is down: got %d %s, want 200 from the store itself", a.Status, a.Body)
	}
	setActive := func(active bool) {
		t.Helper()
		if err := g.store.Update(t.Context(), func(tx authn.Tx) error {
			u, err := tx.User(ann.id)
			u.Active = active
			return errors.Join(err, tx.PutUser(u))
		}); err != nil {
			t.Fatal(err)
		}
	}
	setActive(false)
	reached := len(up.requests())
	for name, header := range map[string]string{"TOKEN_REVOKED": ann.bearer, "AUTHENTICATION_REQUIRED": "Cookie: " + ann.cookie} {
		if a := g.get("/x", header); a.code() != name {
			t.Errorf("locked out, with nobody to tell: got %d %q, want %s", a.Status, a.code(), name)
		}
	}
	if got := len(up.requests()); got != reached {
		t.Errorf("%d requests reached the backend", got-reached)
	}
	store.cutNow = make(chan struct{})
	store.cut.Store(false)
	g.eventually("/readyz to be well again", func() bool { return g.ops("/readyz").Status == 200 })
	if a := g.get("/x", ann.bearer); a.code() != "TOKEN_REVOKED" {
		t.Errorf("with the feed back: got %d %q, want TOKEN_REVOKED", a.Status, a.code())
	}
	setActive(true)
	if a := g.get("/x", ann.bearer); a.Status != 200 {
		t.Errorf("active again: got %d %s, want 200", a.Status, a.Body)
	}
}

// TestAClockSetBackRevivesNothing: what has expired or ended stays so.
func TestAClockSetBackRevivesNothing(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	ann := g.person(t, "ann", "user")
	ended := g.person(t, "eve", "user")
	if a := g.post("/auth/logout", "", ended.bearer); a.Status != 204 {
		t.Fatalf("logout: got %d %s", a.Status, a.Body)
	}
	g.clock.advance(20 * time.Minute)
	if a := g.get("/x", ann.bearer); a.code() != "TOKEN_EXPIRED" {
		t.Fatalf("got %d %q, want TOKEN_EXPIRED", a.Status, a.code())
	}
	reached := len(up.requests())
	g.clock.advance(-time.Hour)
	for name, bearer := range map[string]string{"expired": ann.bearer, "ended": ended.bearer} {
		if a := g.get("/x", bearer); a.Status != 401 {
			t.Errorf("%s, an hour back: got %d %s, want 401", name, a.Status, a.Body)
		}
	}
	if got := len(up.requests()); got != reached {
		t.Errorf("%d requests reached the backend", got-reached)
	}
	g.clock.advance(time.Hour)
	if a := g.get("/x", "Cookie: "+ann.cookie); a.Status != 200 {
		t.Errorf("the clock mended: got %d %s, want 200", a.Status, a.Body)
	}
}

// TestATunnelIsJudgedAgainWhileTheFeedIsDown: nobody tells of a change, so it is
// asked for.
func TestATunnelIsJudgedAgainWhileTheFeedIsDown(t *testing.T) {
	up := newBurrow(t, agreeing)
	g, store := newFrailGateway(t, behind(up.url(), to("/**", signedin)))
	ann := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n"+ann.bearer+"\r\n"+shake+"\r\n")
	if res := c.answer(t, "GET"); res.StatusCode != 101 {
		t.Fatalf("got %d, want 101", res.StatusCode)
	}
	store.cut.Store(true)
	close(store.cutNow)
	g.eventually("/readyz to say so", func() bool { return g.ops("/readyz").Status == 503 })
	c.send(t, "still here")
	if _, err := io.ReadFull(c.in, make([]byte, len("still here"))); err != nil {
		t.Fatalf("the feed took the tunnel with it: %v", err)
	}
	if err := g.store.Update(t.Context(), func(tx authn.Tx) error {
		u, err := tx.User(ann.id)
		u.Active = false
		return errors.Join(err, tx.PutUser(u))
	}); err != nil {
		t.Fatal(err)
	}
	up.awaitEnd(t)
}

// TestAStoreThatIsGoneAdmitsNobodyNew: who is known goes on, who is not cannot be
// asked for and stays out, on open routes too.
func TestAStoreThatIsGoneAdmitsNobodyNew(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g, store := newFrailGateway(t, behind(up.url(), to("/**", signedin), to("/open/**", anybody)))
	ann, bob := g.person(t, "ann", "user"), g.person(t, "bob", "user")
	if a := g.get("/x", ann.bearer); a.Status != 200 {
		t.Fatalf("before: got %d %s", a.Status, a.Body)
	}
	store.gone.Store(true)
	reached := len(up.requests())
	for _, c := range []struct{ name, path, header, want string }{
		{"known", "/x", ann.bearer, ""},
		{"nobody on an open route", "/open/x", "Accept: */*", ""},
		{"nobody", "/x", "Accept: */*", "AUTHENTICATION_REQUIRED"},
		{"a cookie nobody has seen", "/x", "Cookie: " + bob.cookie, "INTERNAL"},
		{"the same on an open route", "/open/x", "Cookie: " + bob.cookie, "INTERNAL"},
		{"a token nobody has seen", "/x", bob.bearer, "INTERNAL"},
		{"the same on an open route", "/open/x", bob.bearer, "INTERNAL"},
		{"no token at all", "/x", "Authorization: Bearer a.b.c", "TOKEN_INVALID"},
	} {
		if a := g.get(c.path, c.header); a.code() != c.want || strings.Contains(a.Body, "input/output") {
			t.Errorf("%s: got %d %q %s, want %q", c.name, a.Status, a.code(), a.Body, c.want)
		}
	}
	if got := len(up.requests()) - reached; got != 2 {
		t.Errorf("%d requests reached the backend, want 2", got)
	}
	for name, a := range map[string]reply{
		"sign-in": g.login("ann", "token"), "registration": g.post("/auth/register", `{"username":"eve","password":"`+testPassword+`"}`),
		"logout": g.post("/auth/logout", "", ann.bearer),
	} {
		if a.code() != "INTERNAL" || len(a.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: got %d %q and cookies %q, want INTERNAL and none", name, a.Status, a.code(), a.Header.Values("Set-Cookie"))
		}
	}
	if a := g.ops("/readyz"); a.Status != 503 {
		t.Errorf("/readyz: got %d %s, want 503", a.Status, a.Body)
	}
	store.gone.Store(false)
	for name, header := range map[string]string{"known": ann.bearer, "a cookie": "Cookie: " + bob.cookie, "a token": bob.bearer} {
		if a := g.get("/x", header); a.Status != 200 {
			t.Errorf("%s, with the store back: got %d %s, want 200", name, a.Status, a.Body)
		}
	}
}

// TestAKeyRingThatCannotBeReadAdmitsNobodyNew: what known keys have signed keeps
// its state; what an unknown key has signed is nobody's until the key is read.
func TestAKeyRingThatCannotBeReadAdmitsNobodyNew(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g, store := newFrailGateway(t, behind(up.url(), to("/**", signedin), to("/open/**", anybody)))
	ann, bob := g.person(t, "ann", "user"), g.person(t, "bob", "user")

	store.keyless.Store(true)
	ac := authn.Default()
	ac.Tokens.Issuer, ac.Accounts.Password.BcryptCost = g.URL, 4
	deps := authn.Deps{Config: ac, Store: store, Now: g.clock.now, Log: g.Log}
	if s, err := authn.New(t.Context(), deps); err == nil || !errors.Is(err, errKeys) || !strings.Contains(err.Error(), "key ring") {
		if err == nil {
			s.Close()
		}
		t.Errorf("started without its keys: got %v, want an error that names the key ring", err)
	}

	// Another process, that can read them, goes over to a new key.
	deps.Store = g.store
	other, err := authn.New(t.Context(), deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if _, err := other.RotateKeys(t.Context(), authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	in, err := other.Login(t.Context(), authn.LoginAttempt{Login: "bob", Password: testPassword, Mode: authn.ModeToken}, authn.Client{})
	if err != nil {
		t.Fatal(err)
	}
	unknown := "Authorization: Bearer " + in.AccessToken.Reveal()

	g.eventually("/readyz to say so", func() bool { return strings.Contains(g.ops("/readyz").Body, "keys") && g.ops("/readyz").Status == 503 })
	g.eventually("the log to say so", func() bool { return strings.Contains(g.logs.String(), "load the key ring") })
	reached := len(up.requests())
	for _, c := range []struct{ name, path, header, want string }{
		{"a key that is known", "/x", ann.bearer, ""},
		{"a cookie", "/x", "Cookie: " + ann.cookie, ""},
		{"a key that is not", "/x", unknown, "INTERNAL"},
		{"the same on an open route", "/open/x", unknown, "INTERNAL"},
		{"a signature that does not hold", "/x", ann.bearer[:len(ann.bearer)-8] + "AAAAAAAA", "TOKEN_INVALID"},
	} {
		if a := g.get(c.path, c.header); a.code() != c.want {
			t.Errorf("%s: got %d %q, want %q", c.name, a.Status, a.code(), c.want)
		}
	}
	if got := len(up.requests()) - reached; got != 2 {
		t.Errorf("%d requests reached the backend, want the 2 of ann", got)
	}
	if a := g.post("/auth/logout", "", bob.bearer); a.Status != 204 || g.get("/x", bob.bearer).code() != "TOKEN_REVOKED" {
		t.Errorf("a logout meanwhile: got %d %s, want 204 and an end", a.Status, a.Body)
	}
	store.keyless.Store(false)
	for name, header := range map[string]string{"the key that was unknown": unknown, "the key that was known": ann.bearer} {
		if a := g.get("/x", header); a.Status != 200 {
			t.Errorf("%s, with the keys back: got %d %s, want 200", name, a.Status, a.Body)
		}
	}
	g.eventually("/readyz to be well again", func() bool { return g.ops("/readyz").Status == 200 })
}

// TestAClockThatJumpsAdmitsNobodyAndUnlocksNothing: hours forth and hours back.
func TestAClockThatJumpsAdmitsNobodyAndUnlocksNothing(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, func(c *Config) {
		behind(up.url(), to("/**", signedin))(c)
		c.Limits.LoginFailures = Rate{N: 7, Per: 15 * time.Minute}
	})
	ann := g.person(t, "ann", "user")
	g.addUser("bob", "user")
	first := g.signIn("ann", authn.ModeToken)
	refresh := func(s authn.Secret) reply {
		return g.post("/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, s.Reveal()))
	}

	for g.post("/auth/login", `{"login":"bob","password":"not-the-password-at-all"}`).code() == "INVALID_CREDENTIALS" {
	}
	for _, jump := range []time.Duration{-5 * time.Hour, 5 * time.Hour, -time.Minute, time.Minute} {
		g.clock.advance(jump)
		if a := g.login("bob", "token"); a.Status != 429 {
			t.Errorf("locked out, then a jump by %v: got %d %s, want 429", jump, a.Status, a.code())
		}
	}
	g.clock.advance(10 * time.Hour)
	if a := g.login("bob", "token"); a.Status != 200 {
		t.Errorf("hours later: got %d %s, want 200", a.Status, a.Body)
	}
	if a := refresh(first.RefreshToken); a.Status != 200 {
		t.Fatalf("a refresh: got %d %s", a.Status, a.Body)
	}
	reached := len(up.requests())
	g.clock.advance(-5 * time.Hour)
	if a := refresh(first.RefreshToken); a.Status != 401 {
		t.Errorf("a token that was exchanged hours from now: got %d %s, want 401", a.Status, a.Body)
	}
	g.clock.advance(2000 * time.Hour)
	for name, header := range map[string]string{"a token": ann.bearer, "a cookie": "Cookie: " + ann.cookie} {
		if a := g.get("/x", header); a.Status != 401 {
			t.Errorf("%s, weeks ahead: got %d %s, want 401", name, a.Status, a.Body)
		}
	}
	g.clock.advance(-4000 * time.Hour)
	for name, header := range map[string]string{"a token": ann.bearer, "a cookie": "Cookie: " + ann.cookie} {
		if a := g.get("/x", header); a.Status != 401 {
			t.Errorf("%s, before it was given: got %d %s, want 401", name, a.Status, a.Body)
		}
	}
	if got := len(up.requests()); got != reached {
		t.Errorf("%d requests reached the backend", got-reached)
	}
	g.clock.advance(1995 * time.Hour)
	if a := g.login("ann", "token"); a.Status != 200 {
		t.Errorf("the clock mended: got %d %s, want 200", a.Status, a.Body)
	}
}
