package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/doorward/doorward/authn"
)

// Deps is everything a Server needs; all fields must be set.
type Deps struct {
	Config  Config
	Authn   *authn.Service
	Log     *slog.Logger
	Now     func() time.Time
	Metrics *Metrics
	Build   Build

	// Reload re-reads the configuration and hands it to Server.Reload; Backup
	// writes a compacted copy of the store to a new file. The control socket
	// offers both.
	Reload func(context.Context) error
	Backup func(ctx context.Context, file string) error
}

// Build says which build this is.
type Build struct {
	Version string
	Commit  string
}

// Server is the gateway. Its handlers may be used from any number of goroutines.
type Server struct {
	Deps
	live     atomic.Pointer[live] // what a reload replaces
	public   *url.URL             // server.public_url
	proxies  proxies              // who may say where a request comes from
	cert     *certificate         // nil without server.tls
	buckets  *buckets             // the limits' counts: they outlive a reload
	warned   warnedPeers
	streams  *streams
	started  time.Time
	underWay atomic.Int64 // requests, streams among them
	draining atomic.Bool
}

// New checks the configuration, all of it, and returns a gateway that is ready
// to serve. The error is a *ConfigError if the configuration is at fault.
func New(d Deps) (*Server, error) {
	if problems := d.Config.Validate(); len(problems) > 0 {
		return nil, &ConfigError{problems}
	}
	public, err := url.Parse(d.Config.Server.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("server.public_url: %w", err)
	}
	trusted, err := parseProxies(d.Config.Server.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("server.trusted_proxies: %w", err)
	}
	s := &Server{Deps: d, public: public, proxies: trusted, buckets: newBuckets(), started: d.Now()}
	s.streams = newStreams(d.Authn)
	if files := d.Config.Server.TLS; files.Cert != "" {
		if s.cert, err = newCertificate(files, d.Log, d.Now); err != nil {
			return nil, err
		}
	}
	l, err := newLive(d.Config, nil, d.Metrics)
	if err != nil {
		return nil, err
	}
	s.live.Store(l)
	d.Metrics.build(d.Build)
	d.Metrics.Reloaded(true)
	return s, nil
}

// chain is what every request to the public listener passes before it is
// served, in this order.
var chain = [...]func(*Server, *answer, *http.Request, *exchange) error{
	(*Server).locate,       // first: who is connected decides which of its headers count
	(*Server).number,       // the request id, so that everything after can be found in the log
	(*Server).sanitise,     // before anything reads a header: what a client may not say is gone
	(*Server).refuseMethod, // CONNECT and TRACE mean something else to a proxy
	(*Server).refuseTarget, // one request, one host: before anything is judged by either
	(*Server).requireHTTPS, // before a credential is looked at: it must not travel in clear
}

// serve answers a request, or returns why not.
func (s *Server) serve(w *answer, r *http.Request, x *exchange) error {
	for _, step := range &chain {
		if err := step(s, w, r, x); err != nil {
			return err
		}
	}
	if s.isOwn(r, x) { // on the literal bytes: the proxy never sees our prefix
		return s.serveOwn(w, r)
	}
	return s.serveProxied(w, r)
}

// errAnswered is returned by a step that has answered itself, as a redirect.
var errAnswered = errors.New("answered")

// Public is the handler of the public listener.
func (s *Server) Public() http.Handler { return s.framed(s.serve) }

// framed is serve within handle.
func (s *Server) framed(serve serveFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { s.handle(serve, rw, r) })
}

// serveFunc answers a request, or returns why not.
type serveFunc func(*answer, *http.Request, *exchange) error

// handle is the frame around serve: it makes the exchange, turns the error into
// an answer, and accounts for the request exactly once however it ends.
func (s *Server) handle(serve serveFunc, rw http.ResponseWriter, r *http.Request) {
	c := new(call) // one allocation for all of it
	x, w := &c.exchange, &c.answer
	x.live, x.start, x.route = s.live.Load(), s.Now(), noRoute
	x.match.Rule = -1
	w.begin(rw, s, x)
	r = r.WithContext(withExchange(r.Context(), x))
	w.pace(r)

	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	defer s.account(c, r) // outside the rest: also for what panics
	defer s.rescue(w, r)
	if err := serve(w, r, x); err != nil && err != errAnswered {
		s.fail(w, r, err)
	}
	w.finish(r)
}

// call is what one request needs of memory.
type call struct {
	exchange
	answer
	line AccessLine
}

// rescue turns a panic into INTERNAL. An abort is no accident and goes on to
// net/http, which cuts the connection.
func (s *Server) rescue(w *answer, r *http.Request) {
	v := recover()
	switch v {
	case nil:
		return
	case http.ErrAbortHandler:
		panic(v)
	}
	s.fail(w, r, &refusal{code: "INTERNAL", cause: fmt.Errorf("panic: %v\n%s", v, debug.Stack())})
	w.finish(r)
}

// sanitise removes what no client may say.
func (s *Server) sanitise(_ *answer, r *http.Request, x *exchange) error {
	s.stripInbound(r.Header, x)
	r.Trailer = nil // announced trailers would become headers of the backend's request
	return nil
}

// NeverPasses reports whether a method is refused whatever the rules say: CONNECT
// asks for a tunnel, and TRACE would play a request's credentials back.
func NeverPasses(method string) bool {
	return method == http.MethodConnect || method == http.MethodTrace
}

// refuseMethod refuses what is not a request for a resource.
func (s *Server) refuseMethod(_ *answer, r *http.Request, _ *exchange) error {
	if !NeverPasses(r.Method) {
		return nil
	}
	no := refuse("METHOD_NOT_ALLOWED")
	no.header = http.Header{"Allow": {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}}
	return no
}
