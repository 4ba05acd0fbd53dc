package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	knownNetworks  = 20                  // kept per account, the latest
	knownNetworkOf = 30 * 24 * time.Hour // how long a network stays known
)

// errMoved means that the record has changed since its password was checked:
// check again.
var errMoved = errors.New("the password has changed meanwhile")

// movedRetries is how often that may happen before we stop believing in chance.
const movedRetries = 3

// Login signs in.
//
// A name that belongs to nobody, an account without a password or disabled and
// a wrong password take the same work, get the same answer and leave the same
// traces in the store. Only the right password learns that the account is
// disabled or its address not verified.
//
// InputError, ErrInvalidCredentials, ErrTooManyAttempts and ErrOverloaded (in a
// RetryError), ErrAccountDisabled, ErrEmailNotVerified.
func (s *Service) Login(ctx context.Context, l LoginAttempt, c Client) (SignIn, error) {
	if err := checkLogin(l); err != nil {
		return SignIn{}, err
	}
	in, err := s.login(ctx, l, c)
	if result := signInResult(err); result != "" {
		s.observe(MetricSignIns, result, 1)
	}
	return in, err
}

func checkLogin(l LoginAttempt) error {
	var e InputError
	switch n := len(l.Login); {
	case n == 0:
		e.Add("login", "required", "give a username or an email address")
	case n > maxLogin:
		e.Add("login", "too_long", fmt.Sprintf("a login has at most %d bytes", maxLogin))
	}
	checkTypedPassword(&e, "password", l.Password)
	checkMode(&e, l.Mode)
	return e.OrNil()
}

// checkTypedPassword bounds a password that is to be compared, before any work.
func checkTypedPassword(e *InputError, field string, password Secret) {
	switch n := len(password); {
	case n == 0:
		e.Add(field, "required", "give the password")
	case n > maxPassword:
		e.Add(field, "too_long", fmt.Sprintf("a password has at most %d bytes", maxPassword))
	}
}

func checkMode(e *InputError, m Mode) {
	if !slices.Contains([]Mode{"", ModeToken, ModeRefreshCookie, ModeSessionCookie}, m) {
		e.Add("mode", "format", "use token, refresh_cookie or session_cookie")
	}
}

// signInResult is the label an outcome is counted under.
func signInResult(err error) string {
	results := []struct {
		err   error
		label string
	}{
		{ErrInvalidCredentials, "failed"},
		{ErrTooManyAttempts, "locked"},
		{ErrOverloaded, "overloaded"},
		{ErrAccountDisabled, "disabled"},
		{ErrEmailNotVerified, "unverified"},
	}
	if err == nil {
		return "succeeded"
	}
	for _, r := range results {
		if errors.Is(err, r.err) {
			return r.label
		}
	}
	return ""
}

func (s *Service) login(ctx context.Context, l LoginAttempt, c Client) (SignIn, error) {
	for range movedRetries {
		u, found, err := s.findLogin(ctx, l.Login)
		if err != nil {
			return SignIn{}, err
		}
		v, t, err := s.tryPassword(ctx, u, l, c)
		if err != nil {
			return SignIn{}, err
		}
		if !found || !v.right {
			return SignIn{}, s.signInFailed(ctx, ErrInvalidCredentials, "password", u.ID, "", t, c)
		}
		in, err := s.signIn(ctx, u, v, l.Mode, t, c)
		if !errors.Is(err, errMoved) {
			return in, err
		}
	}
	return SignIn{}, overloaded(0)
}

// findLogin looks a login up. Nobody's is no error.
func (s *Service) findLogin(ctx context.Context, typed string) (u User, found bool, err error) {
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) {
		u, err = userByLogin(tx, typed)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return User{}, false, nil
	}
	if err != nil {
		return User{}, false, fmt.Errorf("look a login up: %w", err)
	}
	return u, true, nil
}

// tryPassword takes room for an attempt and compares the password with u's;
// the zero user is nobody. After an error nothing is left to account for.
func (s *Service) tryPassword(ctx context.Context, u User, l LoginAttempt, c Client) (verdict, attempt, error) {
	a := s.accountOf(u, c)
	if u.ID == "" {
		a.name, _ = plainLogin(l.Login)
	}
	t, err := s.reserve(ctx, a, c)
	if err != nil {
		return verdict{}, attempt{}, err
	}
	v, err := s.passwords.check(ctx, u.PasswordHash, l.Password)
	if err != nil {
		s.lockout.release(t, s.deps.Now())
		return verdict{}, attempt{}, err
	}
	if !v.right && s.passwords.keyLost(u.PasswordHash) {
		s.deps.Log.Warn("the password hash of this account was made with another pepper: restore accounts.password.pepper or set a new password", "user", u.ID)
	}
	return v, t, nil
}

func (s *Service) accountOf(u User, c Client) account {
	return account{user: u.ID, known: knownFrom(u, c.Network(), s.deps.Now())}
}

// reserve takes room for one attempt, waiting for those under way if they may
// take it.
func (s *Service) reserve(ctx context.Context, a account, c Client) (attempt, error) {
	for {
		t, busy, first, err := s.lockout.reserve(a, c.Network(), s.deps.Now())
		switch {
		case err != nil && first:
			s.logLocked(ctx, a.user, c)
			return t, err
		case err != nil || busy == nil:
			return t, err
		}
		if err := s.hashes.standBy(ctx, busy); err != nil {
			return t, err
		}
	}
}

