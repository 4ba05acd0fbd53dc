package gateway

import (
	"net/url"
	"slices"
	"strings"
)

// maxReturnTo bounds a return_to: a longer target is not worth an address bar.
const maxReturnTo = 4 << 10

// returnTo is where to go after signing in: target, if it is one path of this
// host and nothing else, or "/". A browser must read in it what we read, or the
// sign-in page of ours becomes the first step of somebody's phishing.
func returnTo(prefix, target string) string {
	path, _, _ := strings.Cut(target, "?")
	if len(target) > maxReturnTo || !plainASCII(target) || !strings.HasPrefix(path, "/") || strings.Contains(target, "#") {
		return "/"
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	resolved, ok := resolve(path)
	if !ok || leavesHost(path) || leavesHost(resolved) {
		return "/"
	}
	if own, ok := below(prefix, resolved); ok && slices.Contains(notAfterSignIn, own) {
		return "/"
	}
	return target
}

// notAfterSignIn are pages of ours that would send a person in a circle, or out
// again.
var notAfterSignIn = []string{"/login", "/register", "/logout"}

// plainASCII reports whether text is printable ASCII without space or
// backslash: browsers drop tabs and line breaks from addresses and take a
// backslash for a slash.
func plainASCII(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// leavesHost reports whether a path starts like the address of another host.
func leavesHost(path string) bool {
	return len(path) > 1 && (path[1] == '/' || path[1] == '\\')
}

// resolve is path with its escapes decoded and dot segments resolved, as the
// most obliging reader might take it. False if that holds a control byte.
func resolve(path string) (string, bool) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return "", false
	}
	for i := range len(decoded) {
		if c := decoded[i]; c < ' ' || c == 0x7f {
			return "", false
		}
	}
	var out []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(decoded[1:], `\`, "/"), "/") {
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/"), true
}
