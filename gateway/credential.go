package gateway

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
)

// The cookies of ours, before the decoration cookieNames adds.
const (
	sessionCookie = "doorward_session"
	refreshCookie = "doorward_refresh"
	ticketCookie  = "doorward_ticket" // the token of a mail's link, for the page it leads to
)

var ourCookies = [...]string{sessionCookie, refreshCookie, ticketCookie}

const (
	maxCookieValues = 16   // of one name: whoever can add cookies can add thousands
	maxCookieBytes  = 4096 // of one cookie, name and attributes included: what browsers keep
)

// cookieNames is how our cookies are called under one public_url.
type cookieNames struct {
	session, refresh, ticket string
	secure                   bool
}

// newCookieNames decorates the names. Under https `__Host-` makes the browser
// vouch that no other host and no plain connection set the cookie. Without https
// the port stands behind the name, because cookies do not know ports and two
// gateways on one machine would sign each other's people out.
func newCookieNames(publicURL string) cookieNames {
	u, err := url.Parse(publicURL)
	switch {
	case err == nil && u.Scheme == "https":
		// __Host- would ask for Path=/, and the ticket is for one page only.
		return cookieNames{"__Host-" + sessionCookie, "__Host-" + refreshCookie, "__Secure-" + ticketCookie, true}
	case err == nil && u.Port() != "":
		port := "_" + u.Port()
		return cookieNames{sessionCookie + port, refreshCookie + port, ticketCookie + port, false}
	}
	return cookieNames{sessionCookie + "_80", refreshCookie + "_80", ticketCookie + "_80", false}
}

// credential reads who the request says it is from. A Bearer decides alone,
// good or bad; else the session cookies. Any Bearer counts as ours: there is no
// telling another issuer's token from a broken one of ours before verifying, and
// falling back to a cookie would let a page choose which of the two counts.
// Other schemes identify nobody. INVALID_INPUT for two Authorization lines, or
// two that a proxy has made one, because gateway and backend could each believe
// another one.
func (s *Server) credential(r *http.Request) (authn.Credential, error) {
	lines := r.Header["Authorization"]
	if len(lines) > 1 || len(lines) == 1 && bearerBehind(lines[0]) {
		no := refuse("INVALID_INPUT")
		no.fields = []authn.FieldError{{Field: "Authorization", Code: "duplicate", Detail: "Send one Authorization header."}}
		return authn.Credential{}, no
	}
	if len(lines) == 1 {
		if token, ok := bearerToken(lines[0]); ok {
			if token == "" {
				return authn.Credential{}, authn.ErrTokenInvalid
			}
			return authn.Credential{Bearer: authn.Secret(token)}, nil
		}
	}
	return authn.Credential{Cookies: s.sessionCookies(r)}, nil
}

// sessionCookies is every session cookie of ours that arrived.
func (s *Server) sessionCookies(r *http.Request) []authn.Secret {
	return s.cookieValues(r, exchangeOf(r).live.cookies.session)
}

// refreshCookies is every refresh token that arrived as a cookie of ours.
func (s *Server) refreshCookies(r *http.Request) []authn.Secret {
	return s.cookieValues(r, exchangeOf(r).live.cookies.refresh)
}

// bearerToken is what follows the scheme Bearer, in any case; false if the
// scheme is another.
func bearerToken(authorization string) (string, bool) {
	scheme, token := authorization, ""
	if i := strings.IndexAny(authorization, " \t"); i >= 0 {
		scheme, token = authorization[:i], strings.Trim(authorization[i:], " \t")
	}
	return token, strings.EqualFold(scheme, "Bearer")
}

// bearerBehind reports whether another credential comes before a Bearer's.
func bearerBehind(authorization string) bool {
	for _, after, found := strings.Cut(authorization, ","); found; _, after, found = strings.Cut(after, ",") {
		if _, ok := bearerToken(strings.TrimLeft(after, " \t")); ok {
			return true
		}
	}
	return false
}

// hasBearer reports whether the request's Authorization would be read as ours.
func hasBearer(h http.Header) bool {
	for _, line := range h["Authorization"] {
		if _, ok := bearerToken(line); ok {
			return true
		}
	}
	return false
}

// cookieValues is every value of the named cookie over all Cookie lines, in
// order and up to a bound. One scan, no map: what else is in the header only
// costs its length.
func (s *Server) cookieValues(r *http.Request, name string) []authn.Secret {
	var values []authn.Secret
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, ok := strings.Cut(pair, "=")
			if !ok || textproto.TrimString(key) != name {
				continue
			}
			value = textproto.TrimString(value)
			if value == "" || len(value) > maxCookieBytes {
				continue
			}
			if values = append(values, authn.Secret(value)); len(values) == maxCookieValues {
				return values
			}
		}
	}
	return values
}

