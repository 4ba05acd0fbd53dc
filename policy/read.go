package policy

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	maxPath     = 8 << 10
	maxReadings = 32 // more, and nobody wrote the path in good faith
)

// form is what one scan of a target finds out.
type form struct {
	malformed bool
	plain     bool // every reader reads it alike, but for case
	upper     bool // a plain path has upper-case letters
}

const (
	bad byte = iota
	plainByte
	upperByte
	slashByte
	dotByte
	otherByte
	percentByte
	questionByte
)

// classes holds what may stand in a raw path: RFC 3986's pchar and the slash,
// and [ ] | which browsers leave as they are.
var classes = func() (t [256]byte) {
	for c := range 256 {
		switch b := byte(c); {
		case 'a' <= b && b <= 'z', '0' <= b && b <= '9', b == '-', b == '_', b == '~':
			t[c] = plainByte
		case 'A' <= b && b <= 'Z':
			t[c] = upperByte
		case b < 0x80 && strings.IndexByte("!$&'()*+,;=:@[]|", b) >= 0:
			t[c] = otherByte
		}
	}
	t['/'], t['.'], t['%'], t['?'] = slashByte, dotByte, percentByte, questionByte
	return t
}()

// scan splits the path off a target that starts with a slash, at the first raw
// question mark, and judges its bytes.
func scan(target string) (string, form) {
	f := form{plain: true}
	i, prev := 1, byte('/')
	for ; i < len(target); i++ {
		c := target[i]
		switch classes[c] {
		case plainByte:
		case upperByte:
			f.upper = true
		case slashByte:
			f.plain = f.plain && prev != '/' && prev != '.'
		case dotByte:
			f.plain = f.plain && prev != '/'
		case percentByte:
			if i+2 >= len(target) || !hex(target[i+1]) || !hex(target[i+2]) {
				return "", form{malformed: true}
			}
			f.plain = false
		case otherByte:
			f.plain = false
		case questionByte:
			f.malformed = badQuery(target[i:])
			return sized(target[:i], f, prev)
		default:
			return "", form{malformed: true}
		}
		prev = c
	}
	return sized(target, f, prev)
}

func sized(path string, f form, last byte) (string, form) {
	f.malformed = f.malformed || len(path) > maxPath
	f.plain = f.plain && last != '.'
	return path, f
}

// badQuery finds bytes that could end the request line or the query early. The
// rest of a query is the upstream's affair.
func badQuery(query string) bool {
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return true
		}
	}
	return false
}

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
	cut,           // a decoded path parsed as a URL again
	forms,         // NFKC and best-fit conversion
}

// undecodedSteps is what a reader may do before it decodes at all. Undecoded
// text is no reading, only on the way to one: Java's URI.normalize resolves the
// last dots of /a/b/%2e%2e/.. and leaves the first to be decoded into a path
// that nobody resolves again.
var undecodedSteps = steps[2:]

// readings returns every path some reader may take the raw path to mean, and
// the index of the primary one: decoded but for %2F and %5C, dots resolved,
// slashes merged. It fails if a reading is malformed or there are too many.
func readings(raw string, all []string) (_ []string, primary int, ok bool) {
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
			return nil, 0, false
		}
	}
	for i := 0; i < len(all); i++ {
		if all, ok = widen(all, all[i], steps); !ok {
			return nil, 0, false
		}
	}
	first, _ := resolve(all[0])
	return all, slices.Index(all, merge(first)), true
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
	out := append(make([]byte, 0, len(path)), path[:at]...)
	for i := at; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) && hex(path[i+1]) && hex(path[i+2]) {
			v := unhex(path[i+1])<<4 | unhex(path[i+2])
			if !keep || v != '/' && v != '\\' {
				c = v
				i += 2
			}
		}
		out = append(out, c)
	}
	return string(out)
}

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
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
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

func slashes(path string) string { return strings.ReplaceAll(path, `\`, "/") }

func cut(path string) string {
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	return path
}

// trim drops the dots and spaces that end a segment. A dot segment stays one,
// also with spaces behind it.
func trim(path string) string {
	if !trimmable(path) {
		return path
	}
	return perSegment(path, func(s string) string {
		if dots := strings.TrimRightFunc(s, unicode.IsSpace); dots == "." || dots == ".." {
			return dots
		}
		return strings.TrimRightFunc(s, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
	})
}

// trimmable spares the usual path the work: some segment ends in a dot, a space
// or something outside ASCII.
func trimmable(path string) bool {
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if c := path[i-1]; c == '.' || c == ' ' || c >= utf8.RuneSelf {
				return true
			}
		}
	}
	return false
}

func perSegment(path string, change func(string) string) string {
	out := make([]byte, 0, len(path))
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		out = append(append(out, '/'), change(segment)...)
	}
	return string(out)
}

// forms replaces the characters that compatibility or best-fit conversion turns
// into one with a meaning in paths.
func forms(path string) string {
	if ascii(path) {
		return path
	}
	var b strings.Builder
	for _, r := range path {
		b.WriteString(form1(r))
	}
	return b.String()
}

const meaningful = `./\;?#%`

func form1(r rune) string {
	if r < utf8.RuneSelf {
		return string(r)
	}
	if f, ok := bestFit[r]; ok {
		return f
	}
	if f := norm.NFKC.String(string(r)); strings.ContainsAny(f, meaningful) {
		return f
	}
	return string(r)
}

// bestFit holds what code pages of Windows make of characters that Unicode
// gives no such decomposition; the yen and won signs are backslashes there.
var bestFit = map[rune]string{
	'\u2044': "/", '\u2215': "/",
	'\u2216': `\`, '\u20e5': `\`, '\u00a5': `\`, '\u20a9': `\`,
	'\u066a': "%",
}

// fold makes two spellings of a path equal that a reader without regard to case
// may take for the same: upper then lower, because some compare one way and
// some the other; compatibility forms; no invisible characters.
func fold(s string) string {
	if ascii(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for _, r := range norm.NFKC.String(s) {
		switch r = unicode.ToLower(unicode.ToUpper(r)); {
		case r == 'ß':
			b.WriteString("ss")
		case !invisible(r):
			b.WriteRune(r)
		}
	}
	return norm.NFKC.String(b.String())
}

func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// equalLower reports whether s, lower-cased, is the lower-case text.
func equalLower(s, text string) bool {
	for i := range len(s) {
		if lower(s[i]) != text[i] {
			return false
		}
	}
	return len(s) == len(text)
}
