package authn

import (
	"errors"
	"time"
)

// resolution is what a mail turns out to be once it is looked into.
type resolution struct {
	tx  Tx
	o   Outgoing
	now time.Time

	user   User   // whom it is about; zero if nobody
	ticket Ticket // if o.Ticket is set
	drop   bool   // nobody is to get anything
}

// resolve finds out whom a mail is for. The lookups that were not made while
// somebody waited for an answer are made here.
func (s *Service) resolve(r *resolution, ticketID string) error {
	if r.o.Ticket == "" {
		if err := s.firstLook(r, ticketID); err != nil || r.drop {
			return err
		}
	}
	if r.o.Ticket != "" {
		if err := r.readTicket(); err != nil || r.drop {
			return err
		}
	}
	if r.o.User == "" {
		return nil
	}
	u, err := r.tx.User(r.o.User)
	if errors.Is(err, ErrNotFound) {
		r.drop = r.o.Ticket != "" // a notice still goes out
		return nil
	}
	r.user = u
	return err
}

// firstLook makes the ticket of a mail that was asked for by address alone.
func (s *Service) firstLook(r *resolution, ticketID string) error {
	t := Ticket{ID: ticketID, Email: r.o.Email, CreatedAt: r.now}
	switch {
	case r.o.Pending != nil:
		t = newRegistration(ticketID, r.o, r.now)
	case r.o.Kind == MailVerifyEmail || r.o.Kind == MailResetPassword:
		u, err := r.tx.UserByEmail(r.o.Email)
		if errors.Is(err, ErrNotFound) {
			return r.askedByNobody(t)
		}
		if err != nil {
			return err
		}
		if r.drop = !wants(u, r.o.Kind); r.drop {
			return nil
		}
		t.Kind, t.User, r.o.User = TicketVerifyEmail, u.ID, u.ID
		if r.o.Kind == MailResetPassword {
			t.Kind = TicketResetPassword
			err := s.addEvent(r.tx, UserResetRequested, Actor{Client: r.o.asker()}, u.ID, "", r.now, nil)
			if err != nil {
				return err
			}
		}
	default:
		return nil // a notice
	}
	return r.issue(t)
}

// wants reports whether the mail is of use to the account.
func wants(u User, k MailKind) bool {
	return u.Active && (k == MailResetPassword || !u.EmailVerified)
}

// askedByNobody is for an address no account has: another verification mail
// goes out if a registration waits for it, in place of the one before and with
// as many tries left.
func (r *resolution) askedByNobody(t Ticket) error {
	r.drop = true
	if r.o.Kind != MailVerifyEmail {
		return nil
	}
	old, found, err := registrationToRenew(r.tx, r.o, r.now)
	if err != nil || !found {
		return err
	}
	r.drop = false
	if err := r.tx.DeleteTicket(old.ID); err != nil {
		return err
	}
	r.o.Kind = MailVerifyRegistration
	t.Kind, t.Pending, t.Tries, t.CreatedAt = TicketRegistration, old.Pending, old.Tries, old.CreatedAt
	return r.issue(t)
}

// issue stores the ticket that the mail will carry a token of.
func (r *resolution) issue(t Ticket) error {
	t.ExpiresAt = r.now.Add(t.Kind.lifetime())
	r.o.Ticket, r.o.Pending = t.ID, nil
	return issueTicket(r.tx, t)
}

// readTicket reads the mail's ticket. It is gone if it was used, replaced or
// made void: the mail has come to nothing. An address that somebody else has by
// now is not to be proven; its owner is told instead.
func (r *resolution) readTicket() (err error) {
	r.ticket, err = r.tx.Ticket(r.o.Ticket)
	if errors.Is(err, ErrNotFound) {
		r.drop = true
		return nil
	}
	if err != nil {
		return err
	}
	if k := r.ticket.Kind; k != TicketRegistration && k != TicketChangeEmail {
		return nil
	}
	switch err := r.tx.NamesFree("", r.ticket.Email); {
	case err == nil:
		return nil
	case !errors.Is(err, ErrEmailTaken):
		return err
	}
	return r.tellOwner()
}

// tellOwner turns the mail into one to the owner of the address.
func (r *resolution) tellOwner() error {
	if err := r.tx.DeleteTicket(r.ticket.ID); err != nil {
		return err
	}
	owner, err := r.tx.UserByEmail(r.o.Email)
	if errors.Is(err, ErrNotFound) {
		r.drop = true // it was a deleted account's: nobody is to be told
		return nil
	}
	r.o.Kind, r.o.User, r.o.Ticket = MailAddressInUse, owner.ID, ""
	return err
}

// letter is what the person gets.
func (r *resolution) letter(token Secret) Letter {
	l := Letter{
		ID: r.o.ID, Kind: r.o.Kind, To: r.o.Email, Login: r.user.Login(), Username: r.user.Username,
		When: r.o.CreatedAt, Where: r.o.ClientIP, Device: r.o.UserAgent, NewEmail: r.o.NewEmail,
	}
	if r.user.EmailVerified && r.user.Email == r.o.Email {
		l.Name = r.user.Name
	}
	if r.o.Ticket == "" {
		return l
	}
	l.Token, l.ExpiresAt = token, r.ticket.ExpiresAt
	if p := r.ticket.Pending; p != nil {
		l.Login = User{Username: p.Username, Email: p.Email}.Login()
		l.Username, l.Where = p.Username, p.ClientIP
	}
	return l
}
