package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	star        = "*"
	maxSegment  = 255 // bytes in a literal: what file systems allow
	maxSegments = 64  // in a pattern
)

// pattern is one host and path of the table with the rules that share it.
type pattern struct {
	host     string // as canonical text, "" for none
	segments []string
	folded   []string
	rest     bool // ends in **
	script   bool // names a script and what it is handed, like /index.php/**
	any      int  // the rule for every method, or -1
	methods  []methodRule
}

type methodRule struct {
	method string
	rule   int
}

// parsePath reads a rule's path. Literals are written decoded; what a reader
// could drop or take for a separator cannot stand in one, because no request
// would match it in every reading. Colons and plus signs may all the same: APIs
// use them in names, and a rule can be narrower for them than the one around it.
func parsePath(written string) (*pattern, error) {
	if !strings.HasPrefix(written, "/") {
		return nil, fmt.Errorf("path %q must start with /", written)
	}
	p := &pattern{any: -1}
	trimmed := strings.TrimSuffix(written[1:], "/")
	if trimmed == "" {
		return p, nil
	}
	parts := strings.Split(trimmed, "/")
	if parts[len(parts)-1] == "**" {
		p.rest = true
		parts = parts[:len(parts)-1]
	}
	if len(parts) > maxSegments {
		return nil, fmt.Errorf("path %q has more than %d segments", written, maxSegments)
	}
	for _, s := range parts {
		if problem := unusable(s); problem != "" {
			return nil, fmt.Errorf("path %q: %s", written, problem)
		}
		p.segments = append(p.segments, s)
		p.folded = append(p.folded, fold(s))
	}
	key := p.key(p.segments)
	end := nextScript(key, 0)
	p.script = end >= 0 && !strings.Contains(key[:end], star)
	return p, nil
}

// unusable says why a segment cannot stand in a pattern, or "".
func unusable(s string) string {
	switch {
	case s == star:
		return ""
	case s == "**":
		return "** may only be the last segment"
	case strings.Contains(s, star):
		return fmt.Sprintf("* stands for a whole segment; %q would need to be * or a literal", s)
	case s == "":
		return "empty segment; write single slashes"
	case s == "." || s == "..":
		return "dot segments are resolved before matching; write the path they lead to"
	case strings.ContainsAny(s, "?#"):
		return "rules never see a query or fragment; leave it out"
	case strings.Contains(s, "%"):
		return "patterns are written decoded; write the character itself"
	case strings.ContainsAny(s, `;\`):
		return "; and \\ do not mean the same to every server and cannot be in a pattern"
	case strings.ContainsAny(s, "{}<>") || s[0] == ':' || s[0] == '[' && s[len(s)-1] == ']':
		// OpenAPI's, Flask's, Express's, Next's: as a literal it would guard nothing.
		return fmt.Sprintf("%q is not a placeholder here; write * for any one segment", s)
	case strings.ContainsAny(s, "^|") || strings.HasSuffix(s, "$") || strings.Contains(s, ".+") || strings.HasSuffix(s, ","):
		return fmt.Sprintf("%q is compared as it stands: patterns are no expressions and hold one path each; write * for any one segment, ** for all below, and a rule for each path", s)
	case len(s) > maxSegment:
		return fmt.Sprintf("a segment is longer than %d bytes", maxSegment)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "control characters and invalid UTF-8 match nothing"
	case trim("/"+s) != "/"+s:
		return "a segment must not end in a dot or space: some servers drop them"
	case forms(s) != s || strings.Contains(fold(s), "/"):
		return fmt.Sprintf("%q holds a character some servers read as one of . / \\ ; ? # %%", s)
	case fold(s) == "" || len(fold(s)) > maxSegment:
		return fmt.Sprintf("%q cannot be compared without regard to case", s)
	}
	return ""
}

// String writes host and path as the configuration does.
func (p *pattern) String() string {
	all := p.segments
	if p.rest {
		all = append(slices.Clone(all), "**")
	}
	return p.host + "/" + strings.Join(all, "/")
}

// example is a path the pattern covers.
func (p *pattern) example() string {
	segments := slices.Clone(p.segments)
	for i, s := range segments {
		if s == star {
			segments[i] = "x"
		}
	}
	return "/" + strings.Join(segments, "/")
}

// contains reports whether p covers, case aside, every path that q covers.
func (p *pattern) contains(q *pattern) bool {
	if len(q.folded) < len(p.folded) {
		return false
	}
	for i, s := range p.folded {
		if s != star && s != q.folded[i] {
			return false
		}
	}
	return p.rest || !q.rest && len(q.folded) == len(p.folded)
}

// meet is the pattern of exactly the paths that two overlapping patterns share.
func meet(p, q *pattern) *pattern {
	if len(p.segments) < len(q.segments) {
		p, q = q, p
	}
	m := &pattern{host: p.host, rest: p.rest && q.rest, any: -1}
	m.segments, m.folded = slices.Clone(p.segments), slices.Clone(p.folded)
	for i, s := range q.segments {
		if m.segments[i] == star {
			m.segments[i], m.folded[i] = s, q.folded[i]
		}
	}
	return m
}

// key tells patterns of one host apart, by their exact or folded segments.
func (p *pattern) key(segments []string) string {
	k := "/" + strings.Join(segments, "/")
	if p.rest {
		k += "/**"
	}
	return k
}

// rule picks the rule for a method: the one that names it, else GET's for HEAD,
// else the one for every method.
func (p *pattern) rule(method string) (int, bool) {
	for _, m := range p.methods {
		if m.method == method {
			return m.rule, true
		}
	}
	if method == "HEAD" {
		for _, m := range p.methods {
			if m.method == "GET" {
				return m.rule, true
			}
		}
	}
	return p.any, p.any >= 0
}

var usualMethods = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

func (p *pattern) admits() []string {
	var all []string
	if p.any >= 0 {
		all = slices.Clone(usualMethods)
	}
	for _, m := range p.methods {
		all = append(all, m.method)
		if m.method == "GET" {
			all = append(all, "HEAD")
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// first is the pattern's first rule in the order of the file.
func (p *pattern) first() int {
	first := p.any
	for _, m := range p.methods {
		if first < 0 || m.rule < first {
			first = m.rule
		}
	}
	return first
}
