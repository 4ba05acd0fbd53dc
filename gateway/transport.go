package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// upstream is one backend, ready to be called.
type upstream struct {
	name     string
	preserve bool // the backend sees the Host the client sent
	scheme   string
	host     string // what is dialled, and the Host of a backend that wants its own
	base     string // path put before every target, without a final slash

	direct      *direct // for what it carries; nil where the backend is not spoken to that way
	transport   *http.Transport
	multiplexed bool         // its connections carry several requests at once, as https may agree to
	stop        func()       // of a built-in backend; nil for one that is elsewhere
	health      atomic.Int32 // as last told to the metrics: 0 never, 1 up, 2 down
}

// newUpstream makes the backend's transport. It reads the CA file and dials nothing.
func newUpstream(u Upstream) (*upstream, error) {
	if u.URL == whoamiURL {
		return newWhoami(u), nil
	}
	target, err := url.Parse(u.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: the url is not one", u.Name)
	}
	up := &upstream{
		name: u.Name, preserve: u.Host != "upstream",
		scheme: target.Scheme, host: target.Host, base: strings.TrimRight(target.EscapedPath(), "/"),
	}
	d := dialer{network: "tcp", timeouts: u.Timeouts}
	switch target.Scheme {
	case "http":
	case "https":
		// Nothing to change: the transport speaks TLS by itself.
	case "h2c":
		up.scheme, up.multiplexed = "http", true
	case "unix":
		d.network, d.address = "unix", target.Path
		up.scheme, up.host, up.base = "http", "localhost", ""
	default:
		return nil, fmt.Errorf("upstream %s: scheme %q is none of http, https, h2c, unix", u.Name, target.Scheme)
	}
	up.transport = newTransport(u, d)
	if up.transport.TLSClientConfig, err = u.TLS.config(); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	up.transport.Protocols = protocols(target.Scheme)
	if plain := target.Scheme == "http" || target.Scheme == "unix"; plain && canAsk {
		up.direct = newDirect(target, d)
	}
	return up, nil
}

// newDirect is the short way to a plain HTTP/1 backend. A host with letters
// beyond ASCII is left to the transport, which knows how they are dialled.
func newDirect(target *url.URL, d dialer) *direct {
	if d.address == "" {
		port := target.Port()
		if port == "" {
			port = "80"
		}
		d.address = net.JoinHostPort(target.Hostname(), port)
	}
	if strings.ContainsFunc(d.address, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return nil
	}
	return &direct{dial: d.plain, response: d.timeouts.Response, keep: d.timeouts.Idle}
}

// newTransport is what every upstream's transport has in common.
func newTransport(u Upstream, d dialer) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // what a gateway may reach is configured here, not in the environment
		DialContext:            d.dial,
		DisableCompression:     true, // the answer passes as it is
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        u.Timeouts.Idle, // shorter than the backend's own, or we write into a closing connection
		TLSHandshakeTimeout:    u.Timeouts.Connect,
		ResponseHeaderTimeout:  u.Timeouts.Response,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		WriteBufferSize:        transportBuffer,
		ReadBufferSize:         transportBuffer,
	}
}

const transportBuffer = 8 << 10

func protocols(scheme string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(scheme != "h2c")
	p.SetHTTP2(scheme == "https")
	p.SetUnencryptedHTTP2(scheme == "h2c")
	return p
}

func (c UpstreamTLS) config() (*tls.Config, error) {
	conf := &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.ca: no certificate in %s", c.CA)
	}
	return conf, nil
}

// report tells the metrics whether the backend answered, if that is news.
func (u *upstream) report(m *Metrics, up bool) {
	state := int32(2)
	if up {
		state = 1
	}
	if u.health.Load() != state && u.health.Swap(state) != state {
		m.upstreamUp(u.name, up)
	}
}

// close lets idle connections go and ends a built-in backend. Requests under way
// are finished.
func (u *upstream) close() {
	u.transport.CloseIdleConnections()
	if u.direct != nil {
		u.direct.close()
	}
	if u.stop != nil {
		u.stop()
	}
}

// RoundTrip calls the backend, once as far as the backend can tell. A connection
// from the pool that the backend has closed, or may still have something to say
// on, is found out before anything is written, and another is taken. Once a byte
// of a request is out, the backend may have acted on it, whatever became of the
// body: then it is not repeated, unless it is of a kind that may be (RFC 9110,
// section 9.2.2), which the transport knows. A client's Idempotency-Key makes it
// none: what the backend makes of that is its own affair.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	hideKeys(r.Header)
	body := &replayBody{src: r.Body}
	for tries := 1; ; tries++ {
		used := usedConn{multiplexed: u.multiplexed}
		try := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: used.got}))
		if r.Body != nil && r.Body != http.NoBody {
			try.GetBody, try.Body = body.again, body.view()
		}
		res, err := u.transport.RoundTrip(try)
		if err == nil {
			if used.answered(res) {
				return res, nil
			}
			err = errNotSilent
		}
		if end := body.failed(); end != nil {
			return nil, &bodyError{end}
		}
		if body.spent() || tries == maxTries || !used.untouched() || r.Context().Err() != nil || isTimeout(err) {
			return nil, err
		}
	}
}

