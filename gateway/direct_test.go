//go:build unix

package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scripted is a backend of which each connection answers what it is told:
// answers[i][j] to request j of connection i. After its last answer, and where
// there is none, it closes.
func scripted(t *testing.T, answers ...[]string) (*direct, *recorder) {
	t.Helper()
	on := map[int]int{}
	r := newScriptedRecorder(t, func(_ int, got recorded, conn net.Conn) {
		turn := on[got.conn]
		on[got.conn]++
		if got.conn < len(answers) && turn < len(answers[got.conn]) {
			io.WriteString(conn, answers[got.conn][turn])
		}
		if got.conn >= len(answers) || turn >= len(answers[got.conn])-1 {
			conn.Close()
		}
	})
	return directTo(t, r.Addr().String(), UpstreamTimeouts{Connect: patience, Response: patience, Idle: patience}), r
}

func directTo(t *testing.T, address string, timeouts UpstreamTimeouts) *direct {
	t.Helper()
	up, err := newUpstream(Upstream{Name: "app", URL: "http://" + address, Timeouts: timeouts})
	if err != nil {
		t.Fatal(err)
	}
	if up.direct == nil {
		t.Fatal("a plain backend is not spoken to directly")
	}
	t.Cleanup(up.close)
	return up.direct
}

func directRequest(t *testing.T, ctx context.Context, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://backend.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// askDirect is one request and its whole answer: status and body, or the error.
func askDirect(t *testing.T, d *direct, method, path string) string {
	t.Helper()
	res, err := d.roundTrip(directRequest(t, t.Context(), method, path), nil)
	if err != nil {
		return "error"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "broken"
	}
	return strconv.Itoa(res.StatusCode) + " " + string(body)
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"

// Every way an answer can end, and whether its connection may carry another.
func TestDirectKeepsAConnectionThatIsClean(t *testing.T) {
	for _, tc := range []struct {
		name, method, answer, want string
		kept                       bool
	}{
		{"length", "GET", ok + "one", "200 one", true},
		{"empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 ", true},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n", "200 one", true},
		{"trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3\r\none\r\n0\r\nA: b\r\n\r\n", "200 one", true},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "204 ", true},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n", "304 ", true},
		{"informed", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "one", "200 one", true},
		{"continued", "GET", "HTTP/1.1 100 Continue\r\n\r\n" + ok + "one", "200 one", true},

		{"until closed", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none", "200 one", false},
		{"closing", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none", "200 one", false},
		{"old", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", "200 one", false},
		{"more than announced", "GET", ok + "onetwo", "200 one", false},
		{"a second answer", "GET", ok + "one" + ok + "two", "200 one", false},
		{"an answer behind none", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + ok + "two", "200 ", false},
		// No body may follow these. Some backends send one, later than the header.
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "200 ", false},
		{"head of any length", "HEAD", "HTTP/1.1 200 OK\r\n\r\n", "200 ", false},
		{"no content, of a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", "204 ", false},
		{"no content, in chunks", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "204 ", false},
		{"not modified, of a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 ", false},
		{"less than announced", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none", "broken", false},
		{"broken chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\none", "broken", false},
		{"switched unasked", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "error", false},
		{"no answer", "GET", "HELO there\r\n\r\n", "error", false},
		{"both lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\none", "error", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The first connection would answer again, so that nothing but our own
			// judgement keeps a request from it. One whose body ends by that is closed.
			first := []string{tc.answer, ok + "two", "unused"}
			if tc.name == "until closed" || tc.want == "broken" {
				first = first[:1]
			}
			d, r := scripted(t, first, []string{ok + "two"})
			if got := askDirect(t, d, tc.method, "/1"); got != tc.want {
				t.Fatalf("the answer: got %q, want %q", got, tc.want)
			}
			if got, want := askDirect(t, d, "GET", "/2"), "200 two"; got != want {
				t.Errorf("the next: got %q, want %q", got, want)
			}
			if got := r.last(t); (got.conn == 0) != tc.kept || !strings.HasPrefix(got.head, "GET /2 ") {
				t.Errorf("the next went over connection %d: %q; kept %v", got.conn, got.line(), tc.kept)
			}
			if got, want := len(r.requests()), 2; got != want {
				t.Errorf("%d requests arrived, want %d", got, want)
			}
		})
	}
}

// What a backend says when nobody asked must not become the answer to whoever
// asks next.
func TestDirectIsNotToldWhatItDidNotAsk(t *testing.T) {
	late := make(chan net.Conn, 1)
	r := newScriptedRecorder(t, func(n int, _ recorded, conn net.Conn) {
		io.WriteString(conn, ok+[]string{"one", "two"}[n])
		if n == 0 {
			late <- conn
		}
	})
	d := directTo(t, r.Addr().String(), UpstreamTimeouts{Idle: patience})
	if got, want := askDirect(t, d, "GET", "/1"), "200 one"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	io.WriteString(<-late, ok+"BAD")
	unsettle(t, d.idle[0].Conn)
	if got, want := askDirect(t, d, "GET", "/2"), "200 two"; got != want {
		t.Errorf("after an answer nobody asked for: got %q, want %q", got, want)
	}
}

// Nor on the long way, where a goroutine reads what comes, sooner or later. Under
// HTTP/2 a backend speaks when it likes.
func TestAConnectionThatSpokeUnaskedIsRefused(t *testing.T) {
	for _, multiplexed := range []bool{false, true} {
		r := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) { io.WriteString(conn, ok+"BAD") })
		tcp, err := net.Dial("tcp", r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		io.WriteString(tcp, "GET / HTTP/1.1\r\n\r\n")
		unsettle(t, tcp)
		used := usedConn{multiplexed: multiplexed}
		conn := &upstreamConn{Conn: tcp, ended: make(chan struct{})}
		used.got(httptrace.GotConnInfo{Conn: conn, Reused: true})
		if _, err := conn.Write([]byte("x")); (err == nil) != multiplexed {
			t.Errorf("multiplexed %v: written with %v", multiplexed, err)
		}
	}
}

// A kept connection that is gone costs one repetition and no more; a new one,
// or one that has begun to answer, none.
func TestDirectRepeatsOnceAndOnlyWhatHadNoAnswer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		conns  [][]string
		want   string
		asked  int // requests that arrived, the first and good one among them
		closed bool
	}{
		{"closed while idle", [][]string{{ok + "one"}, {ok + "two"}}, "200 two", 2, true},
		{"closed instead of an answer", [][]string{{ok + "one", ""}, {ok + "two"}}, "200 two", 3, false},
		{"no better on a new one", [][]string{{ok + "one", ""}, {""}, {ok + "two"}}, "error", 3, false},
		{"half a header", [][]string{{ok + "one", "HTTP/1.1 200"}, {ok + "two"}}, "error", 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, r := scripted(t, tc.conns...)
			if got, want := askDirect(t, d, "GET", "/1"), "200 one"; got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			if tc.closed {
				unsettle(t, d.idle[0].Conn)
			}
			if got := askDirect(t, d, "GET", "/2"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got := len(r.requests()); got != tc.asked {
				t.Errorf("%d requests arrived, want %d", got, tc.asked)
			}
		})
	}
	t.Run("a new connection", func(t *testing.T) {
		d, r := scripted(t, []string{""}, []string{ok + "one"})
		if got, want := askDirect(t, d, "GET", "/1"), "error"; got != want || len(r.requests()) != 1 {
			t.Errorf("got %q after %d requests, want %q after one", got, len(r.requests()), want)
		}
	})
}

