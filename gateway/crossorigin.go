package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origins is who may send requests in a person's name: the site itself and what
// cors.origins lists.
type origins struct {
	listed  []string // cors.origins: pages that may also read our answers
	protect *http.CrossOriginProtection
	trusted []string
}

// newOrigins reads public_url and cors.origins.
func newOrigins(cfg Config) (*origins, error) {
	o := &origins{listed: cfg.CORS.Origins, protect: http.NewCrossOriginProtection()}
	own, err := url.Parse(cfg.Server.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("server.public_url: %w", err)
	}
	o.trusted = append([]string{own.Scheme + "://" + own.Host}, cfg.CORS.Origins...)
	for _, origin := range o.trusted {
		if err := o.protect.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("cors.origins: %w", err)
		}
	}
	return o, nil
}

// crossOrigin refuses an unsafe request or a WebSocket handshake that a page of
// another site could have made the browser send: CROSS_ORIGIN.
func (s *Server) crossOrigin(r *http.Request, x *exchange) error {
	if x.live.origins.foreign(r, x.secure) {
		return refuse("CROSS_ORIGIN")
	}
	return nil
}

// foreign applies the rules of http.CrossOriginProtection: Sec-Fetch-Site, else
// Origin against Host, else it is no browser. A handshake is a GET that opens a
// channel both ways, and no browser asks the other side first, so it is judged
// like an unsafe method and by its Origin as well: not every browser sends
// Sec-Fetch-Site with it. Beyond those rules, a plain http page is foreign to
// an https site: whoever is on the wire can write such a page. A page without
// referrers posts its forms with "null" for an origin; that passes those rules
// only if Sec-Fetch-Site vouches for it, which a stranger's page cannot have.
func (o *origins) foreign(r *http.Request, secure bool) bool {
	handshake := isWebSocket(r)
	probe := http.Request{Method: r.Method, Host: r.Host, Header: r.Header, URL: r.URL}
	if handshake {
		probe.Method = http.MethodPost
	}
	if o.protect.Check(&probe) != nil {
		return true
	}
	if !handshake && isSafe(r.Method) {
		return false
	}
	lines := r.Header["Origin"]
	if len(lines) == 0 {
		return false
	}
	if len(lines) > 1 {
		return true
	}
	if slices.Contains(o.trusted, lines[0]) {
		return false
	}
	if lines[0] == "null" {
		return handshake // that has its page's true origin, whatever the page's policy
	}
	origin, err := url.Parse(lines[0])
	if err != nil || secure && origin.Scheme != "https" {
		return true
	}
	return handshake && !strings.EqualFold(origin.Host, r.Host)
}

// isSafe reports whether a method promises to change nothing (RFC 9110, 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
