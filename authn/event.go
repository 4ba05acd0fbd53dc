package authn

import "time"

// Kind names what happened, in the words of the security log.
type Kind string

const (
	UserRegistered      Kind = "user.registered"
	UserCreated         Kind = "user.created"
	UserUpdated         Kind = "user.updated"
	UserRolesChanged    Kind = "user.roles_changed"
	UserDisabled        Kind = "user.disabled"
	UserEnabled         Kind = "user.enabled"
	UserDeleted         Kind = "user.deleted"
	UserPasswordChanged Kind = "user.password_changed"
	UserPasswordReset   Kind = "user.password_reset"
	UserResetRequested  Kind = "user.reset_requested" // only if somebody has the address
	UserEmailVerified   Kind = "user.email_verified"
	UserEmailChanged    Kind = "user.email_changed"
	UserUnlocked        Kind = "user.unlocked"
	UsersExported       Kind = "users.exported"
	SignInSucceeded     Kind = "sign_in.succeeded"
	SignInFailed        Kind = "sign_in.failed"
	SignInLocked        Kind = "sign_in.locked"
	SessionEnded        Kind = "session.ended"
	RefreshReused       Kind = "refresh.reused"
	KeyRotated          Kind = "key.rotated"
	MailGivenUp         Kind = "mail.given_up"
	ConfigLoaded        Kind = "config.loaded"
	ConfigRejected      Kind = "config.rejected"
	StoreFailed         Kind = "store.failed"
)

// Reason is why a session ended: the detail "reason" of SessionEnded.
type Reason string

const (
	EndedByLogout    Reason = "logout"
	EndedByLogoutAll Reason = "logout_all"
	EndedByPassword  Reason = "password"
	EndedByDisabling Reason = "disabled"
	EndedByDeletion  Reason = "deleted"
	EndedByLimit     Reason = "limit"
	EndedByAdmin     Reason = "admin"
	EndedByReuse     Reason = "reuse"
	EndedByExpiry    Reason = "expired"
)

// Event is one line of the security log. It is written in the transaction of
// what it reports, so neither exists without the other. It never holds a
// secret, and no name that was typed and matched nobody: people type passwords
// into the wrong field.
type Event struct {
	ID        string // given by the store, in order of writing
	Time      time.Time
	Kind      Kind
	Actor     string // user id of who did it; "" for the system, "cli" for the command line
	Subject   string // user id of whom it happened to; "" where there is none
	Session   string
	ClientIP  string
	RequestID string
	Detail    map[string]string
}

// addEvent writes an event in the transaction of what it reports.
func (s *Service) addEvent(tx Tx, k Kind, a Actor, subject, session string, now time.Time, detail map[string]string) error {
	return tx.AddEvent(Event{
		Time: now, Kind: k, Actor: a.ID, Subject: subject, Session: session,
		ClientIP: addrString(a.Client.IP), RequestID: a.Client.RequestID, Detail: detail,
	}, now.Add(s.deps.Config.Events.Retention))
}
