package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/doorward/doorward/authn"
)

// endless is a backend of things that do not end by themselves: /events, /flood
// (as fast as it is read), /chunks (of unknown length), /long (of a length that
// takes a while) and /upload, which hints at the first bytes and takes the rest.
func endless(t testing.TB) (_ *httptest.Server, flooded *atomic.Int64) {
	flooded = new(atomic.Int64)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path.Base(r.URL.Path) {
		case "events":
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		case "long":
			w.Header().Set("Content-Length", fmt.Sprint(longBody+1))
			io.WriteString(w, strings.Repeat("data: x\n\n", 8<<10)) // past every buffer
		case "upload":
			io.ReadFull(r.Body, make([]byte, len("begun")))
			w.WriteHeader(http.StatusEarlyHints)
			io.Copy(io.Discard, r.Body)
			return
		}
		for {
			if _, err := io.WriteString(w, "data: x\n\n"); err != nil {
				return
			}
			if strings.HasSuffix(r.URL.Path, "/flood") {
				flooded.Add(1)
				continue
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
	}))
	t.Cleanup(up.Close)
	return up, flooded
}

// dialWebSocket opens a WebSocket through the gateway and proves that it echoes.
func dialWebSocket(t testing.TB, g *testGateway, path string, headers ...string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c, res, err := websocket.Dial(ctx, "ws://"+g.addr+path, &websocket.DialOptions{HTTPHeader: headerOf(headers...)})
	if err != nil {
		t.Fatalf("open the WebSocket: %v (%v)", err, res)
	}
	t.Cleanup(func() { c.CloseNow() })
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(ctx); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v; want the echo", got, err)
	}
	return c
}

func headerOf(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// ending is an open stream of one kind, and how its end is awaited.
type ending func(t testing.TB, g *testGateway, credential string) (wait func() error)

// streamKinds is every kind of answer that must end with what admitted it. What
// awaits the end fails by the deadline of its connection, not by a measurement.
var streamKinds = map[string]ending{
	"websocket": func(t testing.TB, g *testGateway, credential string) func() error {
		c := dialWebSocket(t, g, "/echo", credential)
		return func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_, _, err := c.Read(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				return errors.New("a message came instead of the end")
			}
			return nil
		}
	},
	"event stream":       httpStream("/app/events"),
	"unknown length":     httpStream("/app/chunks"),
	"long answer":        httpStream("/app/long"),
	"chunked upload":     upload("Transfer-Encoding: chunked", "5\r\nbegun\r\n"),
	"long upload":        upload(fmt.Sprintf("Content-Length: %d", longBody+1), "begun"),
	"upload over HTTP/2": upload2,
}

// upload begins to send a body and waits until the backend has seen some of it.
// Its end is a refusal, or the connection's.
func upload(length, begun string) ending {
	return func(t testing.TB, g *testGateway, credential string) func() error {
		c := dialRaw(t, g.addr)
		c.send(t, "POST /app/upload HTTP/1.1\r\nHost: "+g.addr+"\r\n"+credential+"\r\n"+length+"\r\n\r\n"+begun)
		if res := c.answer(t, "POST"); res.StatusCode != http.StatusEarlyHints {
			t.Fatalf("got %d, want the upload to be under way", res.StatusCode)
		}
		return func() error {
			c.SetReadDeadline(time.Now().Add(patience))
			res, err := http.ReadResponse(c.in, nil)
			if err != nil {
				return fmt.Errorf("no refusal came: %w", err)
			}
			return wantRefusal(res)
		}
	}
}

func upload2(t testing.TB, g *testGateway, credential string) func() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	server := g.httpServer(g.Public())
	server.Protocols = &h2c
	go server.Serve(l)
	client := &http.Transport{Protocols: &h2c}
	body, more := io.Pipe()
	t.Cleanup(func() { more.Close(); client.CloseIdleConnections(); server.Close() })
	begun, ended := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { close(begun); return nil }})
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+l.Addr().String()+"/app/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = headerOf(credential)
	go io.WriteString(more, "begun")
	go func() {
		res, err := client.RoundTrip(r)
		if err == nil {
			res.Body.Close()
			err = wantRefusal(res)
		}
		ended <- err
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("ended before it had begun: %v", err)
	}
	return func() error { return <-ended }
}