// logLocked writes the first refusal of a lock to the security log; the ones
// after it would only let a stranger fill it.
func (s *Service) logLocked(ctx context.Context, user string, c Client) {
	now := s.deps.Now()
	err := s.deps.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		return s.addEvent(tx, SignInLocked, Actor{Client: c}, user, "", now, nil)
	})
	if err != nil {
		s.deps.Log.Error("write the event of a lockout", "error", err)
	}
}

// signInFailed records a failure that is to count and returns why. The record
// is made whatever becomes of ctx: hanging up early must not save an attempt.
func (s *Service) signInFailed(ctx context.Context, why error, reason, user, session string, t attempt, c Client) error {
	now := s.deps.Now()
	a := Actor{Client: c}
	if session != "" {
		a.ID = user
	}
	s.lockout.failed(t, now)
	err := s.deps.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		if err := s.lockout.save(tx, t); err != nil {
			return err
		}
		return s.addEvent(tx, SignInFailed, a, user, session, now, map[string]string{"reason": reason})
	})
	if err != nil {
		return fmt.Errorf("record a failed sign-in: %w", err)
	}
	return why
}

// signIn opens a session for someone who gave the right password. What was
// checked is looked at again inside the transaction: a password changed or an
// account disabled meanwhile must not be signed in to.
func (s *Service) signIn(ctx context.Context, u User, v verdict, m Mode, t attempt, c Client) (SignIn, error) {
	now := s.deps.Now()
	fresh := s.newSession(u, m, c, now)
	id, checked := u.ID, u.PasswordHash
	var refused error
	err := s.deps.Store.Update(ctx, func(tx Tx) (err error) {
		u, err = tx.User(id)
		if errors.Is(err, ErrNotFound) || err == nil && u.PasswordHash != checked {
			return errMoved
		}
		if err != nil {
			return err
		}
		var reason string
		if reason, refused = s.refusal(u); refused != nil {
			return s.addEvent(tx, SignInFailed, Actor{Client: c}, u.ID, "", now, map[string]string{"reason": reason})
		}
		if v.renewed != "" {
			u.PasswordHash = v.renewed
		}
		if err := s.lockout.unsave(tx, t); err != nil {
			return err
		}
		if s.newDevice(u, c, now) {
			if err := s.notice(tx, MailNewDevice, u, c, now); err != nil {
				return err
			}
		}
		return s.enter(tx, &u, fresh, c, now)
	})
	switch {
	case err != nil:
		s.lockout.release(t, now)
		if errors.Is(err, errMoved) {
			return SignIn{}, err
		}
		return SignIn{}, fmt.Errorf("sign in: %w", err)
	case refused != nil:
		s.lockout.release(t, now)
		return SignIn{}, refused
	}
	s.lockout.succeeded(t, now)
	return s.signedIn(u, fresh, now)
}

// refusal is why someone with the right password may not sign in all the same.
func (s *Service) refusal(u User) (reason string, err error) {
	switch {
	case !u.Active:
		return "disabled", ErrAccountDisabled
	case s.deps.Config.Accounts.EmailVerification == "required" && u.Email != "" && !u.EmailVerified:
		return "unverified", ErrEmailNotVerified
	default:
		return "", nil
	}
}

// enter writes what a sign-in changes: the user's record, the session, the
// event.
func (s *Service) enter(tx Tx, u *User, fresh freshSession, c Client, now time.Time) error {
	u.LastLoginAt = now
	u.Networks = learnNetwork(u.Networks, c.Network(), now)
	if err := tx.PutUser(*u); err != nil {
		return err
	}
	a := Actor{ID: u.ID, Client: c}
	if err := s.openSession(tx, *u, fresh, a); err != nil {
		return err
	}
	return s.addEvent(tx, SignInSucceeded, a, u.ID, fresh.Session.ID, now,
		map[string]string{"mode": string(fresh.Session.Mode)})
}

// newDevice reports whether the person is to be told of a sign-in. The first
// one is no news, and of one network of clients without an address nobody
// could learn anything.
func (s *Service) newDevice(u User, c Client, now time.Time) bool {
	return s.deps.Config.Accounts.NewDeviceMail && u.EmailVerified && !u.LastLoginAt.IsZero() &&
		c.IP.IsValid() && !knownFrom(u, c.Network(), now)
}

// knownFrom reports whether the user has signed in from the network lately.
// The one network of clients without an address is known to nobody.
func knownFrom(u User, network string, now time.Time) bool {
	return slices.ContainsFunc(u.Networks, func(k KnownNetwork) bool {
		return k.Network == network && now.Sub(k.SeenAt) < knownNetworkOf
	})
}

// learnNetwork notes a sign-in from a network, and lets go of the oldest.
func learnNetwork(known []KnownNetwork, network string, now time.Time) []KnownNetwork {
	if network == (Client{}).Network() {
		return known
	}
	var kept []KnownNetwork
	for _, k := range known {
		if k.Network != network && now.Sub(k.SeenAt) < knownNetworkOf {
			kept = append(kept, k)
		}
	}
	kept = append(kept, KnownNetwork{Network: network, SeenAt: now})
	return kept[max(0, len(kept)-knownNetworks):]
}
