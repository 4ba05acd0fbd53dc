package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/policy"
)

// behind is a configuration with one upstream called app and these routes.
func behind(url string, routes ...Route) func(*Config) {
	return func(c *Config) {
		u := DefaultUpstream()
		u.Name, u.URL = "app", url
		c.Upstreams = []Upstream{u}
		c.Routes = routes
	}
}

// to is a route to app.
func to(path string, allow policy.Allow) Route {
	return Route{Rule: policy.Rule{Path: path, Allow: allow, Upstream: "app"}}
}

// Who may go somewhere, in the tests' words.
var (
	anybody  = policy.Allow{Audience: policy.Anyone}
	signedin = policy.Allow{Audience: policy.Authenticated}
)

// roles is who has one of them.
func roles(names ...string) policy.Allow { return policy.Allow{Audience: policy.Roles, Roles: names} }

func TestTargetIsForwardedByteForByte(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, target := range []string{
		"/", "/a", "/a/", "/a%2Fb", "/a%2fb", "/%41", "/a;b=1?x=1;y=2&c=%zz", "/a|b", "/a[b]", "//x/y", "///", "//x;a=b/%2F?q",
		"/a//b", "/a/./b", "/a/b/../c", "/%e2%82%ac", "/?", "/a?", "/a??b=?", "/a:b@c,d=e+f$g&h!i*j'k(l)", "/x?a=%00&b=\"<>", "/a%20b",
	} {
		t.Run(target, func(t *testing.T) {
			res, body := rawGet(t, g.addr, target)
			if res.StatusCode != 200 {
				t.Fatalf("got status %d %s, want 200", res.StatusCode, body)
			}
			if got, want := up.last(t).line(), "GET "+target+" HTTP/1.1"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestWhatCannotBeForwardedAsItIsIsRefused(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, target := range []string{"//x|y", "//a/b|"} {
		if res, _ := rawGet(t, g.addr, target); res.StatusCode != 400 {
			t.Errorf("%s: got %d, want 400", target, res.StatusCode)
		}
	}
	for _, line := range []string{"GET x:admin/x HTTP/1.1", "GET admin HTTP/1.1", "GET http:admin HTTP/1.1", "CONNECT /x HTTP/1.1", "TRACE / HTTP/1.1"} {
		if res, _ := rawRequest(t, g.addr, line); res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%s: got %d, want a refusal", line, res.StatusCode)
		}
	}
	if got := up.requests(); len(got) != 0 {
		t.Errorf("reached the upstream: %q", got[0].line())
	}
}

// net/http answers OPTIONS * itself unless told not to: an answer without a
// request id, a log line or a rule.
func TestOptionsForTheWholeServerIsRefused(t *testing.T) {
	g := newGateway(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := g.httpServer(g.Public())
	go server.Serve(l)
	defer server.Close()
	res, _ := rawRequest(t, l.Addr().String(), "OPTIONS * HTTP/1.1")
	if got := res.Header.Get("Doorward"); res.StatusCode != 400 || got != "BAD_REQUEST" {
		t.Errorf("got %d %q, want 400 BAD_REQUEST", res.StatusCode, got)
	}
}

func TestAbsoluteFormIsForwardedAsAPath(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	rawGet(t, g.addr, "http://other.example/a%2Fb?c=%zz")
	got := up.last(t)
	if got.line() != "GET /a%2Fb?c=%zz HTTP/1.1" || !slices.Equal(got.fields("Host"), []string{"other.example"}) {
		t.Errorf("got\n%s", got.head)
	}
}

func TestNothingLeavesTheBasePath(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, func(c *Config) {
		behind(up.url()+"/base/", to("/**", anybody))(c)
		c.Upstreams[0].Host = "upstream"
	})
	for target, want := range map[string]string{
		"/": "/base/", "/x?y": "/base/x?y", "//x/y": "/base//x/y", "/a%2F|b": "/base/a%2F|b", "/a/../b": "/base/a/../b",
	} {
		rawGet(t, g.addr, target)
		if got := up.last(t).line(); got != "GET "+want+" HTTP/1.1" {
			t.Errorf("%s: got %q, want %s", target, got, want)
		}
		if got := up.last(t).fields("Host"); !slices.Equal(got, []string{up.Addr().String()}) {
			t.Errorf("got Host %q, want the upstream's own", got)
		}
	}
	for _, target := range []string{"/../etc", "/api/../../etc", "/%2e%2e/etc", "/..%2fetc"} {
		before := len(up.requests())
		if res, _ := rawGet(t, g.addr, target); res.StatusCode != 400 || len(up.requests()) != before {
			t.Errorf("%s: got %d, want 400 and nothing forwarded", target, res.StatusCode)
		}
	}
}

func TestBodiesPassAndRequestTrailersDoNot(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	c := dialRaw(t, g.addr)
	c.send(t, "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User, X-After\r\n\r\n"+
		"5\r\nhello\r\n0\r\nX-Forwarded-User: root\r\nX-After: y\r\n\r\n")
	if res := c.answer(t, "POST"); res.StatusCode != 200 {
		t.Fatalf("got %d", res.StatusCode)
	}
	got := up.last(t)
	if want := "5\r\nhello\r\n0\r\n\r\n"; got.body != want {
		t.Errorf("got body %q, want %q", got.body, want)
	}
	if strings.Contains(got.head+got.body, "root") || got.fields("Trailer") != nil {
		t.Errorf("a trailer reached the upstream:\n%s%s", got.head, got.body)
	}
}

func TestResponseTrailersAndInformationalAnswersPass(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: doorward_session=evil\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"+
		"2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n")
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link"), h.Get("Set-Cookie")))
		return nil
	}}
	r, _ := http.NewRequest("GET", g.URL+"/x", nil)
	res, err := http.DefaultTransport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "ok" || res.Trailer.Get("X-Sum") != "42" {
		t.Errorf("got %q with trailer %v, want ok and X-Sum: 42", body, res.Trailer)
	}
	if !slices.Equal(hints, []string{"103</a.css>"}) {
		t.Errorf("got hints %q", hints)
	}
	if res.Header.Get("X-Request-Id") == "" {
		t.Error("the informational answer took the request id with it")
	}
}

