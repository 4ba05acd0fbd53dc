package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/policy"
)

// admit decides whether a request for a backend may pass, and leaves on x who
// it is from and which rule it falls under. The order is that of the errors:
// path, route, method, another site's page, the client's budget, who is asking,
// whether they may. Nothing passes but by the last line.
func (s *Server) admit(r *http.Request, x *exchange) error {
	if err := s.match(r, x); err != nil {
		return err
	}
	cred, unusable := s.credential(r)
	if unusable != nil && codeOf(unusable) == "INVALID_INPUT" {
		return unusable // which of the two headers to believe is nobody's guess
	}
	if err := s.dropForeign(r, x, &cred); err != nil {
		return err
	}
	if unusable == nil && !cred.Empty() {
		unusable = s.establish(r, x, cred)
	}
	if unusable != nil && !isCredentialError(unusable) {
		return unusable // the store failed: not even an open route goes by guesses
	}
	if err := s.limitRequest(x, r); err != nil {
		return err
	}
	if unusable != nil {
		if !x.open() {
			return unusable
		}
		x.ignored = codeOf(unusable)
	}
	return decide(x)
}

// match finds the route: BAD_REQUEST, NO_ROUTE, METHOD_NOT_ALLOWED.
func (s *Server) match(r *http.Request, x *exchange) error {
	asked := policy.Request{Method: r.Method, Host: r.Host, Target: r.RequestURI}
	x.match = x.live.policy.Match(asked)
	rule := x.match.Rule
	if x.match.Code == policy.MethodNotAllowed {
		rule = x.live.sibling(asked, x.match).Rule // for what the log calls the path, and which pages may read why not
	}
	if rule >= 0 && rule < len(x.live.routes) {
		route := &x.live.routes[rule]
		x.route, x.cors = route.label, route.CORS
	}
	if x.match.Code == policy.Allowed {
		return s.sameHost(r, x)
	}
	no := refuse(Code(x.match.Code))
	if x.match.Code == policy.MethodNotAllowed {
		no.header = http.Header{"Allow": {strings.Join(x.match.Methods(), ", ")}}
	}
	return no
}

// sameHost refuses a request that would be sent under another host than the one
// that was judged. Only an absolute-form target names a host of its own. Under
// HTTP/1 net/http has put that one in Host's place (RFC 9112, 3.2.2).
func (s *Server) sameHost(r *http.Request, x *exchange) error {
	if strings.HasPrefix(r.RequestURI, "/") {
		return nil // judged by Host itself
	}
	if sent := x.live.policy.Match(policy.Request{Method: r.Method, Host: r.Host, Target: "/"}); sent.Host != x.match.Host {
		return refuse("BAD_REQUEST")
	}
	return nil
}

// refuseTarget refuses what is no path under HTTP/2 and later: there the host
// has a field of its own, :authority, and a URI in :path would bring a second.
// And it refuses what those versions let a request say that HTTP/1 does not.
func (s *Server) refuseTarget(_ *answer, r *http.Request, _ *exchange) error {
	if r.ProtoMajor < 2 || strings.HasPrefix(r.RequestURI, "/") && !malformed(r) {
		return nil
	}
	return refuse("BAD_REQUEST")
}

// dropForeign takes the cookies off a request that a page of another site made
// the browser send. Where anyone may go it goes on without them: payment and
// SAML providers post back that way. Anywhere else it is CROSS_ORIGIN.
func (s *Server) dropForeign(r *http.Request, x *exchange, cred *authn.Credential) error {
	if len(cred.Cookies) == 0 {
		return nil
	}
	err := s.crossOrigin(r, x)
	if err == nil {
		return nil
	}
	if !x.open() {
		return err
	}
	cred.Cookies = nil
	x.ignored = codeOf(err)
	return nil
}

// identify establishes who a request to one of our own endpoints is from; the
// error says why nobody is.
func (s *Server) identify(r *http.Request, x *exchange) error {
	cred, err := s.credential(r)
	if err != nil {
		return err
	}
	if len(cred.Cookies) > 0 {
		if err := s.crossOrigin(r, x); err != nil {
			return err
		}
	}
	return s.establish(r, x, cred)
}

// establish asks authn whose credential it is.
func (s *Server) establish(r *http.Request, x *exchange, cred authn.Credential) error {
	var err error
	if x.who, err = s.Authn.Identify(r.Context(), cred); err != nil {
		return err
	}
	x.identity = &x.who
	return nil
}

// credentialErrors is what an unusable credential comes to. Any other error
// means that nobody could be asked.
var credentialErrors = []Code{"AUTHENTICATION_REQUIRED", "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED"}

func isCredentialError(err error) bool { return slices.Contains(credentialErrors, codeOf(err)) }

// decide is the last step: may this caller go where every reading of the path
// leads.
func decide(x *exchange) error {
	d := x.match.Decide(callerOf(x.identity))
	switch {
	case d.OK():
		return nil
	case d.Code == policy.Allowed: // refused without a reason: still refused
		return refuse("NO_ROUTE")
	}
	return refuse(Code(d.Code))
}

// open reports whether the request may pass whoever sends it.
func (x *exchange) open() bool { return x.match.Decide(policy.Caller{}).OK() }

// callerOf is an identity in policy's words; nil is nobody.
func callerOf(id *authn.Identity) policy.Caller {
	if id == nil {
		return policy.Caller{}
	}
	return policy.Caller{SignedIn: true, Roles: id.User.Roles, Verified: id.User.EmailVerified}
}
