package policy

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// forms is every character that some conversion turns into one with a meaning in
// paths, replaced.
func forms(path string) string { return compatible(bestFitted(path)) }

// compatible replaces what NFKC turns into a character with a meaning in paths.
func compatible(path string) string {
	if ascii(path) {
		return path
	}
	var out strings.Builder
	for i, r := range path {
		if r < utf8.RuneSelf {
			out.WriteByte(byte(r))
		} else {
			out.WriteString(form1(path[i : i+utf8.RuneLen(r)]))
		}
	}
	return out.String()
}

// bestFitted does the same for the code pages of Windows. It is a step of its
// own: a reader that does one of the two finds another number of segments than
// one that does both, and .. leads it elsewhere.
func bestFitted(path string) string {
	if ascii(path) {
		return path
	}
	var out strings.Builder
	for _, r := range path {
		wide := r - 0xfee0 // full-width forms of ASCII
		switch plain, ok := bestFit[r]; {
		case ok:
			out.WriteString(plain)
		case '!' <= wide && wide <= '~' && strings.ContainsRune(meaningful, wide):
			out.WriteByte(byte(wide))
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

const meaningful = `./\;?#%`

// form1 is the compatibility form of one character if that has a meaning.
func form1(char string) string {
	if f := norm.NFKC.PropertiesString(char).Decomposition(); bytes.ContainsAny(f, meaningful) {
		return norm.NFC.String(string(f))
	}
	return char
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
