package gateway

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
)

// failure is what an error becomes: the row of problems, and what this case
// adds to it.
type failure struct {
	problem
	fields []authn.FieldError
	after  time.Duration
	header http.Header
}

// failureOf looks the error up.
func (s *Server) failureOf(err error) failure {
	f := failure{problem: problemOf(codeOf(err))}
	var own *refusal
	if errors.As(err, &own) {
		if own.detail != "" {
			f.detail = own.detail
		}
		f.fields, f.after, f.header = own.fields, own.after, own.header
	}
	var input *authn.InputError
	if errors.As(err, &input) && f.fields == nil {
		f.fields = input.Fields
	}
	var retry *authn.RetryError
	if errors.As(err, &retry) && f.after == 0 {
		f.after = retry.After
	}
	if f.status == http.StatusTooManyRequests && f.header == nil {
		name, limit := s.budgetOf(err)
		f.header = tooMany(name, limit, f.after).header
	}
	return f
}

// budgetOf is what authn counts by itself, in the words of a limit.
func (s *Server) budgetOf(err error) (limiterName, Rate) {
	if errors.Is(err, authn.ErrRefreshTooMany) {
		return "refresh_grace", Rate{maxRefreshes, s.Authn.RefreshGrace()}
	}
	rule := s.Authn.Lockout()
	return "lockout", Rate{rule.Failures, rule.Window}
}

// maxRefreshes is how often one session is refreshed within one grace.
const maxRefreshes = 8

// problemOf is the row of a code; a code without a row is INTERNAL.
func problemOf(code Code) problem {
	var internal problem
	for _, p := range problems {
		if p.code == code {
			return p
		}
		if p.code == "INTERNAL" {
			internal = p
		}
	}
	return internal
}

// fail ends a request with err: the only place that does. What a client gets is
// the code's words; the cause goes to the log, and only that of INTERNAL. A
// person is shown a page, and one who could sign in is sent to do so.
//
// An answer that has begun cannot become a refusal any more, so its connection
// is cut: the client must not take half an answer for a whole one.
func (s *Server) fail(w *answer, r *http.Request, err error) {
	x := exchangeOf(r)
	f := s.failureOf(err)
	x.code = f.code
	if f.code == "INTERNAL" && r.Context().Err() == nil {
		s.Log.ErrorContext(r.Context(), "internal error", "request_id", x.requestID, "route", x.route, "err", err)
	}
	if w.began {
		panic(http.ErrAbortHandler)
	}
	s.headFailure(w, r, x, f)
	if f.status == http.StatusUnauthorized && s.shouldSignIn(r, x) {
		w.Header().Del("WWW-Authenticate")
		seeOther(w, loginURL(x, rawTarget(r)))
		return
	}
	var form *formError
	switch {
	case errors.As(err, &form):
		form.data.Problem = shapeProblem(f.spoken(), x.requestID)
		writePage(w, f.status, form.page, form.data)
	case namesHTML(r):
		writePage(w, f.status, "problem", s.pageData(x, f.title).with(shapeProblem(f.spoken(), x.requestID)))
	default:
		writeJSONAs(w, f.status, "application/problem+json", shapeProblem(f, x.requestID))
	}
}

// spoken is the failure in words for a person.
func (f failure) spoken() failure {
	text, ok := spoken[f.code]
	if !ok || f.detail != problemOf(f.code).detail { // said in particular, and so for whoever is there
		return f
	}
	if f.after > 0 {
		text += " Try again in " + inWords(f.after) + "."
	}
	f.detail = text
	return f
}

// inWords is a wait as a person would say it, rounded up.
func inWords(d time.Duration) string {
	unit, n := "second", wholeSeconds(d)
	if n >= 90 {
		unit, n = "minute", (n+59)/60
	}
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// headFailure writes the headers of a failure; the header Doorward is put on
// with the status, see stamp.
func (s *Server) headFailure(w *answer, r *http.Request, x *exchange, f failure) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified"} {
		h.Del(name) // of the answer that did not come about
	}
	ownHeaders(h)
	for name, values := range f.header {
		h[name] = values
	}
	if f.after > 0 {
		h.Set("Retry-After", strconv.Itoa(wholeSeconds(f.after)))
	}
	if challenge := challengeOf(f); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if f.status == http.StatusUnauthorized {
		s.clearDead(w, r, f.code)
	}
}

// challengeOf is the WWW-Authenticate of RFC 6750, section 3: on every 401, and
// on the 403 that another role would open.
func challengeOf(f failure) string {
	const realm = `Bearer realm="doorward"`
	switch {
	case strings.HasPrefix(string(f.code), "TOKEN_"):
		return realm + `, error="invalid_token", error_description="` + f.title + `"`
	case f.status == http.StatusUnauthorized:
		return realm
	case f.code == "INSUFFICIENT_ROLE":
		return realm + `, error="insufficient_scope"`
	}
	return ""
}

// clearDead takes a session cookie off a client that opens nothing any more, so
// that it does not go on being sent. A refresh cookie beside it can be alive.
func (s *Server) clearDead(w *answer, r *http.Request, code Code) {
	if code != "AUTHENTICATION_REQUIRED" {
		return
	}
	if c, err := s.credential(r); err == nil && c.Bearer == "" && len(c.Cookies) > 0 {
		s.clearSessionCookie(w)
	}
}

// shouldSignIn reports whether the request is a person going to a page, for
// whom the way to sign in is a better answer than a 401.
func (s *Server) shouldSignIn(r *http.Request, x *exchange) bool {
	if !isNavigation(r) {
		return false
	}
	if path, own := below(x.live.cfg.Server.Prefix, rawTarget(r)); own {
		e, _, err := find(ownRoutes, r, path)
		return err == nil && e.page
	}
	i := x.match.Rule
	return i >= 0 && i < len(x.live.cfg.Routes) && x.live.cfg.Routes[i].Login != "401"
}

// isNavigation reports whether a person is opening a page, rather than a script
// fetching something: a script could not follow a redirect to a form.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if r.Header.Get("Authorization") != "" || r.Header.Get("X-Requested-With") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return namesHTML(r)
}

// namesHTML reports whether Accept names text/html itself: */* is what every
// script sends.
func namesHTML(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for item := range strings.SplitSeq(line, ",") {
			kind, params, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "text/html") {
				return !refused(params)
			}
		}
	}
	return false
}

// refused reports whether the parameters of a media range say q=0.
func refused(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			return err == nil && q <= 0
		}
	}
	return false
}

// wholeSeconds rounds up, to at least one: an earlier try would be refused.
func wholeSeconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}