// unsettle waits until there is something to read on an idle connection, or it
// has ended.
func unsettle(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	looked := false
	raw.Read(func(fd uintptr) bool {
		_, err := peek(fd)
		looked = err != syscall.EAGAIN
		return looked
	})
	if !looked {
		t.Fatal("the connection stayed silent")
	}
}

// Each of these goes the long way, where a body and its early answer, an upgrade
// or a method that must not be repeated are looked after.
func TestDirectCarriesOnlyWhatMayBeRepeated(t *testing.T) {
	for _, tc := range []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"get", &http.Request{Method: "GET"}, true},
		{"no body", &http.Request{Method: "GET", Body: http.NoBody}, true},
		{"head", &http.Request{Method: "HEAD"}, true},
		{"options", &http.Request{Method: "OPTIONS"}, true},
		{"post", &http.Request{Method: "POST"}, false},
		{"delete", &http.Request{Method: "DELETE"}, false},
		{"lower case", &http.Request{Method: "get"}, false},
		{"body", &http.Request{Method: "GET", Body: io.NopCloser(strings.NewReader("x"))}, false},
		{"length", &http.Request{Method: "GET", ContentLength: 1}, false},
		{"upgrade", &http.Request{Method: "GET", Header: http.Header{"Upgrade": {"websocket"}}}, false},
		{"trailers", &http.Request{Method: "GET", Trailer: http.Header{"A": nil}}, false},
	} {
		if got := carries(tc.r); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	for _, tc := range []struct {
		url  string
		want bool
	}{
		{"http://127.0.0.1:1", true}, {"http://[::1]:1", true}, {"http://app", true}, {"unix:/run/app.sock", true},
		{"https://app", false}, {"h2c://app:1", false}, {"http://bücher.test", false}, {"whoami:", false},
	} {
		up, err := newUpstream(Upstream{Name: "app", URL: tc.url})
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
			continue
		}
		if got := up.direct != nil; got != tc.want {
			t.Errorf("%s: direct %v, want %v", tc.url, got, tc.want)
		}
		up.close()
	}
}

