package authn

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config is authn's part of config.yaml. Default gives every key its safe
// value; Validate says all that is wrong with one.
type Config struct {
	Tokens   TokenConfig
	Sessions SessionConfig
	Accounts AccountConfig
	Events   EventConfig
	Mail     MailConfig
}

// MailConfig is what authn must know of the sections mail and limits. Whoever
// loads the file fills it in.
type MailConfig struct {
	Configured bool      // there is a way to send mails
	Limit      MailLimit // limits.mail
}

// MailLimit is how many mails of a kind one address may get because somebody
// asked for them. The zero value is no limit.
type MailLimit struct {
	N   int
	Per time.Duration
}

// TokenConfig is the section tokens.
type TokenConfig struct {
	Algorithm    string        `yaml:"algorithm"` // EdDSA | ES256 | RS256 | HS256
	Secret       Secret        `yaml:"secret"`    // for HS256, at least 32 bytes
	Issuer       string        `yaml:"issuer"`    // default: server.public_url, filled in by whoever loads the file
	Audience     string        `yaml:"audience"`
	AccessTTL    time.Duration `yaml:"access_ttl"`
	RefreshGrace time.Duration `yaml:"refresh_grace"`
}

// SessionConfig is the section sessions.
type SessionConfig struct {
	Idle    time.Duration `yaml:"idle"`
	Max     time.Duration `yaml:"max"`
	PerUser int           `yaml:"per_user"` // the oldest ends when one more starts; 0: no limit
}

// AccountConfig is the section accounts.
type AccountConfig struct {
	Registration      string         `yaml:"registration"` // open | closed
	DefaultRoles      []string       `yaml:"default_roles"`
	AdminRole         string         `yaml:"admin_role"`
	EmailVerification string         `yaml:"email_verification"` // off | optional | required
	NewDeviceMail     bool           `yaml:"new_device_mail"`    // tell a person of a sign-in from a network that is new
	Username          UsernameConfig `yaml:"username"`
	Password          PasswordConfig `yaml:"password"`
	Lockout           LockoutConfig  `yaml:"lockout"`
}

// UsernameConfig is the section accounts.username.
type UsernameConfig struct {
	Min      int      `yaml:"min"`
	Max      int      `yaml:"max"`
	Reserved []string `yaml:"reserved"` // refused to self-registration, ignoring case
}

// PasswordConfig is the section accounts.password.
type PasswordConfig struct {
	MinLength    int      `yaml:"min_length"` // characters
	Require      []string `yaml:"require"`    // any of upper lower digit symbol
	RefuseCommon bool     `yaml:"refuse_common"`
	BcryptCost   int      `yaml:"bcrypt_cost"`
	Pepper       Secret   `yaml:"pepper"`
}

// LockoutConfig is the section accounts.lockout.
type LockoutConfig struct {
	Failures int           `yaml:"failures"` // per account and client network; 0: off
	Window   time.Duration `yaml:"window"`
	Ceiling  int           `yaml:"ceiling"` // per account, sparing networks the account is known from; 0: off
}

// EventConfig is the section events.
type EventConfig struct {
	Retention time.Duration `yaml:"retention"`
}

// Default returns the documented defaults.
func Default() Config {
	return Config{
		Tokens: TokenConfig{
			Algorithm: "EdDSA", Audience: "doorward",
			AccessTTL: 15 * time.Minute, RefreshGrace: 30 * time.Second,
		},
		Sessions: SessionConfig{Idle: 168 * time.Hour, Max: 720 * time.Hour, PerUser: 5},
		Accounts: AccountConfig{
			Registration: "closed", DefaultRoles: []string{"user"}, AdminRole: "admin",
			EmailVerification: "optional",
			Username: UsernameConfig{
				Min: 3, Max: 30,
				Reserved: []string{"admin", "administrator", "root", "system", "support"},
			},
			Password: PasswordConfig{MinLength: 8, RefuseCommon: true, BcryptCost: 12},
			Lockout:  LockoutConfig{Failures: 5, Window: 15 * time.Minute, Ceiling: 50},
		},
		Events: EventConfig{Retention: 2160 * time.Hour},
	}
}

// ConfigProblem is one thing wrong with the configuration.
type ConfigProblem struct {
	Path    string // of the key in the file, such as "tokens.secret"
	Message string // what to write instead; never the value of a secret
}

// problems collects what is wrong.
type problems []ConfigProblem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, ConfigProblem{path, fmt.Sprintf(format, args...)})
}

// Validate says all that is wrong with the section. It changes nothing and
// asks nothing of the world.
func (c Config) Validate() []ConfigProblem {
	var p problems
	c.Tokens.validate(&p)
	c.Sessions.validate(&p)
	c.Accounts.validate(&p)
	if c.Accounts.EmailVerification == "required" && !c.Mail.Configured {
		p.add("accounts.email_verification", "required needs mails: set mail.url, or write optional")
	}
	p.positive("events.retention", c.Events.Retention, "2160h")
	return p
}

func (p *problems) positive(path string, d time.Duration, example string) {
	if d <= 0 {
		p.add(path, "write a time longer than 0, such as %s", example)
	}
}

// oneOf checks a word against those there are.
func (p *problems) oneOf(path, got string, words ...string) {
	if !slices.Contains(words, got) {
		p.add(path, "%q is unknown: write %s", got, enumeration(words))
	}
}

