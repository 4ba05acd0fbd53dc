package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doorward.db.sock")
	quiet := slog.New(slog.DiscardHandler)
	l, err := listenControl(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeSocket|0o600; got != want {
		t.Errorf("mode: got %v, want %v", got, want)
	}
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		}
		accepted <- err
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-accepted; err != nil {
		t.Errorf("our own connection: %v", err)
	}

	// A successor takes the place of one that was killed.
	second, err := listenControl(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: got %v, want no socket", err)
	}
	l.UnixListener.Close()
}

// The kernel says who is connected; nobody but us and root may go on.
func TestPeerUID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if got, err := peerUID(peer); err != nil || got != os.Geteuid() {
		t.Errorf("got %d, %v, want %d", got, err, os.Geteuid())
	}
	peer.Close()
	if _, err := peerUID(peer); err == nil {
		t.Error("a connection that is gone: want an error, which refuses it")
	}
}

func TestSocketPathTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", maxSocketPath))
	_, err := listenControl(path, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "store.url") {
		t.Errorf("got %v, want an error that names store.url", err)
	}
}
