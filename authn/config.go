package authn

import "time"

// Config is authn's part of config.yaml. Default gives every key its safe
// value; Validate says all that is wrong with one.
type Config struct {
	Tokens   TokenConfig
	Sessions SessionConfig
	Accounts AccountConfig
	Events   EventConfig
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