func TestDirectBoundsAHeader(t *testing.T) {
	long := strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", maxAnswerHeaders/1000)
	for name, answer := range map[string]string{
		"header":        "HTTP/1.1 200 OK\r\n" + long + "Content-Length: 3\r\n\r\none",
		"informational": strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 1000)+"\r\n\r\n", maxAnswerHeaders/1000) + ok + "one",
	} {
		d, _ := scripted(t, []string{answer})
		_, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/"), nil)
		if !errors.Is(err, errLongHeader) {
			t.Errorf("%s: got %v, want %v", name, err, errLongHeader)
		}
	}
	// Of a body there is no bound.
	long = strings.Repeat("y", 3*maxAnswerHeaders)
	d, _ := scripted(t, []string{"HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(long)) + "\r\n\r\n" + long})
	if got, want := askDirect(t, d, "GET", "/"), "200 "+long; got != want {
		t.Errorf("a long body: got %d bytes, want %d", len(got), len(want))
	}
}

func TestDirectHandsOnWhatComesBeforeTheAnswer(t *testing.T) {
	d, _ := scripted(t, []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "one"})
	var told string
	r := directRequest(t, httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			told = strconv.Itoa(code) + " " + h.Get("Link")
			return nil
		},
	}), "GET", "/")
	res, err := d.roundTrip(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if want := "103 </a>"; told != want {
		t.Errorf("got %q, want %q", told, want)
	}
}

// silentBackend accepts a connection, answers its first requests as it is told,
// and says no more than the last words to the one after; then asked is closed,
// and ended when the connection is.
func silentBackend(t *testing.T, says string, before ...string) (address string, asked <-chan struct{}, ended <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard, over := make(chan struct{}), make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for _, answer := range append(before, says) {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(c, answer)
		}
		close(heard)
		io.Copy(io.Discard, in)
		close(over)
	}()
	return l.Addr().String(), heard, over
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("waited in vain: " + what)
	}
}

