package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// hurried is a gateway whose rolling deadline is over soon.
func hurried(backend string) func(*Config) {
	return func(c *Config) {
		c.Server.Timeouts.Body = 100 * time.Millisecond
		if backend != "" {
			c.Upstreams[0].URL = backend
		}
	}
}

// dial opens a connection that fails the test rather than hang it.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// awaitClose reads until the other side ends the connection.
func awaitClose(t testing.TB, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		t.Fatalf("the connection stays open; got %q", data)
	}
	return string(data)
}

func TestStalledBodyEnds(t *testing.T) {
	for _, path := range []string{"/auth/login", "/public/x"} {
		g := newGateway(t, hurried(""))
		conn := dial(t, g.addr)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", path, g.addr)
		got := awaitClose(t, conn)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: got %q, want a 400 and the end", path, got)
		}
	}
}

// A body of ours that comes byte by byte keeps every deadline but that of all of
// it.
func TestADrippingBodyOfOursEnds(t *testing.T) {
	g := newGateway(t, hurried(""))
	conn := dial(t, g.addr)
	fmt.Fprintf(conn, "POST /auth/login HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n", g.addr)
	go func() {
		drip := time.NewTicker(5 * time.Millisecond)
		defer drip.Stop()
		for range drip.C {
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
		}
	}()
	if got := awaitClose(t, conn); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("got %q, want a 400 and the end", got)
	}
}

func TestStalledBodyNobodyWantsEnds(t *testing.T) {
	g := newGateway(t, hurried(""))
	conn := dial(t, g.addr)
	fmt.Fprintf(conn, "POST /secret HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\n{", g.addr)
	if got := awaitClose(t, conn); !strings.HasPrefix(got, "HTTP/1.1 401 ") {
		t.Errorf("got %q, want a 401 and the end", got)
	}
}

// A backend that takes its time is not the client's doing either.
func TestUploadToSlowBackendIsTaken(t *testing.T) {
	const (
		size  = 32 << 20    // more than the sockets in between hold
		limit = time.Second // long enough for a client on a busy machine
	)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-time.After(2 * limit)
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n, err)
			}))
			t.Cleanup(backend.Close)
			g := newGateway(t, func(c *Config) {
				c.Upstreams[0].URL = backend.URL
				c.Server.Timeouts.Body = limit
			})
			res, err := protocolClient(t, g, proto).Post(g.URL+"/public/x", "application/octet-stream", io.LimitReader(zeros{}, size))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, _ := io.ReadAll(res.Body); string(got) != fmt.Sprint(size, nil) {
				t.Errorf("got %d %s over %s, want all %d bytes", res.StatusCode, got, res.Proto, size)
			}
		})
	}
}

// zeros is as many zero bytes as anyone wants.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestClientThatStopsReadingEnds(t *testing.T) {
	gone := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for chunk := make([]byte, 64<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(backend.Close)
	g := newGateway(t, hurried(backend.URL))
	conn := dial(t, g.addr)
	fmt.Fprintf(conn, "GET /public/x HTTP/1.1\r\nHost: %s\r\n\r\n", g.addr)
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the backend is still being read for a client that reads nothing")
	}
}

// An event stream says nothing for many times the deadline, and then lives.
func TestSilentStreamLives(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "data: one\n\n")
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(500 * time.Millisecond): // five deadlines: what is tested is that they do not count
					fmt.Fprint(w, "data: two\n\n")
				}
			}))
			t.Cleanup(backend.Close)
			g := newGateway(t, hurried(backend.URL))
			client := protocolClient(t, g, proto)
			res, err := client.Get(g.URL + "/public/x")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if want := "data: one\n\ndata: two\n\n"; err != nil || string(body) != want || res.Proto != proto {
				t.Errorf("got %q over %s, %v, want %q over %s", body, res.Proto, err, want, proto)
			}
		})
	}
}

// protocolClient speaks the protocol to a gateway, without TLS.
func protocolClient(t testing.TB, g *testGateway, proto string) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(proto == "HTTP/1.1")
	p.SetUnencryptedHTTP2(proto == "HTTP/2.0")
	var served http.Protocols
	served.SetHTTP1(true)
	served.SetUnencryptedHTTP2(true)
	srv := g.httpServer(g.Public())
	srv.Protocols = &served
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	g.URL = "http://" + l.Addr().String()
	transport := &http.Transport{Protocols: &p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// A slow backend is not the client's doing: the deadline of a body that has
// come is over, and the next request on the connection finds none.
func TestDeadlineOfBodyEndsWithIt(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-time.After(300 * time.Millisecond): // three deadlines
			io.WriteString(w, "done")
		}
	}))
	t.Cleanup(backend.Close)
	g := newGateway(t, hurried(backend.URL))
	conn := dial(t, g.addr)
	r := bufio.NewReader(conn)
	for range 2 {
		fmt.Fprintf(conn, "POST /public/x HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\nbody", g.addr)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "done" {
			t.Fatalf("got %q, %v, want done", body, err)
		}
	}
}

// What an upstream says in our name does not pass.
func TestUpstreamDoesNotSpeakForUs(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "theirs")
		w.Header().Set("Doorward", "TOKEN_REVOKED")
		w.Header().Add("Strict-Transport-Security", "max-age=0")
	}))
	t.Cleanup(backend.Close)
	g := newGateway(t, func(c *Config) { behindTLS(c); c.Upstreams[0].URL = backend.URL })
	a := g.get("/public/x", "X-Forwarded-Proto: https", "X-Request-Id: ours")
	for name, want := range map[string]string{"X-Request-Id": "ours", "Doorward": "", "Strict-Transport-Security": hsts} {
		if got := strings.Join(a.Header.Values(name), " and "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// A backend may refuse an upload before it has come. What the client still
// sends of it must not be taken for its next request.
func TestEarlyRefusalArrivesAndRestOfBodyIsNoRequest(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	go func() {
		for {
			conn, err := backend.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			io.ReadFull(conn, make([]byte, 1)) // something has come; the rest is of no interest
			io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		}
	}()
	g := newGateway(t, func(c *Config) { c.Upstreams[0].URL = "http://" + backend.Addr().String() })
	conn := dial(t, g.addr)
	fmt.Fprintf(conn, "POST /public/x HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\n", g.addr)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 413 || string(body) != "big" || !res.Close {
		t.Errorf("got %d %q close %v, want 413 big and the end of the connection", res.StatusCode, body, res.Close)
	}
	smuggled := "GET /public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	io.WriteString(conn, strings.Repeat(" ", 100-len(smuggled))+smuggled+smuggled)
	if rest := awaitClose(t, r); rest != "" {
		t.Errorf("the rest of the body was answered: %q", rest)
	}
}

// A refusal of ours takes the rest of a small body, so the connection lives on.
func TestRefusalKeepsTheConnection(t *testing.T) {
	g := newGateway(t, nil)
	conn := dial(t, g.addr)
	r := bufio.NewReader(conn)
	for range 2 {
		fmt.Fprintf(conn, "POST /secret HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\nbody", g.addr)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		if res.StatusCode != 401 || res.Close {
			t.Fatalf("got %d close %v, want 401 and an open connection", res.StatusCode, res.Close)
		}
	}
}
