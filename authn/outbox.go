package authn

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Mails are not sent while somebody waits for an answer. What is to be sent is
// put into the store, in the transaction of what it is about, and a postman
// takes it from there (postman.go, flight.go). Asking for a reset, for another
// verification mail or, where addresses must be proven, for an account puts one
// record into the outbox and looks nobody up: known and unknown addresses
// cannot be told apart by the work, since it is the same.

// MailKind names a mail, in the words of the templates.
type MailKind string

const (
	MailVerifyEmail        MailKind = "verify_email"
	MailVerifyChange       MailKind = "verify_change"
	MailVerifyRegistration MailKind = "verify_registration"
	MailResetPassword      MailKind = "reset_password"
	MailInvitation         MailKind = "invitation"
	MailAddressInUse       MailKind = "address_in_use"
	MailPasswordChanged    MailKind = "password_changed"
	MailEmailChanged       MailKind = "email_changed"
	MailNewDevice          MailKind = "new_device"
)

// Outgoing is a mail that waits to be sent. It holds no secret that could be
// presented: tokens are drawn when the mail is made.
type Outgoing struct {
	ID    string // of the mail too, however often it is sent
	Kind  MailKind
	Email string // where it goes

	User   string // whom it is about; "" as long as nobody has looked
	Ticket string // whose token it carries; "" for none, or none yet

	Pending  *PendingUser // the account somebody asked for
	NewEmail string       // for MailEmailChanged

	Limited bool // counts against limits.mail: a stranger can ask for it

	// Who asked.
	ClientIP  string
	UserAgent string
	RequestID string

	CreatedAt time.Time
	NextAt    time.Time // when to try
	ExpiresAt time.Time // when to give up
	Attempts  int
}

// asker is who asked, for the security log.
func (o Outgoing) asker() Client {
	ip, _ := netip.ParseAddr(o.ClientIP) // none is no address
	return Client{IP: ip, UserAgent: o.UserAgent, RequestID: o.RequestID}
}

// Mailer delivers letters.
type Mailer interface {
	// Deliver returns nil once somebody else has taken responsibility for the
	// letter. An error means that it is tried again later, unless it is a
	// PermanentFailure. It returns soon after ctx ends. The token in a letter is
	// for the letter only. It is called from several goroutines at once.
	Deliver(ctx context.Context, l Letter) error
}

// Letter is one mail to one person. Only what its kind says is set.
type Letter struct {
	ID   string // the same when a letter is sent again, but not its token
	Kind MailKind
	To   string // one addr-spec

	// Name is what the person is called; "" if nobody knows, and wherever the
	// address is not proven to be theirs: a stranger may have written it, and it
	// would be his text in a mail of ours.
	Name string
	// Login is what they sign in with, for confirmations too: whose account it
	// is. "" if it has neither username nor address.
	Login string

	// Username is the account's, or what was chosen at registration; "" for none.
	Username string

	Token     Secret // for the link; "" in notices
	ExpiresAt time.Time

	When     time.Time // when what it is about happened
	Where    string    // the client's address; of a registration, whoever asked for the mail
	Device   string    // the client's user agent
	NewEmail string    // for MailEmailChanged
}

// permanentFailure is a failure that no later attempt can mend.
type permanentFailure struct{ err error }

func (e permanentFailure) Error() string { return e.err.Error() }
func (e permanentFailure) Unwrap() error { return e.err }

// PermanentFailure says that a letter will never be delivered, whatever is
// tried.
func PermanentFailure(err error) error { return permanentFailure{err} }

// mailLifetime is how long a mail without a ticket is tried.
const mailLifetime = 24 * time.Hour

// newOutgoing is a mail to be put into the outbox.
func newOutgoing(k MailKind, email string, c Client, now time.Time) Outgoing {
	o := Outgoing{
		ID: newID(now), Kind: k, Email: email,
		ClientIP: addrString(c.IP), UserAgent: device(c.UserAgent), RequestID: c.RequestID,
		CreatedAt: now, NextAt: now, ExpiresAt: now.Add(mailLifetime),
	}
	if k == MailResetPassword {
		o.ExpiresAt = now.Add(TicketResetPassword.lifetime())
	}
	return o
}

// ask puts a mail into the outbox that somebody has asked for by an address.
// It looks nobody up: see above.
func (s *Service) ask(ctx context.Context, k MailKind, typed string, c Client) error {
	var e InputError
	email := checkEmail(&e, typed)
	if err := e.OrNil(); err != nil || s.deps.Mail == nil {
		return err
	}
	o := newOutgoing(k, email, c, s.deps.Now())
	o.Limited = true
	return s.deps.Store.Update(ctx, func(tx Tx) error { return tx.PutOutgoing(o) })
}

// post is a mail with a ticket to a user who is known. Both are made before the
// transaction that puts them into the store.
type post struct {
	ticket Ticket
	mail   Outgoing
}

func newPost(k TicketKind, user, email string, c Client, now time.Time) post {
	p := post{
		ticket: Ticket{ID: newID(now), Kind: k, User: user, Email: email, CreatedAt: now, ExpiresAt: now.Add(k.lifetime())},
		mail:   newOutgoing(k.mail(), email, c, now),
	}
	p.mail.User, p.mail.Ticket = user, p.ticket.ID
	return p
}

// mail is what a ticket travels in.
func (k TicketKind) mail() MailKind {
	switch k {
	case TicketResetPassword:
		return MailResetPassword
	case TicketInvitation:
		return MailInvitation
	case TicketChangeEmail:
		return MailVerifyChange
	default:
		return MailVerifyEmail
	}
}

// put stores the ticket, which nothing opens until the mail is made, and the
// mail.
func (p post) put(tx Tx) error {
	if err := issueTicket(tx, p.ticket); err != nil {
		return err
	}
	return tx.PutOutgoing(p.mail)
}

// notice puts a mail into the outbox that tells the user of something. Where
// nobody has proven the address it counts against limits.mail: it could be a
// stranger's.
func (s *Service) notice(tx Tx, k MailKind, u User, c Client, now time.Time) error {
	if s.deps.Mail == nil || u.Email == "" {
		return nil
	}
	o := newOutgoing(k, u.Email, c, now)
	o.User, o.Limited = u.ID, !u.EmailVerified
	return tx.PutOutgoing(o)
}

// outbox is the postman's side of the outbox.
type outbox struct {
	wake chan struct{} // capacity 1: something was put in, or a place has become free

	mu       sync.Mutex    // held while mails are made: one at a time
	patience time.Duration // how long Close waits for letters under way

	flights *flights
}

func newOutbox() outbox {
	return outbox{wake: make(chan struct{}, 1), patience: closeLimit, flights: newFlights()}
}

// wakePostman has the outbox looked at. It never waits.
func (s *Service) wakePostman() {
	select {
	case s.outbox.wake <- struct{}{}:
	default:
	}
}

// isPermanent reports whether a Mailer has called an error final.
func isPermanent(err error) bool {
	var p permanentFailure
	return errors.As(err, &p)
}
