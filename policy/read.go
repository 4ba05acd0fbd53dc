package policy

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReadings bounds the work: past it nobody wrote the path in good faith.
const maxReadings = 32

// steps is what some reader does to a path, each on its own. Readers do them in
// any order and number, so readings closes over them.
var steps = []func(string) string{
	decode,        // a second decoding: rewrites, frameworks behind servers
	decodeKeeping, // the same in Apache, which keeps %2F and %5C
	merge,         // // is / to nginx, Apache and most routers
	dropAuthority, // //host/path is /path to Node's URL, Python and PHP
	dropHost,      // ///host/path likewise to WHATWG parsers
	dropName,      // //host%70ath likewise to Node's url.parse
	dropParams,    // ;x=1 is no part of a segment to servlet containers
	dropLastParam, // nor of the last segment to Python's urlparse
	slashes,       // \ is / to Windows and IIS
	trim,          // name. and "name " are name to Windows
	cutQuery,      // a decoded path parsed as a URL again
	cutFragment,   // likewise; a reader may do one and not the other
	cutParams,     // ; begins the query to Fastify 4 and restify
	compatible,    // NFKC conversion
	bestFitted,    // best-fit conversion: a reader may do one and not the other
	plus,          // + is a space to decoders made for forms
	dropStream,    // name:x is a stream of name to NTFS
	dropMarkers,   // (S(x)) carries a session to ASP.NET
}

// scriptSteps is what servers of scripts do besides, with a decoded path.
var scriptSteps = []func(string) string{
	afterScript, // /index.php/admin is /admin to a front controller
	skipScript,  // /app/index.php/admin is /app/admin to one in a folder
	toScript,    // and both are the file /index.php to the server
	afterGlued,  // /index.phpadmin is /admin to Symfony, Laravel, Slim and Yii
	skipGlued,   // /app/index.phpadmin is /app/admin to one of them in a folder
}

// undecodedSteps is what a reader may do before it decodes at all. Undecoded
// text is no reading, only on the way to one: Java's URI.normalize resolves the
// last dots of /a/b/%2e%2e/.. and leaves the first to be decoded into a path
// that nobody resolves again.
var undecodedSteps = steps[2:]

// readings returns every path some reader may take the raw path to mean, and
// the index of the primary one: decoded but for %2F and %5C, dots resolved,
// slashes merged. Those from direct on exist by way of a script only. It fails
// if a reading is malformed or there are too many.
func readings(raw string, all []string) (_ []string, primary, direct int, ok bool) {
	var room [maxReadings]string
	undecoded := append(room[:0], raw)
	for i := 0; i < len(undecoded); i++ {
		path := undecoded[i]
		if all, ok = insert(all, decodeKeeping(path)); ok {
			all, ok = insert(all, decode(path))
		}
		if ok {
			undecoded, ok = widen(undecoded, path, undecodedSteps)
		}
		if !ok {
			return nil, 0, 0, false
		}
	}
	for ; direct < len(all); direct++ {
		if all, ok = widen(all, all[direct], steps); !ok {
			return nil, 0, 0, false
		}
	}
	for i := 0; i < len(all); i++ {
		if i >= direct {
			all, ok = widen(all, all[i], steps)
		}
		if ok && (nextScript(all[i], 0) >= 0 || nextGlued(all[i]) >= 0) {
			all, ok = widen(all, all[i], scriptSteps)
		}
		if !ok {
			return nil, 0, 0, false
		}
	}
	first, _ := resolve(all[0])
	return all, slices.Index(all, merge(first)), direct, true
}

// widen adds what resolving and each of the steps make of one path.
func widen(all []string, path string, steps []func(string) string) (_ []string, ok bool) {
	next, ok := resolve(path)
	if !ok {
		return all, false
	}
	if next != path {
		all, ok = insert(all, next)
	}
	for i := 0; ok && i < len(steps); i++ {
		if next = steps[i](path); next != path {
			all, ok = insert(all, next)
		}
	}
	return all, ok
}

