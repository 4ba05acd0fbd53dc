package gateway

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What refuses everything is safe and of no use: odd but legal traffic passes
// byte for byte. Targets are in testdata/attacks/controls.txt.

// TestOddTargetsPass makes targets of everything that may stand in one.
func TestOddTargetsPass(t *testing.T) {
	const legal = "abcXYZ019-._~!$&'()*,=:@+|;[]"
	w := newWorld(t, "open")
	r := rand.New(rand.NewPCG(9, 10))
	for i := range 300 {
		var b strings.Builder
		b.WriteString("/public/x")
		for range 1 + r.IntN(20) {
			switch c := legal[r.IntN(len(legal))]; r.IntN(8) {
			case 0:
				fmt.Fprintf(&b, "%%%02X", c)
			case 1:
				fmt.Fprintf(&b, "%%%02x", c)
			case 2:
				b.WriteString("/x")
			default:
				b.WriteByte(c)
			}
		}
		if r.IntN(2) == 0 {
			b.WriteString("?a=1;b=%zz&c=" + fmt.Sprint(r.Int()))
		}
		a := ofTarget(b.String())[0]
		a.class, a.name, a.want, a.requests = "controls", fmt.Sprint("made ", i), "any", 1
		w.strike(t, a, w.callers[2]) // who may go to every place there is but ours
	}
	if want := 280; w.reached < want { // the rest means more than anyone wants to know
		t.Errorf("%d of 300 passed, want at least %d", w.reached, want)
	}
}

func TestUnusualMethodsPass(t *testing.T) {
	w := newWorld(t, "legacy")
	for _, method := range []string{"PROPFIND", "PROPPATCH", "MKCOL", "MOVE", "LOCK", "REPORT", "SEARCH", "QUERY", "M-SEARCH", "PURGE", "LINK", "PATCH", "OPTIONS", "HEAD", "DELETE"} {
		for _, c := range w.callers[1:] {
			w.strike(t, attack{class: "controls", name: method, method: method, target: "/dav/x", want: "yes", requests: 1,
				raw: method + " /dav/x HTTP/1.1\r\nHost: {host}\r\n{auth}Depth: 1\r\nContent-Length: 5\r\n\r\nhello"}, c)
			if got := w.up.since(w.up.count() - 2)[0]; got.body != "hello" || !slices.Equal(got.fields("Depth"), []string{"1"}) {
				t.Errorf("%s: the backend got %q with body %q", method, got.head, got.body)
			}
		}
	}
}

func TestAHundredHeadersPass(t *testing.T) {
	w := newWorld(t, "open")
	var lines, want []string
	for i := range 100 {
		line := fmt.Sprintf("X-Custom-%d: value \"%d\"; a=b, c/d\t(e) \xc3\xa9", i, i)
		if i%10 == 0 {
			line = fmt.Sprintf("X-Many: %d", i)
		}
		lines, want = append(lines, line), append(want, line)
	}
	want = append(want, "Cookie: a=1; b=\"2 3\"; c=d=e", "Accept-Encoding: gzip, br", "User-Agent: old/1.0 (a; b)", "Authorization: Digest username=\"x\"", "Range: bytes=0-4", "If-None-Match: \"x\", W/\"y\"", "Te: trailers")
	lines = append(lines, want[100:]...)
	rawGet(t, w.addr, "/public/x", lines...)
	got := strings.Split(w.up.last(t).head, "\r\n")
	for _, line := range want {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != line })); n != 1 {
			t.Errorf("%q arrived %d times, want once", line, n)
		}
	}
	var many []string
	for _, line := range got {
		if strings.HasPrefix(line, "X-Many: ") {
			many = append(many, line)
		}
	}
	if !slices.Equal(many, slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.HasPrefix(s, "X-Many: ") })) {
		t.Errorf("the lines of one name changed their order: %q", many)
	}
}

func TestALongChunkedBodyPasses(t *testing.T) {
	w := newWorld(t, "open")
	r := rand.New(rand.NewPCG(11, 12))
	var sent, wire bytes.Buffer
	for sent.Len() < 1<<20 {
		chunk := make([]byte, 1+r.IntN(20000))
		for i := range chunk {
			chunk[i] = byte(r.IntN(256))
		}
		sent.Write(chunk)
		fmt.Fprintf(&wire, "%X;ext=\"1\"\r\n%s\r\n", len(chunk), chunk)
	}
	w.strike(t, attack{class: "controls", name: "1 MiB", method: "POST", target: "/upload", want: "yes", requests: 1,
		raw: "POST /upload HTTP/1.1\r\nHost: {host}\r\n{auth}Transfer-Encoding: chunked\r\n\r\n" + wire.String() + "0\r\n\r\n"}, w.callers[1])
	got := w.up.since(w.up.count() - 2)[0]
	body, err := io.ReadAll(unchunked(got.body))
	if err != nil || !bytes.Equal(body, sent.Bytes()) {
		t.Errorf("%d bytes of %d arrived as they were sent: %v", len(body), sent.Len(), err)
	}
}

