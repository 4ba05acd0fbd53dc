package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/doorward/doorward/authn"
)

// Code is the machine-readable name of an error, in the body and in the header
// Doorward.
type Code string

// problem is what a code means over HTTP.
type problem struct {
	code   Code
	status int
	title  string
	detail string // for a person; says what to do next
}

// problems is every code there is: the one place that knows a status.
var problems = []problem{
	{"INVALID_INPUT", 400, "Invalid input", "Mend what errors lists and send it again."},
	{"AMBIGUOUS_PATH", 400, "Ambiguous path", "The path can be read in more than one way, and you may not go everywhere it could lead. Send it in its plain form."},
	{"BAD_REQUEST", 400, "Bad request", "The request target is not one a gateway can forward. Send a plain path."},
	{"TICKET_INVALID", 400, "Link not valid", "The link was used, has expired or was replaced. Ask for a new one."},
	{"AUTHENTICATION_REQUIRED", 401, "Sign-in required", "Sign in, then try again."},
	{"TOKEN_INVALID", 401, "Token not valid", "The access token is not one of ours. Sign in for a new one."},
	{"TOKEN_EXPIRED", 401, "Token expired", "Refresh the access token, or sign in again."},
	{"TOKEN_REVOKED", 401, "Token revoked", "The session has ended. Sign in again."},
	{"INVALID_CREDENTIALS", 401, "Sign-in failed", "The login or the password is wrong."},
	{"REFRESH_TOKEN_INVALID", 401, "Refresh token not valid", "Sign in again."},
	{"REFRESH_TOKEN_REUSED", 401, "Refresh token used twice", "The token had been used before, so the session was ended. Sign in again."},
	{"INSUFFICIENT_ROLE", 403, "Not allowed", "Your account does not have a role that may go here."},
	{"EMAIL_NOT_VERIFIED", 403, "Email not verified", "Verify your email address first."},
	{"ACCOUNT_DISABLED", 403, "Account disabled", "Ask an administrator to enable the account."},
	{"CROSS_ORIGIN", 403, "Cross-origin request", "This request came from another site. Send it from this one, or have the origin added to cors.origins."},
	{"REGISTRATION_CLOSED", 403, "Registration closed", "Ask an administrator for an account."},
	{"HTTPS_REQUIRED", 403, "HTTPS required", "Send the request over https."},
	{"NO_ROUTE", 404, "No route", "No route of this gateway leads there."},
	{"NOT_FOUND", 404, "Not found", "There is no such thing here."},
	{"METHOD_NOT_ALLOWED", 405, "Method not allowed", "Use one of the methods in Allow."},
	{"EMAIL_TAKEN", 409, "Email taken", "An account has this email address. Sign in instead, or use another."},
	{"USERNAME_TAKEN", 409, "Username taken", "Somebody has this username, or had it once. Choose another."},
	{"LAST_ADMIN", 409, "Last admin", "Make someone else an admin first."},
	{"BODY_TOO_LARGE", 413, "Body too large", "Send at most 64 KiB."},
	{"UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported media type", "send Content-Type: application/json"},
	{"TOO_MANY_ATTEMPTS", 429, "Too many attempts", "Wait as long as Retry-After says, then try again."},
	{"RATE_LIMITED", 429, "Too many requests", "Wait as long as Retry-After says, then try again."},
	{"INTERNAL", 500, "Internal error", "It is not your fault. Tell the operator the request_id."},
	{"UPSTREAM_UNREACHABLE", 502, "Backend unreachable", "The application behind this gateway does not answer. Try again later."},
	{"OVERLOADED", 503, "Busy", "Wait as long as Retry-After says, then try again."},
	{"UPSTREAM_TIMEOUT", 504, "Backend too slow", "The application behind this gateway took too long. Try again later."},
}

// spoken is what a page says to a person where the table's words are for
// programs. How long to wait is added to it.
var spoken = map[Code]string{
	"INVALID_INPUT":          "Please correct what is listed here.",
	"METHOD_NOT_ALLOWED":     "This address cannot be used that way. Go back and try again.",
	"BODY_TOO_LARGE":         "That is more than fits. Shorten it and try again.",
	"UNSUPPORTED_MEDIA_TYPE": "Use the form of this page.",
	"TOO_MANY_ATTEMPTS":      "That were too many attempts.",
	"RATE_LIMITED":           "That were too many requests.",
	"OVERLOADED":             "Many people are signing in just now.",
	"TOKEN_EXPIRED":          "Sign in again.",
	"CROSS_ORIGIN":           "This came from another site. Open the page here and try again.",
}

// causes says which code an error of authn becomes. Every exported error of
// authn has a row.
var causes = []struct {
	err  error
	code Code
}{
	{authn.ErrNotFound, "NOT_FOUND"},
	{authn.ErrInvalidCredentials, "INVALID_CREDENTIALS"},
	{authn.ErrTooManyAttempts, "TOO_MANY_ATTEMPTS"},
	{authn.ErrOverloaded, "OVERLOADED"},
	{authn.ErrAccountDisabled, "ACCOUNT_DISABLED"},
	{authn.ErrEmailNotVerified, "EMAIL_NOT_VERIFIED"},
	{authn.ErrRegistrationClosed, "REGISTRATION_CLOSED"},
	{authn.ErrEmailTaken, "EMAIL_TAKEN"},
	{authn.ErrUsernameTaken, "USERNAME_TAKEN"},
	{authn.ErrLastAdmin, "LAST_ADMIN"},
	{authn.ErrNotAdmin, "INSUFFICIENT_ROLE"},
	{authn.ErrTicketInvalid, "TICKET_INVALID"},
	{authn.ErrNotSignedIn, "AUTHENTICATION_REQUIRED"},
	{authn.ErrTokenInvalid, "TOKEN_INVALID"},
	{authn.ErrTokenExpired, "TOKEN_EXPIRED"},
	{authn.ErrTokenRevoked, "TOKEN_REVOKED"},
	{authn.ErrRefreshInvalid, "REFRESH_TOKEN_INVALID"},
	{authn.ErrRefreshReused, "REFRESH_TOKEN_REUSED"},
	{authn.ErrRefreshTooMany, "RATE_LIMITED"},
}

// refusal is an error the gateway itself decides on. It ends in fail, like
// every other.
type refusal struct {
	code   Code
	detail string             // instead of the table's; never anything internal
	fields []authn.FieldError // for INVALID_INPUT
	after  time.Duration      // Retry-After
	header http.Header        // more of the answer's header, such as Allow
	cause  error              // for the log only
}

// refuse makes a refusal with the table's own words.
func refuse(code Code) *refusal { return &refusal{code: code} }

func (e *refusal) Error() string {
	if e.cause != nil {
		return string(e.code) + ": " + e.cause.Error()
	}
	return string(e.code)
}

func (e *refusal) Unwrap() error { return e.cause }

// codeOf is the code an error ends as; what nobody planned for is INTERNAL.
func codeOf(err error) Code {
	var own *refusal
	if errors.As(err, &own) {
		return own.code
	}
	var input *authn.InputError
	if errors.As(err, &input) {
		return "INVALID_INPUT"
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "INTERNAL"
}
