//go:build !unix

package gateway

import (
	"errors"
	"net"
)

const canAsk = false

// stale cannot be told here without reading, so nothing is.
func stale(net.Conn, bool) bool { return false }

// socket is not to be had here.
type socket struct{}

func newSocket(net.Conn) (*socket, error) { return nil, errors.ErrUnsupported }

func (*socket) exchange([]byte) (int, error) { return 0, errors.ErrUnsupported }
