package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// Ticket is a single-use secret sent to a person, and what it is good for. The
// store has its hashes only; the secret is drawn when the mail is made and lies
// nowhere. A ticket is used up by deleting it in the transaction of its effect,
// so of many who present it at once one wins.
type Ticket struct {
	ID   string // [a-z0-9]{26}
	Kind TicketKind

	User  string // whose it is; "" for a registration
	Email string // the address it was sent to, and proves

	// Hashes are the SHA-256 of the tokens that were mailed, newest last, at
	// most maxTicketHashes: a mail that is tried again carries a fresh one,
	// since nobody can say whether the one before has arrived.
	Hashes [][]byte

	Pending *PendingUser // of a registration; nil otherwise
	Tries   int          // passwords presented to confirm an address; see showPassword

	CreatedAt time.Time // of a registration: when it was asked for
	ExpiresAt time.Time
}

// TicketKind is what a ticket is good for.
type TicketKind string

const (
	TicketVerifyEmail   TicketKind = "verify_email"   // the account's address is its owner's
	TicketChangeEmail   TicketKind = "change_email"   // this becomes the account's address
	TicketResetPassword TicketKind = "reset_password" // sets a password
	TicketInvitation    TicketKind = "invitation"     // sets the first password
	TicketRegistration  TicketKind = "registration"   // the account comes to exist
)

// PendingUser is an account that exists once its address is proven.
type PendingUser struct {
	Username     string
	Name         string
	Email        string
	PasswordHash string
	ClientIP     string // who asked for it
}

const (
	ticketSecret    = 32 // bytes
	maxTicketHashes = 4
)

// lifetime is how long a ticket of a kind is good for.
func (k TicketKind) lifetime() time.Duration {
	if k == TicketResetPassword {
		return time.Hour
	}
	return 24 * time.Hour
}

// Subject is whose ticket it is: the user's, or of those who are none yet, the
// address's.
func (t Ticket) Subject() string {
	switch {
	case t.User != "":
		return t.User
	case t.Email != "":
		return addressSubject(t.Email)
	}
	return ""
}

func addressSubject(email string) string {
	h := sha256.Sum256([]byte("doorward ticket " + email))
	return "email/" + hex.EncodeToString(h[:16])
}

// ticketToken is the text in a link: the ticket's id, then the secret.
func ticketToken(id string, secret []byte) Secret {
	b, _ := idBytes(id)
	return Secret(base64.RawURLEncoding.EncodeToString(append(b[:], secret...)))
}

// parseTicket finds the id in a token. Of every token there is one spelling.
func parseTicket(token Secret) (id string, ok bool) {
	const size = 16 + ticketSecret
	text := token.Reveal()
	if len(text) != base64.RawURLEncoding.EncodedLen(size) {
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != size {
		return "", false
	}
	return idString([16]byte(b[:16])), true
}

// opens reports whether the token is one of the ticket's, in time that does not
// tell how much of it is right.
func (t Ticket) opens(token Secret) bool {
	sum, right := token.sum(), 0
	for _, h := range t.Hashes {
		right |= subtle.ConstantTimeCompare(h, sum)
	}
	return right == 1
}

// admit adds a token, mailed at now, to those that open the ticket. A mail that
// could be sent only late is good for as long as any other; but for a reset,
// which is never good for longer than its time from when it was asked for.
func (t *Ticket) admit(token Secret, now time.Time) {
	if t.Kind != TicketResetPassword {
		t.ExpiresAt = now.Add(t.Kind.lifetime())
	}
	t.Hashes = append(t.Hashes, token.sum())
	t.Hashes = t.Hashes[max(0, len(t.Hashes)-maxTicketHashes):]
}

// issueTicket stores a ticket in place of any of its kind and subject, but a
// registration beside those of others.
func issueTicket(tx Tx, t Ticket) error {
	var err error
	if t.Kind == TicketRegistration {
		_, err = makeRoom(tx, t, false) // what is mailed has room
	} else {
		err = voidTickets(tx, t.Subject(), t.Kind)
	}
	if err != nil {
		return err
	}
	return tx.PutTicket(t)
}

// voidTickets removes the subject's tickets of the kinds given, or all.
func voidTickets(tx Tx, subject string, kinds ...TicketKind) error {
	held, err := tx.TicketsOf(subject)
	if err != nil {
		return err
	}
	for _, t := range held {
		if len(kinds) > 0 && !slices.Contains(kinds, t.Kind) {
			continue
		}
		if err := tx.DeleteTicket(t.ID); err != nil {
			return err
		}
	}
	return nil
}

// passwordTickets are what a new password makes void: whoever asked for them
// did so under the old one.
var passwordTickets = []TicketKind{TicketResetPassword, TicketInvitation, TicketChangeEmail}

// addressTickets are those that prove an address.
var addressTickets = []TicketKind{TicketVerifyEmail, TicketChangeEmail, TicketRegistration}

// findTicket returns the ticket a token opens, if it is of one of the kinds.
// Malformed, unknown, used, replaced, expired and of another kind are one
// answer: ErrTicketInvalid.
func findTicket(tx Tx, token Secret, now time.Time, kinds ...TicketKind) (Ticket, error) {
	id, ok := parseTicket(token)
	if !ok {
		return Ticket{}, ErrTicketInvalid
	}
	t, err := tx.Ticket(id)
	if errors.Is(err, ErrNotFound) {
		return Ticket{}, ErrTicketInvalid
	}
	if err != nil {
		return Ticket{}, err
	}
	if !t.opens(token) || !slices.Contains(kinds, t.Kind) || !now.Before(t.ExpiresAt) {
		return Ticket{}, ErrTicketInvalid
	}
	return t, nil
}

// useTicket is findTicket that also uses the ticket up.
func useTicket(tx Tx, token Secret, now time.Time, kinds ...TicketKind) (Ticket, error) {
	t, err := findTicket(tx, token, now, kinds...)
	if err != nil {
		return Ticket{}, err
	}
	return t, tx.DeleteTicket(t.ID)
}
