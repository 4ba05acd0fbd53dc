//go:build unix

package gateway

import (
	"net"
	"syscall"
)

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
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	sys, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	// Control and not Read: that would wait for the goroutine that reads.
	err = sys.Control(func(fd uintptr) {
		var peek [1]byte
		n, _, err := syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return ended || err != nil
}
