package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func open(path string) Rule {
	return Rule{Path: path, Upstream: "app", Allow: Allow{Audience: Anyone}}
}

func on(host, path string) Rule {
	r := open(path)
	r.Host = host
	return r
}

func with(path string, methods ...string) Rule {
	r := open(path)
	r.Methods = methods
	return r
}

func TestProblems(t *testing.T) {
	long := strings.Repeat("a", maxSegment+1)
	tests := []struct {
		name  string
		rules []Rule
		field string
		want  string // part of the message about the last rule; "" if there is none
	}{
		{"overlap", []Rule{open("/*/admin/**"), open("/acme/**")}, "path",
			"/acme/** and /*/admin/** (rule 0) both cover /acme/admin and neither is the narrower; add a rule for /acme/admin/** to settle it"},
		{"overlap settled", []Rule{open("/*/admin/**"), open("/acme/admin/**"), open("/acme/**")}, "", ""},
		{"overlap of stars", []Rule{open("/*/b"), open("/a/*")}, "path", "both cover /a/b and neither is the narrower; add a rule for /a/b to"},
		{"overlap with a tail", []Rule{open("/*/*/c"), open("/a/**")}, "path", "both cover /a/x/c and neither is the narrower; add a rule for /a/*/c to"},
		{"overlap of lengths", []Rule{open("/a/**"), open("/*")}, "path", "both cover /a and neither is the narrower; add a rule for /a to"},
		{"overlap with a literal beside", []Rule{open("/*/b/**"), open("/c/d"), open("/a/**")}, "path", "both cover /a/b and"},
		{"overlap but for case", []Rule{open("/A/*"), open("/*/b")}, "path", "both cover /A/b and"},
		{"overlap on a host", []Rule{on("h.test", "/*/b"), on("H.test.", "/a/*")}, "path", "h.test/a/* and h.test/*/b (rule 0) both cover /a/b"},
		{"overlap on two hosts", []Rule{on("h.test", "/*/b"), on("*.test", "/a/*")}, "", ""},
		{"third on another host", []Rule{on("h.test", "/a/b"), open("/*/b"), open("/a/*")}, "path", "add a rule for /a/b"},
		{"no overlap", []Rule{open("/**"), open("/a/**"), open("/a/*/c"), open("/a/b/d"), open("/b/*")}, "", ""},
		{"case", []Rule{open("/Admin/**"), open("/admin/**")}, "path", "/admin/** and /Admin/** (rule 0) differ only in case"},
		{"case of other scripts", []Rule{open("/straße"), open("/STRASSE")}, "path", "differ only in case"},
		{"twice", []Rule{open("/a/**"), open("/a/**/")}, "path", "/a/** stands twice for every method (rule 0)"},
		{"trailing slash", []Rule{open("/a"), open("/a/")}, "path", "/a stands twice for every method (rule 0)"},
		{"method twice", []Rule{with("/a", "GET"), with("/a/", "POST", "GET")}, "methods", "GET /a is already decided by rule 0"},
		{"method twice in one rule", []Rule{with("/a", "GET", "GET")}, "methods", "GET is listed twice"},
		{"GET and HEAD", []Rule{with("/a", "GET", "HEAD"), with("/a", "POST"), open("/a")}, "", ""},
		{"lower case method", []Rule{with("/a", "get")}, "methods", `write GET for "get"`},
		{"lower case in a method of one's own", []Rule{with("/a", "M-Search")}, "methods", `write M-SEARCH for "M-Search"`},
		{"no method", []Rule{with("/a", "GET /x")}, "methods", `"GET /x" is not a method`},
		{"methods empty", []Rule{{Path: "/a", Methods: []string{}, Allow: Allow{Audience: Anyone}}}, "methods", "leave it out for every method"},
		{"no allow", []Rule{{Path: "/a"}}, "allow", "allow is missing and there is no default"},
		{"no roles", []Rule{{Path: "/a", Allow: Allow{Audience: Roles}}}, "allow", "the list of roles is empty"},
		{"roles for a word", []Rule{{Path: "/a", Allow: Allow{Audience: Anyone, Roles: []string{"a"}}}}, "allow", "anyone takes no roles"},
		{"verified anyone", []Rule{{Path: "/a", Verified: true, Allow: Allow{Audience: Anyone}}}, "verified", "needs a caller who is signed in"},
		{"prefix", []Rule{open("/auth/**")}, "path", "/auth/** lies inside server.prefix /auth"},
		{"in prefix", []Rule{open("/auth/login")}, "path", "lies inside server.prefix /auth"},
		{"prefix but for case", []Rule{open("/Auth")}, "path", "lies inside server.prefix /auth"},
		{"beside prefix", []Rule{open("/**"), open("/*/login"), open("/author")}, "", ""},
		{"no path", []Rule{open("")}, "path", "must start with /"},
		{"relative", []Rule{open("a/**")}, "path", "must start with /"},
		{"star inside", []Rule{open("/a*")}, "path", "* stands for a whole segment"},
		{"tail inside", []Rule{open("/**/a")}, "path", "** may only be the last segment"},
		{"two tails", []Rule{open("/**/**")}, "path", "** may only be the last segment"},
		{"empty segment", []Rule{open("/a//b")}, "path", "empty segment"},
		{"dots", []Rule{open("/a/../b")}, "path", "dot segments"},
		{"query", []Rule{open("/a?b")}, "path", "rules never see a query"},
		{"escape", []Rule{open("/a%2fb")}, "path", "patterns are written decoded"},
		{"parameter", []Rule{open("/a;b")}, "path", "do not mean the same to every server"},
		{"placeholder", []Rule{open("/users/{id}")}, "path", "write * for any one segment"},
		{"placeholder of Express", []Rule{open("/users/:id/keys")}, "path", "write * for any one segment"},
		{"placeholder of Flask", []Rule{open("/users/<int>")}, "path", "write * for any one segment"},
		{"placeholder of Next", []Rule{open("/users/[id]")}, "path", "write * for any one segment"},
		{"expression for all below", []Rule{open("/admin/.+")}, "path", "no expressions"},
		{"expression with an end", []Rule{open("/admin$")}, "path", "no expressions"},
		{"expression with a class", []Rule{open("/users/[^/]+/keys")}, "path", "no expressions"},
		{"alternatives", []Rule{open("/(admin|internal)/**")}, "path", "a rule for each path"},
		{"two paths", []Rule{open("/admin,/internal")}, "path", "a rule for each path"},
		{"trailing dot", []Rule{open("/a./b")}, "path", "must not end in a dot or space"},
		{"trailing space", []Rule{open("/a /b")}, "path", "must not end in a dot or space"},
		{"full-width slash", []Rule{open("/a／b")}, "path", "some servers read as one of"},
		{"control", []Rule{open("/a\x00b")}, "path", "control characters"},
		{"not UTF-8", []Rule{open("/a\xc0\xafb")}, "path", "control characters and invalid UTF-8"},
		{"invisible", []Rule{open("/\u200b")}, "path", "cannot be compared without regard to case"},
		{"long segment", []Rule{open("/" + long)}, "path", "longer than 255 bytes"},
		{"deep", []Rule{open(strings.Repeat("/a", maxSegments+1))}, "path", "more than 64 segments"},
		{"host star", []Rule{on("*", "/")}, "host", "leave host out"},
		{"host star inside", []Rule{on("a.*.test", "/")}, "host", "only at the beginning"},
		{"host port", []Rule{on("h.test:80", "/")}, "host", "without the port"},
		{"host address port", []Rule{on("[::1]:80", "/")}, "host", "without the port"},
		{"host URL", []Rule{on("http://h.test", "/")}, "host", "without scheme or path"},
		{"host unicode", []Rule{on("bücher.test", "/")}, "host", "xn--"},
		{"host below address", []Rule{on("*.[::1]", "/")}, "host", "nothing below it"},
		{"host bad", []Rule{on("a b", "/")}, "host", "is not a host name"},
		{"host of spaces", []Rule{on("  ", "/")}, "host", "is not a host name"},
		{"host of a tab", []Rule{on("\t", "/")}, "host", "is not a host name"},
		{"host of a dot", []Rule{on(".", "/")}, "host", "is not a host name"},
		{"host of dots", []Rule{on("..", "/")}, "host", "is not a host name"},
		{"host of a star and a dot", []Rule{on("*.", "/")}, "host", "is not a host name"},
		{"host of a star and two dots", []Rule{on("*..", "/")}, "host", "is not a host name"},
		{"host of a star and a space", []Rule{on("*. ", "/")}, "host", "is not a host name"},
		{"host address", []Rule{on("[::1]", "/a"), on("127.0.0.1", "/b")}, "", ""},
		{"same host spelt twice", []Rule{on("[::1]", "/a"), on("[0::1]", "/a")}, "path", "stands twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(tt.rules, Options{Prefix: "/auth"})
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			var got Problems
			if !errors.As(err, &got) || len(got) == 0 {
				t.Fatalf("got %v, want Problems", err)
			}
			p := got[len(got)-1]
			if p.Rule != len(tt.rules)-1 || p.Field != tt.field || !strings.Contains(p.Message, tt.want) {
				t.Errorf("got  %+v\nwant %s: %s", p, tt.field, tt.want)
			}
		})
	}
}

