package policy

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A second opinion, slow and dumb: readings by regular expressions, owners by
// comparing sets of paths. It shares no code with what it is compared to; where
// the two differ one of them is wrong.

var (
	rawPath   = regexp.MustCompile(`^/(?:[A-Za-z0-9._~!$&'()*+,;=:@/\[\]|-]|%[0-9A-Fa-f]{2})*$`)
	rawQuery  = regexp.MustCompile(`^[^\x00-\x20\x7f#]*$`)
	escape    = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	runs      = regexp.MustCompile(`/+`)
	authority = regexp.MustCompile(`^//[^/]*`)
	hostPart  = regexp.MustCompile(`^//+[^/]*`)
	hostName  = regexp.MustCompile(`^//(?:[^/]*@)?(?:(?:[a-zA-Z0-9._+\x{80}-\x{10ffff}-]*(?::[0-9]{0,5})?|\[[^/]*\])(/|$)|[a-zA-Z0-9._+\x{80}-\x{10ffff}-]*)`)
	params    = regexp.MustCompile(`;[^/]*`)
	fromParam = regexp.MustCompile(`(?s);.*`)
	lastParam = regexp.MustCompile(`;[^/]*$`)
	question  = regexp.MustCompile(`(?s)\?.*`)
	hash      = regexp.MustCompile(`(?s)#.*`)
	spaces    = regexp.MustCompile(`\p{Z}+$`)
	trailing  = regexp.MustCompile(`[.\p{Z}]+$`)
	stream    = regexp.MustCompile(`:[^/]*`)
	session   = regexp.MustCompile(`\((?:[a-zA-Z]+\([^)]*\))+\)`)
	program   = regexp.MustCompile(`^(?:php5?|phtml|phar|wsgi|f?cgi|p[ly]|rb|aspx?|ashx|jsp|do|cfm)$`)
	handing   = regexp.MustCompile(`^[^*]*\.(?i:php5?|phtml|phar|wsgi|f?cgi|p[ly]|rb|aspx?|ashx|jsp|do|cfm)/.`)
	joined    = regexp.MustCompile(`\.(?i:php)`)
	small     = regexp.MustCompile(`[\p{Ll}\x{80}-\x{10ffff}]`)
)

// naiveReadings is every reading: true for one that needs no script, false for
// one that exists by way of a script only.
func naiveReadings(target string) (set map[string]bool, primary string, ok bool) {
	set, primary, ok = naiveClosure(target, true)
	if !ok {
		return nil, "", false
	}
	plain, _, _ := naiveClosure(target, false)
	for path := range set {
		set[path] = plain[path]
	}
	return set, primary, true
}

