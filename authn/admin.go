package authn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What one person does to another's account. Every change, its event and the
// end of the sessions it concerns are one transaction. The gateway has decided
// who may ask; that they still may, and what must hold whoever asks, is decided
// here: an account has a name to sign in with, and one active admin stays. Each
// of these also returns the errors of administer.

// administer runs an act on another's account, in a transaction that has seen
// that whoever acts still may. The gateway asked before the body arrived, and
// that lasts as long as its sender likes: an admin who holds a request back could
// otherwise undo being demoted or disabled. ErrNotAdmin, ErrTokenRevoked or, for
// a cookie, ErrNotSignedIn.
func (s *Service) administer(ctx context.Context, a Actor, now time.Time, act func(Tx) error) error {
	return s.deps.Store.Update(ctx, func(tx Tx) error {
		if err := s.mayAct(tx, a, now); err != nil {
			return err
		}
		return act(tx)
	})
}

// mayAct is why somebody may not act on another's account. The command line may.
func (s *Service) mayAct(tx Tx, a Actor, now time.Time) error {
	if a.ID == ActorCLI {
		return nil
	}
	u, err := s.signedInUser(tx, a.SignedIn, now)
	if err == nil && (u.ID != a.ID || !u.HasRole(s.deps.Config.Accounts.AdminRole)) {
		return ErrNotAdmin
	}
	return err
}

// CreateUser makes an account for someone else. With no password the person is
// invited by mail to choose one; where there is no mail, or no address, one is
// made and returned, never to be seen again. InputError, ErrEmailTaken,
// ErrUsernameTaken, ErrOverloaded (in a RetryError).
func (s *Service) CreateUser(ctx context.Context, n NewUser, a Actor) (User, Secret, error) {
	cfg := s.deps.Config.Accounts
	if n.Roles == nil {
		n.Roles = cfg.DefaultRoles
	}
	var e InputError
	u := s.newPerson(&e, n)
	made := Secret("")
	invited := n.Password == "" && u.Email != "" && s.deps.Mail != nil
	switch {
	case invited:
	case n.Password == "":
		made = cfg.Password.makePassword()
		n.Password = made
	default:
		cfg.Password.checkNewPassword(&e, "password", n.Password, u)
	}
	if err := e.OrNil(); err != nil {
		return User{}, "", err
	}
	hash := "" // no password signs in
	if !invited {
		var err error
		if hash, err = s.passwords.make(ctx, n.Password); err != nil {
			return User{}, "", err
		}
	}
	now := s.deps.Now()
	u.ID, u.PasswordHash, u.CreatedAt, u.UpdatedAt = newID(now), hash, now, now
	first := s.firstMail(u, invited, a.Client, now)
	err := s.administer(ctx, a, now, func(tx Tx) error {
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if first != nil {
			if err := first.put(tx); err != nil {
				return err
			}
		}
		return s.addEvent(tx, UserCreated, a, u.ID, "", now, map[string]string{"roles": strings.Join(u.Roles, ",")})
	})
	if err != nil {
		return User{}, "", fmt.Errorf("create a user: %w", err)
	}
	return u, made, nil
}

// DefaultRoles are those of an account made with none named.
func (s *Service) DefaultRoles() []string { return slices.Clone(s.deps.Config.Accounts.DefaultRoles) }

// firstMail is what an account made by someone else is sent; nil for nothing.
func (s *Service) firstMail(u User, invited bool, c Client, now time.Time) *post {
	var p post
	switch {
	case invited: // the link proves the address too
		p = newPost(TicketInvitation, u.ID, u.Email, c, now)
	case s.verifies() && u.Email != "" && !u.EmailVerified:
		p = newPost(TicketVerifyEmail, u.ID, u.Email, c, now)
	default:
		return nil
	}
	return &p
}

// UpdateUser changes an account. Disabling ends its sessions; a change of
// roles counts from the next request on. A new address is unverified unless
// the change says otherwise; it is asked to confirm then, and the old one is
// told. InputError, ErrNotFound, ErrEmailTaken,
// ErrUsernameTaken, ErrLastAdmin.
func (s *Service) UpdateUser(ctx context.Context, id string, ch UserChange, a Actor) (User, error) {
	var e InputError
	ch = s.checkChange(&e, ch)
	if err := e.OrNil(); err != nil {
		return User{}, err
	}
	now := s.deps.Now()
	var after User
	err := s.administer(ctx, a, now, func(tx Tx) error {
		before, err := tx.User(id)
		if err != nil {
			return err
		}
		if after, err = ch.apply(before); err != nil {
			return err
		}
		fields := changedFields(before, after)
		if len(fields) == 0 {
			return nil
		}
		after.UpdatedAt = now
		if err := tx.PutUser(after); err != nil {
			return err
		}
		if err := s.keepAnAdmin(tx, before, after); err != nil {
			return err
		}
		return s.reportChange(tx, before, after, fields, a, now)
	})
	if err != nil {
		return User{}, err
	}
	return after, nil
}