func wantRefusal(res *http.Response) error {
	if res.StatusCode < 400 || res.Header.Get("Doorward") == "" {
		return fmt.Errorf("got %d %q, want a refusal", res.StatusCode, res.Header.Get("Doorward"))
	}
	return nil
}

func httpStream(path string) ending {
	return func(t testing.TB, g *testGateway, credential string) func() error {
		c := dialRaw(t, g.addr)
		c.send(t, "GET "+path+" HTTP/1.1\r\nHost: "+g.addr+"\r\n"+credential+"\r\n\r\n")
		res := c.answer(t, "GET")
		if res.StatusCode != 200 {
			t.Fatalf("got %d, want 200", res.StatusCode)
		}
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "data: x\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		return func() error {
			c.SetReadDeadline(time.Now().Add(patience))
			_, err := io.Copy(io.Discard, c.in)
			if isTimeout(err) {
				return err
			}
			return nil
		}
	}
}

// withStreams is a configuration with the built-in backend for everybody signed
// in, and the endless one below /app for the role user.
func withStreams(url string) func(*Config) {
	return func(c *Config) {
		u := DefaultUpstream()
		u.Name, u.URL = "endless", url
		c.Upstreams = append(c.Upstreams, u)
		route, echo := to("/app/**", roles("user")), to("/echo", roles("user"))
		route.Upstream = "endless"
		c.Routes = append(c.Routes, route, echo)
	}
}

func TestStreamsEndWithWhatAdmittedThem(t *testing.T) {
	ctx := context.Background()
	cli := authn.Actor{ID: authn.ActorCLI}
	ends := map[string]func(g *testGateway, p person, id authn.Identity) error{
		"logout": func(g *testGateway, p person, id authn.Identity) error {
			cred := authn.Credential{Bearer: authn.Secret(p.token)}
			if id.Cookie {
				_, value, _ := strings.Cut(p.cookie, "=")
				cred = authn.Credential{Cookies: []authn.Secret{authn.Secret(value)}}
			}
			return g.Authn.Logout(ctx, cred, "", authn.Client{})
		},
		"logout-all": func(g *testGateway, p person, id authn.Identity) error {
			return g.Authn.LogoutAll(ctx, id, authn.Client{})
		},
		"password change": func(g *testGateway, p person, id authn.Identity) error {
			return g.Authn.ChangePassword(ctx, id, testPassword, "another long walk off a pier", authn.Client{})
		},
		"deactivation": func(g *testGateway, p person, id authn.Identity) error {
			off := false
			_, err := g.Authn.UpdateUser(ctx, p.id, authn.UserChange{Active: &off}, cli)
			return err
		},
		"deletion": func(g *testGateway, p person, id authn.Identity) error {
			return g.Authn.DeleteUser(ctx, p.id, cli)
		},
		"role taken": func(g *testGateway, p person, id authn.Identity) error {
			_, err := g.Authn.UpdateUser(ctx, p.id, authn.UserChange{Roles: &[]string{"other"}}, cli)
			return err
		},
		"reload": func(g *testGateway, p person, id authn.Identity) error {
			cfg := g.live.Load().cfg
			cfg.Routes = append([]Route(nil), cfg.Routes...)
			for i := range cfg.Routes {
				cfg.Routes[i].Allow = roles("other")
			}
			return g.Reload(cfg)
		},
		"shutdown": func(g *testGateway, p person, id authn.Identity) error {
			g.streams.closeAll()
			return nil
		},
	}
	up, _ := endless(t)
	for kind, open := range streamKinds {
		for name, end := range ends {
			t.Run(kind+" by "+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, withStreams(up.URL))
				g.addUser("root", "admin")
				p := g.person(t, "ann", "user")
				byToken := open(t, g, p.bearer)
				byCookie := open(t, g, "Cookie: "+p.cookie)
				other := open(t, g, g.person(t, "bob", "user").bearer)
				for _, id := range []authn.Identity{identityOf(p, p.mobile), identityOf(p, p.web)} {
					if err := end(g, p, id); err != nil && !gone(err) {
						t.Fatalf("%s: %v", name, err)
					}
				}
				if err := byToken(); err != nil {
					t.Errorf("the stream opened with a token did not end: %v", err)
				}
				if err := byCookie(); err != nil {
					t.Errorf("the stream opened with a cookie did not end: %v", err)
				}
				if name == "reload" || name == "shutdown" {
					if err := other(); err != nil {
						t.Errorf("someone else's stream did not end: %v", err)
					}
					return
				}
				if n := len(g.streams.list()); n != 1 {
					g.eventually("one stream to be left", func() bool { return len(g.streams.list()) == 1 })
				}
			})
		}
	}
}

