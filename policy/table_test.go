package policy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the decisions found into testdata/*.txt; read the difference before you believe it")

// callers are the people of the decision tables.
var callers = map[string]Caller{
	"anonymous": {},
	"new":       {SignedIn: true, Roles: []string{"user"}},
	"user":      {SignedIn: true, Roles: []string{"user"}, Verified: true},
	"admin":     {SignedIn: true, Roles: []string{"user", "admin"}, Verified: true},
}

// cells is how a table writes a refusal. A number is the rule that allows.
var cells = map[Code]string{
	Malformed:              "bad",
	NoRoute:                "none",
	MethodNotAllowed:       "method",
	AuthenticationRequired: "sign-in",
	InsufficientRole:       "role",
	EmailNotVerified:       "email",
	Ambiguous:              "ambiguous",
}

func cell(d Decision) string {
	if d.OK() {
		return strconv.Itoa(d.Rule)
	}
	return cells[d.Code]
}

// decisions is one file of testdata: rules, then requests with one cell for
// each caller.
type decisions struct {
	prefix  string
	rules   []Rule
	callers []string
	lines   []string
}

// parseRule reads `N PATH ALLOW [key=value]...`.
func parseRule(t testing.TB, fields []string) Rule {
	t.Helper()
	r := Rule{Path: fields[0], Upstream: "app"}
	var allow any = fields[1]
	if list, ok := strings.CutPrefix(fields[1], "["); ok {
		allow = strings.Split(strings.TrimSuffix(list, "]"), ",")
	}
	var err error
	if r.Allow, err = ParseAllow(allow); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "host":
			r.Host = value
		case "methods":
			r.Methods = strings.Split(value, ",")
		case "upstream":
			r.Upstream = value
		case "verified":
			r.Verified = true
		default:
			t.Fatalf("unknown key %q", key)
		}
	}
	return r
}

// parseRequest reads `METHOD TARGET [@HOST]`; a target may be Go-quoted.
func parseRequest(t testing.TB, fields []string) Request {
	t.Helper()
	r := Request{Method: fields[0], Target: fields[1], Host: "app.example.com"}
	if strings.HasPrefix(r.Target, `"`) {
		var err error
		if r.Target, err = strconv.Unquote(r.Target); err != nil {
			t.Fatalf("%s: %v", fields[1], err)
		}
	}
	if len(fields) > 2 {
		r.Host = strings.TrimPrefix(fields[2], "@")
	}
	return r
}

func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no decision tables: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found := runTable(t, strings.TrimSuffix(string(text), "\n"))
			if *update {
				if err := os.WriteFile(file, []byte(found+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// runTable checks a table and returns it with the decisions found.
func runTable(t *testing.T, text string) string {
	var d decisions
	var p *Policy
	for n, line := range strings.Split(text, "\n") {
		asked, want, _ := strings.Cut(line, " | ")
		fields := strings.Fields(asked)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case fields[0] == "prefix":
			d.prefix = fields[1]
		case fields[0] == "callers":
			d.callers = fields[1:]
		case fields[0] == strconv.Itoa(len(d.rules)):
			d.rules = append(d.rules, parseRule(t, fields[1:]))
		default:
			if p == nil {
				p = compile(t, d.rules, Options{Prefix: d.prefix})
			}
			got := decideAll(t, p, d.callers, parseRequest(t, fields))
			if want := strings.Join(strings.Fields(want), " "); got != want && !*update {
				t.Errorf("line %d: %s\n got %s\nwant %s", n+1, asked, got, want)
			}
			line = fmt.Sprintf("%-44s | %s", strings.TrimRight(asked, " "), columns(got))
		}
		d.lines = append(d.lines, line)
	}
	return strings.Join(d.lines, "\n")
}

func columns(cells string) string {
	var b strings.Builder
	for _, c := range strings.Fields(cells) {
		fmt.Fprintf(&b, "%-10s", c)
	}
	return strings.TrimRight(b.String(), " ")
}

func decideAll(t *testing.T, p *Policy, names []string, r Request) string {
	t.Helper()
	var got []string
	for _, name := range names {
		c, ok := callers[name]
		if !ok {
			t.Fatalf("no caller %q", name)
		}
		got = append(got, cell(p.Decide(r, c)))
		consistent(t, p, r, c)
	}
	return strings.Join(got, " ")
}

func compile(t testing.TB, rules []Rule, o Options) *Policy {
	t.Helper()
	p, err := Compile(rules, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
