package gateway

import (
	"bytes"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// appendRequest appends a request that carries says has no body, as net/http's
// Request.Write would write it but for the order of its fields. That sorts them
// and formats by reflection, a thirtieth of what a request costs. Whatever is not
// as usual here, be it a host net/http would mend or a value it would trim, is
// left to it.
func appendRequest(b []byte, r *http.Request) ([]byte, error) {
	if head, ok := appendUsual(b, r); ok {
		return head, nil
	}
	out := bytes.NewBuffer(b)
	err := r.Write(out)
	return out.Bytes(), err
}

func appendUsual(b []byte, r *http.Request) ([]byte, bool) {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	target := r.URL.RequestURI()
	agent := r.Header["User-Agent"] // where there is none, net/http names itself
	if r.Close || r.Trailer != nil || len(agent) == 0 || !isHostPort(host) || !plainASCII(target) {
		return b, false
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue // net/http's own to say
		case "User-Agent":
			values = oneAgent(values)
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return b, false
		}
		for _, v := range values {
			if !isUsual(v) {
				return b, false
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...), true
}

// oneAgent is the one User-Agent net/http writes; an empty one says that there is
// to be none.
func oneAgent(values []string) []string {
	if values[0] == "" {
		return nil
	}
	return values[:1]
}

// isUsual reports whether text goes out as it is: no byte in it could end the
// line, and none at its ends would be trimmed.
func isUsual(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return !spaced(text)
}