// gone reports that a second way of ending found the work done.
func gone(err error) bool {
	return errors.Is(err, authn.ErrNotFound) || errors.Is(err, authn.ErrTokenRevoked) || errors.Is(err, authn.ErrNotSignedIn) || isInput(err)
}

func isInput(err error) bool {
	var input *authn.InputError
	return errors.As(err, &input)
}

func identityOf(p person, s authn.Session) authn.Identity {
	return authn.Identity{User: &authn.User{ID: p.id}, Session: s.ID, Mode: s.Mode, Cookie: s.Mode == authn.ModeSessionCookie}
}

func TestStreamsOutliveTheAccessToken(t *testing.T) {
	up, _ := endless(t)
	g := newGateway(t, withStreams(up.URL))
	p := g.person(t, "ann", "user")
	c := dialWebSocket(t, g, "/echo", p.bearer)
	g.clock.advance(20 * time.Minute) // the token lives fifteen
	if got := g.get("/echo", p.bearer).code(); got != "TOKEN_EXPIRED" {
		t.Fatalf("got %q, want TOKEN_EXPIRED: the token was to be dead by now", got)
	}
	// A change that takes nothing away: the stream is judged and goes on.
	if _, err := g.Authn.UpdateUser(context.Background(), p.id, authn.UserChange{Roles: &[]string{"more", "user"}}, authn.Actor{ID: authn.ActorCLI}); err != nil {
		t.Fatal(err)
	}
	g.streams.rejudge()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(ctx); err != nil || string(got) != "still here" {
		t.Errorf("got %q, %v; want the echo", got, err)
	}
}

func TestAStreamEndsWhenItsRouteLeadsElsewhereOrNoLongerUpgrades(t *testing.T) {
	up, _ := endless(t)
	for name, change := range map[string]func(*Route){
		"another upstream": func(r *Route) { r.Upstream = "endless" },
		"no upgrades":      func(r *Route) { r.Upgrades = []string{} },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, withStreams(up.URL))
			ended := streamKinds["websocket"](t, g, g.person(t, "ann", "user").bearer)
			cfg := g.live.Load().cfg
			cfg.Routes = append([]Route(nil), cfg.Routes...)
			change(&cfg.Routes[len(cfg.Routes)-1])
			if err := g.Reload(cfg); err != nil {
				t.Fatal(err)
			}
			if err := ended(); err != nil {
				t.Errorf("the WebSocket did not end: %v", err)
			}
		})
	}
}

// A client that does not read keeps the gateway waiting in Write: cancelling the
// call to the backend alone would leave it there.
func TestAStreamEndsThoughItsClientDoesNotRead(t *testing.T) {
	up, flooded := endless(t)
	g := newGateway(t, withStreams(up.URL))
	p := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "GET /app/flood HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\n\r\n")
	if res := c.answer(t, "GET"); res.StatusCode != 200 {
		t.Fatalf("got %d, want 200", res.StatusCode)
	}
	var before int64
	g.eventually("every buffer on the way to be full", func() bool {
		time.Sleep(50 * time.Millisecond) // not for the verdict: a flood still under way would only prove less
		now := flooded.Load()
		full := now > 0 && now == before
		before = now
		return full
	})
	if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.streams.wait(ctx); err != nil {
		t.Errorf("the stream did not end: %v", err)
	}
}

