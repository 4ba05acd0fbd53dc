package authn

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func goodConfig() Config {
	c := Default()
	c.Tokens.Issuer = "https://gate.example"
	return c
}

func TestDefaultIsValid(t *testing.T) {
	if got := goodConfig().Validate(); len(got) != 0 {
		t.Errorf("problems with the defaults: %v", got)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // paths, in order
		says   string // part of the first message
	}{
		{"algorithm", func(c *Config) { c.Tokens.Algorithm = "none" }, "tokens.algorithm", "EdDSA, ES256, RS256 or HS256"},
		{"algorithm in another case", func(c *Config) { c.Tokens.Algorithm = "eddsa" }, "tokens.algorithm", "write EdDSA"},
		{"no secret", func(c *Config) { c.Tokens.Algorithm = "HS256" }, "tokens.secret", "openssl rand"},
		{"short secret", func(c *Config) { c.Tokens.Algorithm, c.Tokens.Secret = "HS256", "hunter2" }, "tokens.secret", "at least 32 bytes"},
		{"secret of 32", func(c *Config) { c.Tokens.Algorithm, c.Tokens.Secret = "HS256", Secret(strings.Repeat("x", 32)) }, "", ""},
		{"issuer and audience", func(c *Config) { c.Tokens.Issuer, c.Tokens.Audience = "", "" }, "tokens.issuer tokens.audience", "server.public_url"},
		{"ttl", func(c *Config) { c.Tokens.AccessTTL = -time.Minute }, "tokens.access_ttl", "longer than 0"},
		{"grace too long", func(c *Config) { c.Tokens.RefreshGrace = 6 * time.Minute }, "tokens.refresh_grace", "0s to 5m"},
		{"no grace", func(c *Config) { c.Tokens.RefreshGrace = 0 }, "", ""},
		{"sessions", func(c *Config) { c.Sessions = SessionConfig{PerUser: -1} }, "sessions.idle sessions.max sessions.per_user", "such as 168h"},
		{"idle over max", func(c *Config) { c.Sessions.Idle = 721 * time.Hour }, "sessions.idle", "no longer than sessions.max"},
		{"registration", func(c *Config) { c.Accounts.Registration = "yes" }, "accounts.registration", "open or closed"},
		{"verification", func(c *Config) { c.Accounts.EmailVerification = "true" }, "accounts.email_verification", "off, optional or required"},
		{"verification without mails", func(c *Config) { c.Accounts.Registration, c.Accounts.EmailVerification = "open", "required" },
			"accounts.email_verification", "write optional"},
		{"verification without mails, where an admin makes the accounts", func(c *Config) { c.Accounts.EmailVerification = "required" },
			"accounts.email_verification", "set mail.url"},
		{"verification with mails", func(c *Config) {
			c.Accounts.Registration, c.Accounts.EmailVerification, c.Mail.Configured = "open", "required", true
		}, "", ""},
		{"roles", func(c *Config) { c.Accounts.DefaultRoles, c.Accounts.AdminRole = []string{"user", "Power User"}, "" },
			"accounts.default_roles[1] accounts.admin_role", "no role name"},
		{"everybody an admin", func(c *Config) { c.Accounts.Registration, c.Accounts.DefaultRoles = "open", []string{"admin"} },
			"accounts.default_roles[0]", "everybody would be an admin"},
		{"username", func(c *Config) { c.Accounts.Username = UsernameConfig{Min: 9, Max: 8, Reserved: []string{"a b"}} },
			"accounts.username.min accounts.username.reserved[0]", "no greater than accounts.username.max (8)"},
		{"username limits", func(c *Config) { c.Accounts.Username.Min, c.Accounts.Username.Max = 0, 65 },
			"accounts.username.min accounts.username.max", "from 1 to 64"},
		{"password", func(c *Config) {
			c.Accounts.Password = PasswordConfig{MinLength: 0, Require: []string{"upper", "emoji"}, BcryptCost: 9}
		}, "accounts.password.min_length accounts.password.require[1] accounts.password.bcrypt_cost", "from 1 to 128"},
		{"cost too high", func(c *Config) { c.Accounts.Password.BcryptCost = 17 }, "accounts.password.bcrypt_cost", "10 to 16"},
		{"lockout", func(c *Config) { c.Accounts.Lockout = LockoutConfig{Failures: -1, Ceiling: -1} },
			"accounts.lockout.failures accounts.lockout.ceiling accounts.lockout.window", "0 for no limit"},
		{"ceiling under failures", func(c *Config) { c.Accounts.Lockout.Ceiling = 4 }, "accounts.lockout.ceiling", "no smaller than"},
		{"lockout off", func(c *Config) { c.Accounts.Lockout.Failures, c.Accounts.Lockout.Ceiling = 0, 0 }, "", ""},
		{"retention", func(c *Config) { c.Events.Retention = 0 }, "events.retention", "2160h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := goodConfig()
			c.change(&cfg)
			got := cfg.Validate()
			var paths []string
			for _, p := range got {
				paths = append(paths, p.Path)
				if strings.Contains(p.Message, "hunter2") {
					t.Errorf("%s shows the secret: %s", p.Path, p.Message)
				}
			}
			if !slices.Equal(paths, strings.Fields(c.want)) {
				t.Fatalf("problems %v, want %s", got, c.want)
			}
			if len(got) > 0 && !strings.Contains(got[0].Message, c.says) {
				t.Errorf("message %q, want it to say %q", got[0].Message, c.says)
			}
		})
	}
}
