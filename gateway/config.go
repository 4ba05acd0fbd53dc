package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/doorward/doorward/policy"
)

// Config is gateway's part of config.yaml. Everything but Server may change
// while running, see Server.Reload.
type Config struct {
	Server    ServerConfig
	Limits    LimitConfig
	CORS      CORSConfig
	Identity  IdentityConfig
	Log       LogConfig
	Upstreams []Upstream
	Routes    []Route

	// EmailVerification and AdminRole are authn's accounts.email_verification
	// and accounts.admin_role: which email may go upstream, and who may call
	// the admin endpoints.
	EmailVerification string
	AdminRole         string
	// Registration is accounts.registration, for the pages and the ready line.
	Registration string
}

// ServerConfig is the section server.
type ServerConfig struct {
	Listen         string    `yaml:"listen"`
	OpsListen      string    `yaml:"ops_listen"` // /healthz /readyz /metrics: never on the public listener
	PublicURL      string    `yaml:"public_url"` // links, cookies, redirects; https turns on Secure cookies, HSTS and the redirect
	Prefix         string    `yaml:"prefix"`     // our own endpoints
	TrustedProxies []string  `yaml:"trusted_proxies"`
	TLS            TLSConfig `yaml:"tls"`
	H2C            bool      `yaml:"h2c"`
	Timeouts       Timeouts  `yaml:"timeouts"`
}

// TLSConfig is the section server.tls; the files are read again when they change.
type TLSConfig struct {
	Cert           string `yaml:"cert"`
	Key            string `yaml:"key"`
	RedirectListen string `yaml:"redirect_listen"` // plain http that leads to https
}

// Timeouts is the section server.timeouts.
type Timeouts struct {
	ReadHeader time.Duration `yaml:"read_header"`
	Body       time.Duration `yaml:"body"` // a rolling deadline per chunk, both ways; for a body of our own endpoints, of the whole
	Idle       time.Duration `yaml:"idle"`
	Drain      time.Duration `yaml:"drain"`
	Shutdown   time.Duration `yaml:"shutdown"`
}

// LimitConfig is the section limits.
type LimitConfig struct {
	LoginFailures Rate `yaml:"login_failures"`
	Register      Rate `yaml:"register"`
	PasswordReset Rate `yaml:"password_reset"`
	Mail          Rate `yaml:"mail"`
	Refresh       Rate `yaml:"refresh"`
	Requests      Rate `yaml:"requests"`
}

// Rate is a bucket of N, refilled evenly over Per; the zero Rate is off.
// Written N/duration: 30/15m.
type Rate struct {
	N   int
	Per time.Duration
}

// ParseRate reads N/duration; "" is off.
func ParseRate(s string) (Rate, error) {
	if s == "" {
		return Rate{}, nil
	}
	count, per, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 1_000_000 {
		return Rate{}, fmt.Errorf(`%q is not a limit: write a count and a duration, such as 30/15m, or "" for none`, s)
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, fmt.Errorf("%q is not a limit: %q is not a duration above zero, such as 15m", s, per)
	}
	return Rate{n, d}, nil
}

func (r Rate) String() string {
	if r.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%v", r.N, r.Per)
}

// CORSConfig is the section cors.
type CORSConfig struct {
	Origins []string `yaml:"origins"` // exact origins
}

// IdentityConfig is the section identity.
type IdentityConfig struct {
	Preset  string           `yaml:"preset"` // forwarded | remote | x-auth-request | none
	Headers []IdentityHeader `yaml:"headers"`
}

// IdentityHeader is one more header to send: its name, and which fact it holds.
type IdentityHeader struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"` // id login username email name roles session
}

// LogConfig is the section log.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug | info | warn | error
	Format string `yaml:"format"` // json | text
	Access bool   `yaml:"access"`
}

// Upstream is one backend.
type Upstream struct {
	Name     string           `yaml:"name"`
	URL      string           `yaml:"url"`  // http https h2c unix:/path, or "whoami:"
	Host     string           `yaml:"host"` // preserve | upstream
	Timeouts UpstreamTimeouts `yaml:"timeouts"`
	TLS      UpstreamTLS      `yaml:"tls"`
}

// UpstreamTimeouts bound the calls to one upstream.
type UpstreamTimeouts struct {
	Connect  time.Duration `yaml:"connect"`
	Response time.Duration `yaml:"response"` // until the answer's header
	Idle     time.Duration `yaml:"idle"`     // of a kept connection; below the backend's own
}

// UpstreamTLS says how an https upstream is verified.
type UpstreamTLS struct {
	CA         string `yaml:"ca"`          // file of PEM certificates, instead of the system's
	ServerName string `yaml:"server_name"` // instead of the URL's host
}

// Route is one line of the route table: who may, and how it is served.
type Route struct {
	policy.Rule `yaml:",inline"`

	Limit                Rate     `yaml:"limit"` // instead of limits.requests
	CORS                 bool     `yaml:"cors"`
	Login                string   `yaml:"login"` // redirect | 401
	KeepHeaders          []string `yaml:"keep_headers"`
	ForwardAuthorization bool     `yaml:"forward_authorization"`
	Upgrades             []string `yaml:"upgrades"` // default: [websocket]
}

// ConfigProblem is one thing wrong with the configuration: the YAML path of the
// key, such as routes[3].path, and what to write instead.
type ConfigProblem struct{ Path, Message string }

// Default returns the documented defaults. Upstreams and routes have none.
func Default() Config {
	return Config{
		Server: ServerConfig{
			Listen: ":8080", OpsListen: "127.0.0.1:9180", PublicURL: "http://localhost:8080", Prefix: "/auth",
			Timeouts: Timeouts{ReadHeader: 10 * time.Second, Body: 30 * time.Second, Idle: 2 * time.Minute, Shutdown: 30 * time.Second},
		},
		Limits: LimitConfig{
			LoginFailures: Rate{30, 15 * time.Minute}, Register: Rate{10, time.Hour},
			PasswordReset: Rate{10, time.Hour}, Mail: Rate{3, time.Hour}, Refresh: Rate{60, time.Minute},
		},
		Identity: IdentityConfig{Preset: "forwarded"},
		Log:      LogConfig{Level: "info", Format: "json", Access: true},
	}
}

// DefaultUpstream is what an upstream has where its YAML says nothing.
func DefaultUpstream() Upstream {
	return Upstream{Host: "preserve", Timeouts: UpstreamTimeouts{Connect: 5 * time.Second, Response: time.Minute, Idle: 4 * time.Second}}
}
