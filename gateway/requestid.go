package gateway

import (
	"crypto/rand"
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
		x.numbered(rand.Text()) // 26 characters
	}
	return nil
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
