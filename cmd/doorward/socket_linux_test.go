package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Somebody opened the socket to everyone. The kernel still knows who connects.
func TestStrangersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir, err := os.MkdirTemp("", "doorward") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s.sock")
	var log bytes.Buffer
	l, err := listenControl(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	connected := make(chan error, 1)
	go connectAs(65534, path, connected)
	if err := <-connected; err != nil {
		t.Fatalf("connect: %v", err)
	}
	// The stranger waits in front of us; ours is the first that is let in.
	own, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !strings.Contains(log.String(), "uid=65534") {
		t.Errorf("the log does not speak of the stranger: %q", log.String())
	}
	if got, err := peerUID(c.(*net.UnixConn)); err != nil || got != 0 {
		t.Errorf("let in: got user %d, %v, want 0", got, err)
	}
}

// connectAs connects as another user. The thread that took the identity ends
// with the goroutine that is locked to it.
func connectAs(uid int, path string, connected chan<- error) {
	runtime.LockOSThread()
	const same = ^uintptr(0)
	if _, _, no := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(uid), same); no != 0 {
		connected <- no
		return
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	}
	connected <- err
}
