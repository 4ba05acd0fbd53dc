package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestExcessIsAnsweredAndHarmsNobody: too much of anything is refused before it
// costs, and who asks for little meanwhile is served.
func TestExcessIsAnsweredAndHarmsNobody(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	ann := g.person(t, "ann", "user")
	for _, c := range []struct{ name, body string }{
		{"a password of a megabyte", `{"login":"ann","password":"` + strings.Repeat("x", 1<<20) + `"}`},
		{"deep JSON", `{"login":` + strings.Repeat("[", 1<<20)},
		{"wide JSON", "{" + strings.Repeat(`"a":1,`, 1<<18) + `"login":"ann"}`},
		{"deep JSON within the bound", `{"login":` + strings.Repeat("[", 8000)},
		{"wide JSON within the bound", "{" + strings.Repeat(`"a":1,`, 1500) + `"login":"ann"}`},
	} {
		if a := g.post("/auth/login", c.body); a.Status != 400 && a.Status != 413 || len(a.Body) > 64<<10 {
			t.Errorf("%s: got %d and %d bytes, want a short refusal", c.name, a.Status, len(a.Body))
		}
		if a := g.get("/x", ann.bearer); a.Status != 200 {
			t.Errorf("beside %s: got %d %s, want 200", c.name, a.Status, a.Body)
		}
	}
	for name, c := range map[string]struct{ body, kind, encoding string }{
		"a bomb":                 {bomb32(t), "application/json", "gzip"},
		"a bomb of a form":       {bomb32(t), "application/x-www-form-urlencoded", "gzip"},
		"30,000 fields":          {strings.Repeat("a&", 30_000), "application/x-www-form-urlencoded", ""},
		"12,000 different ones":  {fields(12_000), "application/x-www-form-urlencoded", ""},
		"a hundred thousand":     {fields(100_000), "application/x-www-form-urlencoded", ""},
		"parts without an end":   {strings.Repeat("--x\r\n\r\n", 6000), "multipart/form-data; boundary=x", ""},
		"one field as it can be": {"login=" + strings.Repeat("x", 64<<10-6), "application/x-www-form-urlencoded", ""},
	} {
		a := g.do("POST", "/auth/login", c.body, "Content-Type: "+c.kind, "Content-Encoding: "+c.encoding)
		if a.Status != 400 && a.Status != 413 && a.Status != 415 || len(a.Body) > 80<<10 {
			t.Errorf("%s: got %d and %d bytes, want a short refusal", name, a.Status, len(a.Body))
		}
	}
	reached := len(up.requests())
	for name, line := range map[string]string{
		"5000 cookies":         "Cookie: " + strings.Repeat("a=b; ", 5000) + "c=d",
		"1000 session cookies": "Cookie: " + strings.Repeat(g.live.Load().cookies.session+"=x; ", 1000) + "c=d",
		"a header of a MiB":    "X-Long: " + strings.Repeat("x", 1<<20),
	} {
		c := dialRaw(t, g.addr)
		// The gateway may hang up before all of it is written.
		_, err := io.WriteString(c, "GET /x HTTP/1.1\r\nHost: "+g.addr+"\r\n"+line+"\r\n\r\n")
		res, readErr := http.ReadResponse(c.in, nil)
		if readErr == nil && res.StatusCode != 401 && res.StatusCode != 431 {
			t.Errorf("%s: got %d, want 401 or 431", name, res.StatusCode)
		}
		var timeout net.Error
		if errors.As(readErr, &timeout) && timeout.Timeout() {
			t.Errorf("%s: neither answered nor cut (%v)", name, err)
		}
		c.Close()
	}
	if got := len(up.requests()); got != reached {
		t.Errorf("%d requests of nobody reached the backend", got-reached)
	}
}

// bomb32 is 32 kB that would be 32 MB.
func bomb32(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(`{"login":"`))
	w.Write(make([]byte, 32<<20))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fields is a form of so many.
func fields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strconv.Itoa(i) + "&")
	}
	return b.String()
}

// TestAnEndlessHeaderOfABackendIsCut: the answer's header is bounded, and the
// connection that carries it is given up.
func TestAnEndlessHeaderOfABackendIsCut(t *testing.T) {
	cut := make(chan struct{}, 2)
	up := newScriptedRecorder(t, func(_ int, got recorded, conn net.Conn) {
		if !strings.Contains(got.line(), "/endless") {
			io.WriteString(conn, plainAnswer)
			return
		}
		defer func() { cut <- struct{}{} }()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		line := "X-More: " + strings.Repeat("x", 8000) + "\r\n"
		for range 1 << 15 { // 256 MiB, unless somebody hangs up
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
		t.Error("the gateway took a quarter of a gigabyte of header")
	})
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, method := range []string{"GET", "POST"} { // which go different ways
		if a := g.do(method, "/endless", ""); a.Status != 502 {
			t.Errorf("%s: got %d %s, want 502", method, a.Status, a.code())
		}
		<-cut
	}
	if a := g.get("/x"); a.Status != 200 {
		t.Errorf("afterwards: got %d, want 200", a.Status)
	}
}

// TestABackendThatHangsIsGivenUp, whichever way a request goes.
func TestABackendThatHangsIsGivenUp(t *testing.T) {
	up := newScriptedRecorder(t, func(_ int, _ recorded, conn net.Conn) { io.Copy(io.Discard, conn) })
	g := newGateway(t, func(c *Config) {
		behind(up.url(), to("/**", anybody))(c)
		c.Upstreams[0].Timeouts.Response = 100 * time.Millisecond
	})
	for _, method := range []string{"GET", "POST"} {
		wantProblem(t, g.do(method, "/x", ""), 504, "UPSTREAM_TIMEOUT")
	}
}