// hideKeys spells the fields by which http.Transport takes a request for one that
// can be repeated as it does not know them. To the backend they are the same.
func hideKeys(h http.Header) {
	for _, key := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := h[key]; ok {
			delete(h, key)
			h[strings.ToLower(key)] = values
		}
	}
}

// safe reports whether the transport itself repeats a request of this method.
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// maxTries bounds how many closed connections one request may find in the pool.
const maxTries = 16

// usedConn is the connection an attempt was given.
type usedConn struct {
	multiplexed bool // it carries several requests at once: HTTP/2

	mu      sync.Mutex
	conn    *upstreamConn // nil for one that is not ours to judge
	kept    bool          // it has carried a request before
	refused bool          // it was closed before anything was written to it
	before  int64
}

// got is told of the connection before anything is written to it. The transport
// gives it to the next request before we have seen the answer to this one, so
// until then it is marked, and whoever gets it takes another.
func (u *usedConn) got(c httptrace.GotConnInfo) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conn, _ = innermost(c.Conn).(*upstreamConn)
	u.kept, u.refused = c.Reused, false
	several := u.multiplexed || speaksHTTP2(c.Conn)
	unsettled := false
	if u.conn != nil {
		u.before = u.conn.written.Load()
		unsettled = !several && u.conn.asked.Swap(true)
	}
	if u.kept && (unsettled || stale(c.Conn, several)) {
		u.refused = true
		c.Conn.Close() // the transport finds that it can write nothing
	}
}

// answered reports whether the answer is to this request, and lets the next one
// have the connection if that was all of it.
func (u *usedConn) answered(res *http.Response) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.refused: // the transport had read it before anybody asked
		res.Body.Close()
		return false
	case u.conn == nil:
	case mayGoOn(res):
		u.conn.Close()
	default:
		u.conn.asked.Store(false)
	}
	return true
}

// untouched reports whether the attempt failed on a kept connection before a
// byte was written to it.
func (u *usedConn) untouched() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.kept && u.conn != nil && u.conn.written.Load() == u.before
}

func speaksHTTP2(conn net.Conn) bool {
	secured, ok := conn.(*tls.Conn)
	return ok && secured.ConnectionState().NegotiatedProtocol == "h2"
}

// innermost takes TLS off a connection.
func innermost(conn net.Conn) net.Conn {
	if secured, ok := conn.(*tls.Conn); ok {
		return secured.NetConn()
	}
	return conn
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// dialer opens connections to one upstream.
type dialer struct {
	network  string
	address  string // instead of the one asked for; "" for that
	timeouts UpstreamTimeouts
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.address == "" {
		d.network, d.address = network, address
	}
	conn, err := d.plain(ctx)
	if err != nil {
		return nil, err
	}
	return &upstreamConn{Conn: conn, write: d.timeouts.Response, ended: make(chan struct{})}, nil
}

func (d dialer) plain(ctx context.Context) (net.Conn, error) {
	plain := net.Dialer{Timeout: d.timeouts.Connect, KeepAlive: 30 * time.Second}
	return plain.DialContext(ctx, d.network, d.address)
}

// upstreamConn bounds each write, so that a backend that stopped reading ends
// as a timeout, and lets an early answer win over the write error that follows
// it: a backend that refuses an upload answers and closes.
type upstreamConn struct {
	net.Conn
	write   time.Duration
	written atomic.Int64  // bytes
	asked   atomic.Bool   // under HTTP/1: an answer, or more of it, may be on its way
	ended   chan struct{} // closed when reading is over
	once    sync.Once
}

// answerGrace is how long a failed write waits for the answer that explains it.
const answerGrace = time.Second

func (c *upstreamConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() { close(c.ended) })
	}
	return n, err
}

func (c *upstreamConn) Write(p []byte) (int, error) {
	if c.write > 0 {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	if err != nil && !isTimeout(err) {
		wait := time.NewTimer(answerGrace)
		defer wait.Stop()
		select {
		case <-c.ended:
		case <-wait.C:
		}
	}
	return n, err
}

// NetConn is the connection itself, as of a tls.Conn.
func (c *upstreamConn) NetConn() net.Conn { return c.Conn }

func (c *upstreamConn) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}
