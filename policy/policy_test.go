package policy

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// What nobody set must not open a door.
func TestZeroValuesRefuse(t *testing.T) {
	if (Decision{}).OK() {
		t.Error("the zero Decision is a yes")
	}
	if (Match{}).Decide(callers["admin"]).OK() {
		t.Error("the zero Match is a yes")
	}
	var none *Policy
	if d := none.Decide(Request{Method: "GET", Target: "/"}, callers["admin"]); d.OK() || d.Code != NoRoute {
		t.Errorf("no policy: got %+v", d)
	}
	if d := compile(t, nil, Options{}).Decide(Request{Method: "GET", Target: "/"}, callers["admin"]); d.OK() || d.Code != NoRoute {
		t.Errorf("no rules: got %+v", d)
	}
}

func TestPlainPathAllocatesNothing(t *testing.T) {
	p := compile(t, table(1000), Options{Prefix: "/auth"})
	cased := compile(t, append(table(1000), open("/Case"), on("*.example.com", "/x")), Options{Prefix: "/auth"})
	for _, target := range []string{plainTarget, "/service-1/Items/4711?x", "/", "/nowhere/in/particular", "/v1.2/A.Example/b.HTML/x.PHP"} {
		for _, policy := range []*Policy{p, cased} {
			r := Request{Method: "GET", Host: "app.example.com:8080", Target: target}
			if got := testing.AllocsPerRun(100, func() { policy.Decide(r, caller) }); got != 0 {
				t.Errorf("%s: got %v allocations, want 0", target, got)
			}
		}
	}
}

func TestMatchSays(t *testing.T) {
	p := compile(t, []Rule{open("/**"), with("/items", "POST", "GET"), with("/items", "HEAD"), with("/none", "PUT")}, Options{Prefix: "/auth"})
	tests := []struct {
		name              string
		method, host, raw string
		wantRule          int
		wantCode          Code
		wantHost, wantRaw string
		wantMethods       string
	}{
		{"origin-form", "GET", "H.test:80", "/a//%2e/b;c?d=/../e", 0, Allowed, "h.test", "/a//%2e/b;c?d=/../e", "DELETE GET HEAD OPTIONS PATCH POST PUT"},
		{"absolute-form", "GET", "other.test", "http://H.test:80/a?b", 0, Allowed, "h.test", "/a?b", "DELETE GET HEAD OPTIONS PATCH POST PUT"},
		{"absolute-form without path", "GET", "", "https://h.test?b", 0, Allowed, "h.test", "/?b", "DELETE GET HEAD OPTIONS PATCH POST PUT"},
		{"methods", "GET", "h.test", "/items", 1, Allowed, "h.test", "/items", "GET HEAD POST"},
		{"method not allowed", "OPTIONS", "h.test", "/none", -1, MethodNotAllowed, "h.test", "/none", "PUT"},
		{"lower-case method", "put", "h.test", "/none", -1, Malformed, "h.test", "/none", ""},
		{"malformed", "GET", "h.test", "/%", -1, Malformed, "h.test", "/%", ""},
		{"bad host", "GET", "h test", "/", -1, Malformed, "", "", ""},
		{"our prefix", "GET", "h.test", "/auth/x", -1, InsufficientRole, "h.test", "/auth/x", ""},
		{"method of an ambiguous path", "GET", "h.test", "/x/..%2fnone", 0, Allowed, "h.test", "/x/..%2fnone", "DELETE GET HEAD OPTIONS PATCH POST PUT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := p.Match(Request{Method: tt.method, Host: tt.host, Target: tt.raw})
			if m.Rule != tt.wantRule || m.Code != tt.wantCode || m.Host != tt.wantHost || m.Target != tt.wantRaw {
				t.Errorf("got %d %q %q %q, want %d %q %q %q", m.Rule, m.Code, m.Host, m.Target, tt.wantRule, tt.wantCode, tt.wantHost, tt.wantRaw)
			}
			if got := strings.Join(m.Methods(), " "); got != tt.wantMethods {
				t.Errorf("methods: got %q, want %q", got, tt.wantMethods)
			}
		})
	}
}

// Our own endpoints stay ours in every spelling, and whatever the prefix's.
func TestPrefixIgnoresCase(t *testing.T) {
	p := compile(t, []Rule{open("/**")}, Options{Prefix: "/Auth"})
	for target, want := range map[string]Code{
		"/Auth": InsufficientRole, "/Auth/x": InsufficientRole, "/x/../Auth/x": InsufficientRole,
		"/auth": Ambiguous, "/AUTH/x": Ambiguous, "/%61uth": Ambiguous, "//h/auth": Ambiguous,
		"/Authors": Allowed, "/": Allowed, "/x/Auth": Allowed,
	} {
		if d := p.Decide(Request{Method: "GET", Target: target}, callers["admin"]); d.Code != want {
			t.Errorf("%s: got %q, want %q", target, d.Code, want)
		}
	}
}