// An answer that is known to be short is not listed; an upload always is, for
// the shortest can come in drips.
func TestShortAnswersAreNotListed(t *testing.T) {
	listed := make(chan int, 1)
	var g *testGateway
	up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
		listed <- len(g.streams.list())
		io.WriteString(conn, plainAnswer)
	})
	g = newGateway(t, behind(up.url(), to("/**", signedin)))
	p := g.person(t, "ann", "user")
	g.do("GET", "/x", "", p.bearer)
	if n := <-listed; n != 0 {
		t.Errorf("a request without a body is listed")
	}
	g.do("POST", "/x", "short", p.bearer)
	if n := <-listed; n != 1 {
		t.Errorf("a short upload is not listed")
	}
	for _, tt := range []struct {
		length int64
		long   bool
	}{{0, false}, {longBody, false}, {longBody + 1, true}, {-1, true}} {
		if got := isLong(tt.length); got != tt.long {
			t.Errorf("%d bytes: got %v, want %v", tt.length, got, tt.long)
		}
	}
}

// Nobody has no session to lose, but the rules may change between admission and
// the answer for nobody too.
func TestAnAnonymousStreamIsJudgedByTheRulesThatHoldWhenItBegins(t *testing.T) {
	reached, release := make(chan bool), make(chan bool)
	up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
		reached <- true
		<-release
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
	})
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	c := dialRaw(t, g.addr)
	c.send(t, "GET /x HTTP/1.1\r\nHost: "+g.addr+"\r\n\r\n")
	<-reached
	cfg := g.live.Load().cfg
	cfg.Routes = []Route{to("/**", roles("admin"))}
	if err := g.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	close(release)
	res := c.answer(t, "GET")
	if got := res.Header.Get("Doorward"); res.StatusCode != 401 || got != "AUTHENTICATION_REQUIRED" {
		t.Errorf("got %d %q, want 401 AUTHENTICATION_REQUIRED", res.StatusCode, got)
	}
}

// Between admission and the answer the session may end; the stream is listed
// first and judged then, so it never begins.
func TestAStreamThatLostItsSessionMeanwhileNeverBegins(t *testing.T) {
	reached, release := make(chan bool), make(chan bool)
	up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
		reached <- true
		<-release
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
	})
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	p := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "GET /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\n\r\n")
	<-reached
	if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	close(release)
	res := c.answer(t, "GET")
	if got := res.Header.Get("Doorward"); res.StatusCode != 401 || got != "TOKEN_REVOKED" {
		t.Errorf("got %d %q, want 401 TOKEN_REVOKED", res.StatusCode, got)
	}
}

// A short answer is not listed, but one that took its time is judged again: who
// asked may be signed out by now.
func TestALateAnswerIsJudgedAgain(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			reached, release := make(chan bool), make(chan bool)
			up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
				reached <- true
				<-release
				io.WriteString(conn, plainAnswer)
			})
			g := newGateway(t, behind(up.url(), to("/**", signedin)))
			p := g.person(t, "ann", "user")
			c := dialRaw(t, g.addr)
			c.send(t, method+" /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\n\r\n")
			<-reached
			if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
				t.Fatal(err)
			}
			g.clock.advance(longAnswer + time.Millisecond)
			close(release)
			res := c.answer(t, method)
			if got := res.Header.Get("Doorward"); res.StatusCode != 401 || got != "TOKEN_REVOKED" {
				t.Errorf("got %d %q, want 401 TOKEN_REVOKED", res.StatusCode, got)
			}
		})
	}
}

// The header of a short answer may be early and its body late.
func TestALateBodyIsJudgedAgain(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			rest := make(chan bool)
			up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
				<-rest
				io.WriteString(conn, "SECRET")
			})
			g := newGateway(t, behind(up.url(), to("/**", signedin)))
			p := g.person(t, "ann", "user")
			c := dialRaw(t, g.addr)
			c.send(t, method+" /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\n\r\n")
			backend := g.live.Load().routes[0].upstream
			g.eventually("the answer to begin", func() bool { return backend.health.Load() == 1 })
			if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
				t.Fatal(err)
			}
			g.clock.advance(longAnswer + time.Millisecond)
			close(rest)
			if got, _ := io.ReadAll(c.in); strings.Contains(string(got), "SECRET") {
				t.Errorf("somebody signed out meanwhile got %q", got)
			}
		})
	}
}

