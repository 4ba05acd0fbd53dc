package bolt

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/doorward/doorward/authn"
)

// What is on disk. Buckets are all at the top; a key made of two parts has a
// NUL between them.
//
//	meta          "format" -> "doorward"; "version" -> store version, decimal;
//	              "users" -> how many there are; "outbox" -> how many mails
//	              wait; "event" -> the last event's number and the latest time
//	              so far
//	users         id -> userRecord
//	user_states   id -> "1" active, "0" not: what listings walk
//	usernames     folded name -> "=" id, or "~" id for a name given up
//	emails        folded address -> id
//	names         folded display name NUL id -> ""
//	roles         role NUL id -> "1" active, "0" not
//	tombstones    SHA-256 of a deleted user's folded name -> ""
//	sessions      id -> sessionRecord
//	sessions_of   user NUL stamp id -> "": oldest first
//	tickets       id -> ticketRecord
//	tickets_of    subject NUL id -> ""
//	outbox        id -> outgoingRecord
//	outbox_due    stamp id -> "": whose turn comes first
//	keys          kid -> keyRecord
//	events        id -> eventRecord; ids are 16 hex digits, counting up
//	event_log     id -> eventMark: what filters look at
//	events_of     user NUL id -> eventMark, for actor and subject
//	events_by     kind NUL id -> eventMark
//	counters      key -> counterRecord
//	expiry        stamp, kind letter, id -> ""
//	recent        number -> an entry of users, sessions, sessions_of or events_of
//	              that was written lately, instead of the one there (recent.go)
//
// A stamp is a time as 8 bytes, big endian, that sort like the time.
//
// Records are JSON with a version "v" of their own. A field may be added
// without a new version if its zero value means what its absence meant; any
// other change raises the record's version, and the store's version too, so
// that an older Doorward refuses the file rather than misread it. Times are in
// UTC.
//
// Version 2 of the store added the tickets and the outbox; a file of version 1
// gets their buckets when it is opened. Version 3 leaves a session's entry in
// the expiry index where it is when the session ends later, which version 2
// would take for its end. Version 4 keeps what was written lately apart, where
// version 3 would not look for it.
const (
	storeVersion  = 4
	storeFormat   = "doorward"
	recordVersion = 1
)

type bucket string

const (
	metaBucket       bucket = "meta"
	usersBucket      bucket = "users"
	statesBucket     bucket = "user_states"
	usernamesBucket  bucket = "usernames"
	emailsBucket     bucket = "emails"
	namesBucket      bucket = "names"
	rolesBucket      bucket = "roles"
	tombstonesBucket bucket = "tombstones"
	sessionsBucket   bucket = "sessions"
	sessionsOfBucket bucket = "sessions_of"
	ticketsBucket    bucket = "tickets"
	ticketsOfBucket  bucket = "tickets_of"
	outboxBucket     bucket = "outbox"
	outboxDueBucket  bucket = "outbox_due"
	keysBucket       bucket = "keys"
	eventsBucket     bucket = "events"
	eventLogBucket   bucket = "event_log"
	eventsOfBucket   bucket = "events_of"
	eventsByBucket   bucket = "events_by"
	countersBucket   bucket = "counters"
	expiryBucket     bucket = "expiry"
	recentBucket     bucket = "recent"
)

// buckets are all of them: made at creation, expected at opening.
var buckets = []bucket{
	metaBucket, usersBucket, statesBucket, usernamesBucket, emailsBucket, namesBucket,
	rolesBucket, tombstonesBucket, sessionsBucket, sessionsOfBucket, ticketsBucket, ticketsOfBucket,
	outboxBucket, outboxDueBucket, keysBucket, eventsBucket,
	eventLogBucket, eventsOfBucket, eventsByBucket, countersBucket, expiryBucket, recentBucket,
}

// since is the version of the store that added a bucket, where it was not the
// first.
var since = map[bucket]int{ticketsBucket: 2, ticketsOfBucket: 2, outboxBucket: 2, outboxDueBucket: 2, recentBucket: 4}

// filled is how full pages are left where keys come in order, each after all
// that are there: nothing will be put between them, and with bbolt's half the
// file would be twice as large, and reading it too. Users and sessions grow
// and shrink a little where they stand; for that there is room.
var filled = map[bucket]float64{
	usersBucket: 0.75, sessionsBucket: 0.75,
	statesBucket: 0.95, rolesBucket: 0.95, expiryBucket: 0.95,
	eventsBucket: 0.95, eventLogBucket: 0.95, eventsByBucket: 0.95,
	recentBucket: 0.95,
}