// The long paths that have taken parsers down are refused or decided at once.
// The bound is far above what a busy machine needs.
func TestHugePaths(t *testing.T) {
	p := compile(t, table(100), Options{})
	for name, target := range map[string]string{
		"20 kB":          "/" + strings.Repeat("a", 20_000),
		"climbing":       "/" + strings.Repeat("../", 3000),
		"parameters":     "/" + strings.Repeat(";a", 5000),
		"slashes":        strings.Repeat("/", 8000),
		"dots":           strings.Repeat("/.", 4000),
		"nested escapes": "/" + "%" + strings.Repeat("25", 4000) + "2e",
		"all at once":    "/" + strings.Repeat("a.;x%252f//", 700),
		"full-width":     "/" + strings.Repeat("%ef%bc%8e", 900),
		"scripts":        strings.Repeat("/a.php", 1300),
		"endings":        "/" + strings.Repeat(".a", 4000) + "+:/x",
		"open markers":   "/+:" + strings.Repeat("(S(", 2700),
		"nested markers": "/+:" + strings.Repeat("(S(", 1300) + "x)" + strings.Repeat("S(x)", 1000),
		"streams":        "/" + strings.Repeat("a:b+/", 1600),
	} {
		start := time.Now()
		d := p.Decide(Request{Method: "GET", Target: target}, caller)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if len(target) > maxPath && d.Code != Malformed {
			t.Errorf("%s: got %q, want %q", name, d.Code, Malformed)
		}
	}
}

// What is odd but legal stays cheap to read, far below the bound, and goes on
// byte for byte.
func TestOddButLegalIsUntouched(t *testing.T) {
	text, err := os.ReadFile("testdata/odd-but-legal.txt")
	if err != nil {
		t.Fatal(err)
	}
	p, seen := compile(t, []Rule{open("/**")}, Options{Prefix: "/auth"}), 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "GET ") {
			continue
		}
		seen++
		target := strings.Fields(line)[1]
		all, first, _, ok := readings(target, nil)
		if !ok || len(all) > maxReadings/2 {
			t.Errorf("%s: got %d readings %v, want at most %d", target, len(all), ok, maxReadings/2)
			continue
		}
		if want := unescape(target, true); all[first] != want && all[first] != merge(want) {
			t.Errorf("%s: got primary %q, want %q", target, all[first], want)
		}
		m := p.Match(Request{Method: "GET", Host: "h.test", Target: target + "?q=/../a+b"})
		if !m.Decide(Caller{}).OK() || m.Target != target+"?q=/../a+b" {
			t.Errorf("%s: got %q and target %q", target, m.Code, m.Target)
		}
	}
	if seen < 20 {
		t.Errorf("the table has %d requests; is it being read?", seen)
	}
}

// Only a slash or a name behind a script sends a plain path to the full reading.
func TestPlainPaths(t *testing.T) {
	for path, want := range map[string]bool{
		"/a.php": true, "/a.php?/b": true, "/a.pyx/b": true, "/php/b": true, "/a.php.bak": true, "/a.php5": true, "/.phpx": false, "/v1.2/b": true, "/a.example.org/b": true, "/a/b.c.d/e/f": true,
		"/a.php/": false, "/a.php/b": false, "/a.phpx/b": false, "/A.PHPx": false, "/A.PhP5/b": false, "/x/y.phtml/z": false, "/a.b.cgi/c": false, "/.do/c": false, "/a+b": false, "/a:b": false, "/(a)": false,
	} {
		if _, f := scan(path); f.malformed || f.plain != want {
			t.Errorf("%s: got %+v, want plain %v", path, f, want)
		}
	}
	for ending := range scripts {
		if _, f := scan("/a." + strings.ToUpper(ending) + "/b"); f.plain {
			t.Errorf("%s counts as plain", ending)
		}
	}
}

// A rule names a script only where no star may stand for another one before it.
func TestPatternNamesScript(t *testing.T) {
	for path, want := range map[string]bool{
		"/index.php/**": true, "/a/Run.CGI/*": true, "/a.php/b": true,
		"/index.php": false, "/**": false, "/a/**": false, "/*/index.php/**": false, "/a/index.php": false,
	} {
		p, err := parsePath(path)
		if err != nil || p.script != want {
			t.Errorf("%s: got %+v %v, want script %v", path, p, err, want)
		}
	}
}

// A long query is no path, and is passed on.
func TestLongQueryIsNoLongPath(t *testing.T) {
	p := compile(t, []Rule{open("/**")}, Options{})
	r := Request{Method: "GET", Target: "/saml?SAMLRequest=" + strings.Repeat("a", 2*maxPath)}
	if d := p.Decide(r, Caller{}); !d.OK() {
		t.Errorf("got %q, want allowed", d.Code)
	}
}

// Every character that Unicode's compatibility forms turn into one with a
// meaning in paths is one we turn, too.
func TestFormsCoverUnicode(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		s := string(r)
		if !strings.ContainsAny(norm.NFKC.String(s), meaningful) && !strings.ContainsAny(norm.NFKD.String(s), meaningful) {
			continue
		}
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		if !strings.ContainsAny(forms("/" + s)[1:], meaningful) {
			t.Errorf("%U %s is left as it is", r, s)
		}
	}
}

