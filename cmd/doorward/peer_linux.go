package main

import (
	"net"
	"syscall"
)

// peerUID is the user at the other end, as the kernel noted it when the
// connection was made.
func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid, failed := -1, error(nil)
	err = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err != nil {
			failed = err
			return
		}
		uid = int(cred.Uid)
	})
	if err == nil {
		err = failed
	}
	return uid, err
}