func TestAnswersAreOursToMark(t *testing.T) {
	forged := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDoorward: TOKEN_EXPIRED\r\nX-Request-Id: forged\r\n"
	cached := newRecorder(t, forged+"Cache-Control: public\r\nVary: Accept\r\n\r\n")
	plain := newRecorder(t, forged+"Vary: Accept\r\n\r\n")
	empty := newRecorder(t, forged+"Cache-Control: \r\nVary: Accept\r\n\r\n")
	for _, tt := range []struct {
		name         string
		up           *recorder
		signedIn     bool
		cache, varys string
	}{
		{"identified", plain, true, "private", "Accept, Cookie, Authorization"},
		{"identified, and nothing said with a header", empty, true, "private", "Accept, Cookie, Authorization"},
		{"identified, the app knows better", cached, true, "public", "Accept"},
		{"anonymous", plain, false, "", "Accept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t, behind(tt.up.url(), to("/**", anybody)))
			var lines []string
			if tt.signedIn {
				lines = []string{g.person(t, "ann", "user").bearer}
			}
			res, _ := rawGet(t, g.addr, "/", lines...)
			h := res.Header
			if got := h.Get("Cache-Control"); got != tt.cache {
				t.Errorf("Cache-Control: got %q, want %q", got, tt.cache)
			}
			if got := strings.Join(h["Vary"], ", "); got != tt.varys {
				t.Errorf("Vary: got %q, want %q", got, tt.varys)
			}
			if len(h["Doorward"]) != 0 {
				t.Errorf("the app speaks in our codes: %q", h["Doorward"])
			}
			if ids := h["X-Request-Id"]; len(ids) != 1 || ids[0] == "forged" {
				t.Errorf("X-Request-Id: got %q, want ours", ids)
			}
		})
	}
}

// TestAnIgnoredCredentialIsNobodyElses: the answer says that it was ignored, and
// a cache in front must not say so to the next visitor.
func TestAnIgnoredCredentialIsNobodyElses(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: public, max-age=60\r\n\r\n")
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for code, line := range map[string]string{
		"":                        "Accept: */*",
		"TOKEN_INVALID":           "Authorization: Bearer forged",
		"AUTHENTICATION_REQUIRED": "Cookie: " + g.live.Load().cookies.session + "=dead",
	} {
		res, _ := rawGet(t, g.addr, "/", line)
		want := ""
		if code != "" {
			want = "Cookie, Authorization"
		}
		if h := res.Header; h.Get("Doorward") != code || h.Get("Vary") != want || h.Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("%s: got Doorward %q, Vary %q, Cache-Control %q, want %q, %q and the app's own", line, h.Get("Doorward"), h.Get("Vary"), h.Get("Cache-Control"), code, want)
		}
	}
}