// checkChange brings what a change sets into the form it is kept in, noting
// what is wrong. An empty name removes the name.
func (s *Service) checkChange(e *InputError, ch UserChange) UserChange {
	if ch.Username != nil && *ch.Username != "" {
		s.deps.Config.Accounts.Username.checkUsername(e, *ch.Username)
	}
	if ch.Email != nil && *ch.Email != "" {
		email := checkEmail(e, *ch.Email)
		ch.Email = &email
	}
	if ch.Name != nil && *ch.Name != "" {
		name := checkName(e, *ch.Name)
		ch.Name = &name
	}
	if ch.Roles != nil {
		roles := checkRoles(e, *ch.Roles)
		ch.Roles = &roles
	}
	return ch
}

// apply returns u changed. InputError if nothing would be left to sign in with.
func (ch UserChange) apply(u User) (User, error) {
	if ch.Email != nil && *ch.Email != u.Email {
		u.Email, u.EmailVerified = *ch.Email, false
	}
	set(&u.Username, ch.Username)
	set(&u.Name, ch.Name)
	set(&u.Active, ch.Active)
	set(&u.EmailVerified, ch.EmailVerified)
	set(&u.Roles, ch.Roles)
	var e InputError
	if u.Email == "" && u.Username == "" {
		e.Add("email", "required", "leave an email address or a username to sign in with")
	}
	if u.Email == "" && u.EmailVerified {
		e.Add("email", "required", "give the address that is verified")
	}
	return u, e.OrNil()
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// changedFields names what differs, in the words of the API.
func changedFields(a, b User) []string {
	var fields []string
	for _, f := range []struct {
		name    string
		changed bool
	}{
		{"active", a.Active != b.Active},
		{"email", a.Email != b.Email},
		{"email_verified", a.EmailVerified != b.EmailVerified},
		{"name", a.Name != b.Name},
		{"roles", !slices.Equal(a.Roles, b.Roles)},
		{"username", a.Username != b.Username},
	} {
		if f.changed {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// reportChange writes the events of a change and ends the sessions of someone
// disabled by it.
func (s *Service) reportChange(tx Tx, before, after User, fields []string, a Actor, now time.Time) error {
	event := func(k Kind, detail map[string]string) error {
		return s.addEvent(tx, k, a, after.ID, "", now, detail)
	}
	special := func(f string) bool { return f == "roles" || f == "active" }
	if slices.Contains(fields, "roles") {
		detail := map[string]string{"from": strings.Join(before.Roles, ","), "to": strings.Join(after.Roles, ",")}
		if err := event(UserRolesChanged, detail); err != nil {
			return err
		}
	}
	if slices.Contains(fields, "email") {
		if err := s.emailIsNew(tx, before, after, a, now); err != nil {
			return err
		}
	}
	if slices.Contains(fields, "active") {
		kind := UserEnabled
		if !after.Active {
			kind = UserDisabled
		}
		if err := event(kind, nil); err != nil {
			return err
		}
		if !after.Active {
			if err := voidTickets(tx, after.ID); err != nil {
				return err
			}
			if err := s.endSessions(tx, after.ID, EndedByDisabling, a, now); err != nil {
				return err
			}
		}
	}
	if rest := slices.DeleteFunc(fields, special); len(rest) > 0 {
		return event(UserUpdated, map[string]string{"fields": strings.Join(rest, ",")})
	}
	return nil
}

// emailIsNew does what follows from an address set by someone else: links sent
// to the old one are void.
func (s *Service) emailIsNew(tx Tx, before, after User, a Actor, now time.Time) error {
	if err := voidTickets(tx, after.ID); err != nil {
		return err
	}
	if before.EmailVerified && s.deps.Mail != nil {
		o := newOutgoing(MailEmailChanged, before.Email, a.Client, now)
		o.User, o.NewEmail = before.ID, after.Email
		if err := tx.PutOutgoing(o); err != nil {
			return err
		}
	}
	if !s.verifies() || after.Email == "" || after.EmailVerified {
		return nil
	}
	return newPost(TicketVerifyEmail, after.ID, after.Email, a.Client, now).put(tx)
}

// keepAnAdmin refuses a change, already written to tx, that took away the last
// active admin who has a password: one who was invited may never come.
// Transactions come one after the other, so of two admins who
// demote each other at once, the second is refused.
func (s *Service) keepAnAdmin(tx Tx, before, after User) error {
	role := s.deps.Config.Accounts.AdminRole
	admin := func(u User) bool { return u.Active && u.HasRole(role) }
	if !admin(before) || admin(after) {
		return nil
	}
	left, err := tx.CountActive(role, 1)
	if err != nil {
		return err
	}
	if left == 0 {
		return ErrLastAdmin
	}
	if before.PasswordHash == "" {
		return nil // nobody who could sign in is lost
	}
	return adminCanSignIn(tx, role)
}

// adminCanSignIn is ErrLastAdmin unless an active user with the role has a
// password. The first page nearly always answers: admins are few.
func adminCanSignIn(tx Tx, role string) error {
	const page = 100
	active := true
	q := UserQuery{Role: role, Active: &active, Limit: page}
	for {
		found, err := tx.Users(q)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(found.Users, func(u User) bool { return u.PasswordHash != "" }) {
			return nil
		}
		if len(found.Users) < page {
			return ErrLastAdmin
		}
		q.After = found.Users[page-1].ID
	}
}

// SetPassword sets a password for someone else (a made one, returned, if next
// is empty), ends the account's sessions and lifts its lockout. InputError,
// ErrNotFound, ErrOverloaded (in a RetryError).
func (s *Service) SetPassword(ctx context.Context, id string, next Secret, a Actor) (Secret, error) {
	u, err := s.User(ctx, id)
	if err != nil {
		return "", err
	}
	made := Secret("")
	if next == "" {
		made = s.deps.Config.Accounts.Password.makePassword()
		next = made
	} else {
		var e InputError
		s.deps.Config.Accounts.Password.checkNewPassword(&e, "password", next, u)
		if err := e.OrNil(); err != nil {
			return "", err
		}
	}
	hash, err := s.passwords.make(ctx, next)
	if err != nil {
		return "", err
	}
	now := s.deps.Now()
	err = s.administer(ctx, a, now, func(tx Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.PasswordHash, u.UpdatedAt = hash, now
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if err := s.lockout.unsaveAll(tx, account{user: id}); err != nil {
			return err
		}
		if err := s.addEvent(tx, UserPasswordReset, a, id, "", now, nil); err != nil {
			return err
		}
		return s.passwordChanged(tx, u, a, now)
	})
	if err != nil {
		return "", err
	}
	s.lockout.forget(account{user: id})
	return made, nil
}

// DeleteUser removes an account and everything of it; its names stay taken.
// ErrNotFound, ErrLastAdmin.
func (s *Service) DeleteUser(ctx context.Context, id string, a Actor) error {
	now := s.deps.Now()
	return s.administer(ctx, a, now, func(tx Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		return s.removeUser(tx, u, a, now)
	})
}

// AdminResetPassword mails someone a link to set a new password with; the old
// one stays good until then. ErrNotFound, ErrAccountDisabled, InputError if no
// mail can reach them.
func (s *Service) AdminResetPassword(ctx context.Context, id string, a Actor) error {
	now := s.deps.Now()
	return s.administer(ctx, a, now, func(tx Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		var e InputError
		switch {
		case s.deps.Mail == nil:
			e.Add("email", "unknown", "no mail is configured: set a password instead")
		case u.Email == "":
			e.Add("email", "required", "the account has no email address: set a password instead")
		case !u.Active:
			return ErrAccountDisabled
		}
		if err := e.OrNil(); err != nil {
			return err
		}
		if err := newPost(TicketResetPassword, u.ID, u.Email, a.Client, now).put(tx); err != nil {
			return err
		}
		return s.addEvent(tx, UserResetRequested, a, u.ID, "", now, nil)
	})
}

// removeUser ends the user's sessions and deletes the record.
func (s *Service) removeUser(tx Tx, u User, a Actor, now time.Time) error {
	if err := voidTickets(tx, u.ID); err != nil {
		return err
	}
	if err := s.endSessions(tx, u.ID, EndedByDeletion, a, now); err != nil {
		return err
	}
	if err := tx.DeleteUser(u.ID); err != nil {
		return err
	}
	if err := s.keepAnAdmin(tx, u, User{}); err != nil {
		return err
	}
	return s.addEvent(tx, UserDeleted, a, u.ID, "", now, nil)
}

// Locked reports whether attempts to sign in to an account are refused, from
// one network or from all that it is not known from.
func (s *Service) Locked(id string) bool {
	return s.lockout.holds(account{user: id}, s.deps.Now())
}

// Unlock forgets the failures counted against an account. ErrNotFound.
func (s *Service) Unlock(ctx context.Context, id string, a Actor) error {
	now := s.deps.Now()
	err := s.administer(ctx, a, now, func(tx Tx) error {
		if _, err := tx.User(id); err != nil {
			return err
		}
		if err := s.lockout.unsaveAll(tx, account{user: id}); err != nil {
			return err
		}
		return s.addEvent(tx, UserUnlocked, a, id, "", now, nil)
	})
	if err == nil {
		s.lockout.forget(account{user: id})
	}
	return err
}
