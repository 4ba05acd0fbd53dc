package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
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

	rc       *http.ResponseController
	limit    time.Duration // how long one chunk may take
	http2    bool
	began    bool // the header is out: what follows cannot become a refusal
	hijacked bool
	status   int // 0: nothing was answered
	bytes    int64
}

func (w *answer) begin(rw http.ResponseWriter, s *Server, x *exchange) {
	w.ResponseWriter, w.server, w.x = rw, s, x
	w.rc = http.NewResponseController(rw)
	w.limit = x.live.cfg.Server.Timeouts.Body
}

// pace holds the request's body to the rolling deadline, and lets an answer
// start while the body still comes: a backend may refuse an upload early.
func (w *answer) pace(r *http.Request) {
	w.http2 = r.ProtoMajor >= 2
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	w.body = paced{ReadCloser: r.Body, w: w}
	r.Body = &w.body
	if !w.http2 {
		_ = w.rc.EnableFullDuplex() // refused only by writers that have no connection
	}
}

// WriteHeader sends the header. Informational ones go out as they are.
func (w *answer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.began {
		return
	}
	w.began, w.status = true, status
	w.server.stamp(w.Header(), w.x)
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a chunk, which the client must take within the rolling deadline.
func (w *answer) Write(p []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
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

// expectWrite starts the clock for one chunk.
func (w *answer) expectWrite() {
	if w.limit > 0 {
		_ = w.rc.SetWriteDeadline(time.Now().Add(w.limit))
	}
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
	if w.body.w != nil && !w.body.done && !w.http2 {
		w.readRest(r)
	}
}

// maxRest is how much of a body nobody wanted is read, so that the connection
// can serve another request. net/http gives up at the same.
const maxRest = 256 << 10

// readRest reads what is left of a body, after the answer is out. net/http
// would do so itself, but when the handler is done already: in full duplex that
// starts a read in the background which the next request on the connection
// collides with, and net/http panics. A client that waits for "100 Continue"
// sends nothing more, and its connection is closed anyway.
func (w *answer) readRest(r *http.Request) {
	if w.limit > 0 {
		_ = w.rc.SetReadDeadline(time.Now().Add(w.limit))
	}
	if r.Header.Get("Expect") != "" {
		return
	}
	if w.rc.Flush() == nil {
		_, _ = io.CopyN(io.Discard, w.body.ReadCloser, maxRest)
	}
}

// paced is a request body of which every chunk must come within the deadline.
type paced struct {
	io.ReadCloser
	w    *answer
	done bool
}

// Read reads one chunk. The deadline is taken back after it: the rest of the
// connection's life, such as waiting for a slow backend, is not the client's
// doing.
func (b *paced) Read(p []byte) (int, error) {
	if b.w.limit <= 0 {
		return b.ReadCloser.Read(p)
	}
	_ = b.w.rc.SetReadDeadline(time.Now().Add(b.w.limit))
	n, err := b.ReadCloser.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		b.done = true // the connection is of no more use; nothing else is read
		return n, &refusal{code: "BAD_REQUEST", detail: "The request body stopped coming.", cause: err}
	}
	b.done = b.done || err != nil
	_ = b.w.rc.SetReadDeadline(time.Time{})
	return n, err
}
