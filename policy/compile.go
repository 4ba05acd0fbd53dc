package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Options is what a policy must know about the gateway around it.
type Options struct {
	Prefix string // of our own endpoints, like /auth; "" for none
}

// Problem is one thing wrong with a route table. Rule is the index of the rule
// (-1 for Options) and Field its YAML key, so that whoever read the file can
// point at the line.
type Problem struct {
	Rule    int
	Field   string
	Message string
}

// Problems is the error of Compile: everything wrong, in the rules' order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Message
		if p.Rule >= 0 {
			lines[i] = fmt.Sprintf("rule %d: %s: %s", p.Rule, p.Field, p.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// maxOverlaps bounds the report about a table that is wrong all over.
const maxOverlaps = 100

// compiler collects rules into zones, and what is wrong with them.
type compiler struct {
	policy   *Policy
	zones    []*zone
	patterns map[string]*pattern // by host and exact segments
	spelt    map[string]*pattern // by host and folded segments
	problems Problems
	overlaps int
}

// Compile checks a route table and makes it a Policy. The error is Problems,
// all at once; with one, there is no Policy.
func Compile(rules []Rule, o Options) (*Policy, error) {
	c := &compiler{
		policy: &Policy{
			rules: make([]Rule, len(rules)),
			names: map[string]*zone{},
			below: map[string]*zone{},
		},
		patterns: map[string]*pattern{},
		spelt:    map[string]*pattern{},
	}
	c.policy.any = c.zone("", false)
	c.prefix(o.Prefix)
	for i, r := range rules {
		r.Methods = slices.Clone(r.Methods)
		r.Allow.Roles = slices.Clone(r.Allow.Roles)
		c.policy.rules[i] = r
		c.rule(i, r)
	}
	c.nest()
	for _, z := range c.zones {
		c.settle(z)
	}
	if len(c.problems) == 0 {
		return c.policy, nil
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return nil, c.problems
}

func (c *compiler) problem(rule int, field, format string, args ...any) {
	c.problems = append(c.problems, Problem{rule, field, fmt.Sprintf(format, args...)})
}

// prefix takes plain literal segments only: the gateway compares its bytes.
func (c *compiler) prefix(written string) {
	if written == "" {
		return
	}
	_, form := scan(written)
	if len(written) < 2 || written[0] != '/' || !form.plain || strings.HasSuffix(written, "/") {
		c.problem(-1, "prefix", "prefix %q must be a plain path like /auth", written)
		return
	}
	c.policy.prefix, c.policy.folded = written, fold(written)
	c.policy.cased = written != c.policy.folded
}

func (c *compiler) rule(i int, r Rule) {
	if err := r.Allow.valid(); err != nil {
		c.problem(i, "allow", "%s", err)
	}
	if r.Verified && r.Allow.Audience == Anyone {
		c.problem(i, "verified", "verified needs a caller who is signed in; write allow: authenticated, or leave verified out")
	}
	c.checkMethods(i, r.Methods)
	host, wild, z := "", false, c.policy.any
	if r.Host != "" {
		var err error
		if host, wild, err = parseHost(r.Host); err != nil {
			c.problem(i, "host", "%s", err)
			z = nil
		} else {
			z = c.zone(host, wild)
		}
	}
	p, err := parsePath(r.Path)
	if err != nil {
		c.problem(i, "path", "%s", err)
		return
	}
	if c.policy.ours(p.key(p.folded), folded) {
		c.problem(i, "path", "%s lies inside server.prefix %s, where Doorward's own endpoints are; move the app elsewhere or change server.prefix", r.Path, c.policy.prefix)
		return
	}
	if z != nil {
		c.add(z, p, i, r)
	}
}

// add puts the rule under its pattern, which other rules may share.
func (c *compiler) add(z *zone, p *pattern, i int, r Rule) {
	p.host = z.host
	key, spelling := p.host+p.key(p.segments), p.host+p.key(p.folded)
	if known := c.patterns[key]; known != nil {
		p = known
	} else if other := c.spelt[spelling]; other != nil {
		c.problem(i, "path", "%s and %s (rule %d) differ only in case, which some servers ignore; keep one spelling", p, other, other.first())
		return
	} else {
		c.patterns[key], c.spelt[spelling] = p, p
		z.patterns = append(z.patterns, p)
		z.exact.put(p, p.segments)
		z.folded.put(p, p.folded)
		c.policy.cased = c.policy.cased || !slices.Equal(p.segments, p.folded)
	}
	c.assign(p, i, r.Methods)
}

// assign gives the rule its methods of the pattern.
func (c *compiler) assign(p *pattern, i int, methods []string) {
	if len(methods) == 0 {
		if p.any >= 0 {
			c.problem(i, "path", "%s stands twice for every method (rule %d); join the two, or give one of them methods", p, p.any)
			return
		}
		p.any = i
	}
	for _, m := range methods {
		at := slices.IndexFunc(p.methods, func(r methodRule) bool { return r.method == m })
		switch {
		case at < 0:
			p.methods = append(p.methods, methodRule{m, i})
		case p.methods[at].rule == i:
			c.problem(i, "methods", "%s is listed twice", m)
		default:
			c.problem(i, "methods", "%s %s is already decided by rule %d; name a method once", m, p, p.methods[at].rule)
		}
	}
}

func (c *compiler) checkMethods(i int, methods []string) {
	if methods != nil && len(methods) == 0 {
		c.problem(i, "methods", "methods is empty; leave it out for every method, or write allow: nobody")
	}
	for _, m := range methods {
		switch {
		case !token(m):
			c.problem(i, "methods", "%q is not a method; write one like GET", m)
		case lowerCase(m):
			c.problem(i, "methods", "methods are case sensitive; write %s for %q", strings.ToUpper(m), m)
		}
	}
}

// token is RFC 9110's.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= lower(c) && lower(c) <= 'z'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func (c *compiler) zone(host string, wild bool) *zone {
	set, text := c.policy.names, host
	if wild {
		set, text = c.policy.below, "*."+host
	}
	z := set[host]
	if z == nil {
		z = &zone{host: text, exact: &node{}, folded: &node{}}
		c.zones = append(c.zones, z)
		if host != "" {
			set[host] = z
		}
	}
	return z
}

// nest links each zone to the next wider one.
func (c *compiler) nest() {
	for _, z := range c.zones {
		if z != c.policy.any {
			z.wider = c.policy.covering(strings.TrimPrefix(z.host, "*."))
		}
	}
}

// settle finds patterns of one zone that overlap while neither contains the
// other. Unless the paths they share have a pattern of their own, no rule wins
// there by being narrower, and the order of the file must not decide. Judged
// with case folded, so that folded readings have one owner too.
func (c *compiler) settle(z *zone) {
	for _, p := range z.patterns {
		z.folded.overlapping(p.folded, p.rest, false, func(q *pattern) {
			if p.first() <= q.first() || p.contains(q) || q.contains(p) || c.overlaps == maxOverlaps {
				return
			}
			third := meet(q, p)
			if c.spelt[third.host+third.key(third.folded)] == nil {
				c.overlaps++
				c.problem(p.first(), "path", "%s and %s (rule %d) both cover %s and neither is the narrower; add a rule for %s to settle it",
					p, q, q.first(), third.example(), third)
			}
		})
	}
}

// Hidden is a rule that another one takes the place of on the other's host.
type Hidden struct {
	Rule, By int
}

// Hidden lists the rules without a host, or with a wider one, that lose paths
// to a rule with a host though their pattern is not the wider: on that host
// they do not guard what they seem to. Each is named with every such rule.
func (p *Policy) Hidden() []Hidden {
	var found []Hidden
	for _, z := range p.all() {
		for w := z.wider; w != nil; w = w.wider {
			for _, h := range z.patterns {
				w.folded.overlapping(h.folded, h.rest, true, func(q *pattern) {
					if q.contains(h) && !h.contains(q) {
						return
					}
					for _, rule := range q.rules() {
						found = append(found, Hidden{Rule: rule, By: h.first()})
					}
				})
			}
		}
	}
	slices.SortFunc(found, func(a, b Hidden) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.By, b.By))
	})
	return slices.Compact(found)
}

func (p *Policy) all() []*zone {
	var zones []*zone
	for _, z := range p.names {
		zones = append(zones, z)
	}
	for _, z := range p.below {
		zones = append(zones, z)
	}
	return zones
}

func (p *pattern) rules() []int {
	var all []int
	if p.any >= 0 {
		all = append(all, p.any)
	}
	for _, m := range p.methods {
		all = append(all, m.rule)
	}
	return all
}
