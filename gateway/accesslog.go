package gateway

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// noRoute is the label of what no route and no endpoint of ours served.
const noRoute = "none"

// decisionAllowed is the decision that is not the code of a refusal.
const decisionAllowed = "allowed"

const (
	maxLoggedPath  = 8 << 10 // what policy reads at all
	maxLoggedAgent = 256
)

// account writes the request's line and counts it. It is called once for every
// request, also for one that was hijacked, aborted or gave up; the status of
// one that got no answer is 0.
func (s *Server) account(w *answer, r *http.Request, x *exchange) {
	took := s.Now().Sub(x.start)
	s.Metrics.request(x, r.Method, w.status, took)
	if !x.live.cfg.Log.Access {
		return
	}
	level := slog.LevelInfo
	if w.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if s.Log.Enabled(r.Context(), level) {
		s.Log.LogAttrs(r.Context(), level, "request", requestAttrs(w, r, x, took)...)
	}
}

// requestAttrs is the line's keys, in their order. There is no query and no
// header but the user agent in it: those carry secrets.
func requestAttrs(w *answer, r *http.Request, x *exchange, took time.Duration) []slog.Attr {
	code := x.code
	if code == "" {
		code = x.ignored
	}
	var user, session string
	if x.identity != nil {
		user, session = x.identity.User.ID, x.identity.Session
	}
	return []slog.Attr{
		slog.String("request_id", x.requestID),
		slog.String("method", printable(cutText(r.Method, 32))),
		slog.String("host", printable(cutText(r.Host, 255))),
		slog.String("path", printable(cutText(rawPath(r), maxLoggedPath))),
		slog.String("route", x.route),
		slog.Int("status", w.status),
		slog.String("code", string(code)),
		slog.Int64("bytes", w.bytes),
		slog.Float64("duration_ms", milliseconds(took)),
		slog.String("client_ip", addrText(x)),
		slog.String("user", user),
		slog.String("session", session),
		slog.String("decision", x.decision),
		slog.String("upstream", x.upstream),
		slog.Float64("upstream_ms", milliseconds(x.upstreamTime)),
		slog.String("user_agent", printable(cutText(r.UserAgent(), maxLoggedAgent))),
	}
}

// rawPath is the path as it was sent. Of a target that is no path, only what
// net/url took for one: the rest may hold a password.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

func addrText(x *exchange) string {
	if !x.clientIP.IsValid() {
		return ""
	}
	return x.clientIP.String()
}

// milliseconds is d to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printable is text that moves no cursor and forges no line, whatever shows
// the log: control characters and what is not ASCII come out escaped.
func printable(text string) string {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			quoted := strconv.QuoteToASCII(text)
			return quoted[1 : len(quoted)-1]
		}
	}
	return text
}

func cutText(text string, n int) string {
	if len(text) > n {
		return text[:n]
	}
	return text
}
