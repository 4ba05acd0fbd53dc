package gateway

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/doorward/doorward/policy"
)

// serveProxied admits a request that is not for us and forwards it.
func (s *Server) serveProxied(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	if route := s.preflighted(r, x); route != nil {
		corsHeaders(w.Header(), r, x.live.origins)
		preflight(w, r, x.match.Methods())
		return nil
	}
	err := s.admit(r, x)
	if err == nil {
		x.decision = "allowed"
		err = s.forward(w, r, x)
	} else {
		x.decision = string(codeOf(err))
	}
	if err != nil && !w.began && x.cors {
		corsHeaders(w.Header(), r, x.live.origins) // a page may read why not
	}
	return err
}

// preflighted finds the route with cors that a preflight asks about; nil if it
// is no preflight of ours. The method judged is the one the browser wants to
// use; if the path has others only, the answer lists those. Nothing is opened:
// the request itself is still to come.
func (s *Server) preflighted(r *http.Request, x *exchange) *liveRoute {
	if !isPreflight(r) {
		return nil
	}
	asked := policy.Request{Method: r.Header.Get("Access-Control-Request-Method"), Host: r.Host, Target: r.RequestURI}
	match := x.live.policy.Match(asked)
	if match.Code == policy.MethodNotAllowed {
		match = x.live.sibling(asked, match)
	}
	if match.Code != policy.Allowed || !x.live.routes[match.Rule].CORS {
		return nil
	}
	route := &x.live.routes[match.Rule]
	x.match, x.route, x.decision = match, route.label, "allowed"
	return route
}

// sibling is the match of a method that the pattern does admit, where it does
// not admit the one asked for: the path is that pattern's all the same.
func (l *live) sibling(asked policy.Request, refused policy.Match) policy.Match {
	if methods := refused.Methods(); len(methods) > 0 {
		asked.Method = methods[0]
		return l.policy.Match(asked)
	}
	return refused
}

// passage is one admitted request on its way to the backend and back.
type passage struct {
	s     *Server
	w     *answer
	x     *exchange
	route *liveRoute
	up    *upstream
	asked policy.Request // what was admitted
	at    url.URL        // where the request goes

	said   said           // what the backend is told beside the request's own header
	room   [9]headerField // for that: as many as a preset says
	direct bool           // by the short way: the backend's direct
	cancel func(error)    // ends the call to the backend, for a reason
	upload bool           // there is a body
	stream *stream
	tunnel *tunnel // for a WebSocket handshake
	sent   time.Time
	res    *http.Response // once it has begun
	err    error
}

// forward hands the request to the route's backend and its answer to the
// client. Whatever goes wrong before the answer began is returned; after that
// the connection is aborted, so that nobody takes half an answer for a whole.
func (s *Server) forward(w *answer, r *http.Request, x *exchange) error {
	route := &x.live.routes[x.match.Rule]
	up := route.upstream
	if up == nil {
		return refuse("UPSTREAM_UNREACHABLE")
	}
	x.upstream = up.name
	w.fullDuplex()
	p := &x.way
	p.s, p.w, p.x, p.route, p.up = s, w, x, route, up
	p.asked = policy.Request{Method: r.Method, Host: r.Host, Target: r.RequestURI}
	if err := p.aim(); err != nil {
		return err
	}
	x.passage = p
	var out http.ResponseWriter = w
	if isWebSocket(r) && route.upgradable() {
		p.tunnel = &tunnel{answer: w}
		out = p.tunnel
	} else {
		delete(r.Header, "Upgrade") // an offer of h2c, or of whatever: declined by silence
	}
	delete(r.Header, "Http2-Settings") // also beside a handshake, where Connection need not name it
	if r.ContentLength == 0 {
		r.Body = http.NoBody // under HTTP/2 there is a reader even of nothing; the proxy would send none of it
	}
	if p.direct = up.direct != nil && p.tunnel == nil && carries(r); !p.direct {
		ctx, cancel := context.WithCancelCause(x)
		defer cancel(nil)
		p.cancel, r = cancel, r.WithContext(ctx)
	}
	defer func() {
		if p.stream != nil {
			s.streams.finish(p.stream)
		}
	}()
	p.upload = r.Body != nil && r.Body != http.NoBody
	if p.upload { // also a short one: it may come in drips
		if err := p.follow(nil); err != nil {
			return err
		}
	}
	p.sent = s.Now()
	reverse.ServeHTTP(out, r)
	p.withoutOurTrailers()
	return p.err
}