// unchunked reads a chunked body.
func unchunked(wire string) io.Reader {
	var b bytes.Buffer
	for {
		var n int
		size, rest, _ := strings.Cut(wire, "\r\n")
		if _, err := fmt.Sscanf(size, "%x", &n); err != nil || n == 0 || n+2 > len(rest) {
			return &b
		}
		b.WriteString(rest[:n])
		wire = rest[n+2:]
	}
}

// TestAnswersArriveIntact: what a backend says, and what the client hears.
func TestAnswersArriveIntact(t *testing.T) {
	tests := []struct {
		name, method, answer string
		ask                  string // a line of the request
		status               int
		body                 string
		headers              []string // lines that arrive as they are
		trailer              string
		hints                int
	}{
		{name: "trailers", answer: "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Other\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Other: b\r\n\r\n", status: 200, body: "ok", trailer: "X-Sum=42 X-Other=b"},
		{name: "informational", answer: "103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", hints: 2},
		{name: "head", method: "HEAD", answer: "200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n", status: 200, headers: []string{"Content-Length: 1234", `ETag: "x"`}},
		{name: "not modified", ask: `If-None-Match: "x"`, answer: "304 Not Modified\r\nETag: \"x\"\r\nCache-Control: max-age=60\r\n\r\n", status: 304, headers: []string{`ETag: "x"`, "Cache-Control: max-age=60"}},
		{name: "range", ask: "Range: bytes=0-4", answer: "206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello", status: 206, body: "hello", headers: []string{"Content-Range: bytes 0-4/10"}},
		{name: "no content", answer: "204 No Content\r\nX-A: b\r\n\r\n", status: 204, headers: []string{"X-A: b"}},
		{name: "a refusal of theirs", answer: "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"theirs\"\r\nContent-Length: 4\r\n\r\nmine", status: 401, body: "mine", headers: []string{`WWW-Authenticate: Basic realm="theirs"`}},
		{name: "an error of theirs", answer: "500 Boom\r\nContent-Length: 4\r\n\r\noops", status: 500, body: "oops"},
		{name: "compressed", answer: "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff", status: 200, body: "\x1f\x8b\x00\xff", headers: []string{"Content-Encoding: gzip"}},
		{name: "cookies", answer: "200 OK\r\nSet-Cookie: a=1; Path=/; SameSite=None\r\nSet-Cookie: b=\"2\"; Expires=Wed, 09 Jun 2100 10:18:14 GMT\r\nContent-Length: 0\r\n\r\n", status: 200,
			headers: []string{"Set-Cookie: a=1; Path=/; SameSite=None", `Set-Cookie: b="2"; Expires=Wed, 09 Jun 2100 10:18:14 GMT`}},
		{name: "until the end", answer: "200 OK\r\nConnection: close\r\n\r\nlong\r\n\r\n", status: 200, body: "long\r\n\r\n"},
		{name: "elsewhere", answer: "302 Found\r\nLocation: //other.test/%2F?a=;b\r\nContent-Length: 0\r\n\r\n", status: 302, headers: []string{"Location: //other.test/%2F?a=;b"}},
		{name: "a status nobody knows", answer: "299 Fine\r\nContent-Length: 2\r\n\r\nok", status: 299, body: "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newScriptedRecorder(t, func(_ int, _ recorded, c net.Conn) {
				io.WriteString(c, "HTTP/1.1 "+tt.answer)
				if strings.Contains(tt.answer, "Connection: close") {
					c.Close()
				}
			})
			g := newGateway(t, behind(up.url(), to("/**", anybody)))
			method := tt.method
			if method == "" {
				method = "GET"
			}
			c := dialRaw(t, g.addr)
			ask := tt.ask
			if ask != "" {
				ask += "\r\n"
			}
			c.send(t, method+" /x HTTP/1.1\r\nHost: x\r\n"+ask+"\r\n")
			res, hints := c.answer(t, method), 0
			for ; res.StatusCode == 103; hints++ {
				res = c.answer(t, method)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.status || string(body) != tt.body || hints != tt.hints {
				t.Errorf("got %d %q after %d hints (%v), want %d %q after %d", res.StatusCode, body, hints, err, tt.status, tt.body, tt.hints)
			}
			for _, line := range tt.headers {
				name, value, _ := strings.Cut(line, ": ")
				if !slices.Contains(res.Header[http.CanonicalHeaderKey(name)], value) {
					t.Errorf("got %q, want %q", res.Header[http.CanonicalHeaderKey(name)], line)
				}
			}
			for _, pair := range strings.Fields(tt.trailer) {
				name, value, _ := strings.Cut(pair, "=")
				if got := res.Trailer.Get(name); got != value {
					t.Errorf("trailer %s: got %q, want %q", name, got, value)
				}
			}
			if ask != "" && !strings.Contains(up.last(t).head, ask) {
				t.Errorf("the backend was not asked %q:\n%s", ask, up.last(t).head)
			}
		})
	}
}
