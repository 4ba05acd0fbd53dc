package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// requestKeys is what a request's line has, in this order.
var requestKeys = []string{
	"time", "level", "msg", "request_id", "method", "host", "path", "route", "status", "code", "bytes", "duration_ms",
	"client_ip", "user", "session", "decision", "upstream", "upstream_ms", "user_agent",
}

func TestRequestLine(t *testing.T) {
	posts := to("/only/*", anybody)
	posts.Methods = []string{"POST"}
	g := newGateway(t, func(c *Config) { c.Routes = append(c.Routes, posts) })
	anna := g.bearer("anna")
	tests := []struct {
		name    string
		path    string
		headers []string
		want    map[string]any
	}{
		{"allowed", "/a%2Fb?token=secret", []string{"Authorization: " + anna, "User-Agent: tester"}, map[string]any{
			"level": "INFO", "method": "GET", "host": g.addr, "path": "/a%2Fb", "route": "/**", "status": 200.0, "code": "",
			"client_ip": "127.0.0.1", "decision": "allowed", "upstream": "app", "user_agent": "tester"}},
		{"refused", "/x", nil, map[string]any{
			"route": "/**", "status": 401.0, "code": "AUTHENTICATION_REQUIRED", "decision": "AUTHENTICATION_REQUIRED", "user": "", "upstream": ""}},
		{"ignored credential", "/public/x", []string{"Authorization: Bearer forged"}, map[string]any{
			"route": "/public/**", "status": 200.0, "code": "TOKEN_INVALID", "decision": "allowed", "user": ""}},
		{"own endpoint", "/auth/profile", []string{"Authorization: " + anna}, map[string]any{
			"route": "/auth/profile", "status": 200.0, "decision": "allowed", "upstream": ""}},
		{"no such method", "/only/posts", nil, map[string]any{"route": "/only/*", "status": 405.0, "code": "METHOD_NOT_ALLOWED", "decision": "METHOD_NOT_ALLOWED", "upstream": ""}},
		{"own, unknown", "/auth/nothing", nil, map[string]any{"route": "none", "status": 404.0, "code": "NOT_FOUND"}},
		{"no meaning", "/public/%00", nil, map[string]any{"route": "none", "status": 400.0, "code": "BAD_REQUEST", "path": "/public/%00"}},
		{"control characters", "/public/x", []string{"User-Agent: \x9b31mred \xe2\x80\xaenull"}, map[string]any{
			"user_agent": `\x9b31mred \u202enull`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line := g.requestLine(sendRaw(t, g.addr, tt.path, tt.headers...).Get("X-Request-Id"))
			for key, want := range tt.want {
				if got := line[key]; got != want {
					t.Errorf("%s: got %v, want %v", key, got, want)
				}
			}
			if id := line["user"]; tt.name == "allowed" && (id == "" || line["session"] == "") {
				t.Errorf("user %q, session %q: want both", id, line["session"])
			}
		})
	}
	for text := range strings.Lines(g.logs.String()) {
		if strings.Contains(text, `"msg":"request"`) {
			if got := keysOf(text); !slices.Equal(got, requestKeys) {
				t.Fatalf("keys are %v, want %v", got, requestKeys)
			}
		}
	}
	for _, secret := range []string{"token=secret", strings.TrimPrefix(anna, "Bearer ")} {
		if strings.Contains(g.logs.String(), secret) {
			t.Errorf("the log holds a secret")
		}
	}
}

// sendRaw sends bytes net/http's client would not, and returns the header of
// the answer.
func sendRaw(t testing.TB, addr, target string, headers ...string) http.Header {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: " + addr, "Connection: close"}, headers...)
	fmt.Fprint(conn, strings.Join(lines, "\r\n")+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.Header
}

// keysOf is the keys of one flat JSON line, in order.
func keysOf(line string) []string {
	var keys []string
	for part := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "{}"), `,"`) {
		key, _, _ := strings.Cut(strings.TrimPrefix(part, `"`), `":`)
		keys = append(keys, key)
	}
	return keys
}

func TestAccessLogCanBeTurnedOff(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Log.Access = false })
	g.get("/public/x")
	g.eventually("the request to be counted", func() bool {
		return strings.Contains(g.metrics(), `doorward_http_requests_total{code="200",method="GET",route="/public/**"} 1`)
	})
	if strings.Contains(g.logs.String(), `"msg":"request"`) {
		t.Error("there is a line for the request")
	}
}

