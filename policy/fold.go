package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

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