func TestAWebSocketsAnswerIsOursToMark(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nDoorward: TOKEN_EXPIRED\r\nX-Request-Id: forged\r\nSet-Cookie: doorward_session=evil\r\n\r\n")
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	c := dialRaw(t, g.addr)
	c.send(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	res := c.answer(t, "GET")
	if res.StatusCode != 101 {
		t.Fatalf("got %d, want 101", res.StatusCode)
	}
	if ids := res.Header["X-Request-Id"]; len(ids) != 1 || ids[0] == "forged" || res.Header["Doorward"] != nil || res.Header["Set-Cookie"] != nil {
		t.Errorf("got %v", res.Header)
	}
}

func TestForwardedHeadersAreRebuilt(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	sent := []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Host: public.example", "X-Forwarded-Proto: https", "Forwarded: for=203.0.113.7"}
	for _, tt := range []struct {
		trusted          []string
		from, host, prot string
	}{
		{nil, "127.0.0.1", "", "http"},
		{[]string{"127.0.0.0/8"}, "203.0.113.7, 127.0.0.1", "public.example", "https"},
	} {
		g := newGateway(t, func(c *Config) {
			behind(up.url(), to("/**", anybody))(c)
			c.Server.TrustedProxies = tt.trusted
		})
		if tt.host == "" {
			tt.host = g.addr
		}
		rawGet(t, g.addr, "/", sent...)
		got := up.last(t)
		for name, want := range map[string]string{"X-Forwarded-For": tt.from, "X-Forwarded-Host": tt.host, "X-Forwarded-Proto": tt.prot} {
			if have := got.fields(name); !slices.Equal(have, []string{want}) {
				t.Errorf("trusted %v: %s: got %q, want %q", tt.trusted, name, have, want)
			}
		}
	}
}

// A backend that refuses an upload says so at once; whoever insists on sending
// everything first never hears it.
func TestAnEarlyAnswerReachesTheUploader(t *testing.T) {
	const refused = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big"
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReaderSize(c, 16)); err == nil {
				io.WriteString(c, refused)
			}
			c.Close() // with the upload unread: the gateway's next write fails
		}
	}()
	g := newGateway(t, behind("http://"+up.Addr().String(), to("/**", anybody)))
	c := dialRaw(t, g.addr)
	c.send(t, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n")
	go func() {
		chunk := make([]byte, 64<<10)
		for range 1024 {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}()
	res := c.answer(t, "POST")
	if body, err := io.ReadAll(res.Body); res.StatusCode != 413 || string(body) != "too big" {
		t.Errorf("got %d %q %v, want 413 too big", res.StatusCode, body, err)
	}
}

func TestHalfAnAnswerIsNoAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			up := newScriptedRecorder(t, func(_ int, _ recorded, c net.Conn) { io.WriteString(c, answer); c.Close() })
			g := newGateway(t, behind(up.url(), to("/**", anybody)))
			c := dialRaw(t, g.addr)
			c.send(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(c.in, nil)
			if err != nil {
				return // not even the head came
			}
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("the client took %q for a whole answer", body)
			}
		})
	}
}

func TestUpstreamFailures(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	hang := func(_ int, _ recorded, c net.Conn) { io.ReadAll(c) }
	tests := []struct {
		name   string
		url    string
		status int
		code   string
	}{
		{"down", "http://" + closed.Addr().String(), 502, "UPSTREAM_UNREACHABLE"},
		{"no such socket", "unix:" + filepath.Join(t.TempDir(), "none.sock"), 502, "UPSTREAM_UNREACHABLE"},
		{"hangs up", newScriptedRecorder(t, func(_ int, _ recorded, c net.Conn) { c.Close() }).url(), 502, "UPSTREAM_UNREACHABLE"},
		{"speaks nonsense", newRecorder(t, "NONSENSE\r\n\r\n").url(), 502, "UPSTREAM_UNREACHABLE"},
		{"never answers", newScriptedRecorder(t, hang).url(), 504, "UPSTREAM_TIMEOUT"},
		{"switches protocols unasked", newRecorder(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").url(), 502, "UPSTREAM_UNREACHABLE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t, func(c *Config) {
				behind(tt.url, to("/**", anybody))(c)
				c.Upstreams[0].Timeouts.Response = 100 * time.Millisecond
			})
			res, body := rawGet(t, g.addr, "/")
			if got := res.Header.Get("Doorward"); res.StatusCode != tt.status || got != tt.code {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, got, tt.status, tt.code)
			}
			if strings.Contains(body, "127.0.0.1") || strings.Contains(body, ".sock") {
				t.Errorf("the answer says where the upstream is: %s", body)
			}
		})
	}
}

