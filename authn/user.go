package authn

import (
	"slices"
	"time"
)

// User is a person's account as the store keeps it. It carries no json tags:
// the API and the disk have shapes of their own, so that renaming a field here
// can never leak the hash there.
type User struct {
	ID       string // [a-z0-9]{26}, sorts by time of creation; the sub of tokens
	Username string // as typed; unique ignoring case; "" where there is none
	Email    string // lower-cased; unique; "" where there is none
	Name     string // what to call the person; "" where there is none

	EmailVerified bool
	Roles         []string // sorted, each once
	Active        bool

	// PasswordHash names its scheme and key, see password.go. Empty means that
	// no password signs in.
	PasswordHash string

	// Networks are the client networks that signed in lately; the lockout
	// ceiling never applies to them. Newest last, bounded.
	Networks []KnownNetwork

	CreatedAt   time.Time
	UpdatedAt   time.Time
	LastLoginAt time.Time // zero: never
}

// KnownNetwork is one network (IPv4 address or IPv6 /64) an account has signed
// in from, and when it last did.
type KnownNetwork struct {
	Network string
	SeenAt  time.Time
}

// HasRole reports whether the user has the role, exactly as written.
func (u User) HasRole(role string) bool { return slices.Contains(u.Roles, role) }

// Login is the name a person would type: the username, else the email.
func (u User) Login() string {
	if u.Username != "" {
		return u.Username
	}
	return u.Email
}
