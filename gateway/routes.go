package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/doorward/doorward/authn"
)

// access says who may call an endpoint.
type access string

const (
	anyone access = "anyone"
	// newcomer: anyone, as long as registration is open.
	newcomer access = "anyone, if registration is open"
	signedIn access = "signed in"
	// admin: signed in, with the role accounts.admin_role names, as of now.
	admin access = "admin"
	// bearerOfIt: whoever holds the refresh token, access token or cookie the
	// call is about. The handler judges it.
	bearerOfIt access = "holder of a session"
	// operator: whoever may open the control socket. Never on a public listener.
	operator access = "operator"
)

// endpoint is one row of a table of endpoints.
type endpoint struct {
	method string
	path   string // below the prefix; {id} and {login} stand for one segment
	who    access
	limit  limiterName // taken by client before anything else is looked at; "" for none

	serve func(*Server, *answer, *http.Request) error
	form  func(*Server, *answer, *http.Request) error // the same for a page's form; nil: no page posts here
	page  bool                                        // a page: a person without a session is sent to sign in
}

// ownRoutes is every endpoint of ours on the public listener, and who may call
// it. GET covers HEAD; OPTIONS is answered for preflights only. What takes the
// token of a mail has no limit: of 256 bits nobody guesses one, and without a
// good one nothing is hashed.
var ownRoutes = []endpoint{
	{method: "GET", path: "/register", who: newcomer, serve: (*Server).registerPage, page: true},
	{method: "POST", path: "/register", who: newcomer, limit: limitRegister, serve: (*Server).register, form: (*Server).registerForm},
	{method: "GET", path: "/login", who: anyone, serve: (*Server).loginPage, page: true},
	{method: "POST", path: "/login", who: anyone, limit: limitLoginFailures, serve: (*Server).login, form: (*Server).loginForm},
	{method: "POST", path: "/refresh", who: bearerOfIt, limit: limitRefresh, serve: (*Server).refresh},
	{method: "GET", path: "/logout", who: anyone, serve: (*Server).logoutPage, page: true},
	{method: "POST", path: "/logout", who: bearerOfIt, serve: (*Server).logout, form: (*Server).logoutForm},
	{method: "POST", path: "/logout-all", who: signedIn, serve: (*Server).logoutAll, form: (*Server).logoutAllForm},
	{method: "GET", path: "/verify-email", who: anyone, serve: (*Server).verifyPage, page: true},
	{method: "POST", path: "/verify-email", who: anyone, serve: (*Server).verifyEmail, form: (*Server).verifyForm},
	{method: "POST", path: "/resend-verification", who: anyone, limit: limitPasswordReset, serve: (*Server).resendVerification, form: (*Server).resendForm},
	{method: "GET", path: "/forgot-password", who: anyone, serve: (*Server).forgotPage, page: true},
	{method: "POST", path: "/forgot-password", who: anyone, limit: limitPasswordReset, serve: (*Server).forgotPassword, form: (*Server).forgotForm},
	{method: "GET", path: "/reset-password", who: anyone, serve: (*Server).resetPage, page: true},
	{method: "POST", path: "/reset-password", who: anyone, serve: (*Server).resetPassword, form: (*Server).resetForm},
	{method: "GET", path: "/account", who: signedIn, serve: (*Server).accountPage, page: true},
	{method: "POST", path: "/account/sessions/{id}/end", who: signedIn, serve: formsOnly, form: (*Server).endSessionForm},
	{method: "POST", path: "/account/delete", who: signedIn, limit: limitLoginFailures, serve: formsOnly, form: (*Server).deleteAccountForm},

	{method: "GET", path: "/profile", who: signedIn, serve: (*Server).profile},
	{method: "PATCH", path: "/profile", who: signedIn, serve: (*Server).changeProfile},
	{method: "DELETE", path: "/profile", who: signedIn, limit: limitLoginFailures, serve: (*Server).deleteProfile},
	{method: "POST", path: "/change-password", who: signedIn, limit: limitLoginFailures, serve: (*Server).changePassword, form: (*Server).changePasswordForm},
	{method: "POST", path: "/change-email", who: signedIn, limit: limitLoginFailures, serve: (*Server).changeEmail, form: (*Server).changeEmailForm},
	{method: "GET", path: "/sessions", who: signedIn, serve: (*Server).sessions},
	{method: "DELETE", path: "/sessions/{id}", who: signedIn, serve: (*Server).endSession},
	{method: "GET", path: "/events", who: signedIn, serve: (*Server).ownEvents},

	{method: "GET", path: "/admin", who: admin, serve: (*Server).adminPage, page: true},
	{method: "GET", path: "/admin/accounts/{id}", who: admin, serve: (*Server).adminAccountPage, page: true},
	{method: "POST", path: "/admin/accounts/{id}", who: admin, serve: formsOnly, form: byAdmin((*Server).changeUserForm)},
	{method: "POST", path: "/admin/accounts/{id}/delete", who: admin, serve: formsOnly, form: byAdmin((*Server).deleteUserForm)},
	{method: "GET", path: "/admin/users", who: admin, serve: byAdmin((*Server).listUsers)},
	{method: "POST", path: "/admin/users", who: admin, serve: byAdmin((*Server).createUser), form: byAdmin((*Server).createUserForm)},
	{method: "GET", path: "/admin/users/{id}", who: admin, serve: byAdmin((*Server).showUser)},
	{method: "PATCH", path: "/admin/users/{id}", who: admin, serve: byAdmin((*Server).changeUser)},
	{method: "DELETE", path: "/admin/users/{id}", who: admin, serve: byAdmin((*Server).deleteUser)},
	{method: "POST", path: "/admin/users/{id}/logout", who: admin, serve: byAdmin((*Server).signOutUser), form: byAdmin((*Server).signOutUserForm)},
	{method: "POST", path: "/admin/users/{id}/reset-password", who: admin, serve: byAdmin((*Server).mailReset), form: byAdmin((*Server).mailResetForm)},
	{method: "POST", path: "/admin/users/{id}/unlock", who: admin, serve: byAdmin((*Server).unlockUser), form: byAdmin((*Server).unlockUserForm)},
	{method: "GET", path: "/admin/users/{id}/sessions", who: admin, serve: byAdmin((*Server).userSessions)},
	{method: "GET", path: "/admin/events", who: admin, serve: byAdmin((*Server).allEvents)},

	{method: "GET", path: "/jwks.json", who: anyone, serve: (*Server).jwks},
	{method: "GET", path: "/openapi.yaml", who: anyone, serve: (*Server).openAPI},
	{method: "GET", path: "/style.css", who: anyone, serve: (*Server).stylesheet},
}

