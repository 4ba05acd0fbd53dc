package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/doorward/doorward/policy"
)

// Validate says everything that is wrong with the configuration, each with the
// key's YAML path and what to write instead. It opens no file and no socket.
func (c Config) Validate() []ConfigProblem {
	var v validation
	v.server(c.Server)
	v.limits(c.Limits)
	v.origins(c.CORS.Origins)
	v.identity(c)
	v.log(c.Log)
	v.upstreams(c.Upstreams)
	v.routes(c)
	return v
}

// validation collects what is wrong.
type validation []ConfigProblem

func (v *validation) add(path, format string, args ...any) {
	*v = append(*v, ConfigProblem{path, fmt.Sprintf(format, args...)})
}

// oneOf complains about a value that is none of the words.
func (v *validation) oneOf(path, value string, words ...string) {
	if !slices.Contains(words, value) {
		v.add(path, "%q is none of them: write %s", value, strings.Join(words, ", "))
	}
}

func (v *validation) server(c ServerConfig) {
	v.listen("server.listen", c.Listen)
	if c.OpsListen != "" {
		v.listen("server.ops_listen", c.OpsListen)
	}
	if c.OpsListen != "" && c.OpsListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") { // port 0 is another one each time
		v.add("server.ops_listen", "is the same as server.listen: metrics and health must not be public; write another port, such as 127.0.0.1:9180")
	}
	v.publicURL(c.PublicURL)
	v.prefix(c.Prefix)
	for i, entry := range c.TrustedProxies {
		if _, err := parseProxy(entry); err != nil {
			v.add(fmt.Sprintf("server.trusted_proxies[%d]", i), "%v", err)
		}
	}
	v.tls(c)
	v.timeouts(c.Timeouts)
}

func (v *validation) listen(path, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		v.add(path, "%q is not an address to listen on: write host:port or :port, such as :8080", address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.add(path, "%q is not a port: write a number from 0 to 65535", port)
	} else if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) && host != "" {
		v.add(path, "%q is neither an address nor a name of this machine: write for example 127.0.0.1:%d", host, n)
	}
}

// isHostName reports whether text is made as a DNS name is.
func isHostName(text string) bool {
	if text == "" || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i] | 0x20; !('a' <= c && c <= 'z' || '0' <= label[i] && label[i] <= '9' || label[i] == '-' || label[i] == '_') {
				return false
			}
		}
	}
	return true
}

// baseURL reads a URL that is a scheme and a host, and says what it has besides.
func baseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL") // not repeated: it may hold a password
	case !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://"): // lower case: the text itself is looked at too
		return nil, errors.New("must begin with http:// or https://")
	case u.User != nil:
		return nil, errors.New("must not hold a user or a password")
	case u.Hostname() == "" || !isHostName(u.Hostname()) && !isAddress(u.Hostname()):
		return nil, errors.New("names no host")
	case u.Port() == "" && strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("ends in a colon without a port")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("must not have a query or a fragment")
	}
	if u.Port() != "" {
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			return nil, errors.New("has a port that is none")
		}
	}
	return u, nil
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func (v *validation) publicURL(text string) {
	const path, instead = "server.public_url", "write scheme, host and port as a browser would, such as https://app.example.com"
	u, err := baseURL(text)
	switch {
	case err != nil:
		v.add(path, "%v: %s", err, instead)
	case u.Path != "":
		v.add(path, "must not have a path, not even a final slash: %s", instead)
	}
}

// prefix takes one or more plain segments: requests are told apart by its bytes.
func (v *validation) prefix(text string) {
	const path, instead = "server.prefix", "write a slash and plain segments, such as /auth"
	if text == "/" || !strings.HasPrefix(text, "/") {
		v.add(path, "%q is not a path of our own: %s", text, instead)
		return
	}
	for segment := range strings.SplitSeq(text[1:], "/") {
		if !isPlainSegment(segment) {
			v.add(path, "%q has a segment that is not plain (letters, digits, - _ ~): %s", text, instead)
			return
		}
	}
}

func isPlainSegment(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '~') {
			return false
		}
	}
	return text != ""
}

func (v *validation) tls(c ServerConfig) {
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		v.add("server.tls", "a certificate and its key go together: name both files, or neither")
	}
	if c.TLS.Cert != "" && !strings.HasPrefix(c.PublicURL, "https:") {
		v.add("server.public_url", "server.tls is set, so people come by https: write https:// and the host the certificate is for")
	}
	if c.TLS.Cert != "" && c.H2C {
		v.add("server.h2c", "is HTTP/2 without TLS, and server.tls is set, which brings HTTP/2 by itself: remove one of the two")
	}
	switch {
	case c.TLS.RedirectListen == "":
	case !strings.HasPrefix(c.PublicURL, "https:"):
		v.add("server.tls.redirect_listen", "redirects to https, and server.public_url is not https: change that, or remove this")
	default:
		v.listen("server.tls.redirect_listen", c.TLS.RedirectListen)
		if c.TLS.RedirectListen == c.Listen {
			v.add("server.tls.redirect_listen", "is the same as server.listen: write the plain port, such as :80")
		}
	}
}

