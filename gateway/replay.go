package gateway

import (
	"errors"
	"io"
	"sync"
)

// replayBody is a request body that can be sent again as long as no more than
// its first few bytes were taken: those are kept.
//
// Attempts overlap. Over HTTP/2 the transport reports that one has failed, and is
// asked for the next, while the goroutine that writes the body may still wait for
// the client. So only the latest attempt reads on, and it gets what the one before
// has taken late.
type replayBody struct {
	src     io.Reader
	reading sync.Mutex // held while src is read

	mu     sync.Mutex
	latest *replayView
	kept   []byte
	n      int64 // bytes taken from src
	err    error // how src ended
}

// bodyError is a request body that broke off: the client's doing, not the
// backend's.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read the request's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// failed is how reading the body went wrong, if it did.
func (b *replayBody) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// errBodySent says that the body cannot be sent once more.
var errBodySent = errors.New("the connection broke after part of the body was sent")

// spent reports whether more was taken than is kept.
func (b *replayBody) spent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n > int64(len(b.kept))
}

// again is the body from its start: http.Request.GetBody, which the transport
// asks when it wrote nothing at all.
func (b *replayBody) again() (io.ReadCloser, error) {
	if b.spent() {
		return nil, errBodySent
	}
	return b.view(), nil
}

// view is the body for another attempt, and the end of it for those before.
func (b *replayBody) view() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest = &replayView{body: b}
	return b.latest
}

// replayView is one attempt's reading of the body.
type replayView struct {
	body *replayBody
	at   int64 // bytes read so far
}

func (v *replayView) Read(p []byte) (int, error) {
	b := v.body
	b.reading.Lock() // an attempt given up may still wait for the client here
	defer b.reading.Unlock()
	n, fresh, err := v.next(p)
	if n > 0 || err != nil {
		return n, err
	}
	n, err = b.src.Read(fresh)
	v.at += int64(n)
	b.took(fresh[:n], err)
	return n, err
}

// next reads what is kept; if there is nothing more, fresh is how much of p may be
// read from the source.
func (v *replayView) next(p []byte) (n int, fresh []byte, err error) {
	b := v.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.latest != v:
		return 0, nil, errBodySent
	case v.at < int64(len(b.kept)):
		n = copy(p, b.kept[v.at:])
		v.at += int64(n)
		return n, nil, nil
	case v.at != b.n: // an attempt before took more than is kept
		return 0, nil, errBodySent
	case b.err != nil:
		return 0, nil, b.err
	}
	if room := transportBuffer - len(b.kept); b.n < transportBuffer && room < len(p) {
		p = p[:room] // one read of more than that, and nothing could be kept
	}
	return 0, p, nil
}

// took notes what was read from the source, and keeps it if all before is kept.
func (b *replayBody) took(p []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == int64(len(b.kept)) && len(b.kept)+len(p) <= transportBuffer {
		b.kept = append(b.kept, p...)
	}
	b.n, b.err = b.n+int64(len(p)), err
}

// Close leaves the body open for the next attempt; the proxy closes it.
func (v *replayView) Close() error { return nil }
