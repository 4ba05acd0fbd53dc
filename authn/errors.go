package authn

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors a caller can tell apart. Each has a row in the gateway's problem
// table; a test walks both. Match with errors.Is: most arrive wrapped.
var (
	ErrNotFound = errors.New("no such record")

	// Signing in.
	ErrInvalidCredentials = errors.New("the login or the password is wrong")
	ErrTooManyAttempts    = errors.New("too many attempts to sign in")      // wrapped in RetryError
	ErrOverloaded         = errors.New("too many sign-ins are under way")   // wrapped in RetryError
	ErrAccountDisabled    = errors.New("the account is disabled")           // only after the right password
	ErrEmailNotVerified   = errors.New("the email address is not verified") // only after the right password
	ErrRegistrationClosed = errors.New("registration is closed")
	ErrEmailTaken         = errors.New("the email address belongs to another account")
	ErrUsernameTaken      = errors.New("the username is taken")
	ErrLastAdmin          = errors.New("the last active admin must stay one")
	ErrNotAdmin           = errors.New("whoever acts is an admin no more")

	// Links in mails. One answer for a token that is unknown, malformed, used,
	// replaced or expired.
	ErrTicketInvalid = errors.New("the link is not valid any more")

	// Credentials of a request.
	ErrNotSignedIn  = errors.New("not signed in") // no credential, or a dead cookie
	ErrTokenInvalid = errors.New("the access token is not one of ours")
	ErrTokenExpired = errors.New("the access token has expired") // genuine; judged before the session
	ErrTokenRevoked = errors.New("the access token is revoked")  // in time, but session over or user inactive

	// Refreshing.
	ErrRefreshInvalid = errors.New("the refresh token is not valid")
	ErrRefreshReused  = errors.New("the refresh token was used before; the session has been ended")
	ErrRefreshTooMany = errors.New("too many refreshes in a row") // wrapped in RetryError
)

// RetryError is an error that goes away by itself.
type RetryError struct {
	Err   error
	After time.Duration // how long to wait before it is worth another try; at least a second
}

func (e *RetryError) Error() string { return fmt.Sprintf("%v: try again in %v", e.Err, e.After) }
func (e *RetryError) Unwrap() error { return e.Err }

// FieldError is one thing wrong with one field of what was sent. Codes are
// those of the API: required, unknown, duplicate, type, format, too_short,
// too_long, common, same_as_identity, missing_upper, missing_lower,
// missing_digit, missing_symbol, incorrect, taken, reserved.
type FieldError struct {
	Field  string
	Code   string
	Detail string // a sentence for a person; never the value itself
}

// InputError is everything that is wrong with what was sent, all at once.
type InputError struct {
	Fields []FieldError
}

func (e *InputError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + ": " + f.Detail
	}
	return strings.Join(parts, "; ")
}

// Add notes one more problem.
func (e *InputError) Add(field, code, detail string) {
	e.Fields = append(e.Fields, FieldError{field, code, detail})
}

// OrNil is e as an error, or nil when nothing is wrong.
func (e *InputError) OrNil() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}
