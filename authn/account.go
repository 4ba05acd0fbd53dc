package authn

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Register makes an account and signs it in, both or neither.
//
// Where an address must be proven first, it makes neither: the account exists
// once its owner has opened the link in the mail, and the SignIn is Pending.
// Whether the address belongs to somebody is not looked at then, only whether
// the username does, which anybody can see anyway.
//
// What is told openly is told before the password is hashed: whoever asks for a
// name that is taken learns so anyway, and has no use for the most expensive
// thing there is to ask for. Of an address that must be proven nothing is told
// and nothing is looked at, so there the work is the same for all.
//
// InputError, ErrRegistrationClosed, ErrEmailTaken, ErrUsernameTaken,
// ErrOverloaded (in a RetryError).
func (s *Service) Register(ctx context.Context, r Registration, c Client) (SignIn, error) {
	if err := s.MayRegister(); err != nil {
		return SignIn{}, err
	}
	prove := s.deps.Config.Accounts.EmailVerification == "required"
	u, err := s.newcomer(r)
	if err != nil {
		return SignIn{}, err
	}
	email := u.Email
	if prove {
		email = ""
	}
	err = s.deps.Store.View(ctx, func(tx Tx) error { return namesFree(tx, u, email) })
	if err != nil {
		return SignIn{}, err
	}
	hash, err := s.passwords.make(ctx, r.Password)
	if err != nil {
		return SignIn{}, err
	}
	if prove {
		pending := &PendingUser{Username: u.Username, Name: u.Name, Email: u.Email, PasswordHash: hash, ClientIP: addrString(c.IP)}
		return SignIn{Pending: true}, s.askToRegister(ctx, pending, c)
	}
	now := s.deps.Now()
	u.ID, u.PasswordHash, u.CreatedAt, u.UpdatedAt = newID(now), hash, now, now
	return s.register(ctx, u, r.Mode, c, now)
}

// MayRegister is ErrRegistrationClosed, or nil where people may make an account
// themselves: for whoever wants to know before looking at what was sent.
func (s *Service) MayRegister() error {
	cfg := s.deps.Config.Accounts
	if cfg.Registration != "open" || cfg.EmailVerification == "required" && s.deps.Mail == nil {
		return ErrRegistrationClosed
	}
	return nil
}

// CheckRegistration is the InputError that Register would return, or nil: for
// whoever has found something wrong already and wants to say all at once. It
// does no work that could be measured and looks nobody up.
func (s *Service) CheckRegistration(r Registration) error {
	_, err := s.newcomer(r)
	return err
}

// newcomer is the account a registration asks for, or all that is wrong with it.
func (s *Service) newcomer(r Registration) (User, error) {
	cfg := s.deps.Config.Accounts
	var e InputError
	if cfg.EmailVerification == "required" && r.Email == "" && r.Username != "" {
		e.Add("email", "required", "give an email address")
	}
	u := s.newPerson(&e, NewUser{Email: r.Email, Username: r.Username, Name: r.Name, Roles: cfg.DefaultRoles})
	cfg.Username.checkReserved(&e, "username", u.Username)
	cfg.checkOwnName(&e, u.Name)
	cfg.Password.checkNewPassword(&e, "password", r.Password, u)
	checkMode(&e, r.Mode)
	return u, e.OrNil()
}

// namesFree says which name of a newcomer is somebody's, email being the address
// that may be looked up. It is asked again by the transaction that stores them.
// ErrUsernameTaken, ErrEmailTaken, InputError (name taken).
func namesFree(tx Tx, u User, email string) error {
	if err := tx.NamesFree(u.Username, email); err != nil {
		return err
	}
	return ownNameFree(tx, u.Name, "")
}

// askToRegister puts a mail into the outbox from which an account may come. The
// postman finds out whether its address is free.
func (s *Service) askToRegister(ctx context.Context, p *PendingUser, c Client) error {
	o := newOutgoing(MailVerifyRegistration, p.Email, c, s.deps.Now())
	o.Pending, o.Limited = p, true
	return s.deps.Store.Update(ctx, func(tx Tx) error {
		if err := namesFree(tx, User{Username: p.Username, Name: p.Name}, ""); err != nil {
			return err
		}
		return tx.PutOutgoing(o)
	})
}

// register stores a new account and signs it in. Its address, if it has one, is
// asked to confirm that it is the person's.
func (s *Service) register(ctx context.Context, u User, m Mode, c Client, now time.Time) (SignIn, error) {
	fresh := s.newSession(u, m, c, now)
	verify := newPost(TicketVerifyEmail, u.ID, u.Email, c, now)
	verify.mail.Limited = true
	person := u
	err := s.deps.Store.Update(ctx, func(tx Tx) error {
		u = person
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if err := ownNameFree(tx, u.Name, u.ID); err != nil {
			return err
		}
		a := Actor{ID: u.ID, Client: c}
		if err := s.addEvent(tx, UserRegistered, a, u.ID, "", now, nil); err != nil {
			return err
		}
		if s.verifies() && u.Email != "" {
			if err := verify.put(tx); err != nil {
				return err
			}
		}
		return s.enter(tx, &u, fresh, c, now)
	})
	if err != nil {
		return SignIn{}, fmt.Errorf("register: %w", err)
	}
	s.observe(MetricSignIns, "succeeded", 1)
	return s.signedIn(u, fresh, now)
}

