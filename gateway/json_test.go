package gateway

import (
	"strconv"
	"strings"
	"testing"
)

// What a terminal shows of an answer ends its line, and the length says so.
func TestAnswersEndInANewline(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/auth/jwks.json", "/auth/profile", "/auth/nowhere", "/app"} {
		a := g.get(path)
		if !strings.HasSuffix(a.Body, "}\n") || a.Header.Get("Content-Length") != strconv.Itoa(len(a.Body)) {
			t.Errorf("%s: got %q, length %s, want JSON, a newline and the length of both", path, a.Body, a.Header.Get("Content-Length"))
		}
	}
}
