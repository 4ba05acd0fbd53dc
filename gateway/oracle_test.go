package gateway

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A second opinion on everything that reached a backend. It is slow and dumb on
// purpose and shares nothing with what it judges: no reading, no list of names,
// no rule comes from the code under test.

// A reader is one thing some server or framework does to a path.
var readers = []func(string) string{
	func(p string) string { return escapes.ReplaceAllStringFunc(p, unhexed) },
	func(p string) string {
		return escapes.ReplaceAllStringFunc(p, func(e string) string {
			if strings.EqualFold(e, "%2f") || strings.EqualFold(e, "%5c") {
				return e
			}
			return unhexed(e)
		})
	},
	func(p string) string { return slashRun.ReplaceAllString(p, "/") },
	func(p string) string { return rooted(hostOfPath.ReplaceAllString(p, "")) },
	func(p string) string { return param.ReplaceAllString(p, "") },
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	func(p string) string { return rooted(decoy.ReplaceAllString(p, "")) },
	func(p string) string { return dotted(p) },
	func(p string) string { return segmentwise(p, untailed) },
	func(p string) string { return norm.NFKC.String(p) },
	func(p string) string { return strings.ReplaceAll(p, "+", " ") },
	func(p string) string { return ntfsStream.ReplaceAllString(p, "") },
	func(p string) string { return rooted(marker.ReplaceAllString(p, "")) },
	func(p string) string { return script.ReplaceAllString(p, "/") },
	func(p string) string { return rooted(nameOfPath.ReplaceAllString(p, "")) },
	func(p string) string { return bestFit.Replace(p) },
	func(p string) string { return lastParam.ReplaceAllString(p, "") },
}

var (
	escapes    = regexp.MustCompile(`%[0-9A-Fa-f][0-9A-Fa-f]`)
	slashRun   = regexp.MustCompile(`//+`)
	hostOfPath = regexp.MustCompile(`^//+[^/]*`)
	nameOfPath = regexp.MustCompile(`^//[0-9A-Za-z._+-]+`) // where Node's url.parse ends a host
	lastParam  = regexp.MustCompile(`;[^/]*$`)
	param      = regexp.MustCompile(`;[^/]*`)
	ntfsStream = regexp.MustCompile(`:[^/]*`)
	marker     = regexp.MustCompile(`/\([A-Za-z]\([^/()]*\)\)`)
	script     = regexp.MustCompile(`(?i)^/index\.php/?`)
	decoy      = regexp.MustCompile(`(?s)[?#].*$`)
	tailSpace  = regexp.MustCompile(`[\s\p{Z}]+$`)
	tailDots   = regexp.MustCompile(`[.\s\p{Z}]+$`)
)

