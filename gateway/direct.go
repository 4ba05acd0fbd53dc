package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"sync"
	"time"
)

// direct calls a backend that speaks plain HTTP/1, in the goroutine that serves
// the request. http.Transport gives each connection two goroutines of its own,
// which talk and are told what to do over channels; that is what a request with
// a body needs, whose answer may come before its end, and dear for one without.
// So this carries only what has nothing to send but its header and may be
// repeated: see carries. What is read is net/http's doing here as there, and what
// is written is what net/http would write: see head.go.
//
// Its methods may be called from any number of goroutines.
type direct struct {
	dial     func(context.Context) (net.Conn, error)
	response time.Duration // how long an answer's header may take; 0 is without end
	keep     time.Duration // how long a connection may wait for its next request; 0 is without end

	asking askers // the connections that have a request under way

	mu     sync.Mutex
	idle   []*directConn // the one used last is the next
	reaper *time.Timer   // runs while any is idle
	closed bool
}

const (
	maxIdleConns     = 512
	maxAnswerHeaders = 1 << 20 // with whatever informational ones came before
)

// carries reports whether the request is one for the direct way: no body, no
// upgrade, and of a method that may be sent again when a kept connection turns
// out to be gone (RFC 9110, section 9.2.2).
func carries(r *http.Request) bool {
	return (r.Body == nil || r.Body == http.NoBody) && r.ContentLength == 0 && safe(r.Method) &&
		r.Header["Upgrade"] == nil && r.Trailer == nil
}

// roundTrip sends the request, with something said beside its header, and reads
// the answer's header. The body must be read to its end or closed, by one
// goroutine; then the connection is free for the next request. When the request's
// context ends, so does the connection, a moment later: see askers.go.
//
// A kept connection that gives no answer at all has been closed by the backend:
// the request goes out once more, on a new one.
func (d *direct) roundTrip(r *http.Request, ours said) (*http.Response, error) {
	for c := d.pop(); c != nil; c = d.pop() {
		res, err := c.exchange(r, ours)
		switch {
		case err == errNotSilent: // nothing was written
			continue
		case err != nil && c.repeatable(err) && r.Context().Err() == nil:
			return d.begin(r, ours)
		}
		return res, err
	}
	return d.begin(r, ours)
}

// begin sends the request over a new connection.
func (d *direct) begin(r *http.Request, ours said) (*http.Response, error) {
	c, err := d.open(r.Context())
	if err != nil {
		return nil, err
	}
	return c.exchange(r, ours)
}

// pop is the kept connection used last; nil if there is none.
func (d *direct) pop() *directConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.idle)
	if n == 0 {
		return nil
	}
	c := d.idle[n-1]
	d.idle[n-1] = nil
	d.idle = d.idle[:n-1]
	return c
}

func (d *direct) open(ctx context.Context) (*directConn, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &directConn{Conn: conn, owner: d}
	if c.socket, err = newSocket(conn); err != nil {
		conn.Close()
		return nil, err
	}
	c.in = bufio.NewReaderSize(c, transportBuffer)
	return c, nil
}

// put keeps a connection for the next request.
func (d *direct) put(c *directConn) {
	c.used, c.since = true, time.Now()
	d.mu.Lock()
	full := d.closed || len(d.idle) >= maxIdleConns
	if !full {
		d.idle = append(d.idle, c)
		if d.reaper == nil && d.keep > 0 {
			d.reaper = time.AfterFunc(d.keep, d.reap)
		}
	}
	d.mu.Unlock()
	if full {
		c.Close()
	}
}

// reap closes what has been idle too long, and comes again while any is left.
func (d *direct) reap() {
	now := time.Now()
	d.mu.Lock()
	old := 0
	for old < len(d.idle) && now.Sub(d.idle[old].since) >= d.keep {
		old++ // the first waits longest
	}
	dead := slices.Clone(d.idle[:old])
	d.idle = slices.Delete(d.idle, 0, old)
	d.reaper = nil
	if len(d.idle) > 0 {
		d.reaper = time.AfterFunc(d.keep-now.Sub(d.idle[0].since), d.reap)
	}
	d.mu.Unlock()
	for _, c := range dead {
		c.Close()
	}
}

// close lets idle connections go, and each other one after its answer.
func (d *direct) close() {
	d.mu.Lock()
	dead := d.idle
	d.idle, d.closed = nil, true
	if d.reaper != nil {
		d.reaper.Stop()
	}
	d.mu.Unlock()
	for _, c := range dead {
		c.Close()
	}
}

// directConn is one connection to the backend, used by one request at a time.
type directConn struct {
	net.Conn
	owner  *direct
	socket *socket
	in     *bufio.Reader
	out    []byte // a request

	used   bool      // it has carried a request before
	since  time.Time // idle since
	until  time.Time // the deadline that is set; zero for none
	heard  bool      // the backend has said something to this request
	header int       // bytes the header may still have; negative: it is over
	asks   asker     // its place among those under way
}

// Read bounds the header.
func (c *directConn) Read(p []byte) (int, error) {
	if c.header == 0 {
		return 0, errLongHeader
	}
	if c.header > 0 && len(p) > c.header {
		p = p[:c.header]
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard = true
		if c.header > 0 {
			c.header -= n
		}
	}
	return n, err
}

