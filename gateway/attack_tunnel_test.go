package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// A tunnel is where the gateway no longer looks. So there must be one exactly
// where client and backend both believe it, between those two and nobody else,
// and for no longer than the client may be there.

// burrow is a backend that answers every request with the same bytes, and what
// comes behind an answer of 101 with what it heard.
type burrow struct {
	*recorder
	mu    sync.Mutex
	heard bytes.Buffer
	ended chan struct{} // the first connection that was switched is over
}

func newBurrow(t testing.TB, answer func(got recorded) string) *burrow {
	t.Helper()
	b := &burrow{ended: make(chan struct{})}
	var once sync.Once
	b.recorder = newScriptedRecorder(t, func(_ int, got recorded, conn net.Conn) {
		text := answer(got)
		io.WriteString(conn, text)
		if !strings.Contains(text, " 101 ") {
			return
		}
		defer once.Do(func() { close(b.ended) })
		defer conn.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := conn.Read(buf)
			b.mu.Lock()
			b.heard.Write(buf[:n])
			b.mu.Unlock()
			if _, failed := conn.Write(buf[:n]); err != nil || failed != nil {
				return
			}
		}
	})
	return b
}

func (b *burrow) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heard.String()
}

// awaitEnd fails if the backend's end of the tunnel stays open.
func (b *burrow) awaitEnd(t testing.TB) {
	t.Helper()
	select {
	case <-b.ended:
	case <-time.After(patience):
		t.Error("the connection to the backend stays open")
	}
}

const (
	agreed   = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
	shake    = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	smuggled = "GET /admin/smuggled HTTP/1.1\r\nHost: x\r\nX-Forwarded-User: root\r\nX-Forwarded-Groups: admin\r\n\r\n"
)

func always(text string) func(recorded) string { return func(recorded) string { return text } }

// agreeing says yes to whoever seems to ask for a WebSocket, as a careless
// backend does.
func agreeing(got recorded) string {
	if got.fields("Upgrade") != nil {
		return agreed
	}
	return plainAnswer
}

// TestATunnelCarriesBytes: as they are, in order, both ways, whatever they look
// like; nothing in it is a request to the gateway.
func TestATunnelCarriesBytes(t *testing.T) {
	var every []byte
	for i := range 256 {
		every = append(every, byte(i))
	}
	for name, sent := range map[string]string{
		"a frame":   "\x81\x05hello",
		"a request": smuggled,
		"requests":  strings.Repeat(smuggled, 50),
		"anything":  strings.Repeat(string(every), 1000),
		"a preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			up := newBurrow(t, agreeing)
			g := newGateway(t, behind(up.url(), to("/**", signedin), to("/admin/**", roles("admin"))))
			c := dialRaw(t, g.addr)
			c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n"+g.person(t, "ann", "user").bearer+"\r\n"+shake+"\r\n")
			if res := c.answer(t, "GET"); res.StatusCode != 101 {
				t.Fatalf("got %d, want 101", res.StatusCode)
			}
			go io.WriteString(c, sent)
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(c.in, got); err != nil || string(got) != sent {
				t.Errorf("%d bytes came back as %q (%v)", len(sent), cutText(string(got), 100), err)
			}
			if n := len(up.requests()); n != 1 || up.said() != sent {
				t.Errorf("%d requests, and in the tunnel %q; want one and what was sent", n, cutText(up.said(), 100))
			}
			c.Close()
			up.awaitEnd(t)
		})
	}
}