func enumeration(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// standIn matches what stands where somebody means to put a secret: a variable or
// template nobody has filled in, for config.yaml knows none, or the example of a
// guide. All of them can be read by everyone.
var standIn = regexp.MustCompile(`(?i)^\s*(\$\{.*\}|\$\(.*\)|\$[a-z0-9_]+|%[a-z0-9_]+%|\{\{.*\}\}|<.*>)\s*$|change.?(me|this)|replace.?(me|this|with)|placeholder`)

// secret refuses one that is none.
func (p *problems) secret(path string, s Secret) {
	if standIn.MatchString(s.Reveal()) {
		variable := "DOORWARD_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		p.add(path, "stands in for a secret: variables are not filled in here, so put the output of `openssl rand -base64 32` here, or set %s or %s_FILE", variable, variable)
	}
}

func (c TokenConfig) validate(p *problems) {
	p.oneOf("tokens.algorithm", c.Algorithm, "EdDSA", "ES256", "RS256", "HS256")
	if c.Algorithm == "HS256" && len(c.Secret) < 32 {
		p.add("tokens.secret", "HS256 needs a secret of at least 32 bytes: put the output of `openssl rand -base64 32` here or in DOORWARD_TOKENS_SECRET_FILE")
	}
	p.secret("tokens.secret", c.Secret)
	if c.Issuer == "" {
		p.add("tokens.issuer", "write the URL people reach the gateway at, or set server.public_url")
	}
	if c.Audience == "" {
		p.add("tokens.audience", "write whom the tokens are for, such as doorward")
	}
	p.positive("tokens.access_ttl", c.AccessTTL, "15m")
	if c.RefreshGrace < 0 || c.RefreshGrace > 5*time.Minute {
		p.add("tokens.refresh_grace", "write a time from 0s to 5m: within it a stolen refresh token goes unnoticed")
	}
}

func (c SessionConfig) validate(p *problems) {
	p.positive("sessions.idle", c.Idle, "168h")
	p.positive("sessions.max", c.Max, "720h")
	if c.Idle > c.Max && c.Max > 0 {
		p.add("sessions.idle", "write a time no longer than sessions.max (%v)", c.Max)
	}
	if c.PerUser < 0 {
		p.add("sessions.per_user", "write how many sessions one user may have, or 0 for no limit")
	}
}

func (c AccountConfig) validate(p *problems) {
	p.oneOf("accounts.registration", c.Registration, "open", "closed")
	p.oneOf("accounts.email_verification", c.EmailVerification, "off", "optional", "required")
	for i, role := range c.DefaultRoles {
		p.role(fmt.Sprintf("accounts.default_roles[%d]", i), role)
		if c.Registration == "open" && role == c.AdminRole {
			p.add(fmt.Sprintf("accounts.default_roles[%d]", i), "with registration: open everybody would be an admin: remove %q", role)
		}
	}
	p.role("accounts.admin_role", c.AdminRole)
	c.Username.validate(p)
	c.Password.validate(p)
	c.Lockout.validate(p)
}

func (p *problems) role(path, role string) {
	if !roleForm.MatchString(role) {
		p.add(path, "%q is no role name: write 1 to 64 of a-z 0-9 _ . : - that begin with a letter or digit", role)
	}
}

func (c UsernameConfig) validate(p *problems) {
	const longest = 64
	if c.Min < 1 || c.Min > longest {
		p.add("accounts.username.min", "write a number from 1 to %d", longest)
	}
	if c.Max < 1 || c.Max > longest {
		p.add("accounts.username.max", "write a number from 1 to %d", longest)
	}
	if c.Min > c.Max {
		p.add("accounts.username.min", "write a number no greater than accounts.username.max (%d)", c.Max)
	}
	for i, word := range c.Reserved {
		if !usernameForm.MatchString(word) {
			p.add(fmt.Sprintf("accounts.username.reserved[%d]", i), "%q could not be a username anyway: remove it", word)
		}
	}
}

func (c PasswordConfig) validate(p *problems) {
	p.secret("accounts.password.pepper", c.Pepper)
	if c.MinLength < 1 || c.MinLength > 128 {
		p.add("accounts.password.min_length", "write a number from 1 to 128")
	}
	var classes []string
	for _, class := range characterClasses {
		classes = append(classes, class.name)
	}
	for i, word := range c.Require {
		p.oneOf(fmt.Sprintf("accounts.password.require[%d]", i), word, classes...)
	}
	if c.BcryptCost < 10 || c.BcryptCost > 16 {
		p.add("accounts.password.bcrypt_cost", "write a number from 10 to 16; each step doubles the work, 12 is about a quarter of a second")
	}
}

func (c LockoutConfig) validate(p *problems) {
	if c.Failures < 0 {
		p.add("accounts.lockout.failures", "write how many failures lock, or 0 for no limit")
	}
	if c.Ceiling < 0 {
		p.add("accounts.lockout.ceiling", "write how many failures lock from everywhere, or 0 for no limit")
	}
	if c.Ceiling > 0 && c.Ceiling < c.Failures {
		p.add("accounts.lockout.ceiling", "write a number no smaller than accounts.lockout.failures (%d)", c.Failures)
	}
	p.positive("accounts.lockout.window", c.Window, "15m")
}