func TestUpstreamsOfEveryKind(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Proto, body)
	})
	plain := httptest.NewServer(echo)
	defer plain.Close()

	both := new(http.Protocols)
	both.SetUnencryptedHTTP2(true)
	h2c := httptest.NewUnstartedServer(echo)
	h2c.Config.Protocols = both
	h2c.Start()
	defer h2c.Close()

	socket := filepath.Join(t.TempDir(), "app.sock")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	overUnix := &http.Server{Handler: echo}
	go overUnix.Serve(unix)
	defer overUnix.Close()

	for url, proto := range map[string]string{
		plain.URL: "HTTP/1.1", "h2c://" + h2c.Listener.Addr().String(): "HTTP/2.0", "unix:" + socket: "HTTP/1.1",
	} {
		scheme, _, _ := strings.Cut(url, ":")
		t.Run(scheme, func(t *testing.T) {
			g := newGateway(t, behind(url, to("/**", anybody)))
			res := g.do("POST", "/a%2Fb?x=;y", "hello")
			if want := "POST /a%2Fb?x=;y " + proto + " hello"; res.Status != 200 || res.Body != want {
				t.Errorf("got %d %q, want %q", res.Status, res.Body, want)
			}
		})
	}
}

// What a backend says before its answer and behind it is held to the same as the
// answer: nothing of it is ours to say.
func TestNothingAroundAnAnswerSpeaksForUs(t *testing.T) {
	const ours = "Set-Cookie: __Host-doorward_session=x\r\nDoorward: TOKEN_EXPIRED\r\nX-Request-Id: zz\r\n"
	for name, answer := range map[string]string{
		"hints":              "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n" + ours + "\r\n" + plainAnswer,
		"trailers":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\nA: b\r\n" + ours + "\r\n",
		"announced trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A, Set-Cookie, Doorward, X-Request-Id\r\n\r\n3\r\none\r\n0\r\nA: b\r\n" + ours + "\r\n",
	} {
		for _, method := range []string{"GET", "POST"} { // the short way and the long
			t.Run(name+" "+method, func(t *testing.T) {
				up := newRecorder(t, answer)
				g := newGateway(t, behind(up.url(), to("/**", anybody)))
				c := dialRaw(t, g.addr)
				c.send(t, method+" /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				got, _ := io.ReadAll(c.in)
				for _, bad := range []string{"__Host-doorward", "TOKEN_EXPIRED", ": zz"} {
					if strings.Contains(string(got), bad) {
						t.Errorf("%q is in %q", bad, got)
					}
				}
				if want := map[bool]string{true: "Link: </a>", false: "A: b"}[name == "hints"]; !strings.Contains(string(got), want) {
					t.Errorf("%q is missing in %q", want, got)
				}
			})
		}
	}
}

// What an answer is the backend says, or nobody: a file that is sent without a type,
// and with nosniff so that no browser takes it for a page, must not become one here.
func TestNobodyGuessesWhatAnAnswerIs(t *testing.T) {
	const page = "<html><script>alert(1)</script>"
	up := newRecorder(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, method := range []string{"GET", "POST"} { // the short way and the long
		if res := g.do(method, "/x", ""); res.Body != page || res.Header["Content-Type"] != nil {
			t.Errorf("%s: got %q as %q, want it as nothing", method, res.Body, res.Header["Content-Type"])
		}
	}
}

// What a backend says of its connection to us is nothing to the client's: with a
// Connection field in a hint, HTTP/2 clients give up the request.
func TestHintsSayNothingOfTheBackendsConnection(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: keep-alive, X-Own\r\nConnection: X-Other\r\nKeep-Alive: timeout=5\r\n"+
		"X-Own: 1\r\nX-Other: 2\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n\r\n"+plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, method := range []string{"GET", "POST"} { // the short way and the long
		c := dialRaw(t, g.addr)
		c.send(t, method+" /x HTTP/1.1\r\nHost: x\r\n\r\n")
		hint := c.answer(t, method)
		if want := (http.Header{"Link": {"</a>"}}); hint.StatusCode != 103 || !maps.EqualFunc(hint.Header, want, slices.Equal) {
			t.Errorf("%s: got %d %v, want 103 %v", method, hint.StatusCode, hint.Header, want)
		}
		if res := c.answer(t, method); res.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200", method, res.StatusCode)
		}
	}
}

// The same behind the body, where HTTP/2 clients give up what they have read.
func TestTrailersSayNothingOfTheBackendsConnection(t *testing.T) {
	for _, announced := range []string{"", "Trailer: X-Sum, Upgrade, Keep-Alive, Connection\r\n"} {
		up := newRecorder(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+announced+"\r\n2\r\nok\r\n0\r\n"+
			"X-Sum: 42\r\nUpgrade: h2c\r\nKeep-Alive: timeout=5\r\nConnection: zz\r\nProxy-Connection: zz\r\n\r\n")
		g := newGateway(t, behind(up.url(), to("/**", anybody)))
		for _, method := range []string{"GET", "POST"} { // the short way and the long
			c := dialRaw(t, g.addr)
			c.send(t, method+" /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			got, _ := io.ReadAll(c.in)
			if _, trailers, _ := strings.Cut(string(got), "\r\n0\r\n"); trailers != "X-Sum: 42\r\n\r\n" {
				t.Errorf("%s: got %q, want X-Sum alone behind the body", method, got)
			}
		}
	}
}

// A client of HTTP/2 that leaves while hints are on their way must not find the
// proxy and net/http at one map: where the runtime notices, it ends the process.
// The race detector sees what is left of it here.
func TestLeavingAmongHints(t *testing.T) {
	up := newRecorder(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n\r\n", 40)+plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	client, at := overHTTP2(t, g)
	for i := range 300 {
		ctx, leave := context.WithCancel(t.Context())
		heard := 0
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			if heard++; heard > i%5 {
				leave()
			}
			if _, ok := h["Content-Length"]; ok {
				t.Error("a hint of a length")
			}
			return nil
		}}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), "GET", at+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.RoundTrip(r); err == nil {
			res.Body.Close()
		}
		leave()
	}
	g.eventually("everybody to have left", func() bool { return g.underWay.Load() == 0 })
}

