package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// whoamiURL names the built-in backend in an upstream's url.
const whoamiURL = "whoami:"

// newWhoami starts the built-in backend: a real HTTP server on connections in
// memory, reached through the same proxy and transport as any other backend, so
// that what it shows is what a backend gets.
func newWhoami(u Upstream) *upstream {
	pipes := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(whoami), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(pipes)
	t := newTransport(u, dialer{timeouts: u.Timeouts})
	t.DialContext = pipes.dial
	return &upstream{
		name: u.Name, preserve: u.Host != "upstream", scheme: "http", host: "whoami",
		transport: t,
		stop: func() {
			// What is under way may finish; what never ends by itself is ended
			// by its client or by the gateway's own list of streams.
			go server.Shutdown(context.Background())
		},
	}
}

// pipeListener accepts connections made in memory.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "whoami" }

// whoamiAnswer is what the built-in backend says it received.
type whoamiAnswer struct {
	Method    string         `json:"method"`
	Target    string         `json:"target"`
	Host      string         `json:"host"`
	Proto     string         `json:"proto"`
	Headers   http.Header    `json:"headers"`
	BodyBytes int64          `json:"body_bytes"`
	Identity  whoamiIdentity `json:"identity"`
}

type whoamiIdentity struct {
	User              string `json:"user"`
	UserID            string `json:"user_id"`
	Email             string `json:"email"`
	Groups            string `json:"groups"`
	PreferredUsername string `json:"preferred_username"`
}

func whoami(w http.ResponseWriter, r *http.Request) {
	if isWebSocket(r) {
		echo(w, r)
		return
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	out.Encode(whoamiAnswer{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto,
		Headers: r.Header, BodyBytes: n, Identity: seenIdentity(r.Header),
	})
}

// seenIdentity reads the identity as a backend would, by whichever preset it
// came.
func seenIdentity(h http.Header) whoamiIdentity {
	var seen whoamiIdentity
	fields := map[string]*string{
		"login": &seen.User, "id": &seen.UserID, "email": &seen.Email, "roles": &seen.Groups, "name": &seen.PreferredUsername,
	}
	for _, preset := range presets {
		for _, header := range preset {
			if v := h.Get(header.Name); v != "" {
				*fields[header.Value] = v
			}
		}
	}
	return seen
}

// echo sends every WebSocket message back until the client leaves. The gateway
// has judged the origin already.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, message); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}

// isWebSocket reports whether a request is a WebSocket handshake. HTTP/1.0 has no
// upgrades (RFC 9110, 7.8), and no handshake has a body: where that ends and the
// tunnel begins, client and backend could each believe another byte.
func isWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && r.ContentLength == 0 &&
		len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") && upgrades(r.Header)
}

// upgrades reports whether Connection names Upgrade.
func upgrades(h http.Header) bool {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(token, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}
