package gateway

import (
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The backend has closed a kept connection without having said that it would: a
// POST that finds it in the pool goes out on a new one, and only there.
func TestAPostThatMeetsAStaleConnectionTakesAnother(t *testing.T) {
	closed := make(chan struct{}, 1)
	up := newScriptedRecorder(t, func(n int, _ recorded, c net.Conn) {
		io.WriteString(c, plainAnswer)
		if n == 0 {
			c.Close()
			closed <- struct{}{}
		}
	})
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	warmPost(t, g)
	<-closed
	if res := g.do("POST", "/x", "hello"); res.Status != 200 {
		t.Fatalf("got %d %q, want 200", res.Status, res.code())
	}
	got := up.requests()
	if len(got) != 2 || got[1].conn == got[0].conn || !strings.HasPrefix(got[1].head, "POST /x ") {
		t.Errorf("got %d requests, want the POST once, on a new connection", len(got))
	}
}

// A backend may act on the head of a request before it asks for the body. If it
// then breaks off, nobody can tell, so the POST is not sent again: not on another
// kept connection, and not on a new one.
func TestAPostWhoseHeadIsOutIsNotRepeated(t *testing.T) {
	up := newScriptedRecorder(t, func(n int, got recorded, c net.Conn) {
		if strings.HasPrefix(got.head, "POST /transfer") {
			c.Close()
			return
		}
		io.WriteString(c, plainAnswer)
	})
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	warmPost(t, g)
	c := dialRaw(t, g.addr)
	c.send(t, "POST /transfer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
	res := c.answer(t, "POST")
	if res.StatusCode == 100 {
		res = c.answer(t, "POST")
	}
	if res.StatusCode != 502 {
		t.Errorf("got %d, want 502", res.StatusCode)
	}
	if n := len(up.requests()); n != 2 {
		t.Errorf("got %d requests, want one before and this one", n)
	}
}

// A POST of which the backend may have had the body is never sent twice, not even
// if its client says that it could be: whether the backend heeds that is not known.
func TestAPostThatMayHaveArrivedIsNotRepeated(t *testing.T) {
	for name, tc := range map[string]struct{ method, body, header string }{
		"post":             {"POST", "hello", ""},
		"delete":           {"DELETE", "", ""},
		"a key":            {"POST", "hello", "Idempotency-Key: k"},
		"an older key":     {"POST", "hello", "X-Idempotency-Key: k"},
		"a key, no body":   {"POST", "", "Idempotency-Key: k"},
		"a key, by delete": {"DELETE", "", "Idempotency-Key: k"},
	} {
		t.Run(name, func(t *testing.T) {
			up := newScriptedRecorder(t, func(n int, _ recorded, c net.Conn) {
				if n == 1 {
					c.Close()
					return
				}
				io.WriteString(c, plainAnswer)
			})
			g := newGateway(t, behind(up.url(), to("/**", anybody)))
			warmPost(t, g)
			var headers []string
			if tc.header != "" {
				headers = append(headers, tc.header)
			}
			if res := g.do(tc.method, "/x", tc.body, headers...); res.code() != "UPSTREAM_UNREACHABLE" {
				t.Errorf("got %d %q, want UPSTREAM_UNREACHABLE", res.Status, res.code())
			}
			all := up.requests()
			if len(all) != 2 || all[1].conn != 0 {
				t.Fatalf("got %d requests, want 2 over one connection", len(all))
			}
			if tc.header != "" && !strings.Contains(strings.ToLower(all[1].head), strings.ToLower(tc.header)) {
				t.Errorf("the key did not arrive: %q", all[1].head)
			}
		})
	}
}

// What a backend sends behind an answer that must have no body would be the answer
// to whoever had the connection next. It may come at any time, so that connection
// has no next.
func TestNobodyWaitsBehindABodyThatMustNotBe(t *testing.T) {
	for name, tc := range map[string]struct {
		method, answer string
		kept           bool
	}{
		"head":                     {"HEAD", plainAnswer[:strings.Index(plainAnswer, "ok")], false},
		"no content":               {"POST", "HTTP/1.1 204 No Content\r\n\r\n", true},
		"nothing":                  {"POST", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
		"no content, of a length":  {"POST", "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", false},
		"no content, in chunks":    {"DELETE", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		"not modified":             {"PUT", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false},
		"a body where there is to": {"POST", plainAnswer, true},
	} {
		t.Run(name, func(t *testing.T) {
			up := newScriptedRecorder(t, func(n int, _ recorded, c net.Conn) {
				io.WriteString(c, []string{tc.answer, plainAnswer}[n])
			})
			g := newGateway(t, behind(up.url(), to("/**", anybody)))
			g.do(tc.method, "/1", "hello") // also a HEAD: then it goes the long way
			if res := g.do("POST", "/2", "hello"); res.Status != 200 || res.Body != "ok" {
				t.Errorf("the next: got %d %q, want 200 ok", res.Status, res.Body)
			}
			if got := up.requests(); len(got) != 2 || (got[1].conn == got[0].conn) != tc.kept {
				t.Errorf("%d requests, the last over connection %d; want two, kept %v", len(got), got[len(got)-1].conn, tc.kept)
			}
		})
	}
}

// The transport gives a connection away before we have seen the answer; whoever
// gets it then takes another, and nothing that comes over it is theirs.
func TestAnUnsettledConnectionIsRefused(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	go io.Copy(io.Discard, server)
	conn := &upstreamConn{Conn: client, ended: make(chan struct{})}
	var first, second usedConn
	first.got(httptrace.GotConnInfo{Conn: conn})
	second.got(httptrace.GotConnInfo{Conn: conn, Reused: true})
	if n, err := conn.Write([]byte("x")); err == nil {
		t.Errorf("%d bytes of the second request went out", n)
	}
	res := &http.Response{StatusCode: 200, Body: http.NoBody}
	if second.answered(res) || !second.untouched() {
		t.Error("an answer nobody had asked for was taken, or the request not sent anew")
	}
	if !first.answered(res) {
		t.Error("the first request lost its answer")
	}
}

// warmPost leaves a connection in the pool that requests with a body use.
func warmPost(t *testing.T, g *testGateway) {
	t.Helper()
	if res := g.do("POST", "/", "hello"); res.Status != 200 {
		t.Fatalf("got %d %q, want 200", res.Status, res.code())
	}
}

// A backend that answers early and closes makes our next write fail; the answer
// it sent must still be found, so the failure waits for the reading to end.
func TestAFailedWriteWaitsForTheAnswer(t *testing.T) {
	inner := &brokenConn{failed: make(chan bool)}
	c := &upstreamConn{Conn: inner, ended: make(chan struct{})}
	go io.Copy(io.Discard, c)
	if _, err := c.Write([]byte("x")); err == nil {
		t.Fatal("the write did not fail")
	}
	select {
	case <-c.ended:
	default:
		t.Error("the write failed before the answer was read")
	}
}

// brokenConn fails to write; what can be read ends some time after that.
type brokenConn struct {
	net.Conn
	failed chan bool
}

func (c *brokenConn) Write([]byte) (int, error) {
	close(c.failed)
	return 0, errors.New("broken pipe")
}

func (c *brokenConn) Read([]byte) (int, error) {
	<-c.failed
	time.Sleep(time.Millisecond) // an answer takes its time
	return 0, io.EOF
}

// A backend that stopped reading is as silent as one that stopped answering.
func TestABackendThatStopsReadingTimesOut(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close() // nobody accepts, so nobody reads
	g := newGateway(t, func(c *Config) {
		behind("http://"+up.Addr().String(), to("/**", anybody))(c)
		c.Upstreams[0].Timeouts.Response = 200 * time.Millisecond
	})
	c := dialRaw(t, g.addr)
	c.send(t, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
	go io.Copy(c, zeroes{})
	res := c.answer(t, "POST")
	if got := res.Header.Get("Doorward"); res.StatusCode != 504 || got != "UPSTREAM_TIMEOUT" {
		t.Errorf("got %d %q, want 504 UPSTREAM_TIMEOUT", res.StatusCode, got)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

func TestTLSUpstreamIsVerified(t *testing.T) {
	up := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	defer up.Close()
	up.Config.ErrorLog = silent
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		tls  UpstreamTLS
		want int
	}{
		{"the authority is known", UpstreamTLS{CA: ca}, 200},
		{"by the name it is for", UpstreamTLS{CA: ca, ServerName: "example.com"}, 200},
		{"another name", UpstreamTLS{CA: ca, ServerName: "evil.example"}, 502},
		{"an authority nobody knows", UpstreamTLS{}, 502},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t, func(c *Config) {
				behind(up.URL, to("/**", anybody))(c)
				c.Upstreams[0].TLS = tt.tls
			})
			if res := g.get("/"); res.Status != tt.want {
				t.Errorf("got %d %s, want %d", res.Status, res.Body, tt.want)
			}
		})
	}
}

func TestNewUpstreamSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		u    Upstream
		want string
	}{
		{"scheme", Upstream{Name: "app", URL: "ftp://x"}, "scheme"},
		{"no CA file", Upstream{Name: "app", URL: "https://x", TLS: UpstreamTLS{CA: filepath.Join(t.TempDir(), "none")}}, "tls.ca"},
		{"a CA file of something else", Upstream{Name: "app", URL: "https://x", TLS: UpstreamTLS{CA: os.Args[0]}}, "no certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newUpstream(tt.u); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}
