package authn

import (
	"context"
	"time"
)

// Store keeps users, sessions, tickets, mails to send, keys, events and
// counters. Package
// store/storetest holds every implementation to each sentence here.
//
// All methods may be called from several goroutines at once.
type Store interface {
	// View calls fn with a consistent, read-only view of the store. What fn
	// returns is returned as it is. Writing through the Tx is an error.
	View(ctx context.Context, fn func(Tx) error) error

	// Update calls fn with a Tx that reads its own writes. If fn returns nil,
	// everything it wrote is durable when Update returns; otherwise nothing of
	// it ever happened and Update returns fn's error as it is. Updates are
	// serialisable. fn may be called more than once, so it must have no effect
	// outside the Tx but assigning to captured variables; it hashes nothing,
	// sends nothing, reads no clock and does not call the store: others wait
	// until it is done. A ctx that ends while waiting gives up and returns its
	// error, and then fn has had no effect. A panic in fn is returned as an
	// error, and so it is in View.
	//
	// Every watcher has been told of the change before Update returns.
	Update(ctx context.Context, fn func(Tx) error) error

	// Watch calls ready once the feed is up, then fn for every change
	// committed after that, in the order of commits, one at a time. It blocks
	// until ctx ends (and returns nil) or the feed fails (and returns why).
	// ready and fn must be quick and must not call the store: writers wait for
	// them.
	Watch(ctx context.Context, ready func(), fn func(Change)) error

	// Check returns nil while the store can be read and written. It writes
	// nothing that lasts, but it costs a commit.
	Check(ctx context.Context) error

	// Close releases the store. Calls that come later return an error.
	Close() error
}

// Change says what a committed transaction touched. A change to a user's
// record has User set, a change to a session has Session and User set.
type Change struct {
	User    string
	Session string
	Keys    bool // the key ring changed
	Outbox  bool // a mail came into the outbox that was not there before
	All     bool // anything may have changed: forget everything
}

// Tx is one transaction. Records are passed by value; a slice inside one
// belongs to whoever received it; times come back in UTC. ErrNotFound is
// returned, bare, where no such record exists.
type Tx interface {
	// User returns the user with this id, or ErrNotFound.
	User(id string) (User, error)
	// UserByUsername and UserByEmail ignore case. ErrNotFound if nobody has it.
	UserByUsername(username string) (User, error)
	UserByEmail(email string) (User, error)
	// PutUser creates or replaces the user with u.ID and moves its names in the
	// indexes. ErrUsernameTaken or ErrEmailTaken if another user has the name,
	// ignoring case, or (for usernames) had it and was deleted: a username is
	// never given to a second person. A username that a living user gave up
	// stays reserved for that user. Emails of deleted users stay taken too; one
	// that a living user gave up is free. A refused put changes nothing.
	PutUser(u User) error
	// DeleteUser removes the user and keeps its names as tombstones. It removes
	// nothing else: sessions are the caller's to end first. ErrNotFound.
	DeleteUser(id string) error
	// NamesFree returns what PutUser would say to a new user of these names:
	// nil, ErrUsernameTaken or ErrEmailTaken. An empty name is free.
	NamesFree(username, email string) error
	// Users lists users newest first (by id, descending).
	Users(q UserQuery) (UserPage, error)
	// CountActive counts active users with the role, and stops at limit: cost
	// by limit and by how many hold the role, not by how many users there are.
	CountActive(role string, limit int) (int, error)

	// Session returns the session, live or not, or ErrNotFound.
	Session(id string) (Session, error)
	// PutSession creates or replaces the session and its expiry (s.Expires()).
	PutSession(s Session) error
	// DeleteSession removes it; ErrNotFound.
	DeleteSession(id string) error
	// SessionsOf returns a user's sessions, oldest first, live or not.
	SessionsOf(user string) ([]Session, error)

	// Ticket returns the ticket, expired or not, or ErrNotFound.
	Ticket(id string) (Ticket, error)
	// PutTicket creates or replaces the ticket and its expiry (t.ExpiresAt).
	PutTicket(t Ticket) error
	// DeleteTicket removes it; ErrNotFound.
	DeleteTicket(id string) error
	// TicketsOf returns the tickets of a subject (Ticket.Subject), by id.
	TicketsOf(subject string) ([]Ticket, error)

	// Outgoing returns the mail that waits in the outbox, or ErrNotFound.
	Outgoing(id string) (Outgoing, error)
	// PutOutgoing creates or replaces it.
	PutOutgoing(o Outgoing) error
	// DeleteOutgoing removes it; ErrNotFound.
	DeleteOutgoing(id string) error
	// Outbox returns up to limit mails, those whose NextAt comes first ahead,
	// and how many wait in all. Cost by what it returns, not by what waits.
	Outbox(limit int) (waiting []Outgoing, total int, err error)

	// Keys returns the ring, oldest first.
	Keys() ([]Key, error)
	PutKey(k Key) error
	DeleteKey(id string) error

	// AddEvent appends e, giving it the next ID; expires is when the sweep may
	// take it.
	AddEvent(e Event, expires time.Time) error
	// Events lists events newest first.
	Events(q EventQuery) ([]Event, error)
	DeleteEvent(id string) error

	// Counter returns the counter, or ErrNotFound.
	Counter(key string) (Counter, error)
	// PutCounter creates or replaces it.
	PutCounter(c Counter) error
	DeleteCounter(key string) error
	// Counters calls fn with every counter whose key begins with prefix until fn
	// returns false. fn may write. Cost by what it calls fn with.
	Counters(prefix string, fn func(Counter) bool) error

	// Expired returns up to limit records whose expiry is at or before now,
	// earliest first. Cost by what it returns, not by what is stored. In an
	// Update some of them may be ExpiredMoved.
	Expired(now time.Time, limit int) ([]Expired, error)
}

