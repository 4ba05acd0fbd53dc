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

// vouched is what a proxy states about the connection it accepted. A trusted
// peer may say it, spelled exactly so: another spelling is one its proxy did not
// know and handed on from whoever wrote it.
var vouched = []string{
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-By",
	"X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Forwarded-Client-Cert", "X-Forwarded", "Forwarded-For", "Forwarded-Proto",
	"X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP", "X-True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "Fastly-Client-IP", "X-Cluster-Client-IP",
	"X-Originating-IP", "X-ProxyUser-IP", "X-Envoy-External-Address", "X-Scheme", "X-URL-Scheme", "Front-End-Https", "Https",
	"CF-Visitor", "CF-Pseudo-IPv4", "CloudFront-Forwarded-Proto", "CloudFront-Viewer-Address", "Fly-Client-IP", "DO-Connecting-IP", "X-Azure-ClientIP", "X-Azure-SocketIP", "X-Vercel-Forwarded-For", "X-Nf-Client-Connection-IP",
}

// steering is what makes a backend take a request for another one: another path,
// method, host or person, or an instruction from within. A proxy in front hands
// on what it does not know, so these are dropped whoever sends them, unless the
// route keeps them. Names are folded; a final * stands for any rest. What is
// vouched for is no part of it.
var steering = []string{
	"x-original-*", "x-rewrite-*", "x-forwarded-*", "script-name", "x-script-name", "script-filename", "path-info", "path-translated", "request-uri", "x-request-uri", "x-waws-unencoded-url", // path
	"x-http-method*", "x-method-override", "x-http-host-override", "x-http-path-override", "x-host", // method, host
	"remote-*", "x-remote-*", "x-auth-request-*", "x-webauth-*", "x-goog-iap-*", "x-goog-authenticated-user-*", "x-ms-client-principal*", "x-amzn-oidc-*", "x-appengine-*", // person
	"x-user", "x-user-id", "x-user-name", "x-username", "x-user-email", "x-user-roles", "x-user-groups", "x-userinfo", "x-email", // the same, as other gateways say it
	"x-auth-user", "x-auth-user-id", "x-auth-username", "x-auth-email", "x-auth-groups", "x-auth-roles", "x-authenticated-*", "x-authentik-*",
	"cf-access-*", "oidc-*", "x-oidc-*", "tailscale-*", "impersonate-*", "x-consumer-*", "x-credential-*", "x-pomerium-*", "x-vouch-*", "x-token-subject", "x-token-user-name",
	"sm-user*", "shib-*", "x-shib-*", "mellon-*", "eppn", "x-proxy-user", "x-jwt-assertion", "x-endpoint-api-userinfo", "x-apigateway-api-userinfo",
	"x-client-verify", "x-client-dn", "ssl-*", "x-ssl-*", "x-arr-*", "client-cert*", "x-client-cert*", "x-tls-client-cert*", // the person's certificate
	"x-accel-*", "x-sendfile*", "x-lighttpd-send-file", "x-middleware-*", "x-envoy-*", "wl-proxy-*", "proxy*", // from within
	"forwarded", // says what X-Forwarded-* says, and nobody here adds to it
}

// nameSet is header names compared as the least careful backend compares them:
// X_Forwarded.User and XForwardedUser are X-Forwarded-User.
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
	ours     nameSet         // every name we could send: never taken from a client
	vouched  nameSet         // taken from a trusted peer
	spelled  map[string]bool // how, in net/http's form
	steering nameSet         // taken from nobody
	kept     map[string]bool // wanted by some route's keep_headers, in net/http's form
	emails   bool            // an unverified email may be sent: verification is off
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
	set := &identitySet{
		ours: newNameSet(identityNames(cfg)...), vouched: newNameSet(vouched...), steering: newNameSet(steering...),
		spelled: make(map[string]bool), kept: make(map[string]bool), emails: cfg.EmailVerification == "off",
	}
	for _, name := range vouched {
		set.spelled[http.CanonicalHeaderKey(name)] = true
	}
	for _, h := range slices.Concat(preset, cfg.Identity.Headers) {
		value, ok := identityValues[h.Value]
		if !ok {
			return nil, fmt.Errorf("identity.headers: %q is not a value", h.Value)
		}
		set.headers = append(set.headers, identityField{http.CanonicalHeaderKey(h.Name), value})
	}
	for _, route := range cfg.Routes {
		for _, name := range route.KeepHeaders {
			set.kept[http.CanonicalHeaderKey(name)] = true
		}
	}
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

// stripInbound removes from a request what its sender may not say. What some
// route keeps, under exactly this name, is held until the route is known.
func (s *Server) stripInbound(h http.Header, x *exchange) {
	set := x.live.identity
	for key, values := range h {
		if set.passes(key, x.trusted) {
			continue
		}
		delete(h, key)
		if set.kept[key] {
			if x.held == nil {
				x.held = make(http.Header)
			}
			x.held[key] = values
		}
	}
}

// passes reports whether a client's header may go on. A name with an odd byte
// never does: CGI, WSGI and PHP make it an underscore and the name another's,
// and gunicorn takes SCRIPT_NAME off the path that was judged.
func (set *identitySet) passes(key string, trusted bool) bool {
	if !isPlainName(key) {
		return false
	}
	var room [maxFolded]byte
	switch folded := foldName(key, &room); {
	case set.ours.has(folded):
		return false
	case set.vouched.has(folded):
		return trusted && set.spelled[key]
	default:
		return !set.steering.has(folded)
	}
}

// isPlainName reports whether a header's name is letters, digits and hyphens.
func isPlainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// giveBack returns to the outgoing header what was held and this route keeps.
func (set *identitySet) giveBack(out http.Header, x *exchange, keep []string) {
	if len(x.held) == 0 {
		return
	}
	for _, name := range keep {
		key := http.CanonicalHeaderKey(name)
		var room [maxFolded]byte
		if values := x.held[key]; values != nil && !set.ours.has(foldName(key, &room)) {
			out[key] = values
		}
	}
}

// say adds who the request is from; nothing for nobody.
func (set *identitySet) say(out said, id *authn.Identity) said {
	if id == nil {
		return out
	}
	for _, h := range set.headers {
		if v := h.value(id, set.emails); v != "" {
			out = append(out, headerField{h.key, headerValue(v)})
		}
	}
	return out
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