var (
	errLongHeader = fmt.Errorf("the header of the backend's answer is longer than %d bytes", maxAnswerHeaders)
	errNotSilent  = errors.New("the kept connection has ended, or the backend spoke unasked")
	errUnasked    = errors.New("the backend switched protocols though nobody asked it to")
)

// exchange writes the request and reads the answer's header. After an error the
// connection is closed.
func (c *directConn) exchange(r *http.Request, ours said) (*http.Response, error) {
	c.heard, c.header = false, maxAnswerHeaders
	c.owner.asking.enter(c, r.Context())
	res, err := c.converse(r, ours)
	if err != nil {
		c.owner.asking.leave(c)
		c.Close()
		return nil, err
	}
	c.header = -1
	if res.Body == http.NoBody {
		c.release(!res.Close && !mayGoOn(res))
		return res, nil
	}
	if int64(c.in.Buffered()) < res.ContentLength || res.ContentLength < 0 {
		c.until = time.Time{} // a body may take as long as it likes
		if err := c.SetDeadline(c.until); err != nil {
			c.release(false)
			return nil, err
		}
	}
	res.Body = &directBody{src: res.Body, conn: c, keep: !res.Close}
	return res, nil
}

// mayGoOn reports whether a body may follow an answer that has none. To a HEAD, or
// with a 204 or 304, there must be none, but gunicorn for one sends what the
// application gave it, a moment behind the header: whoever had the connection next
// would read it as their answer.
func mayGoOn(res *http.Response) bool {
	if res.Body != http.NoBody || res.ProtoMajor != 1 {
		return false
	}
	length := res.Header.Get("Content-Length")
	return res.Request.Method == http.MethodHead || length != "" && length != "0" || res.TransferEncoding != nil
}

func (c *directConn) converse(r *http.Request, ours said) (*http.Response, error) {
	if err := c.expect(); err != nil {
		return nil, err
	}
	var err error
	if c.out, err = appendRequest(c.out[:0], r, ours); err != nil {
		return nil, err
	}
	err = c.send(c.out)
	clear(c.out[:cap(c.out)]) // credentials, which need not lie about
	if err != nil {
		return nil, err
	}
	for {
		res, err := http.ReadResponse(c.in, r)
		switch {
		case err != nil:
			return nil, err
		case res.StatusCode == http.StatusSwitchingProtocols:
			return nil, errUnasked
		case res.StatusCode >= 200 || res.StatusCode < 100: // of which the proxy makes what it likes
			return res, nil
		}
		if err := informed(r.Context(), res); err != nil {
			return nil, err
		}
	}
}

// send writes a request. A kept connection must be silent: what a backend says
// when nobody asked, the next caller would take for the answer to what they asked.
func (c *directConn) send(request []byte) error {
	sent := 0
	if c.used {
		var err error
		if sent, err = c.socket.exchange(request); err != nil || sent == len(request) {
			return err
		}
	}
	_, err := c.Conn.Write(request[sent:])
	return err
}

// informed hands an informational answer on to the proxy.
func informed(ctx context.Context, res *http.Response) error {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.Got1xxResponse == nil {
		return nil
	}
	return trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
}

// expect gives the backend its time for the header, and for taking the request.
// Moving a deadline costs about as much as a small read, so it is set a
// sixteenth further than it has to be and serves several requests. None is cut
// before its time.
func (c *directConn) expect() error {
	limit := c.owner.response
	if limit <= 0 {
		return nil
	}
	end := time.Now().Add(limit)
	if !c.until.Before(end) {
		return nil
	}
	c.until = end.Add(limit / 16)
	return c.SetDeadline(c.until)
}

// repeatable reports whether the request that failed may go out on another
// connection: this one was kept, and nothing came back.
func (c *directConn) repeatable(err error) bool { return c.used && !c.heard && !isTimeout(err) }

// release frees the connection of its request, for the next one if it can be
// kept. What is left in the buffer was not asked for, so there is no telling
// whose it is.
func (c *directConn) release(keep bool) {
	free := c.owner.asking.leave(c)
	if free && keep && c.in.Buffered() == 0 {
		c.owner.put(c)
		return
	}
	c.Close()
}

// directBody is an answer's body, which knows when its connection is free. It is
// read and closed by one goroutine; another may abort it.
type directBody struct {
	src  io.ReadCloser
	keep bool

	mu   sync.Mutex
	conn *directConn // nil once it is not ours any more
}

func (b *directBody) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

// Close gives the rest of the body up, and the connection with it.
func (b *directBody) Close() error {
	b.end(false)
	return nil
}

func (b *directBody) end(whole bool) {
	b.mu.Lock()
	c := b.conn
	b.conn = nil
	b.mu.Unlock()
	if c != nil {
		c.release(whole && b.keep)
	}
}

// abort ends an answer of the direct way where it is: who reads it gets an error.
// One that has ended keeps its connection, which may be another's by now.
func abort(res *http.Response) {
	b, ok := res.Body.(*directBody)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.conn.Close()
	}
}
