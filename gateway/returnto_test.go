package gateway

import (
	"net/url"
	"strings"
	"testing"
)

// kept are targets a person may be sent back to; any other target counts as /.
var kept = []string{
	"/", "/a", "/a/", "/a?b=c", "/a/b?c=d&e=f", "/a?next=//evil.example/", "/a?x=%0d%0a", "/caf%C3%A9", "/a%20b", "/a%2Fb",
	"/a//b", "/proxy/http://host/", "/@user", "/a:b", "/.", "/..", "/./a", "/../a", "/a/..", "/auth/account", "/authority",
	"/auth/logout-all", "/loginx", "/?a", "/;x", "/a?q=a+b", "/~me",
}

// dropped are targets that lead, or could be read to lead, somewhere else.
var dropped = []string{
	"", "a", "evil.example", "?x", "#", "*", ".", "..", "//", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example",
	"/\\/\\/evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "/\r\n/evil.example", "\t//evil.example", " //evil.example", " /a",
	"/%09/evil.example", "/%0a/evil.example", "/%0D%0ASet-Cookie:%20a=b", "/a%00b", "/a%7fb", "/%5cevil.example", "/%5Cevil.example", "/%2fevil.example", "/%2F/evil.example",
	"https:evil.example", "https:/evil.example", "https://evil.example", "https:\\\\evil.example", "http:///evil.example",
	"https://gw@evil.example", "https://gw.evil.example", "https://evil.example#gw", "https://evil.example\\@gw", "//gw@evil.example",
	"javascript:alert(1)", "java\tscript:alert(1)", "data:text/html,x", "vbscript:x", "mailto:x",
	"/.//evil.example", "/..//evil.example", "/a/..//evil.example", "/%2e//evil.example", "/%2e%2e//evil.example", "/a/%2e%2e//evil.example", "/./%2fevil.example", "/a/../\\evil.example",
	"//[::1]", "//2130706433", "/\u00a0/evil.example", "/\u3000/evil.example", "/\ufeff/evil.example", "/\u2028/evil.example", "/é", "\u00a0//evil.example",
	"/a b", "/a\\b", "/a\x7f", "/a\x00", "/a#b", "/#//evil.example", "/%", "/%2", "/%zz", "/a%",
	"/auth/login", "/auth/login?return_to=/a", "/auth/logout", "/auth/register", "/auth/./login", "/a/../auth/logout", "/auth/%6cogin", "/%61uth/logout", "/auth%2flogout",
	"/" + strings.Repeat("a", maxReturnTo),
}

func TestReturnTo(t *testing.T) {
	for _, target := range kept {
		if got := returnTo("/auth", target); got != target {
			t.Errorf("%q: got %q, want it kept", target, got)
		}
	}
	for _, target := range dropped {
		if got := returnTo("/auth", target); got != "/" {
			t.Errorf("%q: got %q, want /", target, got)
		}
	}
}

// browserHost is the host a browser ends up on when it is sent to location from
// a page of gw.example, by the rules of the URL standard that matter here: it
// strips tabs, line breaks and outer spaces, and takes \ for /.
func browserHost(t *testing.T, location string) string {
	t.Helper()
	clean := strings.Map(func(c rune) rune {
		switch c {
		case '\t', '\n', '\r':
			return -1
		case '\\':
			return '/'
		}
		return c
	}, strings.TrimFunc(location, func(c rune) bool { return c <= ' ' }))
	base := &url.URL{Scheme: "https", Host: "gw.example", Path: "/auth/login"}
	u, err := base.Parse(clean)
	if err != nil {
		t.Fatalf("%q: %v", location, err)
	}
	return u.Host
}

func FuzzReturnTo(f *testing.F) {
	for _, target := range append(kept, dropped...) {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got := returnTo("/auth", target)
		if got != target && got != "/" {
			t.Fatalf("%q: got %q, want it as it is or /", target, got)
		}
		if host := browserHost(t, got); host != "gw.example" {
			t.Fatalf("%q: got host %q, want ours", target, host)
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f || got[i] == '\\' {
				t.Fatalf("%q: got byte %q, want none like it", target, got[i])
			}
		}
		// Whoever decodes it once more must not find another host either.
		path, _, _ := strings.Cut(got, "?")
		if again, err := url.PathUnescape(path); err != nil || strings.HasPrefix(again, "//") || strings.HasPrefix(again, `/\`) {
			t.Fatalf("%q decoded: got %q, want one leading slash", got, again)
		}
	})
}
