package policy

import "strings"

const maxPath = 8 << 10

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
	dot := -maxEnding - 2 // the last one, at first far off
	for ; i < len(target); i++ {
		c := target[i]
		switch classes[c] {
		case plainByte:
		case upperByte:
			f.upper = true
		case slashByte:
			f.plain = f.plain && prev != '/' && prev != '.'
			if i-dot <= maxEnding+1 && script(target[dot+1:i]) {
				f.plain = false
			}
		case dotByte:
			f.plain = f.plain && prev != '/' && !glued(target[i+1:])
			dot = i
		case percentByte:
			if i+2 >= len(target) || !hex(target[i+1]) || !hex(target[i+2]) {
				return "", form{malformed: true}
			}
			f.plain = false
		case otherByte:
			f.plain = false
			f.malformed = f.malformed || c == '|' && target[1] == '/' // which goes out by net/url, and that encodes it
		case questionByte:
			f.malformed = f.malformed || badQuery(target[i:])
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
