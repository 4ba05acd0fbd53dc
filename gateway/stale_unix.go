//go:build unix

package gateway

import (
	"net"
	"syscall"
)

// canPeek reports whether this system can look at what waits in a connection.
const canPeek = true

// stale reports whether the other side has closed a connection that was idle.
// The end of it may be in the kernel's hands while the goroutine that reads the
// connection has not run yet; a request written now would be lost, and whether
// a backend saw it could not be told.
func stale(conn net.Conn) bool {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	if _, ok := conn.(syscall.Conn); !ok {
		return false
	}
	p, err := newPeek(conn)
	return err != nil || p.ended()
}

// peek looks at what waits in a connection without taking it. It is made once
// for each, since asking for the descriptor costs more than the look.
type peek struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	n    int
	err  error
}

// newPeek fails if the connection has no descriptor.
func newPeek(conn net.Conn) (*peek, error) {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return nil, syscall.ENOTSUP
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &peek{raw: raw}
	p.look = func(fd uintptr) {
		var one [1]byte
		for again := true; again; again = p.err == syscall.EINTR {
			p.n, _, p.err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		}
	}
	return p, nil
}

// waiting looks. Control and not Read: that would wait for whoever reads.
func (p *peek) waiting() (n int, err error) {
	if err := p.raw.Control(p.look); err != nil {
		return 0, err
	}
	return p.n, p.err
}

// nothing reports whether the connection is open and the other side silent.
func (p *peek) nothing() bool {
	_, err := p.waiting()
	return err == syscall.EAGAIN
}

// ended reports whether there is nothing more to come.
func (p *peek) ended() bool {
	n, err := p.waiting()
	return n == 0 && err != syscall.EAGAIN
}