// reverse carries every passage; which one, the request's context knows.
var reverse = &httputil.ReverseProxy{
	Rewrite:        func(pr *httputil.ProxyRequest) { passageOf(pr.Out).rewrite(pr) },
	Transport:      byPassage{},
	ModifyResponse: func(res *http.Response) error { return passageOf(res.Request).answered(res) },
	ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { passageOf(r).failed(r, err) },
	BufferPool:     &copyBuffers,
	ErrorLog:       silent,
}

func passageOf(r *http.Request) *passage { return exchangeOf(r).passage }

// byPassage is the transport of whichever backend the passage leads to.
type byPassage struct{}

func (byPassage) RoundTrip(r *http.Request) (*http.Response, error) {
	p := passageOf(r)
	if p.direct {
		return p.up.direct.roundTrip(r, p.said)
	}
	return p.up.RoundTrip(r)
}

// upgradable reports whether WebSocket handshakes pass.
func (r *liveRoute) upgradable() bool {
	if r.Upgrades == nil {
		return true
	}
	for _, u := range r.Upgrades {
		if strings.EqualFold(u, "websocket") {
			return true
		}
	}
	return false
}

// aim says where the request goes: to the backend, with path and query byte for byte as they came:
// what was judged is what is sent. url.URL would encode the path anew, so it goes
// as Opaque; only what starts with // has to go as a path, for the same in Opaque
// would name a host.
func (p *passage) aim() error {
	path, query, asked := strings.Cut(p.x.match.Target, "?")
	path = p.up.base + path
	u := &p.at
	*u = url.URL{Scheme: p.up.scheme, Host: p.up.host, RawQuery: query, ForceQuery: asked && query == ""}
	if !strings.HasPrefix(path, "/") {
		return refuse("BAD_REQUEST")
	}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path
		return nil
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return refuse("BAD_REQUEST")
	}
	u.Path, u.RawPath = decoded, path
	if u.EscapedPath() != path { // a byte net/url insists on encoding, such as |
		return refuse("BAD_REQUEST")
	}
	return nil
}

// rewrite makes the request the backend gets. What it sets here Connection
// cannot name for removal: that was done before.
func (p *passage) rewrite(pr *httputil.ProxyRequest) {
	out, x := pr.Out, p.x
	*out.URL = p.at
	if !p.up.preserve {
		out.Host = ""
	}
	out.Trailer = nil // a field behind the body is read after every check
	h := out.Header
	withoutOurCookies(h)
	if !p.route.ForwardAuthorization && hasBearer(h) {
		delete(h, "Authorization")
	}
	x.live.identity.giveBack(h, x, p.route.KeepHeaders)
	p.said = p.forwarded(p.room[:0])
	p.said = x.live.identity.say(p.said, x.identity)
	p.said = append(p.said, headerField{"X-Request-Id", x.requestID})
	if !p.direct {
		p.said.put(h)
	}
}

// forwarded adds where the request came from.
func (p *passage) forwarded(out said) said {
	x := p.x
	from := x.clientText()
	if from == "" {
		from = "unknown" // as RFC 7239 has it
	}
	if x.forwardedFor != "" {
		from = x.forwardedFor + ", " + x.peer.String()
	}
	proto := "http"
	if x.secure {
		proto = "https"
	}
	return append(out, headerField{"X-Forwarded-For", from}, headerField{"X-Forwarded-Host", x.forwardedHost}, headerField{"X-Forwarded-Proto", proto})
}

// answered looks at the backend's answer before the client does.
func (p *passage) answered(res *http.Response) error {
	if err := p.wrong(res); err != nil {
		return err // which closes the backend's connection
	}
	x := p.x
	x.upstreamTime = p.s.Now().Sub(p.sent)
	p.up.report(p.s.Metrics, true)
	if outlasts(res) || x.upstreamTime > longAnswer {
		p.err = p.follow(res)
	} else if p.stream != nil { // the upload's: whoever ends it may not have come to it yet
		p.err = p.stream.judge()
	}
	if p.err != nil {
		return p.err
	}
	p.res = res
	h := res.Header
	delete(h, "X-Request-Id") // stamp puts ours on; here is who would stand beside it
	delete(h, "Doorward")     // only we speak in codes
	withoutOurSetCookies(h)
	if len(h["Content-Type"]) == 0 {
		p.w.Header()["Content-Type"] = nil // net/http would guess, and what is no page become one
	}
	unsaid := strings.Join(h["Cache-Control"], "") == "" // PHP sends it empty to take its own back
	switch {
	case x.identity != nil && unsaid:
		h["Cache-Control"] = []string{"private"}
		h["Vary"] = append(h["Vary"], "Cookie, Authorization")
	case x.ignored != "": // which stamp says; nobody else is to be told by a cache
		h["Vary"] = append(h["Vary"], "Cookie, Authorization")
	}
	if p.route.CORS {
		withoutCORS(h)
		corsHeaders(h, res.Request, x.live.origins)
	}
	return nil
}

