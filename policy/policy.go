// Package policy decides who may ask for what.
//
// It is a pure function. Compile turns the rules of the route table into a
// Policy; Policy.Decide turns a request and a caller into a Decision. It reads
// no file, no clock and no network, keeps no state between two calls, and
// knows nothing of HTTP beyond three strings: method, host and raw target. It
// refuses to know what a credential is: a Caller arrives already identified.
//
// A rule's path is made of literal segments, `*` for exactly one segment and a
// final `**` for any number of them, none included. `/admin/**` covers
// `/admin`, `/admin/` and everything below. A trailing slash never matters.
// The pattern that matches the fewest paths owns a path, whatever the order of
// the rules; Compile refuses rules for which there is no such pattern. A rule
// with a host beats one without. The owner answers alone: a method it does not
// cover is METHOD_NOT_ALLOWED, never a wider pattern's business. Without an
// owner the answer is NO_ROUTE: there is no default allow.
//
// The target goes to the upstream byte for byte, so what counts is not what we
// think a path means but what any upstream may take it to mean. Every such
// meaning is a reading (read.go is the one place that makes them). The primary
// reading picks the rule; every other one, as it is and with case folded, must
// be open to the same caller and lead to the same upstream. Ambiguity
// therefore costs nothing to someone who may reach all the places a path may
// mean, and opens nothing to anyone else. One thing is asked of the table: for a
// path with a colon, a semicolon, a plus sign, or more path or name behind a
// script, what else it may mean needs a rule, too. Only a rule that names a
// script, like /index.php/**, opens whatever the script is handed, unless another
// rule covers that.
//
// Some meanings are left out on purpose, since they would make every path
// ambiguous or cannot be seen in it. A server may add or take away an ending:
// /admin.html served for /admin, or .json as Rails has it; a rule for /admin/**
// does not cover those names, so either let the backend have no such routing or
// write rules for them. And a framework may take the method from a _method field
// of a form or query: rules see the method of the request line alone.
//
// Where to look: why was I denied: explain.go and the decision tables in
// testdata. What a pattern covers, and which overlaps are errors: pattern.go.
// How an owner is found: tree.go. What a path may mean: read.go, with
// script.go and iis.go. Which host is asked: host.go. Who `allow` admits: allow.go.
package policy

import "strings"

// Rule is one line of the route table as far as deciding goes.
type Rule struct {
	Host     string   `yaml:"host"`
	Path     string   `yaml:"path"`
	Methods  []string `yaml:"methods"`
	Allow    Allow    `yaml:"allow"`
	Verified bool     `yaml:"verified"`
	Upstream string   `yaml:"upstream"`
}

// Request is what is asked, as it came off the wire: Host is the Host header
// with any port, Target the raw request target with its query.
type Request struct {
	Method, Host, Target string
}

// Code says how a request was decided. The values are those clients see.
type Code string

const (
	Allowed                Code = ""
	Malformed              Code = "BAD_REQUEST"
	NoRoute                Code = "NO_ROUTE"
	MethodNotAllowed       Code = "METHOD_NOT_ALLOWED"
	AuthenticationRequired Code = "AUTHENTICATION_REQUIRED"
	InsufficientRole       Code = "INSUFFICIENT_ROLE" // also `nobody`: signing in cannot help
	EmailNotVerified       Code = "EMAIL_NOT_VERIFIED"
	Ambiguous              Code = "AMBIGUOUS_PATH"
)

// Policy is a compiled route table. It never changes and may be shared.
type Policy struct {
	rules  []Rule
	prefix string           // our own endpoints, "" for none
	folded string           // prefix as fold sees it
	names  map[string]*zone // rules for one host
	below  map[string]*zone // rules for *.name, by name
	any    *zone            // rules without a host
	cased  bool             // some literal, or the prefix, is not its own fold
}

// Match is who a request is for, before anyone asks who the caller is.
type Match struct {
	Rule   int    // index of the rule, -1 if none
	Code   Code   // Allowed if Rule was found; else why no caller can pass (InsufficientRole: inside our own prefix)
	Host   string // the host judged: lower case, no port, no trailing dot
	Target string // path and query to forward byte for byte, never absolute-form

	policy *Policy
	own    outcome
	fold   outcome   // kept out of others, so that a plain path needs no memory
	others []outcome // what the other readings came to, each once
}

// outcome is where one reading leads. The zero value leads nowhere.
type outcome struct {
	pattern *pattern
	rule    int
	code    Code
}

// Decision is the answer for one caller. The zero Decision is a refusal.
type Decision struct {
	Rule      int  // index of the rule that owns the primary reading, -1 if none
	Code      Code // Allowed, or why not
	Ambiguous bool // the primary reading was allowed, another one was not

	allowed bool
}

// OK reports whether the request may go on.
func (d Decision) OK() bool { return d.allowed && d.Code == Allowed }

// Decide is Match and Match.Decide in one step.
func (p *Policy) Decide(r Request, c Caller) Decision { return p.Match(r).Decide(c) }

