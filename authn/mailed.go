package authn

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What people do by mail: prove an address, set a password they have forgotten,
// move to another address.

// ForgotPassword has a link to set a new password mailed to whoever has the
// address, and says nothing about whether anybody has. InputError if it is no
// address.
func (s *Service) ForgotPassword(ctx context.Context, email string, c Client) error {
	return s.ask(ctx, MailResetPassword, email, c)
}

// ResendVerification has another link mailed to an address that waits to be
// proven, and says nothing about whether it does. InputError if it is no
// address.
func (s *Service) ResendVerification(ctx context.Context, email string, c Client) error {
	return s.ask(ctx, MailVerifyEmail, email, c)
}

// ResetPassword sets a password with a token from a mail: a reset, or an
// invitation. It ends every session, lifts the lockout and signs nobody in.
// ErrTicketInvalid, InputError, ErrOverloaded (in a RetryError).
func (s *Service) ResetPassword(ctx context.Context, token, next Secret, c Client) error {
	u, err := s.ticketHolder(ctx, token)
	if err != nil {
		return err // and nobody without a ticket has anything hashed
	}
	var e InputError
	s.deps.Config.Accounts.Password.checkNewPassword(&e, "password", next, u)
	if err := e.OrNil(); err != nil {
		return err
	}
	hash, err := s.passwords.make(ctx, next)
	if err != nil {
		return err
	}
	now := s.deps.Now()
	err = s.deps.Store.Update(ctx, func(tx Tx) error {
		t, err := useTicket(tx, token, now, TicketResetPassword, TicketInvitation)
		if err != nil {
			return err
		}
		u, err = ticketUser(tx, t)
		if err != nil {
			return err
		}
		return s.resetBy(tx, u, hash, c, now)
	})
	if err == nil {
		s.lockout.forget(account{user: u.ID})
	}
	return err
}

// CheckReset says whether a token sets a password. It uses nothing up.
// ErrTicketInvalid.
func (s *Service) CheckReset(ctx context.Context, token Secret) error {
	_, err := s.ticketHolder(ctx, token)
	return err
}

// ticketHolder is whose password a token may set.
func (s *Service) ticketHolder(ctx context.Context, token Secret) (u User, err error) {
	now := s.deps.Now()
	err = s.deps.Store.View(ctx, func(tx Tx) error {
		t, err := findTicket(tx, token, now, TicketResetPassword, TicketInvitation)
		if err != nil {
			return err
		}
		u, err = ticketUser(tx, t)
		return err
	})
	return u, err
}

// ticketUser is whose a ticket is. One that outlived its user, their being
// active or their having the address it was sent to opens nothing: all of that
// makes it void, and this holds should that ever be forgotten.
func ticketUser(tx Tx, t Ticket) (User, error) {
	u, err := tx.User(t.User)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, err
	}
	if err != nil || !u.Active || t.Email != u.Email && t.Kind != TicketChangeEmail {
		return User{}, ErrTicketInvalid
	}
	return u, nil
}

// resetBy writes the new password. Who has the mail has the address.
func (s *Service) resetBy(tx Tx, u User, hash string, c Client, now time.Time) error {
	a := Actor{ID: u.ID, Client: c}
	first := u.PasswordHash == ""
	proven := !u.EmailVerified
	u.EmailVerified, u.PasswordHash, u.UpdatedAt = true, hash, now
	if err := tx.PutUser(u); err != nil {
		return err
	}
	if err := s.lockout.unsaveAll(tx, account{user: u.ID}); err != nil {
		return err
	}
	if proven {
		if err := s.provenBy(tx, u, a, now); err != nil {
			return err
		}
	}
	if err := s.addEvent(tx, UserPasswordReset, a, u.ID, "", now, nil); err != nil {
		return err
	}
	if first { // which is no news to anybody
		return s.passwordIsNew(tx, u.ID, a, now)
	}
	return s.passwordChanged(tx, u, a, now)
}

// provenBy notes that the account's address is proven: no other link needs to
// prove it again.
func (s *Service) provenBy(tx Tx, u User, a Actor, now time.Time) error {
	if err := voidTickets(tx, u.ID, TicketVerifyEmail); err != nil {
		return err
	}
	return s.addEvent(tx, UserEmailVerified, a, u.ID, "", now, nil)
}

// VerifyEmail proves an address with a token from a mail: the account's, the
// one it is to move to, or that of an account that comes to exist by it. It
// signs nobody in.
//
// A password, "" for none given, shows that whoever confirms is whose account
// it is: it must be the account's, or the one chosen at registration. Without it
// the token alone decides, and the caller has to know otherwise that the owner
// of the address does not confirm what a stranger asked for. An account without
// a password takes no notice of it.
//
// ErrTicketInvalid; InputError (password incorrect, and a few of them make the
// ticket void), ErrOverloaded (in a RetryError); ErrRegistrationClosed if it has
// been closed since an account was asked for; ErrEmailTaken and
// ErrUsernameTaken if somebody else has come to have the name since.
func (s *Service) VerifyEmail(ctx context.Context, token, password Secret, c Client) (u User, err error) {
	shown := ""
	if password != "" {
		if shown, err = s.showPassword(ctx, token, password); err != nil {
			return User{}, fmt.Errorf("confirm an address: %w", err)
		}
	}
	now := s.deps.Now()
	fresh := newID(now)
	err = s.deps.Store.Update(ctx, func(tx Tx) error {
		t, err := useTicket(tx, token, now, addressTickets...)
		if err != nil {
			return err
		}
		if t.Kind == TicketRegistration {
			if shown != "" && t.Pending.PasswordHash != shown {
				return ErrTicketInvalid // it is not what the password was checked against
			}
			u, err = s.admitNewcomer(tx, *t.Pending, fresh, c, now)
			return err
		}
		if u, err = ticketUser(tx, t); err != nil {
			return err
		}
		u, err = s.proveAddress(tx, t, u, c, now)
		return err
	})
	if err != nil {
		return User{}, fmt.Errorf("prove an address: %w", err)
	}
	u.PasswordHash = "" // the answer is no place for it
	return u, nil
}

