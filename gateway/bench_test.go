//go:build unix

package gateway

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// quickBackend answers everything with a kilobyte, reading no more of a request
// than where it ends.
func quickBackend(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"), make([]byte, 1024)...)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := make([]byte, 8<<10)
				for n := 0; ; {
					m, err := c.Read(in[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(in[:n], []byte("\r\n\r\n")) {
						n = 0
						c.Write(answer)
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// BenchmarkRoundTrip is one request to a backend and its answer, the short way
// and by http.Transport.
func BenchmarkRoundTrip(b *testing.B) {
	up, err := newUpstream(Upstream{Name: "app", URL: quickBackend(b), Timeouts: UpstreamTimeouts{Response: time.Minute, Idle: time.Minute}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(up.close)
	for name, roundTrip := range map[string]func(*http.Request) (*http.Response, error){
		"direct":    func(r *http.Request) (*http.Response, error) { return up.direct.roundTrip(r, nil) },
		"transport": up.transport.RoundTrip,
	} {
		b.Run("by="+name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "http://"+up.host+"/app/x", nil).WithContext(b.Context())
			r.RequestURI = ""
			r.Body = nil
			buf := make([]byte, copyBufferSize)
			b.ReportAllocs()
			for b.Loop() {
				res, err := roundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				io.CopyBuffer(io.Discard, res.Body, buf)
				res.Body.Close()
			}
		})
	}
}

// BenchmarkAccessLine is one line, ready made and by slog's own handler.
func BenchmarkAccessLine(b *testing.B) {
	c := new(call)
	c.route, c.upstream, c.decision, c.status, c.answer.bytes = "/app/**", "app", "allowed", 200, 1024
	c.requestID, c.upstreamTime = "NDZOVF2UN7UW57TTYISD3FPVH5", 1234567*time.Nanosecond
	l := &AccessLine{call: c, request: httptest.NewRequest("GET", "/app/x", nil), took: 1534567 * time.Nanosecond}
	b.Run("by=line", func(b *testing.B) {
		buf := make([]byte, 0, 4<<10)
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := l.AppendJSON(buf); !ok {
				b.Fatal("not a plain line")
			}
		}
	})
	b.Run("by=slog", func(b *testing.B) {
		h := slog.NewJSONHandler(io.Discard, nil)
		b.ReportAllocs()
		for b.Loop() {
			r := slog.NewRecord(time.Time{}, slog.LevelInfo, "request", 0)
			r.AddAttrs(slog.Any("", l))
			h.Handle(b.Context(), r)
		}
	})
}

// BenchmarkProxied is a request through the whole gateway but for its own
// sockets: from the handler to a backend and back.
func BenchmarkProxied(b *testing.B) {
	g := newGateway(b, behind(quickBackend(b), to("/**", signedin)))
	bearer := g.bearer("ann", "user")
	handler := g.Public()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("GET", "/app/x", nil).WithContext(b.Context())
		r.Header.Set("Authorization", strings.TrimPrefix(bearer, "Authorization: "))
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Code, w.Header())
		}
	}
}