// A short upload that comes in drips ends with its session like a long one.
func TestADrippingUploadEndsWithItsSession(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	p := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "POST /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\nContent-Length: 10\r\n\r\nhello")
	g.eventually("the upload to begin", func() bool { return len(up.requests()) == 1 })
	if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "WORLD")
	res := c.answer(t, "POST")
	if got := res.Header.Get("Doorward"); res.StatusCode != 401 || got != "TOKEN_REVOKED" {
		t.Errorf("got %d %q, want 401 TOKEN_REVOKED", res.StatusCode, got)
	}
}

// An upload that ends with its session says why: the backend has answered nothing
// yet.
func TestAnUploadThatIsEndedSaysWhy(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	p := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "POST /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\nContent-Length: 10\r\n\r\nhello")
	g.eventually("the upload to begin", func() bool { return len(up.requests()) == 1 })
	if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	res := c.answer(t, "POST") // though not all is sent
	if got := res.Header.Get("Doorward"); res.StatusCode != 401 || got != "TOKEN_REVOKED" {
		t.Errorf("got %d %q, want 401 TOKEN_REVOKED", res.StatusCode, got)
	}
}

// Whoever ends an upload may not have come to it yet when the answer does: the
// answer is judged all the same.
func TestTheAnswerToAnUploadIsJudgedWhenItComes(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g, store := newFrailGateway(t, behind(up.url(), to("/**", signedin)))
	p := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "POST /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+p.bearer+"\r\nContent-Length: 10\r\n\r\nhello")
	g.eventually("the upload to begin", func() bool { return len(up.requests()) == 1 })
	ending := store.slowNext()
	defer close(ending.over)
	if err := g.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	<-ending.begun // whoever is to end it asks whose session it is, for a long time
	c.send(t, "WORLD")
	res := c.answer(t, "POST")
	if got := res.Header.Get("Doorward"); res.StatusCode != 401 || got != "TOKEN_REVOKED" {
		t.Errorf("got %d %q, want 401 TOKEN_REVOKED", res.StatusCode, got)
	}
}

func TestWaitForStreams(t *testing.T) {
	up, _ := endless(t)
	g := newGateway(t, withStreams(up.URL))
	if err := g.streams.wait(context.Background()); err != nil {
		t.Fatalf("with none open: %v", err)
	}
	wait := httpStream("/app/events")(t, g, g.person(t, "ann", "user").bearer)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.streams.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with one open: got %v, want %v", err, context.Canceled)
	}
	g.streams.closeAll()
	if err := wait(); err != nil {
		t.Error(err)
	}
	if err := g.streams.wait(context.Background()); err != nil {
		t.Error(err)
	}
	res := g.get("/app/events", g.person(t, "bob", "user").bearer)
	if res.code() != "OVERLOADED" {
		t.Errorf("a new stream while shutting down: got %d %s, want OVERLOADED", res.Status, res.code())
	}
}

func TestOnlyTheListedUpgradesPass(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	none := to("/none/**", anybody)
	none.Upgrades = []string{}
	g := newGateway(t, behind(up.url(), to("/**", anybody), none))
	tests := []struct {
		path, upgrade string
		passes        bool
	}{
		{"/", "websocket", true}, {"/", "WebSocket", true}, {"/none/x", "websocket", false},
		{"/", "h2c", false}, {"/", "websocket, h2c", false}, {"/", "TLS/1.0", false}, {"/", "", false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.path, tt.upgrade), func(t *testing.T) {
			res, _ := rawGet(t, g.addr, tt.path, "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+tt.upgrade, "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
			got := up.last(t)
			if res.StatusCode != 200 {
				t.Fatalf("got %d: an offer that is declined is no error", res.StatusCode)
			}
			if passes := got.fields("Upgrade") != nil; passes != tt.passes {
				t.Errorf("Upgrade reached the upstream: %v, want %v", passes, tt.passes)
			}
			if passes := strings.Contains(strings.ToLower(got.head), "upgrade"); passes != tt.passes {
				t.Errorf("the upstream got:\n%s", got.head)
			}
			if got.fields("HTTP2-Settings") != nil {
				t.Errorf("HTTP2-Settings reached the upstream:\n%s", got.head)
			}
		})
	}
}