// admitNewcomer makes the account somebody asked for and proved the address of.
// What else was asked for with the address has come to nothing.
func (s *Service) admitNewcomer(tx Tx, p PendingUser, id string, c Client, now time.Time) (User, error) {
	if s.deps.Config.Accounts.Registration != "open" {
		return User{}, ErrRegistrationClosed
	}
	if err := ownNameFree(tx, p.Name, ""); errors.As(err, new(*InputError)) {
		p.Name = "" // it has become somebody's username since
	} else if err != nil {
		return User{}, err
	}
	u := User{
		ID: id, Username: p.Username, Email: p.Email, Name: p.Name, PasswordHash: p.PasswordHash,
		EmailVerified: true, Active: true, Roles: sortedRoles(s.deps.Config.Accounts.DefaultRoles),
		CreatedAt: now, UpdatedAt: now,
	}
	if err := tx.PutUser(u); err != nil {
		return User{}, err
	}
	if err := voidTickets(tx, addressSubject(p.Email), TicketRegistration); err != nil {
		return User{}, err
	}
	a := Actor{ID: id, Client: c}
	if err := s.addEvent(tx, UserRegistered, a, id, "", now, nil); err != nil {
		return User{}, err
	}
	return u, s.addEvent(tx, UserEmailVerified, a, id, "", now, nil)
}

// proveAddress marks the address proven; a change of address takes place.
func (s *Service) proveAddress(tx Tx, t Ticket, u User, c Client, now time.Time) (User, error) {
	a := Actor{ID: u.ID, Client: c}
	moved := t.Email != u.Email
	if !moved && u.EmailVerified {
		return u, nil // an admin has vouched for it meanwhile
	}
	u.Email, u.EmailVerified, u.UpdatedAt = t.Email, true, now
	if err := tx.PutUser(u); err != nil {
		return User{}, err
	}
	if !moved {
		return u, s.provenBy(tx, u, a, now)
	}
	// Links sent to the address before are void.
	if err := voidTickets(tx, u.ID); err != nil {
		return User{}, err
	}
	return u, s.addEvent(tx, UserEmailChanged, a, u.ID, "", now, nil)
}

// ChangeEmail has a link mailed to the address the person wants to have,
// after checking their password, and tells the old address. Where there is no
// mail the change takes place at once, and the address is not verified.
// Whether somebody has it is not told where there is mail: its owner is.
// The address the account has is refused, unless a link to prove it with is
// wanted. InputError, also (current_password incorrect); ErrTooManyAttempts and
// ErrOverloaded (in a RetryError); ErrEmailTaken.
func (s *Service) ChangeEmail(ctx context.Context, id Identity, current Secret, email string, c Client) error {
	var wrong InputError
	email = checkEmail(&wrong, email)
	rules := func(e *InputError, u User) {
		e.Fields = append(e.Fields, wrong.Fields...)
		if email != "" && email == u.Email && (u.EmailVerified || s.deps.Mail == nil) {
			e.Add("email", "duplicate", "this is the address of the account already")
		}
	}
	return s.withPassword(ctx, id, current, "", rules, c, func(tx Tx, u User, _ string, now time.Time) error {
		if s.deps.Mail == nil {
			return s.moveUnproven(tx, u, email, Actor{ID: u.ID, Client: c}, now)
		}
		return s.askToMove(tx, u, email, c, now)
	})
}

// askToMove mails the new address, and the old one. A change to the address the
// account has is one more link to prove it with, if it needs that.
func (s *Service) askToMove(tx Tx, u User, email string, c Client, now time.Time) error {
	kind := TicketChangeEmail
	if email == u.Email {
		kind = TicketVerifyEmail
		if u.EmailVerified {
			return nil
		}
	}
	p := newPost(kind, u.ID, email, c, now)
	p.mail.Limited = true
	if err := p.put(tx); err != nil || email == u.Email || u.Email == "" {
		return err
	}
	o := newOutgoing(MailEmailChanged, u.Email, c, now)
	o.User, o.NewEmail, o.Limited = u.ID, email, !u.EmailVerified
	return tx.PutOutgoing(o)
}

func (s *Service) moveUnproven(tx Tx, u User, email string, a Actor, now time.Time) error {
	if email == u.Email {
		return nil
	}
	u.Email, u.EmailVerified, u.UpdatedAt = email, false, now
	if err := tx.PutUser(u); err != nil {
		return err
	}
	if err := voidTickets(tx, u.ID); err != nil { // of a time when there was mail
		return err
	}
	return s.addEvent(tx, UserEmailChanged, a, u.ID, "", now, nil)
}
