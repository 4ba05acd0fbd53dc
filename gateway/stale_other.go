//go:build !unix

package gateway

import (
	"errors"
	"net"
)

const canPeek = false

// stale cannot be told here without reading, so nothing is.
func stale(net.Conn) bool { return false }

// peek is not to be had here.
type peek struct{}

func newPeek(net.Conn) (*peek, error) { return nil, errors.ErrUnsupported }

func (*peek) nothing() bool { return false }
