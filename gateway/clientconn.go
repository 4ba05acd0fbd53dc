package gateway

import (
	"net"
	"os"
	"sync"
	"time"
)

// clients is a listener whose connections cost net/http less: see clientConn.
type clients struct{ net.Listener }

func (l clients) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newClientConn(conn), nil
}

// clientConn is a client's connection. Around each request net/http moves its
// deadlines ten times, most of which no read or write ever meets, and while the
// request is served it reads one byte on a goroutine of its own, to notice that
// the client has left: a system call that finds nothing, and two deadlines to end
// it. So here a deadline is set when something is read or written under it, and
// that one byte is not asked for before a moment has passed.
type clientConn struct {
	net.Conn

	mu     sync.Mutex
	reads  deadline
	writes deadline

	watching bool      // a read of one byte waits for its moment
	waited   bool      // for one tick already
	wake     chan bool // ends that: whether to read
	ticking  bool
	tick     *time.Timer
}

// watchPause is how long a request goes unwatched, and up to twice that: a client
// that leaves earlier is found to have left then.
const watchPause = 10 * time.Millisecond

func newClientConn(conn net.Conn) *clientConn {
	c := &clientConn{Conn: conn, wake: make(chan bool, 1)}
	c.reads.set, c.writes.set = conn.SetReadDeadline, conn.SetWriteDeadline
	return c
}

// Read reads. One byte is what net/http asks for to watch a client; whatever else
// it may be, it comes a moment later.
func (c *clientConn) Read(p []byte) (int, error) {
	if len(p) == 1 && !c.pause() {
		return 0, os.ErrDeadlineExceeded
	}
	if err := c.enter(&c.reads); err != nil {
		return 0, err
	}
	defer c.leave(&c.reads)
	return c.Conn.Read(p)
}

func (c *clientConn) Write(p []byte) (int, error) {
	if err := c.enter(&c.writes); err != nil {
		return 0, err
	}
	defer c.leave(&c.writes)
	return c.Conn.Write(p)
}

func (c *clientConn) enter(d *deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.held++
	return d.enforce()
}

func (c *clientConn) leave(d *deadline) {
	c.mu.Lock()
	d.held--
	c.mu.Unlock()
}

// pause waits for the moment to read one byte; false if the deadline passed or was
// put into the past meanwhile.
func (c *clientConn) pause() bool {
	c.mu.Lock()
	if c.reads.passed() {
		c.mu.Unlock()
		return false
	}
	c.watching, c.waited = true, false
	switch {
	case c.tick == nil:
		c.tick = time.AfterFunc(watchPause, c.look)
	case !c.ticking:
		c.tick.Reset(watchPause)
	}
	c.ticking = true
	c.mu.Unlock()
	return <-c.wake
}

// look ends a pause that has lasted, and comes again while there is any: so no
// timer is moved for a request that is served at once.
func (c *clientConn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ticking = c.watching && !c.waited; c.ticking {
		c.waited = true
		c.tick.Reset(watchPause)
		return
	}
	c.resume(true)
}

// resume ends the pause, if there is one.
func (c *clientConn) resume(read bool) {
	if c.watching {
		c.watching = false
		c.wake <- read
	}
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do at once what something
// that is under way has to know.
func (c *clientConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads.asked = t
	if c.watching && c.reads.passed() {
		c.resume(false)
	}
	return c.reads.moved()
}

func (c *clientConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes.asked = t
	return c.writes.moved()
}

func (c *clientConn) Close() error {
	c.mu.Lock()
	c.resume(true) // which finds it closed
	c.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is for net/http, which ends a connection in two steps where it can.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// deadline is one direction's. To move the connection's own costs a timer, so that
// is set a little further than it has to be and serves several requests: by a 64th
// of what was left. Nothing is cut before its time.
type deadline struct {
	asked time.Time
	real  time.Time // the connection's own
	slack time.Duration
	held  int // what is read or written under it just now
	set   func(time.Time) error
}

func (d *deadline) passed() bool { return !d.asked.IsZero() && !d.asked.After(time.Now()) }

// moved tells what is under way.
func (d *deadline) moved() error {
	if d.held == 0 {
		return nil
	}
	return d.enforce()
}

// enforce sets the connection's deadline to what was asked, if it is not yet.
func (d *deadline) enforce() error {
	switch late := d.real.Sub(d.asked); {
	case d.asked.IsZero() && d.real.IsZero():
		return nil
	case d.asked.IsZero():
		d.real = d.asked
	case !d.real.IsZero() && late >= 0 && late <= d.slack:
		return nil
	default:
		d.slack = max(0, time.Until(d.asked)) / 64
		d.real = d.asked.Add(d.slack)
	}
	return d.set(d.real)
}
