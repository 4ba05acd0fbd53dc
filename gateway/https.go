package gateway

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// hsts tells a browser to come by https for a year.
const hsts = "max-age=31536000"

// contentSecurityPolicy allows our own pages what they have: our stylesheet,
// and forms that post to us. Nothing of theirs runs scripts.
const contentSecurityPolicy = entrancePolicy + "; form-action 'self'"

// entrancePolicy is that of the pages whose forms lead back into the application.
// Chromium holds what comes behind a form to form-action as well, redirect by
// redirect: where the application leads on at once, to its other host or to the
// http it believes itself to be on, who signs in would be left on a page on
// which nothing happens.
const entrancePolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"

// ownHeaders puts on what every answer of our own has.
func ownHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer") // a link in a mail carries a ticket
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // frame-ancestors, for browsers that do not know it
}

// stamp puts on what every answer of the gateway has, whoever made it. An
// upstream's word on any of these is replaced.
func (s *Server) stamp(h http.Header, x *exchange) {
	h["X-Request-Id"] = x.idField[:]
	if s.https() && x.secure { // RFC 6797, section 7.2: never over a plain connection
		h["Strict-Transport-Security"] = []string{hsts}
	}
	switch {
	case x.code != "":
		h["Doorward"] = []string{string(x.code)}
	case x.ignored != "":
		h["Doorward"] = []string{string(x.ignored)}
	default:
		delete(h, "Doorward") // how a client tells our answers from the app's
	}
}

// https reports whether the gateway is meant to be reached by https only.
func (s *Server) https() bool { return s.public.Scheme == "https" }

// requireHTTPS turns a plain request away. How the client's side speaks is TLS
// here, or what a trusted proxy in front says; where nobody says, it is plain.
func (s *Server) requireHTTPS(w *answer, r *http.Request, x *exchange) error {
	if !s.https() || x.secure {
		return nil
	}
	if x.trusted && r.Header["X-Forwarded-Proto"] == nil {
		s.warnProto(x)
	}
	return s.leadToHTTPS(w, r, x)
}

// leadToHTTPS sends a request to https, or refuses it where a body came along: a
// client that is led on never learns that it sends its password in clear first.
func (s *Server) leadToHTTPS(w *answer, r *http.Request, x *exchange) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return refuse("HTTPS_REQUIRED")
	}
	ownHeaders(w.Header())
	w.Header().Set("Location", s.httpsLocation(r, x.live))
	w.WriteHeader(http.StatusPermanentRedirect)
	return errAnswered
}

// warnProto says once why a proxy's clients are redirected in circles.
func (s *Server) warnProto(x *exchange) {
	if s.warned.first(x.peer) {
		s.Log.Warn("a trusted proxy does not say how its clients come: have it send X-Forwarded-Proto, or they are redirected to https for ever",
			"peer", x.peer.String())
	}
}

// httpsLocation is the same target under https. The Host header is the client's,
// so it counts only if a route names it; else the host is public_url's.
func (s *Server) httpsLocation(r *http.Request, l *live) string {
	target := rawTarget(r)
	if !strings.HasPrefix(target, "/") {
		target = "/"
	}
	host := s.public.Host
	if named := hostOnly(r.Host); l.names(named) {
		host = named
		if port := s.public.Port(); port != "" {
			host += ":" + port
		}
	}
	return "https://" + host + target
}

// names reports whether a route is for this host.
func (l *live) names(host string) bool {
	return host != "" && slices.ContainsFunc(l.cfg.Routes, func(r Route) bool {
		pattern := strings.ToLower(r.Host)
		if rest, wild := strings.CutPrefix(pattern, "*"); wild {
			return len(host) > len(rest) && strings.HasSuffix(host, rest)
		}
		return pattern == host
	})
}

// hostOnly is a Host header's name in lower case, without port; "" if it is not
// the name of a host.
func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !isHostName(host) {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