// longAnswer is how long a backend may think before anybody asks again whether
// the caller may still have what it says.
const longAnswer = time.Second

// follow lists what may take long, so that it ends with what admitted it. A long
// answer to a long upload takes its place; before the answer there is none.
func (p *passage) follow(res *http.Response) error {
	if p.stream != nil {
		p.s.streams.finish(p.stream)
	}
	cancel := p.cancel
	if p.direct { // only its answer can be listed: there is no upload
		cancel = func(error) { abort(res) }
	}
	st := &stream{
		server:    p.s,
		request:   p.asked,
		websocket: res != nil && res.StatusCode == http.StatusSwitchingProtocols,
		upload:    p.upload,
		answer:    res != nil,
		upstream:  p.up.name,
		cancel:    cancel,
		rc:        http.NewResponseController(p.w),
	}
	if p.x.identity != nil {
		id := *p.x.identity
		st.identity = &id
	}
	p.stream = st
	if p.tunnel != nil {
		p.tunnel.stream = st
	}
	return p.s.streams.begin(st)
}

// withoutOurTrailers drops from an answer's trailers, which the proxy has put
// beside the header, what only we say and what no trailer may: the header is out
// already.
func (p *passage) withoutOurTrailers() {
	if p.res == nil || len(p.res.Trailer) == 0 || !p.w.began || p.w.hijacked {
		return
	}
	h := p.w.Header()
	for key := range p.res.Trailer {
		if slices.Contains(noTrailers, key) {
			delete(h, key)
			delete(h, http.TrailerPrefix+key)
		}
	}
}

var noTrailers = append([]string{"Set-Cookie", "Doorward", "X-Request-Id"}, hopByHop...)

// overdue lists an answer whose body is late, before more of it goes to the client.
func (p *passage) overdue() error {
	if p == nil || p.res == nil || p.stream != nil && p.stream.answer || p.s.Now().Sub(p.sent) <= longAnswer {
		return nil
	}
	return p.follow(p.res)
}

// tunnel hands the client's connection to the stream as well as to the proxy.
type tunnel struct {
	*answer
	stream *stream
}

// Hijack is what the proxy calls once the backend has agreed to upgrade.
func (t *tunnel) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := t.answer.Hijack()
	if err != nil {
		return conn, rw, err
	}
	if t.stream != nil {
		t.stream.hijacked(conn)
	}
	if n := rw.Reader.Buffered(); n > 0 {
		conn = &eager{conn, io.MultiReader(io.LimitReader(rw.Reader, int64(n)), conn)}
	}
	return conn, rw, nil
}

// eager is a client that sent more behind its handshake than net/http has used:
// the tunnel's first bytes.
type eager struct {
	net.Conn
	in io.Reader
}

func (c *eager) Read(p []byte) (int, error) { return c.in.Read(p) }

// agreed reports whether a 101 is the backend's yes to the handshake.
func (p *passage) agreed(res *http.Response) bool {
	return p.tunnel != nil && strings.EqualFold(res.Header.Get("Upgrade"), "websocket") && upgrades(res.Header)
}

// isEventStream looks at the media type alone; its parameters are not parsed,
// since every answer passes here.
func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// silent drops what ReverseProxy would log: the error itself comes back to us.
var silent = log.New(discard{}, "", 0)

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// copyBuffers are what bodies are copied through.
var copyBuffers bufferPool

type bufferPool struct{ pool sync.Pool }

const copyBufferSize = 32 << 10

func (b *bufferPool) Get() []byte {
	if buf, ok := b.pool.Get().(*[copyBufferSize]byte); ok {
		return buf[:]
	}
	return make([]byte, copyBufferSize)
}

func (b *bufferPool) Put(buf []byte) { b.pool.Put((*[copyBufferSize]byte)(buf)) }