// TestWhatABackendMakesOfAHandshake: only its clear yes to the very question
// opens a tunnel. Otherwise nothing that follows reaches it, but as a request
// that is judged like any.
func TestWhatABackendMakesOfAHandshake(t *testing.T) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\n"
	for _, tt := range []struct {
		name, ask, answer string
		status            int
	}{
		{"yes", shake, agreed, 101},
		{"yes in capitals", shake, switching + "Connection: UPGRADE\r\nUpgrade: WebSocket\r\n\r\n", 101},
		{"wait, then yes", shake, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + agreed, 101},
		{"no", shake, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404},
		{"no, as if it were nothing", shake, plainAnswer, 200},
		{"no, and what it can do", shake, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", 426},
		{"an old version", shake, "HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n", 400},
		{"yes without a protocol", shake, switching + "Connection: Upgrade\r\n\r\n", 502},
		{"yes to nothing", shake, switching + "\r\n", 502},
		{"yes without Connection", shake, switching + "Upgrade: websocket\r\n\r\n", 502},
		{"yes to another", shake, switching + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 502},
		{"yes to several", shake, switching + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", 502},
		{"yes to a GET", "", agreed, 502},
		{"yes to nothing, to a GET", "", switching + "\r\n", 502},
		{"yes to another, to a GET", "", switching + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 502},
		{"yes to an offer that was dropped", "Connection: Upgrade\r\nUpgrade: h2c\r\n", switching + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 502},
		{"yes to WebSocket where h2c was offered", "Connection: Upgrade\r\nUpgrade: h2c\r\n", agreed, 502},
		{"yes to an upgrade nobody is connected for", "Upgrade: websocket\r\n", agreed, 502},
		{"yes to one of two", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", agreed, 502},
		{"yes to a list", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", agreed, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newBurrow(t, always(tt.answer))
			g := newGateway(t, behind(up.url(), to("/**", anybody), to("/admin/**", roles("admin"))))
			c := dialRaw(t, g.addr)
			c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n"+tt.ask+"\r\n")
			res := c.answer(t, "GET")
			for res.StatusCode == 103 {
				res = c.answer(t, "GET")
			}
			if res.StatusCode != tt.status {
				t.Fatalf("got %d, want %d", res.StatusCode, tt.status)
			}
			if tt.status == 101 {
				return
			}
			io.Copy(io.Discard, res.Body)
			io.WriteString(c, smuggled) // the gateway may have hung up, which is as good
			if next, err := http.ReadResponse(c.in, nil); err == nil && next.StatusCode != 401 {
				t.Errorf("behind it: got %d, want a refusal", next.StatusCode)
			}
			if n := len(up.requests()); n != 1 || up.said() != "" {
				t.Errorf("%d requests reached the backend and behind them %q; want one and nothing", n, up.said())
			}
		})
	}
}

// TestNoTunnelForAnythingButAGET: a 101 to a request that asked for nothing is a
// broken backend, whatever the method; its connection is not used again.
func TestNoTunnelForAnythingButAGET(t *testing.T) {
	for _, request := range []string{
		"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST /x HTTP/1.1\r\nHost: x\r\n" + shake + "Content-Length: 5\r\n\r\nhello",
		"POST /x HTTP/1.1\r\nHost: x\r\n" + shake + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /x HTTP/1.1\r\nHost: x\r\n" + shake + "\r\n", "OPTIONS /x HTTP/1.1\r\nHost: x\r\n" + shake + "\r\n", "PUT /x HTTP/1.1\r\nHost: x\r\n" + shake + "Content-Length: 0\r\n\r\n",
	} {
		method, _, _ := strings.Cut(request, " ")
		t.Run(fmt.Sprint(method, len(request)), func(t *testing.T) {
			up := newBurrow(t, always(agreed))
			g := newGateway(t, behind(up.url(), to("/**", anybody), to("/admin/**", roles("admin"))))
			c := dialRaw(t, g.addr)
			c.send(t, request+smuggled)
			if res := c.answer(t, method); res.StatusCode != 502 {
				t.Errorf("got %d, want 502", res.StatusCode)
			}
			if got := up.requests(); len(got) != 1 || got[0].fields("Upgrade") != nil || up.said() != "" {
				t.Errorf("%d requests reached the backend, the first\n%s, and behind it %q", len(got), got[0].head, up.said())
			}
		})
	}
}

// TestOddHandshakes: however a client asks, it and the backend believe the same,
// and the backend is asked once.
func TestOddHandshakes(t *testing.T) {
	up := newBurrow(t, agreeing)
	g := newGateway(t, behind(up.url(), to("/**", signedin), to("/admin/**", roles("admin"))))
	ann := g.person(t, "ann", "user")
	for _, ask := range []string{
		shake, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", "Connection: upgrade\r\nConnection: close\r\nUpgrade: websocket\r\n", "Upgrade: websocket\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n", "Connection: Upgrade\r\nUpgrade: websocket/13\r\n", "Connection: Upgrade\r\nUpgrade: web socket\r\n",
		"Connection: Upgrade\r\nUpgrade:\twebsocket \r\n", "Connection: Upgrade\r\nUpgrade: WEBSOCKET\r\n", "Connection: \"Upgrade\"\r\nUpgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: \xc5\xbfebsocket\r\n",
		"Connection: Upgrade\r\nUpgrade: websoc\xe2\x84\xaaet\r\n", "Connection: Upgrade\r\nUpgrade_: websocket\r\n", "Connection: Upgrade, Upgrade\r\nUpgrade: websocket\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"Connection: Upgrade, Sec-WebSocket-Key, X-Forwarded-User\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n", strings.Replace(shake, "AAAAAAAAAAAAAAAAAAAAAA==", "", 1), strings.Replace(shake, "AAAAAAAAAAAAAAAAAAAAAA==", "short", 1),
		shake + "Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB==\r\n", shake + "Content-Length: 0\r\n", shake + "Content-Length: 5\r\n\r\nhello", shake + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
		shake + "Expect: 100-continue\r\n", shake + "Origin: http://evil.test\r\n", shake + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n", strings.Replace(shake, "13", "777", 1),
	} {
		for _, version := range []string{"1.1", "1.0"} {
			before, heard := len(up.requests()), len(up.said())
			c := dialRaw(t, g.addr)
			end := "\r\n"
			if strings.HasSuffix(ask, "hello") {
				end = "" // it is the body's
			}
			c.send(t, "GET /x HTTP/"+version+"\r\nHost: x\r\n"+ann.bearer+"\r\n"+ask+end)
			res := c.answer(t, "GET")
			for res.StatusCode == 100 {
				res = c.answer(t, "GET")
			}
			got := up.requests()[before:]
			if len(got) > 1 || res.StatusCode < 400 && len(got) != 1 {
				t.Errorf("%q: %d requests reached the backend, and the answer is %d", ask, len(got), res.StatusCode)
				continue
			}
			offered := len(got) == 1 && got[0].fields("Upgrade") != nil
			if switched := res.StatusCode == 101; switched != offered {
				t.Errorf("%q over %s: got %d, and the backend\n%s", ask, version, res.StatusCode, got[0].head)
			}
			if offered && (version == "1.0" || strings.Contains(ask, "hello")) {
				t.Errorf("%q over %s: the backend was offered a tunnel", ask, version)
			}
			if offered && (!slices.Equal(got[0].fields("Connection"), []string{"Upgrade"}) || len(got[0].fields("Upgrade")) != 1 || !strings.EqualFold(got[0].fields("Upgrade")[0], "websocket")) {
				t.Errorf("%q: the backend was asked\n%s", ask, got[0].head)
			}
			if res.StatusCode != 101 {
				io.Copy(io.Discard, res.Body)
			}
			io.WriteString(c, smuggled)
			if res.StatusCode == 101 {
				echo := make([]byte, len(smuggled))
				if _, err := io.ReadFull(c.in, echo); err != nil || string(echo) != smuggled {
					t.Errorf("%q: through the tunnel came %q (%v)", ask, echo, err)
				}
			} else if next, err := http.ReadResponse(c.in, nil); err == nil && next.StatusCode != 401 {
				t.Errorf("%q: behind it got %d, want a refusal", ask, next.StatusCode)
			} else if len(up.said()) != heard {
				t.Errorf("%q: got %d, and the backend a tunnel", ask, res.StatusCode)
			}
			if n := len(up.requests()) - before; n > 1 {
				t.Errorf("%q: %d requests reached the backend", ask, n)
			}
			c.Close()
		}
	}
}

// TestBytesBehindAHandshake: sent before the answer is there. Behind a refusal
// they are a request that is judged like any, or nothing.
func TestBytesBehindARefusedHandshake(t *testing.T) {
	up := newBurrow(t, agreeing)
	g := newGateway(t, behind(up.url(), to("/**", signedin), to("/admin/**", roles("admin"))))
	ann := g.person(t, "ann", "user")
	for name, behind := range map[string]string{"a request": smuggled, "frames": "\x81\x85\x00\x00\x00\x00hello", "frames with a request": "\x82\x7e\x00\x70" + smuggled, "half a request": smuggled[:20]} {
		t.Run(name, func(t *testing.T) {
			for _, credential := range []string{"X-A: b", "Authorization: Bearer junk", "Cookie: " + ann.cookie + "\r\nOrigin: http://evil.test"} {
				c := dialRaw(t, g.addr)
				c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n"+credential+"\r\n"+shake+"\r\n"+behind)
				c.Conn.(*net.TCPConn).CloseWrite()
				if res := c.answer(t, "GET"); res.StatusCode != 401 && res.StatusCode != 403 {
					t.Errorf("%s: got %d, want a refusal", credential, res.StatusCode)
				} else if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				for {
					res, err := http.ReadResponse(c.in, nil)
					if err != nil {
						break
					}
					if io.Copy(io.Discard, res.Body); res.StatusCode < 400 {
						t.Errorf("%s: the bytes behind got %d", credential, res.StatusCode)
					}
				}
			}
			if n := len(up.requests()); n != 0 || up.said() != "" {
				t.Errorf("%d requests reached the backend, and %q", n, up.said())
			}
		})
	}
}

// TestATunnelIsCutAtBothEnds: when what admitted it is gone, nothing more passes
// in either direction.
func TestATunnelIsCutAtBothEnds(t *testing.T) {
	up := newBurrow(t, agreeing)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	ann := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n"+ann.bearer+"\r\n"+shake+"\r\n")
	if res := c.answer(t, "GET"); res.StatusCode != 101 {
		t.Fatalf("got %d, want 101", res.StatusCode)
	}
	c.send(t, "before")
	if _, err := io.ReadFull(c.in, make([]byte, len("before"))); err != nil {
		t.Fatal(err)
	}
	if err := g.Authn.LogoutAll(context.Background(), identityOf(ann, ann.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	up.awaitEnd(t)
	io.WriteString(c, "after")
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || isTimeout(err) {
		t.Errorf("the client's end: got %q, %v; want it closed", rest, err)
	}
	if got := up.said(); got != "before" {
		t.Errorf("the backend heard %q, want what was said before", got)
	}
	res, _ := rawGet(t, g.addr, "/x", ann.bearer, strings.TrimSuffix(shake, "\r\n"))
	if res.StatusCode != 401 {
		t.Errorf("a new handshake: got %d, want 401", res.StatusCode)
	}
}

// TestBytesBehindAHandshakeComeThroughTheTunnel: sent before the backend has
// agreed, they are its first bytes.
func TestBytesBehindAHandshakeComeThroughTheTunnel(t *testing.T) {
	up := newBurrow(t, agreeing)
	g := newGateway(t, behind(up.url(), to("/**", signedin), to("/admin/**", roles("admin"))))
	ann := g.person(t, "ann", "user")
	c := dialRaw(t, g.addr)
	c.send(t, "GET /x HTTP/1.1\r\nHost: x\r\n"+ann.bearer+"\r\n"+shake+"\r\n"+"first,"+smuggled)
	if res := c.answer(t, "GET"); res.StatusCode != 101 {
		t.Fatalf("got %d, want 101", res.StatusCode)
	}
	c.send(t, "second")
	want := "first," + smuggled + "second"
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.in, got); string(got) != want {
		t.Errorf("the tunnel carried %q (%v), want %q", got[:n], err, want)
	}
	if n := len(up.requests()); n != 1 {
		t.Errorf("%d requests reached the backend, want the handshake", n)
	}
}

// TestAConnectionSwitchedUnaskedIsClosed: and not left to the garbage collector.
func TestAConnectionSwitchedUnaskedIsClosed(t *testing.T) {
	for name, ask := range map[string]string{
		"a GET": "GET /x HTTP/1.1\r\nHost: x\r\n", "an offer dropped": "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
		"a POST": "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", "a list": "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"another protocol": "GET /h2c HTTP/1.1\r\nHost: x\r\n" + shake,
	} {
		t.Run(name, func(t *testing.T) {
			up := newBurrow(t, func(got recorded) string {
				if strings.Contains(got.line(), "/h2c") {
					return strings.Replace(agreed, "websocket", "h2c", 1)
				}
				return agreed
			})
			g := newGateway(t, behind(up.url(), to("/**", anybody)))
			c := dialRaw(t, g.addr)
			c.send(t, ask+"\r\n")
			method, _, _ := strings.Cut(ask, " ")
			if res := c.answer(t, method); res.StatusCode != 502 {
				t.Errorf("got %s, want 502", fmt.Sprint(res.StatusCode))
			}
			up.awaitEnd(t)
		})
	}
}