// isOwn reports whether the request is for us: literally under the prefix.
// Nothing is decoded or cleaned, so there is no second spelling of an endpoint;
// what merely could be read as one of ours, policy refuses.
func (s *Server) isOwn(r *http.Request, x *exchange) bool {
	_, ok := below(x.live.cfg.Server.Prefix, rawTarget(r))
	return ok
}

// below is the path of target below prefix, without the query.
func below(prefix, target string) (string, bool) {
	path, _, _ := strings.Cut(target, "?")
	rest, ok := strings.CutPrefix(path, prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// rawTarget is path and query as they were sent, also of an absolute-form
// target.
func rawTarget(r *http.Request) string {
	target := r.RequestURI
	if strings.HasPrefix(target, "/") {
		return target
	}
	if _, rest, ok := strings.Cut(target, "://"); ok {
		if slash := strings.IndexAny(rest, "/?"); slash >= 0 && rest[slash] == '/' {
			return rest[slash:]
		}
	}
	return target
}

// find returns the table's row for method and path, or NOT_FOUND, or
// METHOD_NOT_ALLOWED with the path's methods.
func find(table []endpoint, r *http.Request, path string) (*endpoint, []string, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var methods []string
	var found *endpoint
	for i := range table {
		e := &table[i]
		if !e.matches(r, path) {
			continue
		}
		methods = append(methods, e.method)
		if e.method == "GET" {
			methods = append(methods, "HEAD")
		}
		if e.method == method {
			found = e
		}
	}
	switch {
	case methods == nil:
		return nil, nil, refuse("NOT_FOUND")
	case found == nil:
		no := refuse("METHOD_NOT_ALLOWED")
		no.header = http.Header{"Allow": {strings.Join(methods, ", ")}}
		return nil, methods, no
	}
	return found, methods, nil
}

// matches compares the bytes of path with the row's; only what stands for
// {id} or {login} is decoded, into the request's path value of that name.
func (e *endpoint) matches(r *http.Request, path string) bool {
	before, rest, wild := strings.Cut(e.path, "{")
	if !wild {
		return e.path == path
	}
	name, after, _ := strings.Cut(rest, "}")
	value, ok := strings.CutPrefix(path, before)
	if !ok {
		return false
	}
	value, ok = strings.CutSuffix(value, after)
	if !ok || value == "" || strings.Contains(value, "/") {
		return false
	}
	value, err := url.PathUnescape(value)
	if err != nil {
		return false
	}
	r.SetPathValue(name, value)
	return true
}

// serveOwn answers a request under our prefix. The order is that of the
// errors: the path, the method, another site's page, the client's budget, who
// is asking; the handler looks at the body.
func (s *Server) serveOwn(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	prefix := x.live.cfg.Server.Prefix
	path, _ := below(prefix, rawTarget(r))
	e, methods, err := find(ownRoutes, r, path)
	if methods == nil { // no such path: a listed origin may read even that
		corsHeaders(w.Header(), r, x.live.origins)
	} else {
		x.route = prefix + routePath(ownRoutes, r, path)
		if preflighted := s.ownCORS(w, r, methods); preflighted {
			return nil
		}
	}
	if err == nil {
		err = s.callOwn(e, w, r, x)
	}
	if err != nil && x.decision == "" {
		x.decision = string(codeOf(err))
	}
	return err
}

// routePath is the path as the table writes it, for log and metrics.
func routePath(table []endpoint, r *http.Request, path string) string {
	i := slices.IndexFunc(table, func(e endpoint) bool { return e.matches(r, path) })
	return table[i].path
}

// ownLabels is every label a request to one of our endpoints can get.
func ownLabels(prefix string) []string {
	var labels []string
	for _, e := range ownRoutes {
		if label := prefix + e.path; !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	return labels
}

// callOwn calls the endpoint, if this client may call it now.
func (s *Server) callOwn(e *endpoint, w *answer, r *http.Request, x *exchange) error {
	if err := s.sameSite(r, e, x); err != nil {
		return err
	}
	giveBack, err := s.spend(e, r, x)
	if err != nil {
		return err
	}
	err = s.callAllowed(e, w, r, x)
	if giveBack != nil && !counts(e, err) {
		giveBack()
	}
	return err
}

// callAllowed checks who is asking and calls the handler that speaks the body's
// language.
func (s *Server) callAllowed(e *endpoint, w *answer, r *http.Request, x *exchange) error {
	no := s.mayCall(e, r, x)
	if err := s.limitRequest(x, r); err != nil { // by user, now that it is known
		return err
	}
	if no != nil {
		return no
	}
	x.decision = decisionAllowed
	ownHeaders(w.Header())
	if e.form != nil && isForm(r) {
		return e.form(s, w, r)
	}
	return e.serve(s, w, r)
}

// mayCall establishes who is asking, where that matters, and says why they may
// not.
func (s *Server) mayCall(e *endpoint, r *http.Request, x *exchange) error {
	switch e.who {
	case anyone, bearerOfIt:
		return nil
	case newcomer:
		return s.Authn.MayRegister()
	case signedIn:
		return s.identify(r, x)
	case admin:
		if err := s.identify(r, x); err != nil {
			return err
		}
		if x.isAdmin() {
			return nil
		}
		return refuse("INSUFFICIENT_ROLE")
	}
	return refuse("NOT_FOUND")
}

// isAdmin reports whether whoever was identified may administer accounts.
func (x *exchange) isAdmin() bool {
	role := x.live.cfg.AdminRole
	return role != "" && x.identity.User.HasRole(role)
}

// sameSite refuses an unsafe request that another site's page made: it could
// sign a person in as somebody else, or out. Who shows an access token did not
// come by a cookie and is no page that was tricked.
func (s *Server) sameSite(r *http.Request, e *endpoint, x *exchange) error {
	if e.method == "GET" || hasBearer(r.Header) {
		return nil
	}
	return s.crossOrigin(r, x)
}

// spend takes the row's budget for the client. giveBack returns it; nil if
// there is no budget.
func (s *Server) spend(e *endpoint, r *http.Request, x *exchange) (giveBack func(), err error) {
	if e.limit == "" {
		return nil, nil
	}
	return s.reserve(x, e.limit, x.client(r).Network())
}

// counts reports whether an outcome used up the client's budget: a guess at a
// password that was wrong, an account made or a name found taken, a mail asked
// for, any refresh.
// A mistyped form or a busy server costs the client nothing.
func counts(e *endpoint, err error) bool {
	code := Code("")
	if err != nil {
		code = codeOf(err)
	}
	switch e.limit {
	case limitLoginFailures:
		return code == "INVALID_CREDENTIALS" || wrongPassword(err)
	case limitRegister:
		return code == "" || code == "EMAIL_TAKEN" || code == "USERNAME_TAKEN" || nameTaken(err)
	case limitPasswordReset:
		return code == ""
	}
	return true
}

// nameTaken reports a display name found to be somebody's username: that tells
// who is here as much as a username that is taken.
func nameTaken(err error) bool {
	var input *authn.InputError
	return errors.As(err, &input) && slices.ContainsFunc(input.Fields, func(f authn.FieldError) bool { return f.Code == "taken" })
}
