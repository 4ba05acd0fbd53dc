package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What Windows, IIS and ASP.NET make of a path.

func slashes(path string) string { return strings.ReplaceAll(path, `\`, "/") }

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

// dropStream leaves of a segment the name of the file: what follows its colon
// names a stream, and /admin::$INDEX_ALLOCATION is the folder /admin.
func dropStream(path string) string {
	if strings.IndexByte(path, ':') < 0 {
		return path
	}
	return perSegment(path, func(s string) string {
		s, _, _ = strings.Cut(s, ":")
		return s
	})
}

// dropMarkers removes what ASP.NET writes into paths for browsers without
// cookies, and drops a segment that is nothing else.
func dropMarkers(path string) string {
	if strings.IndexByte(path, '(') < 0 {
		return path
	}
	var out strings.Builder
	out.Grow(len(path))
	for segment := range strings.SplitSeq(path[1:], "/") {
		if left := unmarked(segment); left != "" || segment == "" {
			out.WriteByte('/')
			out.WriteString(left)
		}
	}
	if out.Len() == 0 {
		return "/"
	}
	return out.String()
}

func unmarked(s string) string {
	var out strings.Builder
	kept := 0
	for at := 0; at < len(s); {
		open := strings.IndexByte(s[at:], '(')
		if open < 0 {
			break
		}
		open += at
		end, ok := marker(s, open)
		if ok {
			out.WriteString(s[kept:open])
			kept = end
		}
		at = end
	}
	if kept == 0 {
		return s
	}
	return out.String() + s[kept:]
}

// marker reads (X(...)), or several X(...) within one pair, from an opening
// parenthesis on. It returns where the marker ends, or else where the next one
// may begin: never inside what was read, so that reading stays linear.
func marker(s string, open int) (end int, ok bool) {
	for i := open + 1; ; {
		name := i
		for i < len(s) && 'a' <= lower(s[i]) && lower(s[i]) <= 'z' {
			i++
		}
		switch {
		case i == len(s):
			return i, false
		case i == name && i > open+1 && s[i] == ')':
			return i + 1, true
		case i == name || s[i] != '(':
			return i, false
		}
		shut := strings.IndexByte(s[i:], ')')
		if shut < 0 {
			return len(s), false
		}
		i += shut + 1
	}
}
