package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/doorward/doorward/authn"
)

// presets is which headers carry which fact to the backend: the one list of
// identity headers. The names of every preset are removed from every request,
// whichever is in use: a backend may still trust those of its last gateway.
var presets = map[string][]IdentityHeader{
	"forwarded": {
		{"X-Forwarded-User", "login"}, {"X-Forwarded-User-Id", "id"}, {"X-Forwarded-Email", "email"},
		{"X-Forwarded-Groups", "roles"}, {"X-Forwarded-Preferred-Username", "name"},
	},
	"remote": {
		{"Remote-User", "login"}, {"Remote-User-Id", "id"}, {"Remote-Email", "email"},
		{"Remote-Groups", "roles"}, {"Remote-Name", "name"},
	},
	"x-auth-request": {
		{"X-Auth-Request-User", "login"}, {"X-Auth-Request-User-Id", "id"}, {"X-Auth-Request-Email", "email"},
		{"X-Auth-Request-Groups", "roles"}, {"X-Auth-Request-Preferred-Username", "name"},
	},
	"none": {},
}

// identityValues is what a header may carry. login is the username, else the
// verified email, else the id. emails says whether an email nobody verified may
// pass for one.
var identityValues = map[string]func(id *authn.Identity, emails bool) string{
	"id":       func(id *authn.Identity, _ bool) string { return id.User.ID },
	"login":    loginOf,
	"username": func(id *authn.Identity, _ bool) string { return id.User.Username },
	"email":    emailOf,
	"name":     func(id *authn.Identity, _ bool) string { return id.User.Name },
	"roles":    rolesOf,
	"session":  func(id *authn.Identity, _ bool) string { return id.Session },
}

func loginOf(id *authn.Identity, emails bool) string {
	if id.User.Username != "" {
		return id.User.Username
	}
	if email := emailOf(id, emails); email != "" {
		return email
	}
	return id.User.ID
}

// emailOf is the email only where it proves something: anyone can type
// another's address.
func emailOf(id *authn.Identity, emails bool) string {
	if id.User.EmailVerified || emails {
		return id.User.Email
	}
	return ""
}

func rolesOf(id *authn.Identity, _ bool) string {
	if slices.IsSorted(id.User.Roles) {
		return strings.Join(id.User.Roles, ",")
	}
	return strings.Join(slices.Sorted(slices.Values(id.User.Roles)), ",")
}

// steering is what other gateways and frameworks believe about the request: its
// real path, method, address or sender. It is dropped unless a trusted proxy
// says it, or the route keeps it. Names are folded; a final * stands for any
// rest.
var steering = []string{
	"x-forwarded-*", "forwarded", "forwarded-for", "x-forwarded", "forwarded-proto",
	"x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "x-true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6",
	"fastly-client-ip", "x-cluster-client-ip", "x-originating-ip", "x-remote-ip", "x-remote-addr", "x-remote-user", "x-envoy-external-address", "x-appengine-user-ip",
	"x-original-*", "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override", "x-http-host-override", "x-host", "x-proxyuser-ip",
	"x-accel-redirect", "x-sendfile", "x-scheme", "x-url-scheme", "front-end-https", "x-tls-client-cert", "x-ssl-*", "ssl-*", "x-client-cert",
	"remote-*", "x-auth-request-*", "x-middleware-subrequest*", "x-middleware-rewrite", "x-middleware-next", "x-middleware-override-headers", "x-middleware-set-cookie", "proxy",
}

// nameSet is header names compared as backends compare them: CGI and WSGI turn
// every odd byte into an underscore, so X_Forwarded.User is X-Forwarded-User.
type nameSet struct {
	names  map[string]bool
	starts []string
}

// maxFolded bounds the names worth folding; longer ones are compared by their start.
const maxFolded = 128

func newNameSet(names ...string) nameSet {
	set := nameSet{names: make(map[string]bool)}
	for _, n := range names {
		var room [maxFolded]byte
		folded := string(foldName(n, &room))
		if strings.HasSuffix(n, "*") {
			set.starts = append(set.starts, folded)
		} else {
			set.names[folded] = true
		}
	}
	return set
}

