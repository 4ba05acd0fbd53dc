package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// frailStore is a real store on a disk that can fill up, with a feed that can be
// cut.
type frailStore struct {
	authn.Store
	full, cut atomic.Bool
	cutNow    chan struct{}
}

var (
	errDisk = errors.New("no space left on device")
	errFeed = errors.New("the feed was cut")
)

func (s *frailStore) Update(ctx context.Context, fn func(authn.Tx) error) error {
	return s.Store.Update(ctx, func(tx authn.Tx) error {
		if err := fn(tx); err != nil || !s.full.Load() {
			return err
		}
		return errDisk // as a commit that fails: nothing of it happened
	})
}

func (s *frailStore) Watch(ctx context.Context, ready func(), fn func(authn.Change)) error {
	if s.cut.Load() {
		return errFeed
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-s.cutNow:
			stop(errFeed)
		case <-ctx.Done():
		}
	}()
	if err := s.Store.Watch(ctx, ready, fn); err != nil {
		return err
	}
	if errors.Is(context.Cause(ctx), errFeed) {
		return errFeed
	}
	return nil
}

// newFrailGateway is a whole gateway over a store that can fail.
func newFrailGateway(t *testing.T, mutate func(*Config)) (*testGateway, *frailStore) {
	t.Helper()
	g := &testGateway{t: t, logs: &logBuffer{}, clock: &testClock{}}
	g.http = httptest.NewUnstartedServer(nil)
	g.addr = g.http.Listener.Addr().String()
	g.URL = "http://" + g.addr
	d := testDeps(t, g, mutate, nil)
	d.Authn.Close() // for one that sees the frail store
	frail := &frailStore{Store: g.store, cutNow: make(chan struct{})}
	ac := authn.Default()
	ac.Accounts.Registration, ac.Accounts.Password.BcryptCost = "open", 4
	ac.Tokens.Issuer = g.URL
	service, err := authn.New(context.Background(), authn.Deps{Config: ac, Store: frail, Now: g.clock.now, Log: d.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	d.Authn = service
	if g.Server, err = New(d); err != nil {
		t.Fatal(err)
	}
	g.http.Config.Handler = g.Public()
	g.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	g.http.Start()
	t.Cleanup(func() {
		g.streams.closeAll()
		g.http.CloseClientConnections()
		g.http.Close()
	})
	return g, frail
}

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
