package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait on a socket. It is no measurement: a machine as
// slow as that would have failed elsewhere.
const patience = 20 * time.Second

// recorder is a backend that keeps what it got, byte for byte: what a parser
// made of it would hide the very thing in question.
type recorder struct {
	net.Listener
	serve func(n int, got recorded, conn net.Conn) // answers the n-th request, from 0

	mu  sync.Mutex
	got []recorded
}

// recorded is one request as it stood on the wire.
type recorded struct {
	conn int    // which connection it came over, from 0
	head string // request line and fields, with their line ends
	body string
}

// newRecorder answers every request with the same bytes.
func newRecorder(t testing.TB, answer string) *recorder {
	t.Helper()
	return newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) { io.WriteString(conn, answer) })
}

// newScriptedRecorder lets serve answer. A connection serve closes takes no more.
func newScriptedRecorder(t testing.TB, serve func(n int, got recorded, conn net.Conn)) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Listener: l, serve: serve}
	var conns sync.WaitGroup
	var open sync.Map
	conns.Go(func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			conns.Go(func() { r.talk(i, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		conns.Wait()
	})
	return r
}

func (r *recorder) talk(i int, c net.Conn) {
	defer c.Close()
	var wire bytes.Buffer
	in := bufio.NewReaderSize(io.TeeReader(c, &wire), 1) // reads no further than it parses
	for {
		wire.Reset()
		var head strings.Builder
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		got := recorded{conn: i, head: head.String()}
		n := r.keep(got)
		if !strings.Contains(strings.ToLower(got.head), "expect: 100-continue") {
			got.body = takeBody(got.head, in)
			r.mu.Lock()
			r.got[n] = got
			r.mu.Unlock()
		}
		r.serve(n, got, c)
	}
}

func (r *recorder) keep(got recorded) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, got)
	return len(r.got) - 1
}

// takeBody takes the body the head announces, as it stands on the wire.
func takeBody(head string, in *bufio.Reader) string {
	var wire bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), io.TeeReader(in, &wire))))
	if err != nil {
		return ""
	}
	io.Copy(io.Discard, req.Body)
	return wire.String()
}

func (r *recorder) url() string { return "http://" + r.Addr().String() }

// requests is everything that has arrived so far.
func (r *recorder) requests() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]recorded(nil), r.got...)
}

// last is the latest request; the test fails if there was none.
func (r *recorder) last(t testing.TB) recorded {
	t.Helper()
	all := r.requests()
	if len(all) == 0 {
		t.Fatal("nothing reached the upstream")
	}
	return all[len(all)-1]
}

// line is the request line.
func (r recorded) line() string {
	line, _, _ := strings.Cut(r.head, "\r\n")
	return line
}

// fields is every value the named field has, the name compared as written but
// for case.
func (r recorded) fields(name string) []string {
	var values []string
	for _, line := range strings.Split(r.head, "\r\n")[1:] {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			values = append(values, strings.TrimPrefix(value, " "))
		}
	}
	return values
}

// plainAnswer is the least a backend can say.
const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// rawConn is a client that writes what it is told, legal or not.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

func dialRaw(t testing.TB, addr string) *rawConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &rawConn{c, bufio.NewReader(c)}
}

// send writes the bytes as they are.
func (c *rawConn) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one response; method is that of the request it belongs to.
func (c *rawConn) answer(t testing.TB, method string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return res
}

// rawGet sends a GET of the target, with more lines of header, on a connection
// of its own, and returns the answer with its body read.
func rawGet(t testing.TB, addr, target string, lines ...string) (*http.Response, string) {
	t.Helper()
	return rawRequest(t, addr, "GET "+target+" HTTP/1.1", lines...)
}

func rawRequest(t testing.TB, addr, requestLine string, lines ...string) (*http.Response, string) {
	t.Helper()
	c := dialRaw(t, addr)
	defer c.Close()
	head := requestLine + "\r\nHost: " + addr + "\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	c.send(t, head+"\r\n")
	method, _, _ := strings.Cut(requestLine, " ")
	res := c.answer(t, method)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the answer's body: %v", err)
	}
	return res, string(body)
}