// Two spellings a reader may take for one fold to one.
func TestFold(t *testing.T) {
	for _, same := range [][]string{
		{"/admin", "/ADMIN", "/aDmIn", "/adm\u0131n", "/ADM\u0130N", "/\uff41dmin", "/ad\u200bmin", "/ad\u00admin", "/admin\ufe0f", "/\U0001d400dmin"},
		{"/task", "/tas\u212a", "/ta\u017fk"},
		{"/straße", "/STRASSE", "/STRA\u1e9eE"},
		{"/ﬁle", "/file"},
		{"/é", "/e\u0301", "/É"},
		{"/σ", "/ς", "/Σ"},
	} {
		for _, s := range same {
			if got, want := fold(s), fold(same[0]); got != want {
				t.Errorf("fold(%q): got %q, want %q", s, got, want)
			}
			if once := fold(s); fold(once) != once {
				t.Errorf("fold(%q) is not its own fold", once)
			}
		}
	}
}

// The closure of short paths, by hand.
func TestReadingsByHand(t *testing.T) {
	tests := []struct {
		raw, primary string
		others       []string
	}{
		{"/a/b", "/a/b", nil},
		{"/%61", "/a", nil},
		{"/a%2fb", "/a%2fb", []string{"/a/b"}},
		{"/a/../b", "/b", []string{"/a/../b"}},
		{"/a%2f../b", "/a%2f../b", []string{"/a/../b", "/b", "/a%2f/b", "/a//b", "/a/b"}},
		{"//h/b", "/h/b", []string{"//h/b", "/b"}},
		{"/a;x/b", "/a;x/b", []string{"/a/b", "/a"}},
		{"/a;x/b;y", "/a;x/b;y", []string{"/a/b", "/a;x/b", "/a"}},
		{"/a%5cb", "/a%5cb", []string{`/a\b`, "/a/b"}},
		{"/a./b%20", "/a./b ", []string{"/a/b", "/a/b "}},
		{"/a/b/%2e%2e/..", "/", []string{"/a/b/../..", "/a/b/"}},
		{"/a/b/..%3b/..;/c", "/a/b/..;/..;/c", []string{"/a/b/..;/../c", "/a/b/c", "/a/b/../../c", "/c", "/a/b/..;/..", "/a/b/", "/a/b/../..", "/", "/a/b/..", "/a/"}},
		{"//h%61", "/ha", []string{"//ha", "/", "/a"}},
		{"/a%3fb", "/a?b", []string{"/a"}},
		{"/a%23b%3fc", "/a#b?c", []string{"/a#b", "/a"}},
		{"/a:b:c/d", "/a:b:c/d", []string{"/a/d"}},
		{"/a+b/c+", "/a+b/c+", []string{"/a b/c ", "/a b/c"}},
		{"/(S(x))/a", "/(S(x))/a", []string{"/a"}},
		{"/a/(A(x)F(y))", "/a/(A(x)F(y))", []string{"/a"}},
		{"/a(S(x))b(T())/(1)(U)", "/a(S(x))b(T())/(1)(U)", []string{"/ab/(1)(U)"}},
		{"/i.php/a", "/i.php/a", []string{"/a", "/i.php"}},
		{"/a/i.PHP/b", "/a/i.PHP/b", []string{"/b", "/a/b", "/a/i.PHP"}},
		{"/i.php", "/i.php", nil},
		{"/i.php/", "/i.php/", []string{"/", "/i.php"}},
		{"/i.phpx/a", "/i.phpx/a", []string{"/x/a"}},
		{"/a/i.PHPx", "/a/i.PHPx", []string{"/x", "/a/x"}},
		{"/i.php.bak", "/i.php.bak", nil},
		{"/i.php5", "/i.php5", nil},
		{"/a/.phpx", "/a/.phpx", nil},
		{"/i.php%2fa", "/i.php%2fa", []string{"/i.php/a", "/a", "/i.php"}},
		{"/a.py/b.rb/c", "/a.py/b.rb/c", []string{"/b.rb/c", "/c", "/b.rb", "/a.py/b.rb", "/a.py"}},
	}
	for _, tt := range tests {
		all, first, _, ok := readings(tt.raw, nil)
		want := append([]string{tt.primary}, tt.others...)
		if !ok || all[first] != tt.primary {
			t.Errorf("%s: got %q %v, want primary %q", tt.raw, all, ok, tt.primary)
			continue
		}
		got := slices.Clone(all)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tt.raw, got, want)
		}
	}
	for _, raw := range []string{"/..", "/a/%2e%2e/..", "/..;/a", "/%ef%bc%8e%ef%bc%8e/b", "/a/..%252f..%252fb", "/..%20/a"} {
		if all, _, _, ok := readings(raw, nil); ok {
			t.Errorf("%s: a reading climbs above the root, and yet: %q", raw, all)
		}
	}
}