// naiveClosure is the closure written as recursion over a set.
func naiveClosure(target string, programs bool) (set map[string]bool, primary string, ok bool) {
	raw, query, _ := strings.Cut(target, "?")
	if strings.HasPrefix(raw, "//") && strings.Contains(raw, "|") {
		return nil, "", false // cannot be forwarded byte for byte
	}
	if !rawPath.MatchString(raw) || !rawQuery.MatchString(query) || len(raw) > 8192 {
		return nil, "", false
	}
	set, ok = map[string]bool{}, true
	before := map[string]bool{} // not decoded yet
	var visit, approach func(path string)
	approach = func(path string) {
		path = "/" + strings.TrimPrefix(path, "/")
		if !ok || before[path] {
			return
		}
		resolved, fine := naiveResolve(path)
		if len(before) == 32 || !fine {
			ok = false
			return
		}
		before[path] = true
		visit(naiveDecode(path, true))
		visit(naiveDecode(path, false))
		approach(resolved)
		approach(runs.ReplaceAllString(path, "/"))
		approach(authority.ReplaceAllString(path, ""))
		approach(hostPart.ReplaceAllString(path, ""))
		approach(hostName.ReplaceAllString(path, "$1"))
		approach(params.ReplaceAllString(path, ""))
		approach(lastParam.ReplaceAllString(path, ""))
		approach(fromParam.ReplaceAllString(path, ""))
		approach(naiveTrim(path))
		for _, other := range naiveServers(path) {
			approach(other)
		}
	}
	visit = func(path string) {
		path = "/" + strings.TrimPrefix(path, "/")
		if !ok || set[path] {
			return
		}
		if len(set) == 32 || !naiveSound(path) {
			ok = false
			return
		}
		set[path] = true
		resolved, fine := naiveResolve(path)
		if !fine {
			ok = false
			return
		}
		visit(resolved)
		visit(naiveDecode(path, false))
		visit(naiveDecode(path, true))
		visit(runs.ReplaceAllString(path, "/"))
		visit(authority.ReplaceAllString(path, ""))
		visit(hostPart.ReplaceAllString(path, ""))
		visit(hostName.ReplaceAllString(path, "$1"))
		visit(params.ReplaceAllString(path, ""))
		visit(lastParam.ReplaceAllString(path, ""))
		visit(fromParam.ReplaceAllString(path, ""))
		visit(strings.Join(strings.Split(path, `\`), "/"))
		visit(question.ReplaceAllString(path, ""))
		visit(hash.ReplaceAllString(path, ""))
		visit(naiveTrim(path))
		visit(naiveNFKC(path))
		visit(naiveBestFit(path))
		for _, other := range naiveServers(path) {
			visit(other)
		}
		for _, other := range naivePrograms(path) {
			if programs {
				visit(other)
			}
		}
	}
	approach(raw)
	if !ok {
		return nil, "", false
	}
	primary, _ = naiveResolve(naiveDecode(raw, true))
	return set, runs.ReplaceAllString(primary, "/"), true
}

func naiveSound(path string) bool {
	if !utf8.ValidString(path) {
		return false
	}
	for _, r := range path {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return false
		}
	}
	return true
}

func naiveDecode(path string, keep bool) string {
	return escape.ReplaceAllStringFunc(path, func(e string) string {
		const digits = "0123456789abcdef"
		low := strings.ToLower(e)
		v := strings.IndexByte(digits, low[1])*16 + strings.IndexByte(digits, low[2])
		if keep && (low == "%2f" || low == "%5c") {
			return e
		}
		return string([]byte{byte(v)})
	})
}

func naiveResolve(path string) (string, bool) {
	var stack []string
	segments := strings.Split(path, "/")[1:]
	for i, s := range segments {
		last := i == len(segments)-1
		if s == ".." {
			if len(stack) == 0 {
				return "", false
			}
			stack = stack[:len(stack)-1]
		} else if s != "." {
			stack = append(stack, s)
			continue
		}
		if last {
			stack = append(stack, "")
		}
	}
	return "/" + strings.Join(stack, "/"), true
}

func naiveTrim(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch bare := spaces.ReplaceAllString(s, ""); bare {
		case ".", "..":
			segments[i] = bare
		default:
			segments[i] = trailing.ReplaceAllString(s, "")
		}
	}
	return strings.Join(segments, "/")
}

// naiveServers is what some make of plus signs, streams, and sessions in the
// path.
func naiveServers(path string) []string {
	var bare []string
	for _, s := range strings.Split(path, "/") {
		if left := session.ReplaceAllString(s, ""); left != "" || s == "" {
			bare = append(bare, left)
		}
	}
	return []string{
		strings.Join(strings.Split(path, "+"), " "),
		stream.ReplaceAllString(path, ""),
		strings.Join(bare, "/"),
	}
}

// naivePrograms is the paths around each script: what it is handed, itself, and
// for the first what is left without it.
func naivePrograms(path string) (all []string) {
	segments := strings.Split(path, "/")
	for i, s := range segments[:len(segments)-1] {
		parts := strings.Split(s, ".")
		ending := parts[len(parts)-1]
		if len(parts) == 1 || len(ending) > 15 || !program.MatchString(naiveFold(ending)) {
			continue
		}
		before, behind := strings.Join(segments[:i], "/"), "/"+strings.Join(segments[i+1:], "/")
		if all == nil {
			all = append(all, before+behind)
		}
		all = append(all, behind, before+"/"+s)
	}
	return append(all, naiveGlued(segments)...)
}

// naiveGlued is what is left of a path behind the first PHP script that a name
// is glued to, at the root and in the script's folder.
func naiveGlued(segments []string) []string {
	for i, s := range segments {
		for _, at := range joined.FindAllStringIndex(s, -1) {
			ending, rest := s[at[0]+1:], s[at[1]:]
			if at[0] == 0 || rest == "" || strings.ContainsAny(rest[:1], ".?#;%") || len(ending) <= 15 && program.MatchString(naiveFold(ending)) {
				continue
			}
			behind := strings.Join(append([]string{rest}, segments[i+1:]...), "/")
			return []string{"/" + behind, strings.Join(segments[:i], "/") + "/" + behind}
		}
	}
	return nil
}

func naiveNFKC(path string) string {
	out := ""
	for _, r := range path {
		if s := norm.NFKD.String(string(r)); r >= 0x80 && strings.ContainsAny(s, `./\;?#%`) {
			out += norm.NFC.String(s)
		} else {
			out += string(r)
		}
	}
	return out
}

func naiveBestFit(path string) string {
	return strings.NewReplacer("\u2044", "/", "\u2215", "/", "\u2216", `\`, "\u20e5", `\`, "\u00a5", `\`, "\u20a9", `\`, "\u066a", "%",
		"．", ".", "／", "/", "＼", `\`, "；", ";", "？", "?", "＃", "#", "％", "%").Replace(path)
}

func naiveFold(s string) string {
	s = strings.ToLower(strings.ToUpper(norm.NFKC.String(s)))
	s = strings.ReplaceAll(s, "ß", "ss")
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, s)
	return norm.NFKC.String(s)
}

// covers says whether a pattern as written matches a path.
func covers(written, path string) bool {
	pattern := strings.Split(strings.TrimSuffix(written, "/"), "/")[1:]
	segments := strings.Split(path, "/")[1:]
	if segments[len(segments)-1] == "" {
		segments = segments[:len(segments)-1]
	}
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			return true
		}
		if len(segments) == 0 || pattern[0] != "*" && pattern[0] != segments[0] {
			return false
		}
		pattern, segments = pattern[1:], segments[1:]
	}
	return len(segments) == 0
}

// universe is every path of up to five segments over the letters that patterns
// of the fuzz target use, and one they do not.
var universe = func() []string {
	paths, last := []string{"/"}, []string{""}
	for range 5 {
		var next []string
		for _, p := range last {
			for _, s := range []string{"a", "b", "x", "x.php"} {
				next = append(next, p+"/"+s)
			}
		}
		paths, last = append(paths, next...), next
	}
	return paths
}()

// extents remembers extent: there are few patterns, and fuzzing asks for them
// all day.
var extents sync.Map

// extent is the set of paths of the universe that a pattern covers, case aside.
func extent(written string) string {
	if known, ok := extents.Load(written); ok {
		return known.(string)
	}
	set := make([]byte, len(universe))
	for i, path := range universe {
		set[i] = '-'
		if covers(strings.ToLower(written), path) {
			set[i] = '+'
		}
	}
	extents.Store(written, string(set))
	return string(set)
}

func inside(a, b string) bool {
	for i := range a {
		if a[i] == '+' && b[i] != '+' {
			return false
		}
	}
	return true
}

func common(a, b string) string {
	set := []byte(a)
	for i := range set {
		if b[i] != '+' {
			set[i] = '-'
		}
	}
	return string(set)
}

// naiveValid says whether a table has one owner for every path.
func naiveValid(rules []Rule) bool {
	for i, r := range rules {
		for _, q := range rules[:i] {
			if r.Host != q.Host {
				continue
			}
			a, b := extent(r.Path), extent(q.Path)
			shared := common(a, b)
			switch {
			case a == b && strings.TrimSuffix(r.Path, "/") != strings.TrimSuffix(q.Path, "/"):
				return false
			case a == b && slices.Equal(r.Methods, q.Methods):
				return false
			case !strings.Contains(shared, "+") || inside(a, b) || inside(b, a):
			case !slices.ContainsFunc(rules, func(third Rule) bool {
				return third.Host == r.Host && extent(third.Path) == shared
			}):
				return false
			}
		}
	}
	return true
}

// naiveOwner picks the rule for one reading: -1 no pattern, -2 no method.
func naiveOwner(rules []Rule, host, method, path string, fold bool) int {
	for _, want := range hostOrder(host) {
		best := ""
		for _, r := range rules {
			written := r.Path
			if fold {
				written = naiveFold(written)
			}
			if r.Host == want && covers(written, path) && (best == "" || inside(extent(r.Path), extent(best))) {
				best = r.Path
			}
		}
		if best == "" {
			continue
		}
		for _, m := range []string{method, map[string]string{"HEAD": "GET"}[method], ""} {
			for i, r := range rules {
				same := r.Host == want && extent(r.Path) == extent(best)
				if same && strings.Join(r.Methods, "") == m {
					return i
				}
			}
		}
		return -2
	}
	return -1
}

// hostOrder lists the host patterns that cover a host, narrowest first.
func hostOrder(host string) []string {
	order := []string{host}
	labels := strings.Split(host, ".")
	for i := 1; i < len(labels); i++ {
		order = append(order, "*."+strings.Join(labels[i:], "."))
	}
	return append(order, "")
}

// naiveDecide is the whole decision, given what naiveReadings found.
func naiveDecide(rules []Rule, prefix string, r Request, c Caller, set map[string]bool, primary string) Code {
	if set == nil || small.MatchString(r.Method) {
		return Malformed
	}
	var owner string
	judge := func(path string, fold bool) (Code, string) {
		if fold {
			path = naiveFold(path)
		}
		if strings.HasPrefix(path+"/", prefix+"/") {
			return InsufficientRole, ""
		}
		i := naiveOwner(rules, r.Host, r.Method, path, fold)
		switch i {
		case -1:
			return NoRoute, ""
		case -2:
			return MethodNotAllowed, ""
		}
		if owner == "" {
			owner = rules[i].Path
		}
		return naiveAdmit(rules[i], c), rules[i].Upstream
	}
	code, upstream := judge(primary, false)
	if code != Allowed {
		return code
	}
	for path, direct := range set {
		for _, fold := range []bool{false, true} {
			other, to := judge(path, fold)
			if other == Allowed && to == upstream || other == NoRoute && !direct && handing.MatchString(owner) {
				continue
			}
			if other != AuthenticationRequired || to != upstream {
				return Ambiguous
			}
			code = AuthenticationRequired
		}
	}
	return code
}

func naiveAdmit(r Rule, c Caller) Code {
	if r.Allow.Audience == Nobody {
		return InsufficientRole
	}
	if r.Allow.Audience == Anyone {
		return Allowed
	}
	if !c.SignedIn {
		return AuthenticationRequired
	}
	if r.Allow.Audience == Roles {
		for _, have := range c.Roles {
			for _, need := range r.Allow.Roles {
				if have == need && (!r.Verified || c.Verified) {
					return Allowed
				}
				if have == need {
					return EmailNotVerified
				}
			}
		}
		return InsufficientRole
	}
	if r.Verified && !c.Verified {
		return EmailNotVerified
	}
	return Allowed
}
