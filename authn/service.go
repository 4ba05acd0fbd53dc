package authn

import (
	"log/slog"
	"time"
)

// Deps is everything a Service needs. All fields but Observe must be set.
type Deps struct {
	Config Config
	Store  Store
	Now    func() time.Time
	Log    *slog.Logger

	// Observe receives measurements; nil means nobody is interested. It must be
	// quick and safe for concurrent use.
	Observe func(m Metric, label string, value float64)
}

// Metric names a measurement. Counters are observed with value 1, gauges with
// their new value, durations in seconds.
type Metric string

const (
	MetricSignIns   Metric = "sign_ins"        // counter; label: succeeded failed locked overloaded disabled unverified
	MetricRefreshes Metric = "refreshes"       // counter; label: rotated repeated reused invalid limited
	MetricHashQueue Metric = "hash_queue"      // gauge: hashes waiting or running
	MetricHashWait  Metric = "hash_wait"       // seconds one hash waited for its turn
	MetricSessions  Metric = "sessions_cached" // gauge
)

// SignIn is a session just started or continued, with what its holder keeps.
// Only the fields of its mode are set.
type SignIn struct {
	User    User
	Session Session

	AccessToken      Secret
	AccessExpiresIn  time.Duration
	RefreshToken     Secret
	RefreshExpiresIn time.Duration // until the session's idle end

	Cookie          Secret // the session cookie's value
	CookieExpiresIn time.Duration
}

// Registration is what a person sends to get an account.
type Registration struct {
	Email    string
	Username string
	Name     string
	Password Secret
	Mode     Mode
}

// LoginAttempt is what a person sends to sign in. Login is a username or an
// email address in any spelling.
type LoginAttempt struct {
	Login    string
	Password Secret
	Mode     Mode
}

// Credential is what a request carries to say who it is from. A bearer decides
// alone, good or bad; else the first cookie that verifies.
type Credential struct {
	Bearer  Secret   // an access token of ours; "" for none
	Cookies []Secret // every session cookie value, in order
}

// Empty reports whether the request carries nothing of ours.
func (c Credential) Empty() bool { return c.Bearer == "" && len(c.Cookies) == 0 }

// NewUser is an account made by an admin or on the command line.
type NewUser struct {
	Username      string
	Email         string
	Name          string
	Password      Secret
	Roles         []string // nil: accounts.default_roles
	EmailVerified bool
}

// UserChange is an admin's change to an account; nil fields stay as they are.
type UserChange struct {
	Username      *string
	Email         *string
	Name          *string
	Roles         *[]string
	Active        *bool
	EmailVerified *bool
}

// Actor is who does something to an account: a user, or the command line.
type Actor struct {
	ID     string // user id, or ActorCLI
	Client Client
}

// ActorCLI is the actor of what is done on the command line.
const ActorCLI = "cli"

// Service answers for who someone is. It is made by New and safe for
// concurrent use.
type Service struct {
	Deps

	keys *keyring
}

// observe reports a measurement, if anybody is interested.
func (s *Service) observe(m Metric, label string, v float64) {
	if s.Observe != nil {
		s.Observe(m, label, v)
	}
}