// verifies reports whether addresses are asked to confirm whose they are.
func (s *Service) verifies() bool {
	return s.deps.Mail != nil && s.deps.Config.Accounts.EmailVerification != "off"
}

// newPerson is the record of an account to be made, without id, password and
// times, noting everything wrong with what it is made from.
func (s *Service) newPerson(e *InputError, n NewUser) User {
	u := User{Username: n.Username, Active: true, EmailVerified: n.EmailVerified}
	if n.Username == "" && n.Email == "" {
		e.Add("email", "required", "give an email address or a username")
	}
	if n.Username != "" {
		s.deps.Config.Accounts.Username.checkUsername(e, n.Username)
	}
	if n.Email != "" {
		u.Email = checkEmail(e, n.Email)
	} else if n.EmailVerified {
		e.Add("email", "required", "give the address that is verified")
	}
	if n.Name != "" {
		u.Name = checkName(e, n.Name)
	}
	u.Roles = checkRoles(e, n.Roles)
	return u
}

// User returns an account by id. ErrNotFound.
func (s *Service) User(ctx context.Context, id string) (u User, err error) {
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) {
		u, err = tx.User(id)
		return err
	})
	return u, err
}

// UserByLogin returns an account by username or email in any spelling.
// ErrNotFound.
func (s *Service) UserByLogin(ctx context.Context, login string) (User, error) {
	if len(login) > maxLogin {
		return User{}, ErrNotFound
	}
	u, found, err := s.findLogin(ctx, login)
	if err == nil && !found {
		err = ErrNotFound
	}
	return u, err
}

// Users lists accounts, newest first. A limit of 0 means ten.
func (s *Service) Users(ctx context.Context, q UserQuery) (page UserPage, err error) {
	if q.Limit <= 0 {
		q.Limit = 10
	}
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) {
		page, err = tx.Users(q)
		return err
	})
	return page, err
}

// SetName changes what the person is called. InputError.
func (s *Service) SetName(ctx context.Context, id Identity, name string, c Client) (User, error) {
	var e InputError
	name = checkName(&e, name)
	s.deps.Config.Accounts.checkOwnName(&e, name)
	if err := e.OrNil(); err != nil {
		return User{}, err
	}
	now := s.deps.Now()
	var u User
	err := s.deps.Store.Update(ctx, func(tx Tx) (err error) {
		u, err = s.signedInUser(tx, id, now)
		if err != nil || u.Name == name {
			return err
		}
		if err := ownNameFree(tx, name, u.ID); err != nil {
			return err
		}
		u.Name, u.UpdatedAt = name, now
		if err := tx.PutUser(u); err != nil {
			return err
		}
		return s.addEvent(tx, UserUpdated, Actor{ID: u.ID, Client: c}, u.ID, id.Session, now,
			map[string]string{"fields": "name"})
	})
	return u, err
}

// signedInUser reads the person an identity stands for, inside the transaction
// that acts for them: what Identify found may be over by now. ErrTokenRevoked
// or, for a cookie, ErrNotSignedIn.
func (s *Service) signedInUser(tx Tx, id Identity, now time.Time) (User, error) {
	over := ErrTokenRevoked
	if id.Cookie {
		over = ErrNotSignedIn
	}
	if id.User == nil { // nobody
		return User{}, over
	}
	x, err := tx.Session(id.Session)
	if errors.Is(err, ErrNotFound) || err == nil && (!s.usable(&x, now) || x.User != id.User.ID) {
		return User{}, over
	}
	if err != nil {
		return User{}, err
	}
	u, err := tx.User(id.User.ID)
	if errors.Is(err, ErrNotFound) || err == nil && !u.Active {
		return User{}, over
	}
	return u, err
}

// DeleteAccount removes the person's own account after checking the password.
// Its names stay taken. InputError (current_password incorrect),
// ErrTooManyAttempts and ErrOverloaded (in a RetryError), ErrLastAdmin.
func (s *Service) DeleteAccount(ctx context.Context, id Identity, current Secret, c Client) error {
	return s.withPassword(ctx, id, current, "", nil, c, func(tx Tx, u User, _ string, now time.Time) error {
		return s.removeUser(tx, u, Actor{ID: u.ID, Client: c}, now)
	})
}

