package gateway

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/doorward/doorward/policy"
)

// live is the part of the gateway that a reload replaces, whole: a request is
// judged by one of these from its first step to its last.
type live struct {
	cfg       Config
	policy    *policy.Policy
	routes    []liveRoute // cfg.Routes, by the index policy answers with
	upstreams map[string]*upstream
	identity  *identitySet
	origins   *origins
	cookies   cookieNames
}

// liveRoute is one route, ready to serve.
type liveRoute struct {
	Route
	label    string // for log and metrics: host and pattern as written
	upstream *upstream
}

// newLive builds what the configuration, already valid, describes. An upstream
// that is as it was keeps its open connections.
func newLive(cfg Config, old *live, m *Metrics) (*live, error) {
	rules := make([]policy.Rule, len(cfg.Routes))
	for i, r := range cfg.Routes {
		rules[i] = r.Rule
	}
	l := &live{cfg: cfg, upstreams: map[string]*upstream{}, cookies: newCookieNames(cfg.Server.PublicURL)}
	var err error
	if l.policy, err = policy.Compile(rules, policy.Options{Prefix: cfg.Server.Prefix}); err != nil {
		return nil, err
	}
	if l.identity, err = newIdentitySet(cfg); err != nil {
		return nil, err
	}
	if l.origins, err = newOrigins(cfg); err != nil {
		return nil, err
	}
	for i, u := range cfg.Upstreams {
		kept := old.same(u)
		if kept == nil {
			if kept, err = newUpstream(u); err != nil {
				l.closeBut(old)
				return nil, fmt.Errorf("upstreams[%d]: %w", i, err)
			}
		}
		l.upstreams[u.Name] = kept
	}
	l.routes = make([]liveRoute, len(cfg.Routes))
	for i, r := range cfg.Routes {
		l.routes[i] = liveRoute{Route: r, label: r.Host + r.Path, upstream: l.upstreams[r.Upstream]}
		m.route(l.routes[i].label)
	}
	for _, label := range ownLabels(cfg.Server.Prefix) {
		m.route(label)
	}
	return l, nil
}

// same is the running upstream that is configured exactly as u, or nil. One
// with a certificate file is made anew: the file may have changed.
func (l *live) same(u Upstream) *upstream {
	if l == nil || u.TLS.CA != "" {
		return nil
	}
	for _, was := range l.cfg.Upstreams {
		if was == u {
			return l.upstreams[u.Name]
		}
	}
	return nil
}

// closeBut closes the upstreams that the other one does not use.
func (l *live) closeBut(other *live) {
	for name, u := range l.upstreams {
		if other == nil || other.upstreams[name] != u {
			u.close()
		}
	}
}

// ConfigError is a configuration that cannot be used, and all that is wrong
// with it.
type ConfigError struct{ Problems []ConfigProblem }

func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Path + ": " + p.Message
	}
	return strings.Join(lines, "\n")
}

// Reload puts a new configuration in the place of the one in use, between two
// requests. A *ConfigError says why not, and then nothing has changed. Open
// streams are judged again by what now holds.
func (s *Server) Reload(cfg Config) error {
	err := s.reload(cfg)
	s.Metrics.Reloaded(err == nil)
	return err
}

func (s *Server) reload(cfg Config) error {
	old := s.live.Load()
	problems := append(restartProblems(old.cfg, cfg), cfg.Validate()...)
	if len(problems) > 0 {
		return &ConfigError{problems}
	}
	if s.cert != nil {
		if err := s.cert.reload(); err != nil {
			return &ConfigError{[]ConfigProblem{{"server.tls", err.Error()}}}
		}
	}
	next, err := newLive(cfg, old, s.Metrics)
	if err != nil {
		return err
	}
	if !s.live.CompareAndSwap(old, next) {
		next.closeBut(old)
		return errors.New("another reload was faster: try again")
	}
	old.closeBut(next)
	for name := range old.upstreams {
		if next.upstreams[name] == nil {
			s.Metrics.forgetUpstream(name)
		}
	}
	s.streams.rejudge()
	return nil
}

// restartProblems names every changed key that a reload cannot change.
func restartProblems(old, next Config) []ConfigProblem {
	var problems []ConfigProblem
	changed := func(path string) {
		problems = append(problems, ConfigProblem{path, "changing it needs a restart"})
	}
	eachChange("server", reflect.ValueOf(old.Server), reflect.ValueOf(next.Server), changed)
	for _, c := range []struct{ path, was, is string }{
		{"accounts.registration", old.Registration, next.Registration},
		{"accounts.admin_role", old.AdminRole, next.AdminRole},
		{"accounts.email_verification", old.EmailVerification, next.EmailVerification},
	} {
		if c.was != c.is {
			changed(c.path)
		}
	}
	return problems
}

// eachChange walks a section by its yaml tags and names what differs.
func eachChange(path string, old, next reflect.Value, changed func(path string)) {
	if old.Kind() != reflect.Struct {
		if old.Kind() == reflect.Slice && old.Len() == 0 && next.Len() == 0 {
			return // none and no list are the same
		}
		if !reflect.DeepEqual(old.Interface(), next.Interface()) {
			changed(path)
		}
		return
	}
	for i := range old.NumField() {
		key := old.Type().Field(i).Tag.Get("yaml")
		eachChange(path+"."+key, old.Field(i), next.Field(i), changed)
	}
}
