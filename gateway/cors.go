package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// What a page of a listed origin may send and read.
const (
	corsRequestHeaders  = "Authorization, Content-Type, X-Request-Id"
	corsResponseHeaders = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, Doorward"
	corsMaxAge          = "600"
)

// ownCORS writes the CORS fields of one of our endpoints and answers a
// preflight, which it reports. methods are those of the path.
func (s *Server) ownCORS(w http.ResponseWriter, r *http.Request, methods []string) bool {
	corsHeaders(w.Header(), r, exchangeOf(r).live.origins)
	return preflight(w, r, methods)
}

// corsHeaders tells a browser that a page of a listed origin may read this
// answer. Vary stands on every answer, so that no cache hands one origin's
// answer to another.
func corsHeaders(h http.Header, r *http.Request, o *origins) {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(o.listed, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", corsResponseHeaders)
}

// preflight answers a preflight request, and reports whether it was one. It
// opens nothing: it only says what the browser may try.
func preflight(w http.ResponseWriter, r *http.Request, methods []string) bool {
	if !isPreflight(r) {
		return false
	}
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
		h.Set("Access-Control-Allow-Headers", corsRequestHeaders)
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// withoutCORS removes an upstream's own CORS fields: on a route with cors the
// gateway speaks for it, and two answers are none.
func withoutCORS(h http.Header) {
	for _, name := range []string{"Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Expose-Headers", "Max-Age"} {
		h.Del("Access-Control-" + name)
	}
}