// However a request ends, there is one line and one count of it.
func TestEveryRequestIsAccountedForOnce(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/public/cut":
			w.WriteHeader(200)
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/public/socket":
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbye")
			rw.Flush()
		}
	}))
	t.Cleanup(backend.Close)
	g := newGateway(t, func(c *Config) { c.Upstreams[0].URL = backend.URL })
	for path, status := range map[string]float64{"/public/cut": 200, "/public/socket": 101, "/public/plain": 200} {
		offerUpgrade(t, g.addr, path)
		g.eventually("the line of "+path, func() bool {
			n := 0
			for _, l := range g.logs.lines() {
				if l["msg"] == "request" && l["path"] == path {
					n++
					if l["status"] != status {
						t.Errorf("%s: status %v, want %v", path, l["status"], status)
					}
				}
			}
			if n > 1 {
				t.Fatalf("%s: %d lines, want one", path, n)
			}
			return n == 1
		})
	}
	for _, want := range []string{
		`doorward_http_requests_total{code="101",method="GET",route="/public/**"} 1`,
		`doorward_http_requests_total{code="200",method="GET",route="/public/**"} 2`,
		`doorward_http_request_duration_seconds_count{route="/public/**"} 3`,
		`doorward_decisions_total{decision="allowed",reason="",route="/public/**"} 3`,
	} {
		if !strings.Contains(g.metrics(), want) {
			t.Errorf("metrics lack %s:\n%s", want, g.metrics())
		}
	}
}

// offerUpgrade offers a WebSocket and reads whatever comes until the end.
func offerUpgrade(t testing.TB, addr, path string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path, addr)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return // it was cut before the header: also an end
	}
	if res.StatusCode == 101 {
		r.Peek(3)
		return
	}
	for buf := make([]byte, 1024); err == nil; {
		_, err = res.Body.Read(buf)
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	g := newGateway(t, nil)
	broken := *g.live.Load()
	broken.policy = nil
	broken.routes = nil
	broken.identity = nil // the next step over it fails
	g.live.Store(&broken)
	a := g.get("/public/x")
	if a.Status != 500 || a.code() != "INTERNAL" || strings.Contains(a.Body, "runtime error") {
		t.Errorf("got %d %s %s, want 500 INTERNAL and nothing of why", a.Status, a.code(), a.Body)
	}
	g.eventually("the panic in the log", func() bool {
		return strings.Contains(g.logs.String(), "nil pointer") && strings.Contains(g.logs.String(), "stripInbound")
	})
	line := g.requestLine(a.Header.Get("X-Request-Id"))
	if line["status"] != 500.0 || line["level"] != "WARN" {
		t.Errorf("line: status %v level %v, want 500 WARN", line["status"], line["level"])
	}
}

// The short way to a line may only be taken where it says what slog's own
// handler would have said.
func TestTheShortWayToALineIsNoOtherLine(t *testing.T) {
	texts := []string{"", "plain", "Mozilla/5.0 (X11; Linux) <a href='x'>&", `a "quoted" one`, `back\slash`, "tab\there", "line\nbreak", "caf\u00e9", "\u2028", "\xff", "\x7f", "\x00"}
	for b := range 256 {
		texts = append(texts, "x"+string([]byte{byte(b)}))
	}
	short := 0
	for _, text := range texts {
		c := new(call)
		c.route, c.upstream, c.decision, c.status, c.answer.bytes = text, "app", "allowed", 200, 1<<40
		c.upstreamTime = 1234567 * time.Nanosecond
		l := &AccessLine{call: c, request: httptest.NewRequest("GET", "/a/b?c", nil), took: 98765432100 * time.Nanosecond}
		var long bytes.Buffer
		record := slog.NewRecord(time.Time{}, slog.LevelInfo, "request", 0)
		record.AddAttrs(slog.Any("", l))
		if err := slog.NewJSONHandler(&long, nil).Handle(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		members, plain := l.AppendJSON(nil)
		if !plain {
			continue
		}
		short++
		if got, want := `{"level":"INFO","msg":"request"`+string(members)+"}\n", long.String(); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
	if short < 90 {
		t.Errorf("only %d of %d went the short way", short, len(texts))
	}
}

// TestTheLineHasNoSecretOfATarget: an absolute one can hold a password, and any a
// query; a user agent can hold a book.
func TestTheLineHasNoSecretOfATarget(t *testing.T) {
	g := newGateway(t, nil)
	for _, target := range []string{"http://ann:hunter2@app.test/x?token=hunter2", "http://app.test?token=hunter2", "x:hunter2@app.test/?token=hunter2", "/x?token=hunter2", "//ann:x@app.test/y?hunter2"} {
		res, _ := rawGet(t, g.addr, target, "User-Agent: "+strings.Repeat("a", 5000))
		id := res.Header.Get("X-Request-Id")
		if id == "" {
			continue // refused before it came to us, and no line was written
		}
		line := g.requestLine(id)
		if text := fmt.Sprint(line); strings.Contains(text, "hunter2") {
			t.Errorf("%s: the line is %v", target, line)
		}
		if n := len(line["user_agent"].(string)); n != maxLoggedAgent {
			t.Errorf("the line holds %d bytes of the user agent, want %d", n, maxLoggedAgent)
		}
	}
}
