package gateway

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// malformed reports a request that HTTP/2 lets a client make and HTTP/1 does
// not. net/http checks the lines of the one and takes the fields of the other
// mostly as they come, so what follows here would stand on a syntax nobody has
// checked: a token with a space before its scheme was nobody's token to us, and
// the backend's once HTTP/1 had trimmed it.
func malformed(r *http.Request) bool {
	if !httpguts.ValidHeaderFieldName(r.Method) { // which is a token as well
		return true
	}
	if r.Host == "" { // as HTTP/1.1 without one
		return true
	}
	for _, values := range r.Header {
		if slices.ContainsFunc(values, spaced) {
			return true
		}
	}
	hosts, lengths := r.Header["Host"], r.Header["Content-Length"]
	return len(hosts) > 1 || len(hosts) == 1 && hosts[0] != r.Host || // RFC 9113, 8.3.1
		len(lengths) > 1 || len(lengths) == 1 && !isNumber(lengths[0])
}

// spaced reports a value that begins or ends in white space (RFC 9113, 8.2.1).
func spaced(value string) bool {
	return value != "" && (isBlank(value[0]) || isBlank(value[len(value)-1]))
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isNumber(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }
