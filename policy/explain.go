package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation is a Decision with its reasons, for `doorward explain`.
type Explanation struct {
	Decision
	Because  string    // one plain sentence
	Readings []Reading // none for a malformed request
}

// Reading is one path a reader may take the target to mean, and what the caller
// would be told there.
type Reading struct {
	Path    string
	Rule    int // -1 if none
	Code    Code
	Primary bool
	Folded  bool // compared without regard to case

	pattern *pattern // that owns the path, if it has no rule for the method
}

// Explain decides like Decide and says why. It takes its time.
func (p *Policy) Explain(r Request, c Caller) Explanation {
	m := p.Match(r)
	e := Explanation{Decision: m.Decide(c)}
	if p == nil || m.Code == Malformed {
		e.Because = p.malformed(r)
		return e
	}
	raw, _ := scan(m.Target)
	all, first, direct, _ := readings(raw, nil)
	z := p.zone(m.Host)
	primary := p.lead(z, all[first], r.Method, exact)
	e.Readings = append(e.Readings, p.reading(primary, primary, c))
	e.Readings[0].Path, e.Readings[0].Primary = all[first], true
	for i, path := range all {
		o := p.lead(z, path, r.Method, exact)
		handed := i >= direct
		if path != all[first] && !(handed && o.unasked(primary)) {
			e.add(p.reading(o, primary, c), path, false)
		}
		small := fold(path)
		if f := p.lead(z, small, r.Method, folded); (small != path || f != o) && !(handed && f.unasked(primary)) {
			e.add(p.reading(f, primary, c), small, true)
		}
	}
	e.Because = p.because(e, m, c)
	return e
}

func (e *Explanation) add(r Reading, path string, folded bool) {
	r.Path, r.Folded = path, folded
	if !slices.Contains(e.Readings, r) {
		e.Readings = append(e.Readings, r)
	}
}

// reading judges an outcome on its own, but for the upstream, which must be the
// primary's.
func (p *Policy) reading(o, primary outcome, c Caller) Reading {
	r := Reading{Rule: o.rule, Code: o.code}
	if o.code != Allowed {
		r.pattern = o.pattern
		return r
	}
	r.Code = p.rules[o.rule].admit(c)
	if primary.code == Allowed && p.rules[primary.rule].Upstream != p.rules[o.rule].Upstream {
		r.Code = Ambiguous
	}
	return r
}

func (p *Policy) because(e Explanation, m Match, c Caller) string {
	if !e.Ambiguous {
		return p.reason(e.Readings[0], m, c)
	}
	culprit := e.Readings[slices.IndexFunc(e.Readings, func(r Reading) bool {
		return r.Code != Allowed && (r.Code == AuthenticationRequired) == (e.Code == AuthenticationRequired)
	})]
	how := ""
	if culprit.Folded {
		how = " without regard to case"
	}
	return fmt.Sprintf("%s would be allowed, but some servers read the path%s as %s, and there %s",
		e.Readings[0].Path, how, culprit.Path, p.reason(culprit, m, c))
}

// reason says what one reading came to.
func (p *Policy) reason(r Reading, m Match, c Caller) string {
	switch r.Code {
	case NoRoute:
		return fmt.Sprintf("no rule covers %s%s, and there is no default", m.Host, r.Path)
	case MethodNotAllowed:
		return fmt.Sprintf("the narrowest pattern is %s, which has rules for %s and none for this method", r.pattern, strings.Join(r.pattern.admits(), ", "))
	}
	if r.Rule < 0 {
		return fmt.Sprintf("%s is kept for Doorward's own endpoints, which no upstream may stand in for", p.prefix)
	}
	rule := &p.rules[r.Rule]
	says := fmt.Sprintf("rule %d (%s%s) allows %s", r.Rule, rule.Host, rule.Path, rule.Allow)
	switch r.Code {
	case Ambiguous:
		return fmt.Sprintf("rule %d (%s%s) leads to another upstream", r.Rule, rule.Host, rule.Path)
	case AuthenticationRequired:
		return says + ", and the caller is not signed in"
	case InsufficientRole:
		if rule.Allow.Audience == Nobody {
			return says
		}
		return fmt.Sprintf("%s, and the caller has %s", says, Allow{Audience: Roles, Roles: c.Roles})
	case EmailNotVerified:
		return says + " with a verified email, and the caller's is not"
	}
	return says
}

// malformed says which of the refusals before any rule it was.
func (p *Policy) malformed(r Request) string {
	if p == nil {
		return "there is no policy"
	}
	_, target, ok := split(r.Host, r.Target)
	if !ok {
		if len(r.Target) > 0 && r.Target[0] == '/' {
			return "the host is not a host name"
		}
		return "the target is neither a path that starts with / nor an http or https URL with a host name"
	}
	if lowerCase(r.Method) {
		return fmt.Sprintf("the method %q has a lower-case letter: some servers take it for %s, which rules judge apart", r.Method, strings.ToUpper(r.Method))
	}
	path, f := scan(target)
	switch {
	case f.malformed && len(path) > maxPath:
		return fmt.Sprintf("the path is longer than %d bytes", maxPath)
	case f.malformed:
		return "the target has a byte or a broken escape that no URL may have"
	}
	return fmt.Sprintf("some reading of the path climbs above the root or holds a control character or invalid UTF-8, or there are more than %d readings", maxReadings)
}