// Match finds the rules a request falls under. A plain path costs one scan and
// no allocation.
func (p *Policy) Match(r Request) Match {
	m := Match{Rule: -1, Code: NoRoute}
	if p == nil {
		return m
	}
	host, target, ok := split(r.Host, r.Target)
	if !ok {
		m.Code = Malformed
		return m
	}
	m.policy, m.Host, m.Target = p, host, target
	path, form := scan(target)
	switch {
	case form.malformed || lowerCase(r.Method):
		m.Code = Malformed
	case form.plain:
		m.plain(p.zone(host), path, r.Method, form.upper)
	default:
		m.read(p.zone(host), path, r.Method)
	}
	return m
}

// lowerCase refuses post, which no rule names: gunicorn, Django and Symfony make
// it POST, which some rule may guard.
func lowerCase(method string) bool { return strings.ToUpper(method) != method }

// plain judges a path that every reader reads alike, but for its case.
func (m *Match) plain(z *zone, path, method string, upper bool) {
	p := m.policy
	m.primary(p.lead(z, path, method, exact))
	if m.Code != Allowed || !upper && !p.cased {
		return
	}
	how := folded
	if upper {
		how = lowered
	}
	if o := p.lead(z, path, method, how); o != m.own {
		m.fold = o
	}
}

// read judges every reading of a path that may be understood in several ways.
func (m *Match) read(z *zone, raw, method string) {
	var room [maxReadings]string
	all, first, direct, ok := readings(raw, room[:0])
	if !ok {
		m.Code = Malformed
		return
	}
	p := m.policy
	m.primary(p.lead(z, all[first], method, exact))
	if m.Code != Allowed {
		return
	}
	for i, path := range all {
		handed := i >= direct
		m.also(p.lead(z, path, method, exact), handed)
		if f := fold(path); p.cased || f != path {
			m.also(p.lead(z, f, method, folded), handed)
		}
	}
}

func (m *Match) primary(o outcome) {
	m.own, m.Rule, m.Code = o, o.rule, o.code
}

func (m *Match) also(o outcome, handed bool) {
	if o == m.own || handed && o.unasked(m.own) {
		return
	}
	for _, seen := range m.others {
		if seen == o {
			return
		}
	}
	m.others = append(m.others, o)
}

// unasked says that a reading a script makes needs no rule: the owner names the
// script, and with it whatever the script is handed. What another rule covers is
// still judged by it.
func (o outcome) unasked(own outcome) bool {
	return o.code == NoRoute && own.pattern != nil && own.pattern.script
}

// lead finds the rule for one reading. What lies under our own prefix belongs
// to nobody: an upstream must not be reached by a name of ours.
func (p *Policy) lead(z *zone, path, method string, how compare) outcome {
	if p.ours(path, how) {
		return outcome{rule: -1, code: InsufficientRole}
	}
	owner := z.find(path, how)
	if owner == nil {
		return outcome{rule: -1, code: NoRoute}
	}
	rule, ok := owner.rule(method)
	if !ok {
		return outcome{pattern: owner, rule: -1, code: MethodNotAllowed}
	}
	return outcome{pattern: owner, rule: rule}
}

func (p *Policy) ours(path string, how compare) bool {
	prefix := p.prefix
	if how != exact {
		prefix = p.folded
	}
	n := len(prefix)
	if n == 0 || len(path) < n || len(path) > n && path[n] != '/' {
		return false
	}
	if how == lowered {
		return equalLower(path[:n], prefix)
	}
	return path[:n] == prefix
}

// Decide says whether this caller may pass.
func (m Match) Decide(c Caller) Decision {
	d := Decision{Rule: m.Rule, Code: m.Code}
	if m.policy == nil || m.Code != Allowed {
		if d.Code == Allowed {
			d = Decision{Rule: -1, Code: NoRoute}
		}
		return d
	}
	own := &m.policy.rules[m.Rule]
	if d.Code = own.admit(c); d.Code != Allowed {
		return d
	}
	worst := m.policy.other(m.fold, own, c)
	for _, o := range m.others {
		if worst == Ambiguous {
			break
		}
		if code := m.policy.other(o, own, c); code != Allowed {
			worst = code
		}
	}
	d.Code, d.Ambiguous, d.allowed = worst, worst != Allowed, worst == Allowed
	return d
}

// other judges a reading beside the primary one: AuthenticationRequired if
// signing in could open it, Ambiguous if nothing can.
func (p *Policy) other(o outcome, own *Rule, c Caller) Code {
	if o == (outcome{}) {
		return Allowed
	}
	if o.code != Allowed {
		return Ambiguous
	}
	r := &p.rules[o.rule]
	if r.Upstream != own.Upstream {
		return Ambiguous
	}
	code := r.admit(c)
	if code != Allowed && code != AuthenticationRequired {
		return Ambiguous
	}
	return code
}

// Methods lists, sorted, what the owning pattern admits: for Allow and for CORS
// preflights. A pattern open to every method lists those browsers send; no
// owner, none.
func (m Match) Methods() []string {
	if m.own.pattern == nil {
		return nil
	}
	return m.own.pattern.admits()
}
