package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/doorward/doorward/store"
)

// maxSocketPath is how long the path of a unix socket may be everywhere.
const maxSocketPath = 104

// socketPath is where the running server of this store listens for the command
// line.
func socketPath(storeURL string) (string, error) {
	path, err := store.Path(storeURL)
	if err != nil {
		return "", err
	}
	return path + ".sock", nil
}

// controlListener accepts connections of the server's own user and of root.
type controlListener struct {
	*net.UnixListener
	path string
	log  *slog.Logger
}

// listenControl opens the control socket. The caller holds the store's lock:
// so a socket that is there already is what a server left that was killed, and
// may be replaced. Whoever can connect can do anything to any account, so the
// socket is never there, not for an instant, with more than mode 0600.
func listenControl(path string, log *slog.Logger) (*controlListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("control socket: %s is in the way and is no socket: move it", path)
	}
	fresh := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d.sock", os.Getpid()))
	if len(path) > maxSocketPath || len(fresh) > maxSocketPath {
		return nil, fmt.Errorf("control socket: the path %s is longer than %d bytes: keep the store (store.url) in a folder with a shorter path", path, maxSocketPath)
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it is known by another name from here on
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		l.Close()
		os.Remove(fresh)
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &controlListener{l, path, log}, nil
}

// Accept returns the next connection of someone who may give orders. The mode
// of the socket keeps others out already; the kernel's word on who is
// connected holds where a mode was changed or is not looked at.
func (l *controlListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == 0 || uid == os.Geteuid()) {
			return c, nil
		}
		l.log.Warn("control socket: refused a connection of another user", "uid", uid, "error", err)
		c.Close()
	}
}

// Close stops listening and removes the socket.
func (l *controlListener) Close() error {
	err := l.UnixListener.Close()
	if err != nil {
		return err // closed before: the file may be a successor's by now
	}
	return os.Remove(l.path)
}
