package policy

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// targets collects every target of the decision tables: the seeds.
func targets(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no decision tables: %v", err)
	}
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			asked, _, isRequest := strings.Cut(line, " | ")
			if !isRequest {
				continue
			}
			all = append(all, parseRequest(t, strings.Fields(asked)).Target)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fragments is what attacks on paths are made of.
var fragments = []string{
	"/", "/", "/", "/", "..", "..", ".", "admin", "admin", "/admin", "/file", "/file", "/admin/file", "/x/a", "/public/x/", "/a/b/", "public", "x", "a", "b",
	"%2e", "%2E", "%2f", "%2F", "%5c", "%25", "%252e", "%252f", "%255c", "%3b", "%3f", "%23", "%20",
	"..%2f", "%2e%2e", "%2e%2e%2f", "..;", ";", ";x=1", ";/", "//", "///", "/./", "/../", "/..;/", "/.;/",
	"%61dmin", "Admin", "ADMIN", "%41dmin", "admin.", "admin%20", "%5c..%5c", "evil", "evil:80", "u@evil",
	"%ef%bc%8e", "%ef%bc%8f", "%ef%bc%bc", "%e2%80%a5", "%e2%88%95", "%c2%a0", "%c2%a5", "%ef%bd%81dmin",
	"index.php", "x.cgi/", ".PHP/", "/a.jsp", ".%ef%bd%90hp/", "(S(x))", "/(A(x)F(y))/", "%28s%28x))", "(", ")", ":x", "::$DATA", "%3a", "+", "..+",
	"%00", "%c0%ae", "%c0%af", "|", "[", "]", ":", "@", "~", "+", "=", "&", "%7e", "%u002e", "?", "?/../admin",
}

// attack puts fragments together.
func attack(r *rand.Rand) string {
	var b strings.Builder
	b.WriteByte('/')
	for range 1 + r.IntN(9) {
		b.WriteString(fragments[r.IntN(len(fragments))])
	}
	return b.String()
}

func compareReadings(t *testing.T, target string) {
	t.Helper()
	if target == "" || target[0] != '/' {
		target = "/" + target
	}
	want, wantPrimary, wantOK := naiveReadings(target)
	raw, f := scan(target)
	var got []string
	first, direct, ok := 0, 0, false
	if !f.malformed {
		got, first, direct, ok = readings(raw, nil)
	}
	if ok != wantOK {
		t.Fatalf("%q: got ok %v, want %v", target, ok, wantOK)
	}
	if !ok {
		return
	}
	if len(got) != len(want) || got[first] != wantPrimary {
		t.Errorf("%q: got %d readings and primary %q, want %d and %q", target, len(got), got[first], len(want), wantPrimary)
	}
	for i, path := range got {
		if plain, known := want[path]; !known || plain != (i < direct) {
			t.Errorf("%q: reading %q, direct %v, is not among %v", target, path, i < direct, want)
		}
		if a, b := fold(path), naiveFold(path); a != b {
			t.Errorf("%q: folded %q, want %q", path, a, b)
		}
	}
	if f.plain && (len(got) != 1 || got[0] != raw) {
		t.Errorf("%q counts as plain but reads %q", target, got)
	}
}

func FuzzReadings(f *testing.F) {
	for _, target := range targets(f) {
		f.Add(target)
	}
	f.Fuzz(compareReadings)
}

// TestReadings compares two thousand attacks on every run, the same each
// time.
func TestReadings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		compareReadings(t, attack(r))
	}
}

var (
	fuzzHosts     = []string{"", "", "h.test", "*.test", "*.h.test"}
	fuzzSegments  = []string{"a", "b", "*", "A", "**", "x.php"}
	fuzzMethods   = [][]string{nil, nil, {"GET"}, {"POST"}}
	fuzzUpstreams = []string{"app", "app", "app", "api"}
	fuzzAllow     = []Allow{
		{Audience: Anyone}, {Audience: Authenticated}, {Audience: Nobody},
		{Audience: Roles, Roles: []string{"admin"}}, {Audience: Roles, Roles: []string{"user", "admin"}},
	}
)

// dealer turns bytes into choices, zero when they run out.
type dealer []byte

func (d *dealer) pick(n int) int {
	if len(*d) == 0 {
		return 0
	}
	b := (*d)[0]
	*d = (*d)[1:]
	return int(b) % n
}

// tableOf makes up to six rules of choices.
func tableOf(choices []byte) []Rule {
	d := dealer(choices)
	var rules []Rule
	for len(d) > 0 && len(rules) < 6 {
		r := Rule{
			Host:     fuzzHosts[d.pick(len(fuzzHosts))],
			Methods:  fuzzMethods[d.pick(len(fuzzMethods))],
			Upstream: fuzzUpstreams[d.pick(len(fuzzUpstreams))],
			Allow:    fuzzAllow[d.pick(len(fuzzAllow))],
		}
		for n := d.pick(4); n >= 0; n-- {
			s := fuzzSegments[d.pick(len(fuzzSegments))]
			r.Path += "/" + s
			if s == "**" {
				break
			}
		}
		r.Verified = r.Allow.Audience != Anyone && d.pick(4) == 3
		rules = append(rules, r)
	}
	return rules
}

func compareDecisions(t *testing.T, choices []byte, target string) {
	t.Helper()
	if target == "" || target[0] != '/' {
		target = "/" + target
	}
	rules := tableOf(choices)
	p, err := Compile(rules, Options{Prefix: "/b/own"})
	if got, want := err == nil, naiveValid(rules); got != want {
		t.Fatalf("%+v: compiled %v, want %v: %v", rules, got, want, err)
	}
	if err != nil {
		return
	}
	set, primary, _ := naiveReadings(target)
	for _, host := range []string{"h.test", "g.test", "a.h.test", "elsewhere"} {
		for _, method := range []string{"GET", "HEAD", "POST", "pOST"} {
			r := Request{Method: method, Host: host, Target: target}
			for name, c := range callers {
				d := p.Decide(r, c)
				if want := naiveDecide(rules, "/b/own", r, c, set, primary); d.Code != want || d.OK() != (want == Allowed) {
					t.Errorf("%s %s %s for %s: got %q, want %q by %+v", method, host, target, name, d.Code, want, rules)
				}
				consistent(t, p, r, c)
			}
		}
	}
}

func FuzzMatch(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for i, target := range targets(f) {
		if i%4 == 0 {
			f.Add(choices(r), target)
		}
	}
	f.Fuzz(compareDecisions)
}

func choices(r *rand.Rand) []byte {
	b := make([]byte, 6+r.IntN(40))
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}

// TestMatch compares tables and targets of the same few letters, the same on
// every run.
func TestMatch(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pieces := []string{"/a", "/b", "/A", "/x", "/", "/..", "/.", ";p", "%2f", "/a.", "/b/own", "%20", "/*", "%3f", "/x.php", ".do", ":s", "+", "(S(x))", "/(S(x))"}
	for range 1000 {
		target := ""
		for range 1 + r.IntN(5) {
			target += pieces[r.IntN(len(pieces))]
		}
		compareDecisions(t, choices(r), target)
	}
}
