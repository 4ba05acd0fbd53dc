package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/policy"
	"github.com/doorward/doorward/store/bolt"
)

// testGateway is a whole gateway on a socket of its own: a real store, a real
// authn, and the built-in backend unless the test names another.
type testGateway struct {
	*Server
	t     testing.TB
	URL   string
	addr  string // host and port of URL
	http  *httptest.Server
	logs  *logBuffer
	clock *testClock
	mails *mailbox // nil: no mail is configured
	store authn.Store
}

// testPassword is the password of everyone in the tests.
const testPassword = "correct-horse-battery-staple"

// newGateway starts a gateway with routes for anyone (/public/**), everyone
// signed in (/**) and admins (/admin/**), after mutate has had its say.
func newGateway(t testing.TB, mutate func(*Config)) *testGateway {
	t.Helper()
	return newGatewayWith(t, mutate, nil)
}

// newGatewayWith is newGateway for a test that also has a say in authn's
// configuration.
func newGatewayWith(t testing.TB, mutate func(*Config), mutateAuthn func(*authn.Config)) *testGateway {
	t.Helper()
	return startGateway(t, nil, mutate, mutateAuthn)
}

func startGateway(t testing.TB, mails *mailbox, mutate func(*Config), mutateAuthn func(*authn.Config)) *testGateway {
	t.Helper()
	g := &testGateway{t: t, logs: &logBuffer{}, clock: &testClock{}, mails: mails}
	g.http = httptest.NewUnstartedServer(nil)
	g.addr = g.http.Listener.Addr().String()
	g.URL = "http://" + g.addr
	d := testDeps(t, g, mutate, mutateAuthn)
	var err error
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
	return g
}

// testDeps is what New needs, over a store of the test's own.
func testDeps(t testing.TB, g *testGateway, mutate func(*Config), mutateAuthn func(*authn.Config)) Deps {
	t.Helper()
	cfg := testConfig(g.URL)
	if mutate != nil {
		mutate(&cfg)
	}
	metrics := NewMetrics()
	store, err := bolt.Open(context.Background(), filepath.Join(t.TempDir(), "store.db"), bolt.Options{Observe: metrics.Store})
	if err != nil {
		t.Fatal(err)
	}
	g.store = store
	t.Cleanup(func() { store.Close() })
	ac := authn.Default()
	ac.Accounts.Registration, ac.Accounts.Password.BcryptCost = "open", 4
	ac.Tokens.Issuer = cfg.Server.PublicURL
	if mutateAuthn != nil {
		mutateAuthn(&ac)
	}
	cfg.Registration, cfg.AdminRole, cfg.EmailVerification = ac.Accounts.Registration, ac.Accounts.AdminRole, ac.Accounts.EmailVerification
	log := slog.New(slog.NewJSONHandler(g.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	deps := authn.Deps{Config: ac, Store: store, Now: g.clock.now, Log: log, Observe: metrics.Authn}
	if g.mails != nil {
		deps.Mail, deps.Config.Mail.Configured = g.mails, true
	}
	service, err := authn.New(context.Background(), deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	return Deps{
		Config: cfg, Authn: service, Log: log, Now: g.clock.now, Metrics: metrics,
		Build:  Build{Version: "test", Commit: "none"},
		Reload: func(context.Context) error { return nil },
		Backup: func(ctx context.Context, file string) error { return store.Backup(ctx, file) },
	}
}

// testConfig is the configuration of newGateway.
func testConfig(publicURL string) Config {
	cfg := Default()
	cfg.Server.PublicURL = publicURL
	cfg.Limits = LimitConfig{} // a test of one sets it
	app := DefaultUpstream()
	app.Name, app.URL = "app", "whoami:"
	cfg.Upstreams = []Upstream{app}
	cfg.Routes = []Route{
		{Rule: policy.Rule{Path: "/**", Upstream: "app", Allow: policy.Allow{Audience: policy.Authenticated}}},
		{Rule: policy.Rule{Path: "/public/**", Upstream: "app", Allow: policy.Allow{Audience: policy.Anyone}}},
		{Rule: policy.Rule{Path: "/admin/**", Upstream: "app", Allow: policy.Allow{Audience: policy.Roles, Roles: []string{"admin"}}}},
	}
	return cfg
}

// addUser makes an account with the test password.
func (g *testGateway) addUser(username string, roles ...string) authn.User {
	g.t.Helper()
	u, _, err := g.Authn.CreateUser(context.Background(), authn.NewUser{
		Username: username, Password: testPassword, Roles: roles,
	}, authn.Actor{ID: authn.ActorCLI})
	if err != nil {
		g.t.Fatal(err)
	}
	return u
}

// signIn signs an account in, in any mode.
func (g *testGateway) signIn(username string, mode authn.Mode) authn.SignIn {
	g.t.Helper()
	in, err := g.Authn.Login(context.Background(), authn.LoginAttempt{Login: username, Password: testPassword, Mode: mode}, authn.Client{})
	if err != nil {
		g.t.Fatal(err)
	}
	return in
}

// bearer makes an account and returns the Authorization of a sign-in of it.
func (g *testGateway) bearer(username string, roles ...string) string {
	g.t.Helper()
	g.addUser(username, roles...)
	return "Bearer " + g.signIn(username, authn.ModeToken).AccessToken.Reveal()
}

// reply is an answer, read.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

// json decodes the body.
func (a reply) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), v); err != nil {
		t.Fatalf("answer %d is no JSON: %v: %s", a.Status, err, a.Body)
	}
}

// code is the Doorward header: "" if the answer is not one of our refusals.
func (a reply) code() string { return a.Header.Get("Doorward") }

// get asks for path, with headers as "Name: value".
func (g *testGateway) get(path string, headers ...string) reply {
	g.t.Helper()
	return g.do("GET", path, "", headers...)
}

// post sends a JSON body.
func (g *testGateway) post(path, body string, headers ...string) reply {
	g.t.Helper()
	return g.do("POST", path, body, append([]string{"Content-Type: application/json"}, headers...)...)
}

// do sends a request and follows no redirect.
func (g *testGateway) do(method, path, body string, headers ...string) reply {
	g.t.Helper()
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, g.URL+path, payload)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	return g.send(r)
}

// send sends a request and reads the answer.
func (g *testGateway) send(r *http.Request) reply {
	g.t.Helper()
	client := http.Client{
		Transport: g.http.Client().Transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// requestLine waits for the access log's line of a request id and decodes it:
// it is written after the answer has gone out.
func (g *testGateway) requestLine(id string) map[string]any {
	g.t.Helper()
	var line map[string]any
	g.eventually("a log line of request "+id, func() bool {
		for _, l := range g.logs.lines() {
			if l["msg"] == "request" && l["request_id"] == id {
				line = l
				return true
			}
		}
		return false
	})
	return line
}

// eventually waits for what another goroutine is about to do.
func (g *testGateway) eventually(what string, done func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("waited in vain for %s; log:\n%s", what, g.logs)
		}
	}
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines is every line, decoded.
func (b *logBuffer) lines() []map[string]any {
	var all []map[string]any
	for text := range strings.Lines(b.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil {
			all = append(all, line)
		}
	}
	return all
}

// testClock is the wall clock, moved by the test.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *testClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }
