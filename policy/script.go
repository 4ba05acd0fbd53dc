package policy

import "strings"

// scripts are the endings by which servers know a program. They run it for
// everything below its name, and it takes what follows for the path
// (PATH_INFO; RFC 3875, 4.1.5).
var scripts = map[string]bool{
	"php": true, "php5": true, "phtml": true, "phar": true,
	"cgi": true, "fcgi": true, "pl": true, "py": true, "rb": true, "wsgi": true,
	"asp": true, "aspx": true, "ashx": true,
	"jsp": true, "do": true, "cfm": true,
}

// maxEnding is the longest of them in full-width letters.
const maxEnding = 15

// script says whether an ending, without its dot, is one of a script. Case does
// not matter.
func script(ending string) bool {
	if len(ending) > maxEnding {
		return false
	}
	if !ascii(ending) {
		return scripts[fold(ending)]
	}
	var room [maxEnding]byte // a plain path needs no memory
	for i := range len(ending) {
		room[i] = lower(ending[i])
	}
	return scripts[string(room[:len(ending)])]
}

// nextScript finds the slash behind the next script from a position on, or -1.
func nextScript(path string, from int) int {
	for {
		dot := strings.IndexByte(path[from:], '.')
		if dot < 0 {
			return -1
		}
		from += dot + 1
		near := path[from:min(from+maxEnding+1, len(path))]
		if n := strings.IndexByte(near, '/'); n >= 0 && script(near[:n]) {
			return from + n
		}
	}
}

// afterScript is what a front controller gets to see.
func afterScript(path string) string {
	if end := nextScript(path, 0); end >= 0 {
		return path[end:]
	}
	return path
}

// skipScript leaves out the first script, the one a server finds that walks
// down the path: a front controller in a folder routes what lies in it.
func skipScript(path string) string {
	end := nextScript(path, 0)
	if end < 0 {
		return path
	}
	return path[:strings.LastIndexByte(path[:end], '/')] + path[end:]
}

// toScript ends the path at its last script that has something behind it.
func toScript(path string) string {
	last := -1
	for end := nextScript(path, 0); end >= 0; end = nextScript(path, end) {
		last = end
	}
	if last < 0 {
		return path
	}
	return path[:last]
}

const php = "php"

// nextGlued finds the end of the first PHP script that has more of a name right
// behind it, as in /index.phpadmin, or -1. The server takes that for one name and
// has its front controller answer; and that one cuts its own name off the path
// without asking for a slash.
func nextGlued(path string) int {
	for at := 1; ; {
		dot := strings.IndexByte(path[at:], '.')
		if dot < 0 {
			return -1
		}
		at += dot + 1
		if path[at-2] != '/' && glued(path[at:]) {
			return at + len(php)
		}
	}
}

// glued says whether what follows a dot is php with a name right behind it: not
// another ending, as in index.php.bak and index.php5, nor what begins no name.
func glued(s string) bool {
	if len(s) <= len(php) || !equalLower(s[:len(php)], php) || strings.IndexByte("/.?#;%", s[len(php)]) >= 0 {
		return false
	}
	ending, _, _ := strings.Cut(s, "/")
	return !script(ending)
}

// afterGlued is afterScript for such a name.
func afterGlued(path string) string {
	if end := nextGlued(path); end >= 0 {
		return "/" + path[end:]
	}
	return path
}

// skipGlued is skipScript for such a name.
func skipGlued(path string) string {
	end := nextGlued(path)
	if end < 0 {
		return path
	}
	return path[:strings.LastIndexByte(path[:end], '/')+1] + path[end:]
}
