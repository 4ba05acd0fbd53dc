package gateway

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/policy"
)

func TestReload(t *testing.T) {
	g := newGateway(t, nil)
	cfg := testConfig(g.URL)
	cfg.Registration, cfg.AdminRole, cfg.EmailVerification = g.Config.Registration, g.Config.AdminRole, g.Config.EmailVerification
	other := DefaultUpstream()
	other.Name, other.URL = "other", "whoami:"
	cfg.Upstreams = append(cfg.Upstreams, other)
	cfg.Routes = append(cfg.Routes[:1:1], Route{Rule: policy.Rule{Path: "/opened/**", Upstream: "other", Allow: policy.Allow{Audience: policy.Anyone}}})
	app := g.live.Load().upstreams["app"]

	if a := g.get("/opened/x"); a.Status != 401 {
		t.Fatalf("before: got %d, want 401", a.Status)
	}
	if err := g.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if a := g.get("/opened/x"); a.Status != 200 {
		t.Errorf("a route that was added: got %d, want 200", a.Status)
	}
	if a := g.get("/public/x"); a.Status != 401 {
		t.Errorf("a route that is gone: got %d, want 401", a.Status)
	}
	if g.live.Load().upstreams["app"] != app {
		t.Error("an upstream that did not change lost its connections")
	}

	cfg.Upstreams = cfg.Upstreams[:1]
	cfg.Routes = cfg.Routes[:1]
	g.get("/opened/x")
	if err := g.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(g.metrics(), `upstream="other"`) {
		t.Error("an upstream that is gone is still among the metrics")
	}
}

func TestBrokenReloadChangesNothing(t *testing.T) {
	g := newGateway(t, nil)
	before := g.live.Load()
	cfg := before.cfg
	cfg.Routes = append(slices.Clone(cfg.Routes), Route{Rule: policy.Rule{Path: "no slash", Upstream: "nobody"}})
	err := g.Reload(cfg)
	var problems *ConfigError
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want a *ConfigError", err)
	}
	for _, path := range []string{"routes[3].path", "routes[3].upstream", "routes[3].allow"} {
		if !slices.ContainsFunc(problems.Problems, func(p ConfigProblem) bool { return p.Path == path }) {
			t.Errorf("nothing about %s in:\n%v", path, err)
		}
	}
	if g.live.Load() != before {
		t.Error("the configuration in use was replaced")
	}
	if !strings.Contains(g.metrics(), "doorward_config_last_reload_successful 0") {
		t.Error("the metric does not say so")
	}
	if err := g.Reload(before.cfg); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(g.metrics(), "doorward_config_last_reload_successful 1") {
		t.Error("the metric does not say that the next one worked")
	}
}

// A key that is built into what runs is refused by name, never half applied.
func TestReloadRefusesWhatNeedsARestart(t *testing.T) {
	g := newGateway(t, nil)
	for path, change := range map[string]func(*Config){
		"server.listen":               func(c *Config) { c.Server.Listen = ":9999" },
		"server.ops_listen":           func(c *Config) { c.Server.OpsListen = ":9998" },
		"server.public_url":           func(c *Config) { c.Server.PublicURL = "http://elsewhere.example" },
		"server.prefix":               func(c *Config) { c.Server.Prefix = "/door" },
		"server.trusted_proxies":      func(c *Config) { c.Server.TrustedProxies = []string{"private"} },
		"server.tls.cert":             func(c *Config) { c.Server.TLS.Cert = "cert.pem" },
		"server.h2c":                  func(c *Config) { c.Server.H2C = true },
		"server.timeouts.shutdown":    func(c *Config) { c.Server.Timeouts.Shutdown = time.Hour },
		"accounts.registration":       func(c *Config) { c.Registration = "closed" },
		"accounts.admin_role":         func(c *Config) { c.AdminRole = "root" },
		"accounts.email_verification": func(c *Config) { c.EmailVerification = "required" },
	} {
		before := g.live.Load()
		cfg := before.cfg
		change(&cfg)
		err := g.Reload(cfg)
		if want := path + ": changing it needs a restart"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if g.live.Load() != before {
			t.Errorf("%s: something was applied", path)
		}
	}
	cfg := g.live.Load().cfg
	cfg.Server.TrustedProxies = []string{} // none, as before
	if err := g.Reload(cfg); err != nil {
		t.Errorf("an empty list for none: got %v, want nil", err)
	}
}

func TestNewRefusesABrokenConfiguration(t *testing.T) {
	cfg := testConfig("http://localhost:8080")
	cfg.Server.Prefix = "/"
	_, err := New(Deps{Config: cfg})
	var problems *ConfigError
	if !errors.As(err, &problems) || len(problems.Problems) != 1 || problems.Problems[0].Path != "server.prefix" {
		t.Errorf("got %v, want one problem with server.prefix", err)
	}
}
