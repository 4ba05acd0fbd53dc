package gateway

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/policy"
)

// handler serves a request or returns why not; every error ends in fail.
type handler func(w http.ResponseWriter, r *http.Request) error

// exchange is what one request has come to so far: what the log line, the
// metrics and the later steps need of the earlier ones. It belongs to the
// request's own goroutine, and is the request's context: what net/http gave it,
// and itself by exchangeKey.
type exchange struct {
	context.Context

	live *live // the configuration this request is judged by, whatever is reloaded meanwhile

	start     time.Time
	requestID string
	idField   [1]string // requestID as a value of the answer's header
	clientIP  netip.Addr
	peer      netip.Addr // who is connected
	trusted   bool       // the peer is a trusted proxy
	secure    bool       // the client's side speaks https, as far as we can know

	clientName    string // clientIP as text, once somebody asked: clientText
	forwardedFor  string // a trusted proxy's X-Forwarded-For, to be appended to; "" from anyone else
	forwardedHost string // the host the client asked for: a trusted proxy's word, else Host

	route    string       // label for log and metrics: host+pattern, {prefix}/login, "none"
	cors     bool         // a page of a listed origin may read the answer
	match    policy.Match // for proxied requests
	identity *authn.Identity
	who      authn.Identity // what identity points at
	ignored  Code           // on an anyone route: the code of the credential that was ignored
	held     http.Header    // dropped by name from what the client sent, wanted by some route
	decision string         // allowed, or the code of the refusal
	code     Code           // of our own answer, if it was a problem

	passage      *passage // on its way to a backend, if it is
	way          passage  // what passage points at
	upstream     string
	upstreamTime time.Duration
}

type exchangeKey struct{}

// exchangeOf returns the request's exchange; the outer chain has put it there.
func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

// withExchange is the context of x, within ctx.
func withExchange(ctx context.Context, x *exchange) context.Context {
	x.Context = ctx
	return x
}

// Value finds the exchange itself, or what is in the context around it.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// client is where the request comes from, in authn's words.
func (x *exchange) client(r *http.Request) authn.Client {
	return authn.Client{IP: x.clientIP, UserAgent: r.UserAgent(), RequestID: x.requestID}
}