// setSessionCookie hands the browser its session. The cookie lasts until the
// session's absolute end: the idle end moves with every use, a cookie does not.
func (s *Server) setSessionCookie(w http.ResponseWriter, in authn.SignIn) {
	n := s.live.Load().cookies
	lasts := in.CookieExpiresIn
	if !in.Session.End.IsZero() {
		lasts = in.Session.End.Sub(s.Now())
	}
	http.SetCookie(w, n.cookie(n.session, in.Cookie.Reveal(), http.SameSiteLaxMode, lasts))
}

// setRefreshCookie hands the browser its refresh token. Strict: only pages of
// this site have business at /refresh.
func (s *Server) setRefreshCookie(w http.ResponseWriter, in authn.SignIn) {
	n := s.live.Load().cookies
	http.SetCookie(w, n.cookie(n.refresh, in.RefreshToken.Reveal(), http.SameSiteStrictMode, in.RefreshExpiresIn))
}

// clearCookies takes both cookies back, with the attributes they were set with:
// a browser keeps what was cleared with others.
func (s *Server) clearCookies(w http.ResponseWriter) {
	s.clearSessionCookie(w)
	s.clearRefreshCookie(w)
}

func (s *Server) clearSessionCookie(w http.ResponseWriter) {
	n := s.live.Load().cookies
	http.SetCookie(w, n.cookie(n.session, "", http.SameSiteLaxMode, 0))
}

func (s *Server) clearRefreshCookie(w http.ResponseWriter) {
	n := s.live.Load().cookies
	http.SetCookie(w, n.cookie(n.refresh, "", http.SameSiteStrictMode, 0))
}

func (n cookieNames) cookie(name, value string, site http.SameSite, lasts time.Duration) *http.Cookie {
	age := int(lasts / time.Second)
	if age <= 0 {
		age = -1 // which net/http writes as Max-Age=0
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: n.secure, HttpOnly: true, SameSite: site}
}

// forPage is the cookie of a mail's token, for the one page that posts it. Lax:
// a link in a web mail comes from another site, and a Strict cookie would not be
// there on the page that link leads to.
func (n cookieNames) forPage(path, token string, lasts time.Duration) *http.Cookie {
	c := n.cookie(n.ticket, token, http.SameSiteLaxMode, lasts)
	c.Path = path
	return c
}

// isOurCookie reports whether a cookie of this name could be ours: under any
// public_url, so that a secret handed out before a change from http to https, or
// by a gateway on another port of this host, reaches no backend either. Only the
// one exact name of today is read as a credential.
func isOurCookie(name string) bool {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "__Host-"), "__Secure-")
	rest, ok := "", false
	for _, ours := range ourCookies {
		if rest, ok = strings.CutPrefix(name, ours); ok {
			break
		}
	}
	if !ok {
		return false
	}
	port, ok := strings.CutPrefix(rest, "_")
	if !ok {
		return rest == ""
	}
	return strings.Trim(port, "0123456789") == ""
}

// nameOf is the name a pair of a cookie header may be stored or read under. Of a
// pair without a name browsers send back the value alone, and `=name=value` is
// `name=value` the next time; so what stands before the name counts for nothing.
func nameOf(pair string) string {
	name, _, _ := strings.Cut(strings.TrimLeftFunc(pair, isBlankOrSign), "=")
	return strings.TrimRightFunc(name, isBlankOrSign)
}

func isBlankOrSign(c rune) bool { return c <= ' ' || c == 0x7f || c == '=' }

// withoutOurCookies removes our cookies from a request's header. Every other
// byte stays as it came: backends read cookies in ways of their own.
func withoutOurCookies(h http.Header) {
	lines := h["Cookie"]
	if !mentionsUs(lines) {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if line = cutOurCookies(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

func mentionsUs(lines []string) bool {
	for _, line := range lines {
		for _, ours := range ourCookies {
			if strings.Contains(line, ours) {
				return true
			}
		}
	}
	return false
}

// cutOurCookies is one Cookie line without our pairs, each cut with the
// semicolon that parts it from the next; "" if nothing of substance is left.
func cutOurCookies(line string) string {
	if !mentionsUs([]string{line}) {
		return line
	}
	var out strings.Builder
	started, removed := false, false
	for rest, more := line, true; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, ";")
		if isOurCookie(nameOf(pair)) {
			removed = true
			continue
		}
		if started {
			out.WriteByte(';')
		} else if removed { // this space parted it from what is gone
			pair = strings.TrimLeft(pair, " \t")
		}
		started = true
		out.WriteString(pair)
	}
	if textproto.TrimString(out.String()) == "" {
		return ""
	}
	return out.String()
}

// withoutOurSetCookies removes an upstream's attempt to set a cookie of ours:
// it could sign its visitors in as somebody else.
func withoutOurSetCookies(h http.Header) {
	lines := h["Set-Cookie"]
	if !mentionsUs(lines) {
		return
	}
	kept := lines[:0]
	for _, line := range lines {
		pair, _, _ := strings.Cut(line, ";")
		if !isOurCookie(nameOf(pair)) {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}
