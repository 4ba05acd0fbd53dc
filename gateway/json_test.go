package gateway

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
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

// A body that comes byte by byte keeps every rolling deadline, and would be
// waited for until the end of the day.
func TestATricklingBodyOfOursEnds(t *testing.T) {
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded"} {
		g := newGateway(t, hurried(""))
		conn := dial(t, g.addr)
		fmt.Fprintf(conn, "POST /auth/login HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: 60000\r\n\r\n", g.addr, kind)
		done := make(chan struct{})
		go func() {
			drop := time.NewTicker(10 * time.Millisecond)
			defer drop.Stop()
			for {
				select {
				case <-done:
					return
				case <-drop.C:
					io.WriteString(conn, "+") // after the end it fails, as it should
				}
			}
		}()
		got := awaitClose(t, conn)
		close(done)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: got %q, want a 400 and the end", kind, got)
		}
	}
}