// A table wrong in several places is reported in one go, in the rules' order.
func TestProblemsAtOnce(t *testing.T) {
	_, err := Compile([]Rule{
		{Host: "a b", Path: "x", Methods: []string{"get"}},
		open("/a/*"), open("/*/b"), open("/auth"),
	}, Options{Prefix: "auth/"})
	var got []string
	for _, p := range err.(Problems) {
		got = append(got, fmt.Sprintf("%d %s", p.Rule, p.Field))
	}
	want := []string{"-1 prefix", "0 allow", "0 host", "0 methods", "0 path", "2 path"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%v", got, want, err)
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(want) {
		t.Errorf("Error has %d lines, want %d", lines, len(want))
	}
}

// A hostile or careless table of hundreds must not take the start with it.
func TestManyOverlapsAreBounded(t *testing.T) {
	var rules []Rule
	for i := range 300 {
		rules = append(rules, open(fmt.Sprintf("/*/b%d", i)), open(fmt.Sprintf("/a%d/*", i)))
	}
	_, err := Compile(rules, Options{})
	if got := len(err.(Problems)); got != maxOverlaps {
		t.Errorf("got %d problems, want %d", got, maxOverlaps)
	}
}

// The rules given stay the caller's: changing them later changes no decision.
func TestPolicyIsItsOwn(t *testing.T) {
	rules := []Rule{{Path: "/a", Allow: Allow{Audience: Roles, Roles: []string{"admin"}}}}
	p := compile(t, rules, Options{})
	rules[0].Allow.Roles[0] = "user"
	if d := p.Decide(Request{Method: "GET", Target: "/a"}, callers["user"]); d.OK() {
		t.Error("a role written into the rules after Compile was honoured")
	}
}

func TestHidden(t *testing.T) {
	tests := []struct {
		name  string
		rules []Rule
		want  []Hidden
	}{
		{"catch-all on a host", []Rule{open("/admin/**"), open("/**"), on("h.test", "/**")}, []Hidden{{0, 2}, {1, 2}}},
		{"narrower on a host", []Rule{open("/**"), on("h.test", "/admin/**")}, nil},
		{"crossing", []Rule{open("/*/admin/**"), on("h.test", "/acme/**")}, []Hidden{{0, 1}}},
		{"apart", []Rule{open("/a/**"), on("h.test", "/b/**")}, nil},
		{"by a wider host", []Rule{open("/a/**"), on("*.test", "/**")}, []Hidden{{0, 1}}},
		{"of a wider host", []Rule{on("*.test", "/a/**"), on("h.test", "/**")}, []Hidden{{0, 1}}},
		{"of a host apart", []Rule{on("*.other", "/a/**"), on("h.test", "/**")}, nil},
		{"every method", []Rule{with("/a", "GET"), with("/a", "POST"), on("h.test", "/a")}, []Hidden{{0, 2}, {1, 2}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := compile(t, tt.rules, Options{}).Hidden(); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