// foldName is the name's letters and digits in lower case, at most maxFolded of
// them.
func foldName(name string, room *[maxFolded]byte) []byte {
	out := room[:0]
	for i := 0; i < len(name) && len(out) < maxFolded; i++ {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			out = append(out, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			out = append(out, c)
		}
	}
	return out
}

// has compares without allocation.
func (s *nameSet) has(folded []byte) bool {
	if s.names[string(folded)] {
		return true
	}
	for _, start := range s.starts {
		if len(folded) >= len(start) && string(folded[:len(start)]) == start {
			return true
		}
	}
	return false
}

// identitySet is one configuration's identity headers.
type identitySet struct {
	ours     nameSet // every name we could send: never taken from a client
	steering nameSet // dropped unless the peer is trusted
	kept     nameSet // wanted by some route's keep_headers
	emails   bool    // an unverified email may be sent: verification is off
	headers  []identityField
}

// identityField is one header to send: its name in net/http's form, and where
// its value comes from.
type identityField struct {
	key   string
	value func(*authn.Identity, bool) string
}

// newIdentitySet resolves the section identity. It fails on an unknown preset
// or value.
func newIdentitySet(cfg Config) (*identitySet, error) {
	preset, ok := presets[cfg.Identity.Preset]
	if !ok {
		return nil, fmt.Errorf("identity.preset %q is none of forwarded, remote, x-auth-request, none", cfg.Identity.Preset)
	}
	set := &identitySet{emails: cfg.EmailVerification == "off", steering: newNameSet(steering...), ours: newNameSet(identityNames(cfg)...)}
	for _, h := range slices.Concat(preset, cfg.Identity.Headers) {
		value, ok := identityValues[h.Value]
		if !ok {
			return nil, fmt.Errorf("identity.headers: %q is not a value", h.Value)
		}
		set.headers = append(set.headers, identityField{http.CanonicalHeaderKey(h.Name), value})
	}
	var kept []string
	for _, route := range cfg.Routes {
		kept = append(kept, route.KeepHeaders...)
	}
	set.kept = newNameSet(kept...)
	return set, nil
}

// identityNames is every name that could carry an identity from us.
func identityNames(cfg Config) []string {
	var names []string
	for _, preset := range presets {
		for _, h := range preset {
			names = append(names, h.Name)
		}
	}
	for _, h := range cfg.Identity.Headers {
		names = append(names, h.Name)
	}
	return names
}

// stripInbound removes from a request what its sender may not say: the identity
// headers whoever sends them, the steering ones unless a trusted proxy does.
// What some route keeps is held until the route is known.
func (s *Server) stripInbound(h http.Header, x *exchange) {
	set := x.live.identity
	var room [maxFolded]byte
	for key, values := range h {
		folded := foldName(key, &room)
		switch {
		case set.ours.has(folded):
			delete(h, key)
		case x.trusted || !set.steering.has(folded):
		default:
			delete(h, key)
			if set.kept.has(folded) {
				if x.held == nil {
					x.held = make(http.Header)
				}
				x.held[key] = values
			}
		}
	}
}

// giveBack returns to the outgoing header what was held and this route keeps.
func (set *identitySet) giveBack(out http.Header, x *exchange, keep []string) {
	if len(x.held) == 0 || len(keep) == 0 {
		return
	}
	wanted := newNameSet(keep...)
	var room [maxFolded]byte
	for key, values := range x.held {
		if wanted.has(foldName(key, &room)) {
			out[key] = values
		}
	}
}

// set writes who the request is from; nothing for nobody. The names are keys
// already, and one slice backs all values.
func (set *identitySet) set(out http.Header, id *authn.Identity) {
	if id == nil {
		return
	}
	values := make([]string, len(set.headers))
	for i, h := range set.headers {
		v := h.value(id, set.emails)
		if v == "" {
			continue
		}
		values[i] = headerValue(v)
		out[h.key] = values[i : i+1 : i+1]
	}
}

// headerValue is text as one line of ASCII. Where there is anything else it is
// percent-encoded as UTF-8, and the percent sign with it, so that no two texts
// look alike on the other side.
func headerValue(text string) string {
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = ' ' <= text[i] && text[i] < 0x7f && text[i] != '%'
	}
	if plain {
		return text
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '%' {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
