package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// running is a gateway under Run, on listeners of its own.
type running struct {
	*testGateway
	public, ops, redirect string // addresses
	stop                  context.CancelFunc
	ended                 chan error
}

// run starts Run and stops it when the test ends, if it still runs.
func run(t testing.TB, mutate func(*Config)) *running {
	t.Helper()
	g := newGateway(t, mutate)
	r := &running{testGateway: g, ended: make(chan error, 1)}
	var ls Listeners
	for _, l := range []struct {
		to   *net.Listener
		addr *string
	}{{&ls.Public, &r.public}, {&ls.Ops, &r.ops}, {&ls.Redirect, &r.redirect}, {&ls.Control, new(string)}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*l.to, *l.addr = ln, ln.Addr().String()
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.ended <- g.Run(ctx, ls) }()
	t.Cleanup(func() {
		stop()
		r.awaitEnd()
	})
	return r
}

// awaitEnd waits for Run to return, and leaves the answer for the next.
func (r *running) awaitEnd() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(patience):
		r.t.Fatal("Run does not return")
		return nil
	}
}

func TestRunStopsInOrder(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		io.WriteString(w, "done")
	}))
	t.Cleanup(backend.Close)
	g := run(t, func(c *Config) {
		c.Upstreams[0].URL = backend.URL
		c.Server.Timeouts.Shutdown = patience
	})
	conn := dial(t, g.public)
	fmt.Fprintf(conn, "GET /public/x HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	g.stop()
	g.eventually("the listener to close", func() bool {
		c, err := net.Dial("tcp", g.public)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if res, err := http.Get("http://" + g.ops + "/readyz"); err != nil || res.StatusCode != 503 {
		t.Errorf("/readyz while stopping: got %v %v, want 503", res, err)
	}
	close(finish)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "done" {
		t.Errorf("the request under way got %q, want it finished", body)
	}
	if err := g.awaitEnd(); err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

func TestRunServesOnWhileDraining(t *testing.T) {
	const drain = 500 * time.Millisecond
	g := run(t, func(c *Config) { c.Server.Timeouts.Drain = drain })
	g.eventually("it to be ready", func() bool { return statusOf("http://"+g.ops+"/readyz") == 200 })
	stopped := time.Now()
	g.stop()
	g.eventually("readyz to say so", func() bool { return statusOf("http://"+g.ops+"/readyz") != 200 })
	got := statusOf("http://" + g.public + "/public/x")
	if time.Since(stopped) < drain && got != 200 {
		t.Errorf("a request while draining: got %d, want 200", got)
	}
}

// statusOf is the status of a GET over a connection of its own; 0 if there is none.
func statusOf(url string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// What does not end by itself is cut when the time is up.
func TestRunCutsWhatIsLeft(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: one\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		rw.Flush()
		io.Copy(io.Discard, conn)
	}))
	t.Cleanup(backend.CloseClientConnections)
	g := run(t, func(c *Config) {
		c.Upstreams[0].URL = backend.URL
		c.Server.Timeouts.Shutdown = 100 * time.Millisecond
	})
	socket, events := dial(t, g.public), dial(t, g.public)
	fmt.Fprintf(socket, "GET /public/s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	fmt.Fprintf(events, "GET /public/e HTTP/1.1\r\nHost: x\r\n\r\n")
	for _, conn := range []net.Conn{socket, events} {
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
	}
	g.stop()
	awaitClose(t, socket)
	awaitClose(t, events)
	if err := g.awaitEnd(); err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

func TestRunReturnsWhatFailed(t *testing.T) {
	g := newGateway(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := g.Run(context.Background(), Listeners{Public: l}); err == nil {
		t.Error("got nil, want the listener's error")
	}
}

func TestTLSListener(t *testing.T) {
	files := newTestCert(t, "first.example")
	g := run(t, func(c *Config) {
		c.Server.PublicURL = "https://app.example.com"
		c.Server.TLS = files
	})
	if name, proto := handshake(t, g.public); name != "first.example" || proto != "h2" {
		t.Errorf("got the certificate of %s and %s, want first.example and h2", name, proto)
	}
	if _, err := tls.Dial("tcp", g.public, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil || !strings.Contains(err.Error(), "remote error") {
		t.Errorf("TLS 1.1: got %v, want the gateway to refuse it", err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}, Timeout: patience}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + g.public + "/public/x")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 || res.Header.Get("Strict-Transport-Security") != hsts {
		t.Errorf("got %d over %s, HSTS %q", res.StatusCode, res.Proto, res.Header.Get("Strict-Transport-Security"))
	}

	writeTestCert(t, files, "second.example")
	g.clock.advance(2 * time.Second)
	if name, _ := handshake(t, g.public); name != "second.example" {
		t.Errorf("after a renewal: got the certificate of %s, want second.example", name)
	}
	if err := os.WriteFile(files.Cert, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.clock.advance(2 * time.Second)
	if name, _ := handshake(t, g.public); name != "second.example" {
		t.Errorf("after a broken renewal: got the certificate of %s, want second.example still", name)
	}
	if !strings.Contains(g.logs.String(), "the renewed certificate cannot be used") {
		t.Error("the broken renewal is not in the log")
	}
}

func TestRedirectListenerServesNothing(t *testing.T) {
	g := run(t, func(c *Config) {
		c.Server.PublicURL = "https://app.example.com"
		c.Server.TLS = newTestCert(t, "app.example.com")
	})
	for method, want := range map[string][]string{
		"GET":  {"HTTP/1.1 308 ", "\r\nLocation: https://app.example.com/auth/login?x=%zz\r\n", "\r\nX-Request-Id: "},
		"POST": {"HTTP/1.1 403 ", "\r\nDoorward: HTTPS_REQUIRED\r\n", "\r\nX-Request-Id: "}, // led on, a client would send its password in clear every time
	} {
		conn := dial(t, g.redirect)
		fmt.Fprintf(conn, "%s /auth/login?x=%%zz HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\nX-Forwarded-Proto: https\r\n\r\n", method)
		got := awaitClose(t, conn)
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: got %q, want %q in it", method, got, part)
			}
		}
	}
}

func TestCertificateThatCannotBeReadIsAnError(t *testing.T) {
	g := &testGateway{logs: &logBuffer{}, clock: &testClock{}}
	d := testDeps(t, g, func(c *Config) {
		c.Server.PublicURL = "https://app.example.com"
		c.Server.TLS = TLSConfig{Cert: "nowhere.pem", Key: "nowhere.key"}
	}, nil)
	if _, err := New(d); err == nil || !strings.Contains(err.Error(), "server.tls") {
		t.Errorf("got %v, want an error about server.tls", err)
	}
}

func TestH2C(t *testing.T) {
	for _, on := range []bool{true, false} {
		g := run(t, func(c *Config) { c.Server.H2C = on })
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		client := http.Client{Transport: &http.Transport{Protocols: &p}, Timeout: patience}
		res, err := client.Get("http://" + g.public + "/public/x")
		if err == nil {
			res.Body.Close()
		}
		if (err == nil && res.ProtoMajor == 2) != on {
			t.Errorf("h2c %v: got %v, %v", on, res, err)
		}
		client.CloseIdleConnections()
	}
}

func TestHeaderIsBounded(t *testing.T) {
	g := run(t, nil)
	conn := dial(t, g.public)
	fmt.Fprintf(conn, "GET /public/x HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n", strings.Repeat("a", maxHeaderBytes+8<<10))
	if got := awaitClose(t, conn); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("got %.60q, want a 431", got)
	}
}

// handshake is the name on the certificate a listener shows, and what it wants
// to speak.
func handshake(t testing.TB, addr string) (name, proto string) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol
}

func newTestCert(t testing.TB, name string) TLSConfig {
	t.Helper()
	dir := t.TempDir()
	files := TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	writeTestCert(t, files, name)
	return files
}

func writeTestCert(t testing.TB, files TLSConfig, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		files.Cert: {Type: "CERTIFICATE", Bytes: cert}, files.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