var (
	metaFormat  = []byte("format")
	metaVersion = []byte("version")
	metaUsers   = []byte("users")
	metaOutbox  = []byte("outbox")
	metaEvent   = []byte("event")
)

type userRecord struct {
	V        int    `json:"v"`
	Username string `json:"username,omitempty"`
	Email    string `json:"email,omitempty"`
	Name     string `json:"name,omitempty"`

	// Former are the folded usernames this user gave up. They stay the user's,
	// and become tombstones with the user.
	Former []string `json:"former,omitempty"`

	EmailVerified bool            `json:"email_verified,omitempty"`
	Roles         []string        `json:"roles,omitempty"`
	Active        bool            `json:"active,omitempty"`
	PasswordHash  string          `json:"password_hash,omitempty"`
	Networks      []networkRecord `json:"networks,omitempty"`

	CreatedAt   time.Time `json:"created_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	LastLoginAt time.Time `json:"last_login_at,omitzero"`
}

type networkRecord struct {
	Network string    `json:"network"`
	SeenAt  time.Time `json:"seen_at,omitzero"`
}

func newUserRecord(u authn.User, former []string) userRecord {
	r := userRecord{
		V: recordVersion, Username: u.Username, Email: u.Email, Name: u.Name, Former: former,
		EmailVerified: u.EmailVerified, Roles: u.Roles, Active: u.Active, PasswordHash: u.PasswordHash,
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(), LastLoginAt: u.LastLoginAt.UTC(),
	}
	for _, n := range u.Networks {
		r.Networks = append(r.Networks, networkRecord{n.Network, n.SeenAt.UTC()})
	}
	return r
}

func (r userRecord) user(id string) authn.User {
	u := authn.User{
		ID: id, Username: r.Username, Email: r.Email, Name: r.Name,
		EmailVerified: r.EmailVerified, Roles: r.Roles, Active: r.Active, PasswordHash: r.PasswordHash,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, LastLoginAt: r.LastLoginAt,
	}
	for _, n := range r.Networks {
		u.Networks = append(u.Networks, authn.KnownNetwork{Network: n.Network, SeenAt: n.SeenAt})
	}
	return u
}

// sessionRecord has its entry in the expiry index at Due, where that is set,
// and else at its end.
type sessionRecord struct {
	V          int          `json:"v"`
	User       string       `json:"user"`
	Mode       string       `json:"mode"`
	ClientIP   string       `json:"client_ip,omitempty"`
	UserAgent  string       `json:"user_agent,omitempty"`
	CreatedAt  time.Time    `json:"created_at,omitzero"`
	LastUsedAt time.Time    `json:"last_used_at,omitzero"`
	IdleEnd    time.Time    `json:"idle_end,omitzero"`
	End        time.Time    `json:"end,omitzero"`
	Due        time.Time    `json:"due,omitzero"`
	CookieHash []byte       `json:"cookie_hash,omitempty"`
	Chain      *chainRecord `json:"chain,omitempty"`
}

type chainRecord struct {
	TagKey  []byte       `json:"tag_key,omitempty"`
	Gen     uint64       `json:"gen"`
	CurHash []byte       `json:"cur_hash,omitempty"`
	Links   []linkRecord `json:"links,omitempty"`
}

type linkRecord struct {
	Gen  uint64    `json:"gen"`
	Hash []byte    `json:"hash,omitempty"`
	Seed []byte    `json:"seed,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

func newSessionRecord(s authn.Session) sessionRecord {
	r := sessionRecord{
		V: recordVersion, User: s.User, Mode: string(s.Mode), ClientIP: s.ClientIP, UserAgent: s.UserAgent,
		CreatedAt: s.CreatedAt.UTC(), LastUsedAt: s.LastUsedAt.UTC(), IdleEnd: s.IdleEnd.UTC(), End: s.End.UTC(),
		CookieHash: s.CookieHash,
	}
	if s.Chain != nil {
		r.Chain = &chainRecord{TagKey: s.Chain.TagKey, Gen: s.Chain.Gen, CurHash: s.Chain.CurHash}
		for _, l := range s.Chain.Links {
			r.Chain.Links = append(r.Chain.Links, linkRecord{l.Gen, l.Hash, l.Seed, l.At.UTC()})
		}
	}
	return r
}

func (r sessionRecord) session(id string) authn.Session {
	s := authn.Session{
		ID: id, User: r.User, Mode: authn.Mode(r.Mode), ClientIP: r.ClientIP, UserAgent: r.UserAgent,
		CreatedAt: r.CreatedAt, LastUsedAt: r.LastUsedAt, IdleEnd: r.IdleEnd, End: r.End,
		CookieHash: r.CookieHash,
	}
	if r.Chain != nil {
		s.Chain = &authn.Chain{TagKey: r.Chain.TagKey, Gen: r.Chain.Gen, CurHash: r.Chain.CurHash}
		for _, l := range r.Chain.Links {
			s.Chain.Links = append(s.Chain.Links, authn.Link(l))
		}
	}
	return s
}

type ticketRecord struct {
	V         int            `json:"v"`
	Kind      string         `json:"kind"`
	User      string         `json:"user,omitempty"`
	Email     string         `json:"email,omitempty"`
	Hashes    [][]byte       `json:"hashes,omitempty"`
	Pending   *pendingRecord `json:"pending,omitempty"`
	Tries     int            `json:"tries,omitempty"`
	CreatedAt time.Time      `json:"created_at,omitzero"`
	ExpiresAt time.Time      `json:"expires_at,omitzero"`
}

type pendingRecord struct {
	Username     string `json:"username,omitempty"`
	Name         string `json:"name,omitempty"`
	Email        string `json:"email,omitempty"`
	PasswordHash string `json:"password_hash,omitempty"`
	ClientIP     string `json:"client_ip,omitempty"`
}

func newTicketRecord(t authn.Ticket) ticketRecord {
	return ticketRecord{
		V: recordVersion, Kind: string(t.Kind), User: t.User, Email: t.Email, Hashes: t.Hashes,
		Pending: (*pendingRecord)(t.Pending), Tries: t.Tries, CreatedAt: t.CreatedAt.UTC(), ExpiresAt: t.ExpiresAt.UTC(),
	}
}

func (r ticketRecord) ticket(id string) authn.Ticket {
	return authn.Ticket{
		ID: id, Kind: authn.TicketKind(r.Kind), User: r.User, Email: r.Email, Hashes: r.Hashes,
		Pending: (*authn.PendingUser)(r.Pending), Tries: r.Tries, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt,
	}
}

type outgoingRecord struct {
	V         int            `json:"v"`
	Kind      string         `json:"kind"`
	Email     string         `json:"email"`
	User      string         `json:"user,omitempty"`
	Ticket    string         `json:"ticket,omitempty"`
	Pending   *pendingRecord `json:"pending,omitempty"`
	NewEmail  string         `json:"new_email,omitempty"`
	Limited   bool           `json:"limited,omitempty"`
	ClientIP  string         `json:"client_ip,omitempty"`
	UserAgent string         `json:"user_agent,omitempty"`
	RequestID string         `json:"request_id,omitempty"`
	CreatedAt time.Time      `json:"created_at,omitzero"`
	NextAt    time.Time      `json:"next_at,omitzero"`
	ExpiresAt time.Time      `json:"expires_at,omitzero"`
	Attempts  int            `json:"attempts,omitempty"`
}

func newOutgoingRecord(o authn.Outgoing) outgoingRecord {
	return outgoingRecord{
		V: recordVersion, Kind: string(o.Kind), Email: o.Email, User: o.User, Ticket: o.Ticket,
		Pending: (*pendingRecord)(o.Pending), NewEmail: o.NewEmail, Limited: o.Limited,
		ClientIP: o.ClientIP, UserAgent: o.UserAgent, RequestID: o.RequestID,
		CreatedAt: o.CreatedAt.UTC(), NextAt: o.NextAt.UTC(), ExpiresAt: o.ExpiresAt.UTC(), Attempts: o.Attempts,
	}
}

func (r outgoingRecord) outgoing(id string) authn.Outgoing {
	return authn.Outgoing{
		ID: id, Kind: authn.MailKind(r.Kind), Email: r.Email, User: r.User, Ticket: r.Ticket,
		Pending: (*authn.PendingUser)(r.Pending), NewEmail: r.NewEmail, Limited: r.Limited,
		ClientIP: r.ClientIP, UserAgent: r.UserAgent, RequestID: r.RequestID,
		CreatedAt: r.CreatedAt, NextAt: r.NextAt, ExpiresAt: r.ExpiresAt, Attempts: r.Attempts,
	}
}

type keyRecord struct {
	V         int       `json:"v"`
	Algorithm string    `json:"algorithm"`
	Private   []byte    `json:"private"` // PKCS #8, DER, in clear
	CreatedAt time.Time `json:"created_at,omitzero"`
	RetireAt  time.Time `json:"retire_at,omitzero"`
}

func newKeyRecord(k authn.Key) keyRecord {
	return keyRecord{
		V: recordVersion, Algorithm: k.Algorithm, Private: []byte(k.Private.Reveal()),
		CreatedAt: k.CreatedAt.UTC(), RetireAt: k.RetireAt.UTC(),
	}
}

func (r keyRecord) key(id string) authn.Key {
	return authn.Key{
		ID: id, Algorithm: r.Algorithm, Private: authn.Secret(r.Private),
		CreatedAt: r.CreatedAt, RetireAt: r.RetireAt,
	}
}

type eventRecord struct {
	V         int               `json:"v"`
	Time      time.Time         `json:"time,omitzero"`
	Kind      string            `json:"kind"`
	Actor     string            `json:"actor,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Session   string            `json:"session,omitempty"`
	ClientIP  string            `json:"client_ip,omitempty"`
	RequestID string            `json:"request_id,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
	Expires   time.Time         `json:"expires,omitzero"`
}

func newEventRecord(e authn.Event, expires time.Time) eventRecord {
	return eventRecord{
		V: recordVersion, Time: e.Time.UTC(), Kind: string(e.Kind), Actor: e.Actor, Subject: e.Subject,
		Session: e.Session, ClientIP: e.ClientIP, RequestID: e.RequestID, Detail: e.Detail, Expires: expires.UTC(),
	}
}

func (r eventRecord) event(id string) authn.Event {
	return authn.Event{
		ID: id, Time: r.Time, Kind: authn.Kind(r.Kind), Actor: r.Actor, Subject: r.Subject,
		Session: r.Session, ClientIP: r.ClientIP, RequestID: r.RequestID, Detail: r.Detail,
	}
}

type counterRecord struct {
	V       int       `json:"v"`
	Count   float64   `json:"count"`
	At      time.Time `json:"at,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

func newCounterRecord(c authn.Counter) counterRecord {
	return counterRecord{V: recordVersion, Count: c.Count, At: c.At.UTC(), Expires: c.Expires.UTC()}
}

func (r counterRecord) counter(key string) authn.Counter {
	return authn.Counter{Key: key, Count: r.Count, At: r.At, Expires: r.Expires}
}

// version lets load look at any record's own version.
func (r userRecord) version() int     { return r.V }
func (r sessionRecord) version() int  { return r.V }
func (r ticketRecord) version() int   { return r.V }
func (r outgoingRecord) version() int { return r.V }
func (r keyRecord) version() int      { return r.V }
func (r eventRecord) version() int    { return r.V }
func (r counterRecord) version() int  { return r.V }

// load reads the record under key, or says ErrNotFound. Errors name the bucket
// and never the content.
func load[R interface{ version() int }](t *tx, b bucket, key string) (R, error) {
	var r R
	v := t.get(b, []byte(key))
	if v == nil {
		return r, authn.ErrNotFound
	}
	return decode[R](b, v)
}

func decode[R interface{ version() int }](b bucket, v []byte) (R, error) {
	var r R
	if err := json.Unmarshal(v, &r); err != nil {
		return r, fmt.Errorf("%w: a record in %s cannot be read", ErrDamaged, b)
	}
	if r.version() < 1 || r.version() > recordVersion {
		return r, fmt.Errorf("%w: a record in %s has version %d, this one reads up to %d", ErrNewer, b, r.version(), recordVersion)
	}
	return r, nil
}

// save writes the record under key.
func (t *tx) save(b bucket, key string, record any) error {
	v, err := json.Marshal(record)
	if err != nil {
		return t.fail(fmt.Errorf("store: a record for %s cannot be written: %w", b, err))
	}
	return t.put(b, []byte(key), v)
}