// RFC 9110, section 15.2: a client of HTTP/1.0 would take a hint for the answer.
func TestNoHintsForHTTP10(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	c := dialRaw(t, g.addr)
	c.send(t, "GET /x HTTP/1.0\r\nHost: x\r\n\r\n")
	if got, _ := io.ReadAll(c.in); strings.Contains(string(got), " 103 ") || !strings.Contains(string(got), " 200 ") {
		t.Errorf("got %q, want the answer alone", got)
	}
}

// Hints are chunks like any other: a client that does not take them holds
// neither us nor the backend.
func TestHintsNobodyReadsEnd(t *testing.T) {
	up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
		for range 140 {
			io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 7000)+"\r\n\r\n")
		}
		io.WriteString(conn, plainAnswer)
	})
	g := newGateway(t, func(c *Config) {
		behind(up.url(), to("/**", anybody))(c)
		c.Server.Timeouts.Body = 300 * time.Millisecond
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	small := &http.Server{Handler: g.Public(), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
		return ctx
	}}
	go small.Serve(l)
	t.Cleanup(func() { small.Close() })
	c := dialRaw(t, l.Addr().String())
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(4096)
	c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	g.eventually("the request to arrive", func() bool { return len(up.requests()) == 1 })
	g.eventually("the handler to give up", func() bool { return g.underWay.Load() == 0 })
}

// What net/http cannot read of an answer it repeats in its error, and that may
// be a page of somebody's.
func TestTheLogDoesNotRepeatABackend(t *testing.T) {
	for _, answer := range []string{
		"SECRETBODY\r\n\r\n", "HTTP/1.1 200 OK\r\nSet-Cookie session=SECRETBODY\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: SECRETBODY\r\n\r\n", "HTTP/1.1 SECRETBODY OK\r\n\r\n",
		"HTTP/1.1 099 SECRETBODY\r\n\r\n",
	} {
		for _, method := range []string{"GET", "POST"} {
			up := newRecorder(t, answer)
			g := newGateway(t, behind(up.url(), to("/**", anybody)))
			if res := g.do(method, "/x", ""); res.code() != "UPSTREAM_UNREACHABLE" {
				t.Errorf("%s, %q: got %d %q, want UPSTREAM_UNREACHABLE", method, answer, res.Status, res.code())
			}
			if logs := g.logs.String(); strings.Contains(logs, "SECRETBODY") || !strings.Contains(logs, "upstream failed") {
				t.Errorf("%s, %q: logged %s", method, answer, logs)
			}
		}
	}
}