// insert adds a reading unless it is known. It fails if the reading is
// malformed or one too many.
func insert(all []string, path string) ([]string, bool) {
	if slices.Contains(all, path) {
		return all, true
	}
	if len(all) == maxReadings || !sound(path) {
		return all, false
	}
	return append(all, path), true
}

// sound refuses what no honest path decodes to: control characters, and bytes
// that are not UTF-8, among them overlong dots and slashes.
func sound(path string) bool {
	ascii := true
	for i := range len(path) {
		c := path[i]
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(path) && !strings.ContainsFunc(path, unicode.IsControl)
}

func decode(path string) string        { return unescape(path, false) }
func decodeKeeping(path string) string { return unescape(path, true) }

// unescape decodes every well-formed escape once. The others are text: they
// come from an earlier decoding, which the raw target did not break.
func unescape(path string, keep bool) string {
	at := strings.IndexByte(path, '%')
	if at < 0 {
		return path
	}
	var out strings.Builder
	out.Grow(len(path))
	out.WriteString(path[:at])
	for i := at; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) && hex(path[i+1]) && hex(path[i+2]) {
			v := unhex(path[i+1])<<4 | unhex(path[i+2])
			if !keep || v != '/' && v != '\\' {
				c = v
				i += 2
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

func plus(path string) string { return strings.ReplaceAll(path, "+", " ") }

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}

// resolve removes dot segments (RFC 3986, 5.2.4). It fails if one climbs above
// the root: what lies there is the reader's guess.
func resolve(path string) (string, bool) {
	if !strings.Contains(path, "/.") {
		return path, true
	}
	out := make([]byte, 0, len(path))
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch segment {
		case "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:bytes.LastIndexByte(out, '/')]
		case ".":
		default:
			out = append(append(out, '/'), segment...)
			continue
		}
		if !more {
			out = append(out, '/')
		}
	}
	if len(out) == 0 {
		return "/", true
	}
	return string(out), true
}

func merge(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	var out strings.Builder
	out.Grow(len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out.WriteByte(path[i])
		}
	}
	return out.String()
}

// dropAuthority takes what follows exactly two slashes for a host.
func dropAuthority(path string) string {
	if !strings.HasPrefix(path, "//") {
		return path
	}
	return fromSlash(path[2:])
}

// dropHost takes what follows two slashes or more for a host.
func dropHost(path string) string {
	if !strings.HasPrefix(path, "//") {
		return path
	}
	return fromSlash(strings.TrimLeft(path, "/"))
}

// dropName takes the longest host name after two slashes for the host, and the
// rest for the path even if no slash begins it.
func dropName(path string) string {
	if !strings.HasPrefix(path, "//") {
		return path
	}
	name, after, more := strings.Cut(path[2:], "/")
	if more {
		after = "/" + after
	}
	name = name[strings.LastIndexByte(name, '@')+1:]
	end := 0
	for end < len(name) && hostByte(name[end]) {
		end++
	}
	rest := name[end:]
	port := strings.HasPrefix(rest, ":") && validPort(rest[1:])
	address := strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]")
	if rest == "" || port || address {
		return fromSlash(after)
	}
	return "/" + rest + after
}

func hostByte(c byte) bool {
	return 'a' <= lower(c) && lower(c) <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._+", c) >= 0 || c >= utf8.RuneSelf
}

func fromSlash(s string) string {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[i:]
	}
	return "/"
}

func dropParams(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	return perSegment(path, func(s string) string {
		s, _, _ = strings.Cut(s, ";")
		return s
	})
}

func dropLastParam(path string) string {
	last := strings.LastIndexByte(path, '/')
	if i := strings.IndexByte(path[last:], ';'); i >= 0 {
		return path[:last+i]
	}
	return path
}

func cutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

func cutFragment(path string) string {
	path, _, _ = strings.Cut(path, "#")
	return path
}

func cutParams(path string) string {
	path, _, _ = strings.Cut(path, ";")
	return path
}

func perSegment(path string, change func(string) string) string {
	var out strings.Builder
	out.Grow(len(path))
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		out.WriteByte('/')
		out.WriteString(change(segment))
	}
	return out.String()
}
