package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is the pair of files of server.tls. It is read again when a file
// changes, so that whoever renews it need not tell us.
type certificate struct {
	files TLSConfig
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]fileState // what the files were when last read, also if they were no good
	checked time.Time
}

// fileState is enough of a file to tell that it was replaced.
type fileState struct {
	size     int64
	modified time.Time
}

// certificateCheck is how often a handshake looks at the files.
const certificateCheck = time.Second

func newCertificate(files TLSConfig, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{files: files, log: log, now: now}
	if err := c.reload(); err != nil {
		return nil, fmt.Errorf("server.tls: %w", err)
	}
	return c, nil
}

// reload reads the files now. If they are no good, the old pair stays.
func (c *certificate) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read reads the files; c.mu is held. Their state is taken before the reading,
// so that a change in between is seen next time.
func (c *certificate) read() error {
	c.seen, c.checked = c.state(), c.now()
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return err
	}
	c.pair = &pair
	return nil
}

func (c *certificate) state() [2]fileState {
	var state [2]fileState
	for i, name := range []string{c.files.Cert, c.files.Key} {
		if info, err := os.Stat(name); err == nil {
			state[i] = fileState{info.Size(), info.ModTime()}
		}
	}
	return state
}

// get is a tls.Config.GetCertificate. A renewal that is half written or broken
// is logged, once, and the old pair serves on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		if c.state() != c.seen {
			if err := c.read(); err != nil {
				c.log.Error("the renewed certificate cannot be used; the old one serves on", "err", err)
			} else {
				c.log.Info("certificate read again", "file", c.files.Cert)
			}
		}
	}
	return c.pair, nil
}

// config is how the public listener speaks TLS.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
