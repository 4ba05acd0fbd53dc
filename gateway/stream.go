package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/policy"
)

// streams is everything that may go on for as long as it likes: open WebSockets,
// event streams, uploads and answers that are long or of unknown length. They
// were admitted once and would outlive what admitted them, and net/http forgets
// the hijacked ones.
type streams struct {
	authn *authn.Service

	mu     sync.Mutex
	open   map[*stream]struct{}
	closed bool
	empty  chan struct{} // closed when the last one ends; nil unless someone waits
}

func newStreams(a *authn.Service) *streams {
	return &streams{authn: a, open: make(map[*stream]struct{})}
}

// endedError is why a stream's request was cancelled: what admitted it holds no
// longer.
type endedError struct{ why error }

func (e *endedError) Error() string { return "the stream was ended: " + e.why.Error() }
func (e *endedError) Unwrap() error { return e.why }

// errClosing is why a stream ends, or does not begin, at shutdown.
var errClosing = &refusal{code: "OVERLOADED", detail: "The gateway is shutting down.", after: time.Second}

// stream is one of them, with what is needed to judge it again. It shares
// nothing with the exchange, which belongs to another goroutine.
type stream struct {
	server    *Server
	request   policy.Request
	identity  *authn.Identity // nil: nobody
	websocket bool
	upload    bool // a body is coming
	answer    bool // an answer is going
	upstream  string
	cancel    func(error) // ends the call to the backend
	rc        *http.ResponseController
	unfollow  func()

	mu    sync.Mutex
	conn  net.Conn // the client's, once hijacked
	cut   bool
	ended bool
	done  chan struct{}
}

// begin lists the stream and then judges it: in this order no change in between
// is missed. The error is why it may not go on.
func (l *streams) begin(st *stream) error {
	st.done = make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosing
	}
	l.open[st] = struct{}{}
	l.mu.Unlock()
	if st.identity != nil { // nobody has no session to lose, only the rules
		st.unfollow = l.authn.Follow(*st.identity, st.rejudge)
	}
	return st.judge()
}

// finish takes the stream off the list.
func (l *streams) finish(st *stream) {
	if st.unfollow != nil {
		st.unfollow()
	}
	st.mu.Lock()
	if !st.ended {
		st.ended = true
		close(st.done)
	}
	st.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, st)
	if len(l.open) == 0 && l.empty != nil {
		close(l.empty)
		l.empty = nil
	}
}

// rejudge judges every open stream by the rules now in force, after a reload.
func (l *streams) rejudge() {
	for _, st := range l.list() {
		st.rejudge()
	}
}

// closeAll ends every stream and lets no new one begin.
func (l *streams) closeAll() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for _, st := range l.list() {
		st.end(errClosing)
	}
}

// wait returns when no stream is open, or with the context's error.
func (l *streams) wait(ctx context.Context) error {
	l.mu.Lock()
	if len(l.open) == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.empty == nil {
		l.empty = make(chan struct{})
	}
	empty := l.empty
	l.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *streams) list() []*stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*stream, 0, len(l.open))
	for st := range l.open {
		all = append(all, st)
	}
	return all
}

// judgeTimeout bounds the question whether a stream may go on: an answer that
// does not come is a no.
const judgeTimeout = 900 * time.Millisecond

// judge says why the stream may not go on by what holds now: the person's
// session and roles, the rules, the route's upstream and upgrades. The age of
// the access token is not looked at.
func (st *stream) judge() error {
	var who *authn.Identity
	if st.identity != nil {
		ctx, cancel := context.WithTimeout(context.Background(), judgeTimeout)
		defer cancel()
		id, err := st.server.Authn.Current(ctx, *st.identity)
		if err != nil {
			return err
		}
		who = &id
	}
	now := st.server.live.Load()
	match := now.policy.Match(st.request)
	if d := match.Decide(callerOf(who)); !d.OK() {
		if d.Code == policy.Allowed {
			return refuse("NO_ROUTE")
		}
		return refuse(Code(d.Code))
	}
	route := &now.routes[match.Rule]
	if route.Upstream != st.upstream || st.websocket && !route.upgradable() {
		return refuse("NO_ROUTE")
	}
	return nil
}

// rejudge ends the stream if it may not go on.
func (st *stream) rejudge() {
	if err := st.judge(); err != nil {
		st.end(err)
	}
}

// end cuts the stream: towards the backend by cancelling the call, towards the
// client by closing or timing out its connection, for a client that does not
// read would hold the answer open, and one that does not send the upload.
func (st *stream) end(why error) {
	st.cancel(&endedError{why})
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended || st.cut {
		return
	}
	st.cut = true
	if st.conn != nil {
		st.conn.Close()
		return
	}
	go st.press()
}

// press keeps the client's deadlines in the past until the handler has noticed:
// a chunk on its way could have moved them. Never after the handler's
// end, when the connection belongs to another request.
func (st *stream) press() {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		st.mu.Lock()
		if st.ended {
			st.mu.Unlock()
			return
		}
		if st.conn != nil {
			st.conn.Close()
		}
		if st.upload {
			_ = st.rc.SetReadDeadline(time.Unix(1, 0))
		}
		if st.answer { // else there is room for saying why
			_ = st.rc.SetWriteDeadline(time.Unix(1, 0))
		}
		st.mu.Unlock()
		select {
		case <-st.done:
			return
		case <-again.C:
		}
	}
}

// hijacked notes the client's connection.
func (st *stream) hijacked(c net.Conn) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.conn = c
	if st.cut {
		c.Close()
	}
}

// longBody is how much may pass before anybody asks again whether it still may.
const longBody = 1 << 20

// isLong reports whether a body of this length is listed; -1 is unknown.
func isLong(length int64) bool { return length < 0 || length > longBody }

// outlasts reports whether an answer may outlive what admitted its request.
func outlasts(res *http.Response) bool {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	if res.Body == nil || res.Body == http.NoBody {
		return false
	}
	return isLong(res.ContentLength) || isEventStream(res.Header)
}
