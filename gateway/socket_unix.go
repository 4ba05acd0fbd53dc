//go:build unix

package gateway

import (
	"net"
	"syscall"
)

// canAsk reports whether this system lets us speak to a socket below package net.
const canAsk = true

// socket speaks to a connection's descriptor. What it does is what net does, in
// an order of its own: look, write, wait. net reads first and waits then, and a
// question that was just asked has no answer yet: that is a system call for
// nothing in each request.
type socket struct {
	raw  syscall.RawConn
	step func(fd uintptr) (done bool)

	out   []byte // the question
	asked bool
	sent  int
	err   error
}

// newSocket fails if the connection has no descriptor.
func newSocket(conn net.Conn) (*socket, error) {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return nil, syscall.ENOTSUP
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{raw: raw}
	s.step = s.ask
	return s, nil
}

// exchange writes out and waits until there is something to read, within the
// connection's deadline. It returns how much it wrote: all of it, unless there
// was an error or the other side takes no more at once; then it has not waited.
// errNotSilent says that nothing was written, since the connection has ended or
// the other side has said something already, which can be no answer.
func (s *socket) exchange(out []byte) (sent int, err error) {
	s.out, s.asked, s.sent, s.err = out, false, 0, nil
	// Read makes ready for the next event before it calls ask, so none is missed,
	// and waits for one when ask says that it is not done.
	if err := s.raw.Read(s.step); err != nil {
		return s.sent, err
	}
	return s.sent, s.err
}

func (s *socket) ask(fd uintptr) (done bool) {
	if s.asked {
		return true
	}
	s.asked = true
	if _, err := peek(fd); err != syscall.EAGAIN {
		s.err = errNotSilent
		return true
	}
	for again := true; again; again = s.err == syscall.EINTR {
		s.sent, s.err = syscall.Write(int(fd), s.out)
	}
	s.sent = max(0, s.sent)
	if s.err == syscall.EAGAIN {
		s.err = nil
	}
	return s.err != nil || s.sent < len(s.out)
}

// peek looks at what waits in a connection without taking it: 0 bytes are its
// end, EAGAIN is silence.
func peek(fd uintptr) (n int, err error) {
	var one [1]byte
	for again := true; again; again = err == syscall.EINTR {
		n, _, err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}
	return n, err
}

// stale reports whether a connection that was idle is none to write to: the other
// side has closed it or, unless it may speak at any time, has said what nobody
// asked for. That may be in the kernel's hands while the goroutine that reads the
// connection has not run yet. A request written now would be lost, and whether a
// backend saw it could not be told; or it would be answered with what is there.
func stale(conn net.Conn, maySpeak bool) bool {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	// Control and not Read: that would wait for the goroutine that reads.
	err = raw.Control(func(fd uintptr) {
		n, err := peek(fd)
		ended = err != syscall.EAGAIN && (n == 0 || err != nil || !maySpeak)
	})
	return ended || err != nil
}
