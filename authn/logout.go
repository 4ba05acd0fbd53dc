package authn

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Logout ends the session of every genuine credential given: refresh token,
// bearer, cookies. Nothing left to end is no error. An access token of ours that
// has expired still names its session, and so does any refresh token of ours.
func (s *Service) Logout(ctx context.Context, cred Credential, refresh Secret, c Client) error {
	now := s.deps.Now()
	candidates := s.claimed(cred, refresh, now)
	if len(candidates) == 0 {
		return nil
	}
	named := false
	err := s.deps.Store.View(ctx, func(tx Tx) error {
		named = false
		return s.genuine(tx, candidates, func(Session) error { named = true; return nil })
	})
	if err != nil || !named {
		return err
	}
	return s.deps.Store.Update(ctx, func(tx Tx) error {
		return s.genuine(tx, candidates, func(x Session) error {
			return s.endSession(tx, x, EndedByLogout, Actor{ID: x.User, Client: c}, now)
		})
	})
}

// claim is a credential that names a session, and what shows that it is right.
type claim struct {
	session string
	holds   func(x *Session) bool
}

// claimed reads the credentials without asking the store.
func (s *Service) claimed(cred Credential, refresh Secret, now time.Time) []claim {
	var list []claim
	if t, ok := parseRefresh(refresh); ok {
		list = append(list, claim{t.session(), func(x *Session) bool { return t.genuine(x.Chain) }})
	}
	if cred.Bearer != "" {
		if p, err := s.deps.Config.Tokens.verify(cred.Bearer.Reveal(), s.ring.Load(), now); err == nil {
			list = append(list, claim{p.Session, func(x *Session) bool { return x.User == p.Subject }})
		}
	}
	for _, value := range cred.Cookies[:min(len(cred.Cookies), maxCookies)] {
		if sid, secret, ok := parseCookie(value); ok {
			list = append(list, claim{sid, func(x *Session) bool { return x.opens(secret) }})
		}
	}
	return list
}

// genuine calls fn with the session of each claim that holds.
func (s *Service) genuine(tx Tx, list []claim, fn func(Session) error) error {
	for _, c := range list {
		x, err := tx.Session(c.session)
		if errors.Is(err, ErrNotFound) || err == nil && !c.holds(&x) {
			continue
		}
		if err != nil {
			return err
		}
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}

// LogoutAll ends every session of the user.
func (s *Service) LogoutAll(ctx context.Context, id Identity, c Client) error {
	now, a := s.deps.Now(), Actor{ID: id.User.ID, Client: c}
	return s.deps.Store.Update(ctx, func(tx Tx) error {
		return s.endSessions(tx, id.User.ID, EndedByLogoutAll, a, now)
	})
}

// SignOut ends every session of someone's account. ErrNotFound, and the errors
// of administer.
func (s *Service) SignOut(ctx context.Context, user string, a Actor) error {
	now, why := s.deps.Now(), EndedByAdmin
	if a.ID == user {
		why = EndedByLogoutAll
	}
	return s.administer(ctx, a, now, func(tx Tx) error {
		if _, err := tx.User(user); err != nil {
			return err
		}
		return s.endSessions(tx, user, why, a, now)
	})
}

// Sessions lists the user's live sessions, newest first.
func (s *Service) Sessions(ctx context.Context, user string) ([]Session, error) {
	now := s.deps.Now()
	var held []Session
	err := s.deps.Store.View(ctx, func(tx Tx) (err error) { held, err = tx.SessionsOf(user); return err })
	held = slices.DeleteFunc(held, func(x Session) bool { return !s.usable(&x, now) })
	slices.Reverse(held)
	return held, err
}

// EndSession ends one session of the user. ErrNotFound if it is not theirs or
// over already.
func (s *Service) EndSession(ctx context.Context, user, session string, a Actor) error {
	now, why := s.deps.Now(), EndedByAdmin
	if a.ID == user {
		why = EndedByLogout
	}
	return s.deps.Store.Update(ctx, func(tx Tx) error {
		x, err := tx.Session(session)
		if err != nil {
			return err
		}
		if x.User != user || !s.usable(&x, now) {
			return ErrNotFound
		}
		return s.endSession(tx, x, why, a, now)
	})
}
