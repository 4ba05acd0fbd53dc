package gateway

import (
	"math/rand/v2"
	"net/http"
)

// maxRequestID bounds an id that a trusted proxy brings.
const maxRequestID = 64

// number gives the request its id: a trusted proxy's, so that one id follows a
// request through both logs, or one of our own.
func (s *Server) number(_ *answer, r *http.Request, x *exchange) error {
	if lines := r.Header["X-Request-Id"]; x.trusted && len(lines) == 1 && isRequestID(lines[0]) {
		x.numbered(lines[0])
	} else {
		x.numbered(newRequestID())
	}
	return nil
}

// newRequestID is 128 bits of chance in base32, 26 letters. It opens nothing
// and everybody concerned is told it; it has only to be another each time. So it
// does not ask the system for chance, but the runtime, whose generator (ChaCha8) is
// made for keys as well and was seeded by the system.
func newRequestID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [26]byte
	for half := range 2 {
		chance := rand.Uint64()
		for i := range 13 {
			id[13*half+i] = letters[chance%32]
			chance /= 32
		}
	}
	return string(id[:])
}

// numbered gives the request its id.
func (x *exchange) numbered(id string) { x.requestID, x.idField[0] = id, id }

// isRequestID reports whether text may stand in a log and in a header.
func isRequestID(text string) bool {
	if text == "" || len(text) > maxRequestID {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