// UserQuery selects users. The zero value selects all.
type UserQuery struct {
	Prefix string // of username, email or name, ignoring case
	Role   string
	Active *bool

	After string // only users that come after this id in the listing
	Skip  int    // how many matches to pass over
	Limit int    // at most this many; must be positive
	// CountTo bounds the work of counting matches: past it Total is CountTo and
	// AtLeast is true. Zero means do not count. An unfiltered total is kept and
	// always exact.
	CountTo int
}

// UserPage is one answer to a UserQuery.
type UserPage struct {
	Users   []User
	Total   int
	AtLeast bool // Total is a lower bound
}

// EventQuery selects events.
type EventQuery struct {
	User  string // actor or subject; "" for anyone
	Kind  Kind   // "" for any
	Since time.Time
	After string // only events older than the one with this id: the cursor
	Limit int    // at most this many; must be positive
}

// Key is one signing key of the ring.
type Key struct {
	ID        string // kid
	Algorithm string // EdDSA, ES256 or RS256; HS256 keys come from the configuration and are never stored
	Private   Secret // PKCS #8, DER
	CreatedAt time.Time
	RetireAt  time.Time // zero while it signs; verified until then
}

// Counter is one count of failures, see lockout.go.
type Counter struct {
	Key     string
	Count   float64 // as of At; it drains evenly from there
	At      time.Time
	Expires time.Time // empty by then
}

// Expired is one record whose time has come.
type Expired struct {
	Kind ExpiredKind
	ID   string
	At   time.Time
}

// ExpiredKind says which of the deletes an Expired wants.
type ExpiredKind string

const (
	ExpiredSession ExpiredKind = "session"
	ExpiredEvent   ExpiredKind = "event"
	ExpiredCounter ExpiredKind = "counter"
	ExpiredTicket  ExpiredKind = "ticket"
	// ExpiredMoved wants none: it is a record whose expiry a store had kept to
	// look at later, and has moved now. It stands for the work that was.
	ExpiredMoved ExpiredKind = "moved"
)