func TestDirectEndsWithItsRequest(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		address, asked, ended := silentBackend(t, "")
		d := directTo(t, address, UpstreamTimeouts{Response: patience})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		if _, err := d.roundTrip(directRequest(t, ctx, "GET", "/"), nil); err == nil {
			t.Error("an answer came from nowhere")
		}
		within(t, "the backend to be left", ended)
	})
	t.Run("before the answer, on a kept connection", func(t *testing.T) {
		address, asked, ended := silentBackend(t, "", ok+"one")
		d := directTo(t, address, UpstreamTimeouts{Response: patience})
		if got, want := askDirect(t, d, "GET", "/"), "200 one"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		if _, err := d.roundTrip(directRequest(t, ctx, "GET", "/"), nil); err == nil {
			t.Error("an answer came from nowhere")
		}
		within(t, "the backend to be left", ended)
	})
	t.Run("in the answer", func(t *testing.T) {
		address, _, ended := silentBackend(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		d := directTo(t, address, UpstreamTimeouts{Response: patience})
		ctx, cancel := context.WithCancel(t.Context())
		res, err := d.roundTrip(directRequest(t, ctx, "GET", "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		over := make(chan struct{})
		go func() {
			defer close(over)
			if got, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("half an answer passed for a whole: %q", got)
			}
		}()
		within(t, "the answer to end", over)
		within(t, "the backend to be left", ended)
	})
	t.Run("by who reads it", func(t *testing.T) {
		address, _, ended := silentBackend(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		d := directTo(t, address, UpstreamTimeouts{})
		res, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		within(t, "the backend to be left", ended)
		if len(d.idle) != 0 {
			t.Error("a connection with half an answer in it was kept")
		}
	})
	t.Run("by somebody else", func(t *testing.T) {
		address, _, ended := silentBackend(t, "HTTP/1.1 200 OK\r\n\r\nendless")
		d := directTo(t, address, UpstreamTimeouts{})
		res, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		go abort(res)
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("an answer that was cut passed for a whole")
		}
		within(t, "the backend to be left", ended)
	})
	t.Run("by somebody too late", func(t *testing.T) {
		d, r := scripted(t, []string{ok + "one", ok + "two"})
		res, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		abort(res)
		res.Body.Close()
		if got, want := askDirect(t, d, "GET", "/2"), "200 two"; got != want || r.last(t).conn != 0 {
			t.Errorf("the next request had to pay for it: got %q over connection %d, want %q", got, r.last(t).conn, want)
		}
	})
}

func TestDirectWaitsNoLongerThanItIsTold(t *testing.T) {
	for _, before := range [][]string{nil, {ok + "one"}} {
		address, asked, ended := silentBackend(t, "HTTP/1.1 200 OK\r\n", before...)
		d := directTo(t, address, UpstreamTimeouts{Response: patience})
		for range before {
			if got, want := askDirect(t, d, "GET", "/"), "200 one"; got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			d.idle[0].until = time.Time{} // the next request sets a deadline of its own
		}
		d.response = 50 * time.Millisecond
		_, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/"), nil)
		if !isTimeout(err) {
			t.Errorf("after %d: got %v, want a timeout", len(before), err)
		}
		within(t, "the request to arrive", asked)
		within(t, "the backend to be left", ended)
	}
}

// What the socket does not take at once follows.
func TestDirectSendsTheWholeRequest(t *testing.T) {
	d, r := scripted(t, []string{ok + "one", ok + "two"})
	if got, want := askDirect(t, d, "GET", "/1"), "200 one"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if err := d.idle[0].Conn.(*net.TCPConn).SetWriteBuffer(1); err != nil {
		t.Fatal(err)
	}
	r2 := directRequest(t, t.Context(), "GET", "/2")
	long := strings.Repeat("x", 256<<10)
	r2.Header.Set("Long", long)
	res, err := d.roundTrip(r2, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := r.last(t); got.conn != 0 || !strings.Contains(got.head, "Long: "+long+"\r\n") {
		t.Errorf("over connection %d arrived %d bytes", got.conn, len(got.head))
	}
}

// The time for the header is not the body's: that may take as long as it likes.
// A machine too slow for the first limit gets a longer one.
func TestDirectGivesABodyItsTime(t *testing.T) {
	for limit := 50 * time.Millisecond; limit < patience; limit *= 4 {
		rest := make(chan struct{})
		r := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\no")
			<-rest
			io.WriteString(conn, "ne")
		})
		d := directTo(t, r.Addr().String(), UpstreamTimeouts{Response: limit})
		res, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/"), nil)
		time.AfterFunc(2*limit, func() { close(rest) })
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "one" {
			t.Errorf("got %q and %v, want one", got, err)
		}
		return
	}
	t.Error("no limit was long enough for a header")
}

func TestDirectLetsIdleConnectionsGo(t *testing.T) {
	address, _, ended := silentBackend(t, ok+"one")
	d := directTo(t, address, UpstreamTimeouts{Idle: 20 * time.Millisecond})
	if got, want := askDirect(t, d, "GET", "/"), "200 one"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	within(t, "an idle connection to be closed", ended)

	address, _, ended = silentBackend(t, ok+"one")
	d = directTo(t, address, UpstreamTimeouts{Idle: patience})
	res, err := d.roundTrip(directRequest(t, t.Context(), "GET", "/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	d.close() // a reload: what is under way is finished, and then nothing is kept
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "one" {
		t.Errorf("got %q and %v, want one", got, err)
	}
	within(t, "the connection to be closed after its answer", ended)
}

// An idle connection holds nothing of the request that is over: neither what was
// in its context nor what was in its header.
func TestDirectLetsARequestGo(t *testing.T) {
	d, _ := scripted(t, []string{ok + "one", ok + "two"})
	for range 2 { // over a new connection, and a kept one
		r := directRequest(t, t.Context(), "GET", "/")
		r.Header.Set("Cookie", "a=SECRET")
		res, err := d.roundTrip(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		c := d.idle[0]
		if c.asks.ctx != nil || d.asking.first != nil {
			t.Error("the request's context is still held")
		}
		if strings.Contains(string(c.out[:cap(c.out)]), "SECRET") {
			t.Error("the request's header is still held")
		}
	}
}

// overHTTP2 serves a gateway by HTTP/2 without TLS: a client of it, and where.
func overHTTP2(t testing.TB, g *testGateway) (*http.Transport, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: g.Public(), Protocols: p}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	client := &http.Transport{Protocols: p}
	t.Cleanup(client.CloseIdleConnections)
	return client, "http://" + l.Addr().String()
}

// Under HTTP/2 every request has a body to read, if only its end.
func TestHTTP2GoesDirect(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	client, at := overHTTP2(t, g)
	r, err := http.NewRequestWithContext(t.Context(), "GET", at+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if got := len(g.live.Load().routes[0].upstream.direct.idle); got != 1 {
		t.Errorf("%d direct connections, want one", got)
	}
}