func (v *validation) timeouts(t Timeouts) {
	for _, c := range []struct {
		key  string
		d    time.Duration
		zero bool // it may be
	}{
		{"read_header", t.ReadHeader, false}, {"body", t.Body, false}, {"idle", t.Idle, false},
		{"drain", t.Drain, true}, {"shutdown", t.Shutdown, true},
	} {
		if c.d < 0 || c.d == 0 && !c.zero {
			v.add("server.timeouts."+c.key, "%v is no time to wait: write a duration above zero, such as 30s", c.d)
		}
	}
}

func (v *validation) limits(c LimitConfig) {
	for _, name := range []limiterName{limitLoginFailures, limitRegister, limitPasswordReset, limitMail, limitRefresh, limitRequests} {
		v.rate("limits."+string(name), c.rate(name))
	}
}

func (v *validation) rate(path string, r Rate) {
	if r != (Rate{}) && (r.N < 1 || r.Per <= 0) {
		v.add(path, `%d/%v is not a limit: write a count and a duration, such as 30/15m, or "" for none`, r.N, r.Per)
	}
}

func (v *validation) origins(origins []string) {
	for i, origin := range origins {
		path := fmt.Sprintf("cors.origins[%d]", i)
		if strings.Contains(origin, "*") {
			v.add(path, "%q would let pages nobody has named act for your users: list each origin, such as https://app.example.com", origin)
			continue
		}
		u, err := baseURL(origin)
		switch {
		case err != nil:
			v.add(path, "%v: write an origin, such as https://app.example.com", err)
		case origin != originAsSent(u):
			v.add(path, "%q is not how a browser writes it: write %s", origin, originAsSent(u))
		}
		if slices.Contains(origins[:i], origin) {
			v.add(path, "%q is there twice: remove one", origin)
		}
	}
}

// originAsSent is a URL's origin as browsers write it: lower case, no port that
// is the scheme's own, no path.
func originAsSent(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if own := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; own != "" {
		host = strings.TrimSuffix(host, own)
	}
	return u.Scheme + "://" + host
}

// reservedHeaders is what an identity header cannot be called: such a header is
// removed again on its way, decides how the request is read, or says something
// else to the backend.
var reservedHeaders = newNameSet(
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Trailers", "Transfer-Encoding", "Upgrade",
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Expect", "Cookie", "Set-Cookie", "Authorization", "Accept", "Accept-Encoding", "Origin", "Referer", "User-Agent", "Range",
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Server",
	"X-Real-Ip", "X-Request-Id", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "Proxy", "Doorward",
)

func (v *validation) identity(c Config) {
	preset, ok := presets[c.Identity.Preset]
	if !ok {
		v.oneOf("identity.preset", c.Identity.Preset, "forwarded", "remote", "x-auth-request", "none")
	}
	taken := map[string]string{}
	for _, h := range preset {
		taken[foldedName(h.Name)] = h.Name
	}
	for i, h := range c.Identity.Headers {
		path := fmt.Sprintf("identity.headers[%d].", i)
		folded := foldedName(h.Name)
		switch other := taken[folded]; {
		case !httpguts.ValidHeaderFieldName(h.Name) || folded == "":
			v.add(path+"name", "%q is not a header's name: write letters, digits and -, such as X-WEBAUTH-USER", h.Name)
		case reservedHeaders.has([]byte(folded)):
			v.add(path+"name", "%s means something else to a server or is removed on the way: choose a name of your own, such as X-WEBAUTH-USER", h.Name)
		case other != "":
			v.add(path+"name", "%s cannot be told from %s by many backends: choose another name", h.Name, other)
		default:
			taken[folded] = h.Name
		}
		if identityValues[h.Value] == nil {
			v.oneOf(path+"value", h.Value, "id", "login", "username", "email", "name", "roles", "session")
		}
	}
}

// foldedName is the name as the least careful backend reads it.
func foldedName(name string) string {
	var room [maxFolded]byte
	return string(foldName(name, &room))
}

func (v *validation) log(c LogConfig) {
	v.oneOf("log.level", c.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Format, "json", "text")
}

func (v *validation) upstreams(all []Upstream) {
	if len(all) == 0 {
		v.add("upstreams", `there is none: name the app to protect, such as {name: app, url: "http://127.0.0.1:3000"}`)
	}
	seen := map[string]int{}
	for i, u := range all {
		path := fmt.Sprintf("upstreams[%d].", i)
		if first, twice := seen[u.Name]; twice && u.Name != "" {
			v.add(path+"name", "%q is the name of upstreams[%d] too: give each its own", u.Name, first)
		} else {
			seen[u.Name] = i
		}
		if !isPlainSegment(u.Name) {
			v.add(path+"name", "%q is not a name: write letters, digits, - and _", u.Name)
		}
		v.upstream(path, u)
	}
}