// bestFit is what code pages of Windows make of a character.
var bestFit = strings.NewReplacer("\u2044", "/", "\u2215", "/", "\u2216", `\`, "\u20e5", `\`, "\u00a5", `\`, "\u20a9", `\`, "\u066a", "%")

func unhexed(e string) string {
	var b byte
	fmt.Sscanf(e[1:], "%02x", &b)
	return string([]byte{b})
}

func rooted(p string) string { return "/" + strings.TrimPrefix(p, "/") }

func segmentwise(p string, f func(string) string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = f(parts[i])
	}
	return rooted(strings.Join(parts, "/"))
}

func untailed(s string) string {
	if dots := tailSpace.ReplaceAllString(s, ""); dots == "." || dots == ".." {
		return dots
	}
	return tailDots.ReplaceAllString(s, "")
}

// dotted resolves dot segments and stays at the root where they climb above it.
func dotted(p string) string {
	var kept []string
	parts := strings.Split(p, "/")[1:]
	for i, s := range parts {
		switch s {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, s)
			continue
		}
		if i == len(parts)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// meanings is every path the readers can make of a raw target, in any order and
// number, once it has been decoded. false: more than anyone can judge.
func meanings(target string) ([]string, bool) {
	raw, _, _ := strings.Cut(target, "?")
	if known, ok := meant.Load(raw); ok {
		return known.([]string), known.([]string) != nil
	}
	all, ok := allMeanings(raw)
	meant.Store(raw, all)
	return all, ok
}

// meant remembers: the plain request behind every attack is always the same.
var meant sync.Map

func allMeanings(raw string) ([]string, bool) {
	type state struct {
		path    string
		decoded bool
	}
	seen := map[state]bool{}
	todo := []state{{raw, false}}
	var all []string
	for len(todo) > 0 {
		now := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[now] {
			continue
		}
		if seen[now] = true; len(seen) > 2000 {
			return nil, false
		}
		if now.decoded {
			all = append(all, now.path)
		}
		for i, read := range readers {
			if next := (state{read(now.path), now.decoded || i < 2}); next.path != "" {
				todo = append(todo, next)
			}
		}
	}
	return all, true
}

// alike is a path as someone sees it who does not tell letters of different
// case, width or kind apart.
func alike(p string) string {
	p = strings.ToLower(strings.ToUpper(norm.NFKC.String(p)))
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, p)
}

func under(path, place string) bool { return path == place || strings.HasPrefix(path, place+"/") }

// A law says whether someone may go to one meaning of a path: who is "", "user"
// or "admin".
type law func(host, method, path, who string) bool

// laws is the four configurations once more, in words of one syllable.
var laws = map[string]law{
	"deny": func(_, method, path, who string) bool {
		method = strings.ToUpper(method)
		switch {
		case under(path, "/admin"), under(path, "/public/secret"):
			return who == "admin"
		case under(path, "/public"):
			return true
		case under(path, "/app"):
			return who != ""
		case under(path, "/items"):
			return (method == "GET" || method == "HEAD") && who != "" || method == "POST" && who == "admin"
		case under(path, "/forms"):
			return who == "admin" || who == "user" && method != "POST"
		}
		return false
	},
	"legacy": func(_, _, path, who string) bool { return who == "admin" || who == "user" && !under(path, "/admin") },
	"open":   func(_, _, path, who string) bool { return who == "admin" || !under(path, "/admin") },
	"hosts": func(host, _, path, who string) bool {
		switch host {
		case "app.test":
			return who == "admin" || who == "user" && !under(path, "/admin")
		case "public.test":
			return who == "admin" || !under(path, "/admin")
		case "admin.test":
			return who == "admin"
		}
		return false
	},
	"mixed": func(host, _, path, who string) bool {
		switch {
		case host == "public.test":
			return who == "admin" || !under(path, "/admin")
		case host == "secret.public.test", strings.HasSuffix(host, ".admin.test"):
			return who == "admin"
		case strings.HasSuffix(host, ".public.test"):
			return who != ""
		case under(path, "/public"):
			return true
		}
		return who == "admin" || who == "user" && !under(path, "/admin")
	},
}

// judgeTarget says what is wrong with a target having reached a backend that
// was told it comes from who; "" if nothing is.
func judgeTarget(l law, host, method, target, who string) string {
	if !strings.HasPrefix(target, "/") {
		return fmt.Sprintf("the target %q is no path", target)
	}
	if i := strings.IndexFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' || r == '\\' }); i >= 0 && !strings.Contains(target[:i], "?") {
		return fmt.Sprintf("the target %q has a byte no path has", target)
	}
	all, ok := meanings(target)
	if !ok {
		return fmt.Sprintf("the target %q can mean anything", target)
	}
	hosts := hostMeanings(host)
	for _, p := range all {
		if strings.ContainsFunc(p, unicode.IsControl) || strings.ContainsRune(p, unicode.ReplacementChar) {
			return fmt.Sprintf("the target %q can be read as %q, which no server agrees on", target, p)
		}
		for _, path := range []string{p, alike(p)} {
			for _, h := range hosts {
				if under(path, "/auth") || !l(h, method, path, who) {
					return fmt.Sprintf("%s %q on %q can be read as %q on %q, closed to %q", method, target, host, path, h, who)
				}
			}
		}
	}
	return ""
}

// hostMeanings is who a Host header can be taken to name.
func hostMeanings(host string) []string {
	var all []string
	for _, part := range append(hostParts.Split(host, -1), host) {
		name, _, _ := strings.Cut(strings.ToLower(part), ":")
		all = append(all, strings.TrimSuffix(name, "."))
	}
	return all
}

// folded is a header's name as CGI, WSGI and their heirs compare it.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// claimed is every name under which a backend may look for who is asking.
var claimed = func() map[string]bool {
	set := map[string]bool{}
	for _, front := range []string{"X-Forwarded-", "Remote-", "X-Auth-Request-"} {
		for _, what := range []string{"User", "User-Id", "Email", "Groups", "Preferred-Username", "Name"} {
			set[folded(front+what)] = true
		}
	}
	delete(set, "xforwardedname") // nobody's
	delete(set, "xauthrequestname")
	delete(set, "remotepreferredusername")
	set["xauthuser"] = true // the tests' own
	return set
}()

// steers is what a client could steer a backend by.
var steers = strings.Fields(`xforwardedport xforwardedprefix xforwardeduri xforwardedmethod xforwardedserver xforwardedscheme xforwardedssl
	xforwardedtlsclientcert forwarded xrealip trueclientip cfconnectingip xclientip xoriginalurl xrewriteurl xoriginaluri xhttpmethodoverride
	xhttpmethod xmethodoverride xaccelredirect proxy xmiddlewaresubrequest`)

var (
	fieldName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	hostParts = regexp.MustCompile(`[@,\s/\\#?]+`)
	oddByte   = regexp.MustCompile(`[^0-9A-Za-z]`)
	digits    = regexp.MustCompile(`^[0-9]+$`)
	requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// judgeHead says what is wrong with the head of a request that reached a
// backend, whoever it is from.
func judgeHead(head string, trusted bool) []string {
	var wrong []string
	bad := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	if n := len(strings.Split(lines[0], " ")); n != 3 || !strings.HasSuffix(lines[0], " HTTP/1.1") {
		bad("the request line is %q", lines[0])
	}
	values := map[string][]string{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !fieldName.MatchString(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			bad("the line %q is no field", line)
			continue
		}
		key := folded(name)
		if cgi := strings.ToLower(oddByte.ReplaceAllString(name, "-")); (key == "host" || key == "xrequestid") && cgi != "host" && cgi != "x-request-id" {
			key = name // these two say nothing about a person: it is enough that no CGI variable has two values
		}
		values[key] = append(values[key], strings.Trim(value, " \t"))
	}
	for _, name := range []string{"host", "xforwardedfor", "xforwardedhost", "xforwardedproto", "xrequestid"} {
		if n := len(values[name]); n != 1 {
			bad("%d fields can be read as %s: %q", n, name, values[name])
		}
	}
	cl, te := values["contentlength"], values["transferencoding"]
	if len(cl)+len(te) > 1 || len(cl) == 1 && !digits.MatchString(cl[0]) || len(te) == 1 && te[0] != "chunked" {
		bad("the body is framed by length %q and encoding %q", cl, te)
	}
	for _, name := range []string{"keepalive", "proxyconnection", "proxyauthorization", "trailer", "http2settings"} {
		if values[name] != nil {
			bad("the field %s is for one hop: %q", name, values[name])
		}
	}
	if up := values["upgrade"]; up != nil && !strings.EqualFold(strings.Join(up, ","), "websocket") {
		bad("an upgrade to %q", up)
	}
	if !trusted {
		for _, name := range steers {
			if values[name] != nil {
				bad("the field %s steers: %q", name, values[name])
			}
		}
		if from := values["xforwardedfor"]; !slices.Equal(from, []string{"127.0.0.1"}) {
			bad("X-Forwarded-For is %q", from)
		}
		if p := values["xforwardedproto"]; !slices.Equal(p, []string{"http"}) {
			bad("X-Forwarded-Proto is %q", p)
		}
	}
	if id := values["xrequestid"]; len(id) == 1 && !requestID.MatchString(id[0]) {
		bad("X-Request-Id is %q", id)
	}
	return wrong
}

// identityLines is every line of a head that a backend may read as saying who
// is asking, sorted.
func identityLines(head string) []string {
	var lines []string
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if name, _, ok := strings.Cut(line, ":"); ok && claimed[folded(name)] {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// behindChunks is the fields behind a chunked body; "" if it broke off before.
func behindChunks(body string) string {
	for {
		size, rest, ok := strings.Cut(body, "\r\n")
		n, err := strconv.ParseUint(size, 16, 32)
		if !ok || err != nil || uint64(len(rest)) < n+2 {
			return ""
		}
		if n == 0 {
			return strings.TrimSuffix(rest, "\r\n")
		}
		body = rest[n+2:]
	}
}