// ChangePassword sets a new password after checking the current one, ends every
// session and tells the person by mail. The new one must be another: whoever
// changes a password that got about would be told that all is well. (A reset
// does not ask that. To know, it would have to try the new password as the
// current one, for as long as somebody with the link likes to guess.)
// InputError, also (current_password incorrect), (new_password duplicate);
// ErrTooManyAttempts and ErrOverloaded (in a RetryError).
func (s *Service) ChangePassword(ctx context.Context, id Identity, current, next Secret, c Client) error {
	rules := func(e *InputError, u User) {
		s.deps.Config.Accounts.Password.checkNewPassword(e, "new_password", next, u)
		if next != "" && samePassword(current, next) { // as typed: whether it is right is not said by this
			e.Add("new_password", "duplicate", "choose another than the current one")
		}
	}
	return s.withPassword(ctx, id, current, next, rules, c, func(tx Tx, u User, hash string, now time.Time) error {
		a := Actor{ID: u.ID, Client: c}
		u.PasswordHash, u.UpdatedAt = hash, now
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if err := s.addEvent(tx, UserPasswordChanged, a, u.ID, id.Session, now, nil); err != nil {
			return err
		}
		return s.passwordChanged(tx, u, a, now)
	})
}

// passwordChanged does what follows from another password, whoever set it: what
// was begun under the old one ends, and its owner is told.
func (s *Service) passwordChanged(tx Tx, u User, a Actor, now time.Time) error {
	if err := s.notice(tx, MailPasswordChanged, u, a.Client, now); err != nil {
		return err
	}
	return s.passwordIsNew(tx, u.ID, a, now)
}

// passwordIsNew ends what was begun before there was this password.
func (s *Service) passwordIsNew(tx Tx, user string, a Actor, now time.Time) error {
	if err := voidTickets(tx, user, passwordTickets...); err != nil {
		return err
	}
	return s.endSessions(tx, user, EndedByPassword, a, now)
}

// withPassword does what a person may do only after giving their password once
// more. rules (nil for none) says what else is wrong with what they sent, so
// that they learn everything at once; next, if any, is hashed for act. act
// runs in a transaction that has seen that the password checked is still
// theirs and that they are still signed in.
func (s *Service) withPassword(ctx context.Context, id Identity, current, next Secret,
	rules func(*InputError, User), c Client, act func(Tx, User, string, time.Time) error) error {
	for range movedRetries {
		u, err := s.stillSignedIn(ctx, id)
		if err != nil {
			return err
		}
		var e InputError
		checkTypedPassword(&e, "current_password", current)
		typed := len(e.Fields) == 0
		if rules != nil {
			rules(&e, u)
		}
		if !typed {
			return e.OrNil()
		}
		if len(e.Fields) > 0 {
			next = "" // it will not be used
		}
		hash, t, err := s.confirm(ctx, &e, id, u, current, next, c)
		if err != nil {
			return err
		}
		if err := s.actConfirmed(ctx, id, u, hash, t, act); !errors.Is(err, errMoved) {
			return err
		}
	}
	return overloaded(0)
}

func (s *Service) stillSignedIn(ctx context.Context, id Identity) (u User, err error) {
	now := s.deps.Now()
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) {
		u, err = s.signedInUser(tx, id, now)
		return err
	})
	return u, err
}

// confirm checks the current password and hashes the next. A wrong one counts
// like one at sign-in. Any error, also what e held before, leaves nothing to
// account for.
func (s *Service) confirm(ctx context.Context, e *InputError, id Identity, u User, current, next Secret, c Client) (hash string, t attempt, err error) {
	t, err = s.reserve(ctx, s.accountOf(u, c), c)
	if err != nil {
		return "", t, err
	}
	right, hash, err := s.passwords.exchange(ctx, u.PasswordHash, current, next)
	if err != nil {
		s.lockout.release(t, s.deps.Now())
		return "", t, err
	}
	if !right {
		e.Add("current_password", "incorrect", "this is not the current password")
		return "", t, s.signInFailed(ctx, e, "current_password", u.ID, id.Session, t, c)
	}
	if err := e.OrNil(); err != nil {
		s.lockout.release(t, s.deps.Now())
		return "", t, err
	}
	return hash, t, nil
}

func (s *Service) actConfirmed(ctx context.Context, id Identity, checked User, hash string, t attempt,
	act func(Tx, User, string, time.Time) error) error {
	now := s.deps.Now()
	err := s.deps.Store.Update(ctx, func(tx Tx) error {
		u, err := s.signedInUser(tx, id, now)
		if err != nil {
			return err
		}
		if u.PasswordHash != checked.PasswordHash {
			return errMoved
		}
		if err := s.lockout.unsave(tx, t); err != nil {
			return err
		}
		return act(tx, u, hash, now)
	})
	if err != nil {
		s.lockout.release(t, now)
		return err
	}
	s.lockout.succeeded(t, now)
	return nil
}
