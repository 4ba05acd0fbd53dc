package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// answer is the ResponseWriter of every request to the public listener. It
// knows what was answered, puts on the headers that belong on every answer, and
// holds both directions to the rolling deadline of server.timeouts.body.
//
// It has no ReadFrom: every chunk passes Write, which moves the deadline.
type answer struct {
	http.ResponseWriter
	server *Server
	x      *exchange
	body   paced

	rc       http.ResponseController
	limit    time.Duration // how long one chunk may take
	http2    bool
	old      bool // HTTP/1.0
	duplex   bool // the answer may start before the body has ended
	began    bool // the header is out: what follows cannot become a refusal
	hijacked bool
	until    time.Time // the connection's write deadline, under HTTP/1
	status   int       // 0: nothing was answered
	bytes    int64
}

func (w *answer) begin(rw http.ResponseWriter, s *Server, x *exchange) {
	w.ResponseWriter, w.server, w.x = rw, s, x
	w.rc = *http.NewResponseController(rw)
	w.limit = x.live.cfg.Server.Timeouts.Body
}

// pace holds the request's body to the rolling deadline.
func (w *answer) pace(r *http.Request) {
	w.http2, w.old = r.ProtoMajor >= 2, !r.ProtoAtLeast(1, 1)
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	w.body.ReadCloser, w.body.w = r.Body, w
	r.Body = &w.body
}

// fullDuplex lets the answer start while the body still comes, as HTTP/2 does
// anyway: a backend may refuse an upload early, or talk both ways. Without it
// net/http first takes the rest of the body, which is what refusals of our own
// want: it keeps the connection.
func (w *answer) fullDuplex() {
	if w.body.w != nil && !w.http2 {
		w.duplex = w.rc.EnableFullDuplex() == nil
	}
}

// WriteHeader sends the header. Informational ones go out as they are.
func (w *answer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if w.old {
			return // RFC 9110, section 15.2: it would take this for the answer
		}
		h := w.Header() // the proxy hands these on as they came
		withoutHopByHop(h)
		withoutOurSetCookies(h)
		delete(h, "Doorward")
		delete(h, "X-Request-Id")
		if w.http2 {
			// Of a map with this in it net/http sends a copy, without it. Else it may read
			// the map when its stream is reset and the proxy has gone on to clear it, and
			// that ends the whole process.
			h["Content-Length"] = nil
		}
		w.expectWrite()
		w.ResponseWriter.WriteHeader(status)
		w.wrote()
		return
	}
	if w.began {
		return
	}
	w.began, w.status = true, status
	w.server.stamp(w.Header(), w.x)
	if w.body.w != nil && !w.http2 && !w.body.done.Load() {
		if w.duplex {
			// The rest of the body may never come, or come where the next request
			// is expected and be taken for one.
			w.Header().Set("Connection", "close")
		} else {
			w.body.expect(time.Now().Add(w.limit)) // net/http now takes what is left
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// withoutHopByHop removes what was said of the connection to the backend and not of
// the answer (RFC 9110, section 7.6.1). Under HTTP/2 a client that is told such a
// thing gives the request up.
func withoutHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.Trim(name, " \t"))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// Write sends a chunk, which the client must take within the rolling deadline.
func (w *answer) Write(p []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if err := w.x.passage.overdue(); err != nil {
		return 0, err
	}
	w.expectWrite()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	w.wrote()
	return n, err
}

// FlushError sends what is buffered.
func (w *answer) FlushError() error {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	w.expectWrite()
	err := w.rc.Flush()
	w.wrote()
	return err
}

// Flush is FlushError for those who do not look at the error.
func (w *answer) Flush() { _ = w.FlushError() }

// Hijack hands the connection over, for a WebSocket. What was stamped on the
// header before goes out with it.
func (w *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.server.stamp(w.Header(), w.x)
	conn, rw, err := w.rc.Hijack() // clears the deadlines
	if err == nil {
		w.began, w.hijacked, w.status = true, true, http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// expectWrite starts the clock for one chunk. Where net/http may first take the
// rest of the body, that has its own time.
func (w *answer) expectWrite() {
	if w.limit <= 0 {
		return
	}
	limit := w.limit
	if w.body.w != nil && !w.duplex && !w.body.done.Load() {
		limit *= 2
	}
	end := time.Now().Add(limit)
	if !w.http2 && !w.until.Before(end) {
		return
	}
	w.until = end.Add(limit / 16) // for the chunks that follow at once: moving it costs a timer
	_ = w.rc.SetWriteDeadline(w.until)
}

// wrote stops it again under HTTP/2, where a deadline that passes ends the
// stream even if there was nothing to write. A plain connection's deadline
// only counts while something is being written.
func (w *answer) wrote() {
	if w.limit > 0 && w.http2 {
		_ = w.rc.SetWriteDeadline(time.Time{})
	}
}

// finish completes an answer. What net/http still has to do, sending the rest
// of its buffer and reading the rest of a body nobody wanted, is bounded too.
func (w *answer) finish(r *http.Request) {
	if w.hijacked {
		return
	}
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	w.expectWrite()
	if w.body.w != nil {
		w.body.finish()
	}
}

// paced is a request body of which every chunk must come within the deadline.
// A proxy's transport reads it on a goroutine of its own, which may come late.
type paced struct {
	io.ReadCloser
	w    *answer
	done atomic.Bool // nothing more is to come

	reading  sync.Mutex // held while a chunk is awaited
	mu       sync.Mutex
	finished bool // the connection's deadlines are no longer ours to move
}

// Read reads one chunk. The deadline is taken back after it: the rest of the
// connection's life, such as waiting for a slow backend, is not the client's
// doing.
func (b *paced) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if !b.expect(time.Now().Add(b.w.limit)) {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return n, &refusal{code: "BAD_REQUEST", detail: "The request body stopped coming.", cause: err}
	}
	if err == io.EOF {
		b.done.Store(true)
	}
	b.expect(time.Time{})
	return n, err
}

// expect sets the deadline of the next chunk; false once the request is over.
func (b *paced) expect(deadline time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.finished && b.w.limit > 0 {
		_ = b.w.rc.SetReadDeadline(deadline)
	}
	return !b.finished
}

// finish leaves the connection to net/http, with a deadline for taking what is
// left of the body. A read still under way is ended first: net/http would end
// it too, and then wait for the rest without any deadline.
func (b *paced) finish() {
	b.mu.Lock()
	b.finished = true
	b.mu.Unlock()
	if b.done.Load() || b.w.http2 || b.w.limit <= 0 {
		return
	}
	_ = b.w.rc.SetReadDeadline(time.Unix(1, 0))
	b.reading.Lock()
	defer b.reading.Unlock()
	_ = b.w.rc.SetReadDeadline(time.Now().Add(b.w.limit))
}
