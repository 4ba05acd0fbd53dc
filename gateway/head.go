package gateway

import (
	"bytes"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// said is what the gateway itself says to a backend, in net/http's names. On a
// request's own header each would cost a place in a map that has to grow for it.
type said []headerField

type headerField struct{ name, value string }

// put puts it into a header, in the place of whatever was there.
func (s said) put(h http.Header) {
	values := make([]string, len(s))
	for i, f := range s {
		values[i] = f.value
		h[f.name] = values[i : i+1 : i+1]
	}
}

// names reports whether there is a field of this name.
func (s said) names(name string) bool {
	for i := range s {
		if s[i].name == name {
			return true
		}
	}
	return false
}

// appendRequest appends a request that carries says has no body, as net/http's
// Request.Write would write it with what is said put into its header, but for the
// order of its fields. That sorts them and formats by reflection, a thirtieth of
// what a request costs. Whatever is not as usual here, be it a host net/http would
// mend or a value it would trim, is left to it.
func appendRequest(b []byte, r *http.Request, ours said) ([]byte, error) {
	if head, ok := appendUsual(b, r, ours); ok {
		return head, nil
	}
	ours.put(r.Header)
	out := bytes.NewBuffer(b)
	err := r.Write(out)
	return out.Bytes(), err
}

func appendUsual(b []byte, r *http.Request, ours said) ([]byte, bool) {
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
		if ours.names(name) {
			continue // what we say nobody else does
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return b, false
		}
		for _, v := range values {
			if !isUsual(v) {
				return b, false
			}
			b = appendField(b, headerField{name, v})
		}
	}
	for _, f := range ours {
		if !isUsual(f.value) {
			return b, false
		}
		b = appendField(b, f)
	}
	return append(b, "\r\n"...), true
}

func appendField(b []byte, f headerField) []byte {
	b = append(b, f.name...)
	b = append(b, ": "...)
	b = append(b, f.value...)
	return append(b, "\r\n"...)
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