func (v *validation) upstream(path string, u Upstream) {
	v.upstreamURL(path+"url", u.URL)
	v.oneOf(path+"host", u.Host, "preserve", "upstream")
	for _, c := range []struct {
		key string
		d   time.Duration
	}{{"connect", u.Timeouts.Connect}, {"response", u.Timeouts.Response}, {"idle", u.Timeouts.Idle}} {
		if c.d <= 0 {
			v.add(path+"timeouts."+c.key, "%v is no time to wait: write a duration above zero, such as 5s", c.d)
		}
	}
	if (u.TLS.CA != "" || u.TLS.ServerName != "") && !strings.HasPrefix(u.URL, "https:") {
		v.add(path+"tls", "is for an https upstream, and this one is not: write https:// in its url, or remove tls")
	}
}

func (v *validation) upstreamURL(path, text string) {
	const instead = `write http://host:port, https://host, h2c://host:port, unix:/path or "whoami:"`
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "http", "https", "h2c":
		u, err := baseURL("http:" + rest)
		if err != nil {
			v.add(path, "%v: %s", err, instead)
		} else if strings.Contains(u.EscapedPath(), "..") {
			v.add(path, "has .. in its path: write the path it means")
		}
	case "unix":
		if !strings.HasPrefix(rest, "/") || strings.ContainsAny(rest, "?#") || strings.HasPrefix(rest, "//") {
			v.add(path, "names no socket: write unix: and its whole path, such as unix:/run/app.sock")
		}
	case "whoami":
		if rest != "" {
			v.add(path, `the built-in backend takes nothing behind its name: write "whoami:"`)
		}
	default:
		v.add(path, "is no upstream this gateway can call: %s", instead)
	}
}

// routes checks what gateway adds to a rule, and has policy check the rest.
func (v *validation) routes(c Config) {
	if len(c.Routes) == 0 {
		v.add("routes", `there is none, so nothing could be reached: write one, such as {path: "/**", upstream: app, allow: authenticated}`)
	}
	ours := newNameSet(identityNames(c)...)
	rules := make([]policy.Rule, len(c.Routes))
	for i, r := range c.Routes {
		rules[i] = r.Rule
		v.route(fmt.Sprintf("routes[%d].", i), r, c.Upstreams, ours)
	}
	prefix := c.Server.Prefix
	var check validation
	if check.prefix(prefix); len(check) > 0 {
		prefix = "" // said already
	}
	_, err := policy.Compile(rules, policy.Options{Prefix: prefix})
	var problems policy.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			path := "server." + p.Field
			if p.Rule >= 0 {
				path = fmt.Sprintf("routes[%d].%s", p.Rule, p.Field)
			}
			v.add(path, "%s", p.Message)
		}
	} else if err != nil {
		v.add("routes", "%v", err)
	}
}

func (v *validation) route(path string, r Route, upstreams []Upstream, ours nameSet) {
	if !slices.ContainsFunc(upstreams, func(u Upstream) bool { return u.Name == r.Upstream }) {
		what := "write one of " + namesOf(upstreams)
		if len(upstreams) == 0 {
			what = "write it there"
		}
		v.add(path+"upstream", "%q is not among upstreams: %s", r.Upstream, what)
	}
	if r.Login != "" {
		v.oneOf(path+"login", r.Login, "redirect", "401")
	}
	v.rate(path+"limit", r.Limit)
	for i, name := range r.KeepHeaders {
		at := fmt.Sprintf("%skeep_headers[%d]", path, i)
		switch folded := foldedName(name); {
		case !httpguts.ValidHeaderFieldName(name) || folded == "" || strings.Contains(name, "*"):
			v.add(at, "%q is not a header's name", name)
		case ours.has([]byte(folded)):
			v.add(at, "%s says who a request is from, so it is never taken from a client: remove it", http.CanonicalHeaderKey(name))
		case !isPlainName(name) && reservedHeaders.has([]byte(folded)):
			v.add(at, "%s reads as %s to many backends, and that is not the client's to say: remove it", name, strings.Map(plainByte, name))
		}
	}
	for i, token := range r.Upgrades {
		if !strings.EqualFold(token, "websocket") {
			v.add(fmt.Sprintf("%supgrades[%d]", path, i), `%q cannot be passed on safely: write websocket, or [] for none`, token)
		}
	}
}

// plainByte is what a careless reader makes of a byte of a header's name.
func plainByte(c rune) rune {
	if c < 0x80 && isPlainName(string(c)) {
		return c
	}
	return '-'
}

func namesOf(upstreams []Upstream) string {
	var names []string
	for _, u := range upstreams {
		if u.Name != "" && !slices.Contains(names, u.Name) {
			names = append(names, u.Name)
		}
	}
	return strings.Join(names, ", ")
}
