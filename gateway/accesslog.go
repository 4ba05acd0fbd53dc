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
func (s *Server) account(c *call, r *http.Request) {
	x, w := &c.exchange, &c.answer
	now := s.Now()
	took := now.Sub(x.start)
	s.Metrics.request(x, r.Method, w.status, took)
	if !x.live.cfg.Log.Access {
		return
	}
	level := slog.LevelInfo
	if w.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	log := s.Log.Handler()
	if !log.Enabled(r.Context(), level) {
		return
	}
	c.line = AccessLine{call: c, request: r, took: took}
	record := slog.NewRecord(now, level, "request", 0) // not by Logger: it asks the stack for a line nobody prints
	record.AddAttrs(slog.Any("", &c.line))
	_ = log.Handle(r.Context(), record) // as Logger does: whom should it be told?
}

// AccessLine is what a request's line says. To a slog.Handler it is a group
// without a name, so its keys stand beside the message; one that writes JSON can
// have them ready made, which costs a fifth. It is of use only while the
// record is handled.
type AccessLine struct {
	call    *call
	request *http.Request
	took    time.Duration
}

// accessFields is the line's keys, in their order. There is no query and no
// header but the user agent in it: those carry secrets.
var accessFields = [...]struct {
	key   string
	value func(*AccessLine) slog.Value
}{
	{"request_id", func(l *AccessLine) slog.Value { return slog.StringValue(l.call.requestID) }},
	{"method", func(l *AccessLine) slog.Value { return slog.StringValue(printable(cutText(l.request.Method, 32))) }},
	{"host", func(l *AccessLine) slog.Value { return slog.StringValue(printable(cutText(l.request.Host, 255))) }},
	{"path", func(l *AccessLine) slog.Value {
		return slog.StringValue(printable(cutText(rawPath(l.request), maxLoggedPath)))
	}},
	{"route", func(l *AccessLine) slog.Value { return slog.StringValue(l.call.route) }},
	{"status", func(l *AccessLine) slog.Value { return slog.IntValue(l.call.status) }},
	{"code", func(l *AccessLine) slog.Value { return slog.StringValue(string(l.call.loggedCode())) }},
	{"bytes", func(l *AccessLine) slog.Value { return slog.Int64Value(l.call.bytes) }},
	{"duration_ms", func(l *AccessLine) slog.Value { return slog.Float64Value(milliseconds(l.took)) }},
	{"client_ip", func(l *AccessLine) slog.Value { return slog.StringValue(l.call.clientText()) }},
	{"user", func(l *AccessLine) slog.Value {
		if id := l.call.identity; id != nil {
			return slog.StringValue(id.User.ID)
		}
		return slog.StringValue("")
	}},
	{"session", func(l *AccessLine) slog.Value {
		if id := l.call.identity; id != nil {
			return slog.StringValue(id.Session)
		}
		return slog.StringValue("")
	}},
	{"decision", func(l *AccessLine) slog.Value { return slog.StringValue(l.call.decision) }},
	{"upstream", func(l *AccessLine) slog.Value { return slog.StringValue(l.call.upstream) }},
	{"upstream_ms", func(l *AccessLine) slog.Value { return slog.Float64Value(milliseconds(l.call.upstreamTime)) }},
	{"user_agent", func(l *AccessLine) slog.Value {
		return slog.StringValue(printable(cutText(l.request.UserAgent(), maxLoggedAgent)))
	}},
}

// LogValue is the line for any handler of slog.
func (l *AccessLine) LogValue() slog.Value {
	attrs := make([]slog.Attr, len(accessFields))
	for i, f := range accessFields {
		attrs[i] = slog.Attr{Key: f.key, Value: f.value(l)}
	}
	return slog.GroupValue(attrs...)
}

// AppendJSON appends the line as the members of a JSON object, a comma before
// each. It writes no escapes: if any text needs one it returns false, and the
// line has to go the long way.
func (l *AccessLine) AppendJSON(b []byte) ([]byte, bool) {
	for i := range accessFields {
		b = append(b, ',', '"')
		b = append(b, accessFields[i].key...)
		b = append(b, '"', ':')
		switch v := accessFields[i].value(l); v.Kind() {
		case slog.KindInt64:
			b = strconv.AppendInt(b, v.Int64(), 10)
		case slog.KindFloat64:
			b = strconv.AppendFloat(b, v.Float64(), 'f', -1, 64)
		default:
			text := v.String()
			if !isPlainText(text) {
				return b, false
			}
			b = append(b, '"')
			b = append(b, text...)
			b = append(b, '"')
		}
	}
	return b, true
}

// isPlainText reports whether text stands in JSON as it is.
func isPlainText(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// loggedCode is the code the line tells: of our answer, else of the credential
// that was ignored.
func (x *exchange) loggedCode() Code {
	if x.code != "" {
		return x.code
	}
	return x.ignored
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

// clientText is the client's address; "" if it has none.
func (x *exchange) clientText() string {
	if x.clientName == "" && x.clientIP.IsValid() {
		x.clientName = x.clientIP.String()
	}
	return x.clientName
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
