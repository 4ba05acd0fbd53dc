package authn

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// cookieBytes is a session cookie in bytes: sid 16 | secret 32. Only the
	// SHA-256 of the secret is stored.
	cookieBytes = 16 + 32
	// maxCookies bounds how many cookies of one name are looked at: whoever can
	// add cookies can add thousands.
	maxCookies = 16
)

// cookieSecret is what proves a cookie to be ours.
type cookieSecret [cookieBytes - 16]byte

// newCookie draws the value of a session cookie and what is kept of it.
func newCookie(sid string) (Secret, []byte) {
	id, _ := idBytes(sid)
	secret := cookieSecret(randomBytes(len(cookieSecret{})))
	sum := sha256.Sum256(secret[:])
	return Secret(strictBase64.EncodeToString(append(id[:], secret[:]...))), sum[:]
}

// parseCookie takes a cookie apart; false for anything newCookie cannot make.
func parseCookie(value Secret) (sid string, secret cookieSecret, ok bool) {
	if len(value) != strictBase64.EncodedLen(cookieBytes) {
		return "", secret, false
	}
	b, ok := decodeStrict(value.Reveal())
	if !ok || len(b) != cookieBytes {
		return "", secret, false
	}
	return idString([16]byte(b)), cookieSecret(b[16:]), true
}

// verified is what is remembered of an access token whose signature and claims
// were found right. It is kept under the token's SHA-256, so that nothing in
// memory can be presented; a keyed hash would be faster and would make the
// collision of two tokens a question of luck.
type verified struct {
	session, subject string
	from, until      int64    // seconds; not to be used before from, as verify judged it; forgotten at until
	key              *ringKey // nor once this has retired: the sweep that forgets it all comes later
	holder           atomic.Pointer[holder]
}

// holder is a session and its user as of the marks of the caches they came from.
// They were both fit for use; of what made them so only the time can change
// while the marks hold. What a request needs lies together here: where there are
// thousands, each place that is looked at comes from memory. The session itself
// is not needed, so no token keeps it alive.
type holder struct {
	identity Identity
	until    int64 // in nanoseconds, as of now; a session that was used may go on
	marks    [2]mark
}

// holds reports whether nothing has changed that would have to be looked up. That
// the session has begun a token of it shows: it is no older.
func (h *holder) holds(now time.Time) bool {
	return now.UnixNano() < h.until && h.marks[0].holds() && h.marks[1].holds()
}

// Identify establishes who a request is from, without a store read once the
// session is cached. ErrNotSignedIn (no credential, or dead cookies only),
// ErrTokenInvalid, ErrTokenExpired, ErrTokenRevoked; any other error means the
// store failed. The User is shared with other requests: read it, never write to
// it.
func (s *Service) Identify(ctx context.Context, c Credential) (Identity, error) {
	now := s.deps.Now()
	if c.Bearer != "" {
		return s.identifyToken(ctx, c.Bearer.Reveal(), now)
	}
	for i, value := range c.Cookies {
		if i == maxCookies {
			break
		}
		id, err := s.identifyCookie(ctx, value, now)
		if !errors.Is(err, ErrNotSignedIn) {
			return id, err
		}
	}
	return Identity{}, ErrNotSignedIn
}

func (s *Service) identifyToken(ctx context.Context, token string, now time.Time) (Identity, error) {
	v, remember, err := s.verifiedToken(ctx, token, now)
	if err != nil {
		return Identity{}, err
	}
	if now.Unix() >= v.until {
		return Identity{}, ErrTokenExpired
	}
	if h := v.holder.Load(); h != nil && h.holds(now) {
		return h.identity, nil
	}
	h, x, err := s.holder(ctx, v.session, now)
	switch {
	case errors.Is(err, ErrNotFound):
		return Identity{}, ErrTokenRevoked
	case err != nil:
		return Identity{}, err
	case x.User != v.subject:
		return Identity{}, ErrTokenRevoked
	}
	v.held(h)
	if remember != nil {
		remember()
	}
	return h.identity, nil
}

// held keeps the holder beside the token, so that the next request with it looks
// up nothing else.
func (v *verified) held(h holder) { v.holder.Store(&h) }

// sweepTokens forgets the tokens whose time is over; else each would stay until
// thousands of others had come. Who held one of the rest is let go if that would
// have to be looked up again: a token that was exchanged for the next may never
// be used again, and would keep alive a user who has long been replaced.
func (s *Service) sweepTokens(now time.Time) {
	s.tokens.sweep(func(v *verified) bool {
		if h := v.holder.Load(); h != nil && !h.holds(now) {
			v.holder.CompareAndSwap(h, nil) // not the one of a use meanwhile
		}
		return now.Unix() >= v.until
	})
}

// verifiedToken is the token as verified now or before. Only the two limits of
// time are left to the caller, and of these only the end is an answer of its own.
// Remember, nil for one that is remembered, is for a token that admits somebody:
// those of sessions that have ended would only fill the memory.
func (s *Service) verifiedToken(ctx context.Context, token string, now time.Time) (v *verified, remember func(), err error) {
	if len(token) > maxToken {
		return nil, nil, ErrTokenInvalid
	}
	// Without a copy of the token for every request.
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token)))
	v, m, ok := s.tokens.get(sum)
	if ok {
		if v.from > now.Add(leeway).Unix() || !v.key.verifies(now) { // the clock went back, or the key's time is over
			return nil, nil, ErrTokenInvalid
		}
		return v, nil, nil
	}
	p, err := s.deps.Config.Tokens.verify(token, s.ring.Load(), now)
	if errors.Is(err, errUnknownKey) && (s.ringStale.Load() || !s.feedUp.Load()) {
		// Another process may have rotated.
		if err := s.loadRing(ctx); err != nil {
			return nil, nil, err
		}
		_, m, _ = s.tokens.get(sum)
		p, err = s.deps.Config.Tokens.verify(token, s.ring.Load(), now)
	}
	if err != nil {
		return nil, nil, ErrTokenInvalid
	}
	return s.newlyVerified(sum, p, m)
}

// newlyVerified is apart so that a token that is remembered costs no memory.
func (s *Service) newlyVerified(sum [32]byte, p claims, m mark) (*verified, func(), error) {
	v := &verified{session: p.Session, subject: p.Subject, from: max(p.IssuedAt, p.NotBefore), until: p.Expires, key: p.key}
	return v, func() { s.tokens.fill(sum, v, m) }, nil
}

func (s *Service) identifyCookie(ctx context.Context, value Secret, now time.Time) (Identity, error) {
	sid, secret, ok := parseCookie(value)
	if !ok {
		return Identity{}, ErrNotSignedIn
	}
	h, x, err := s.holder(ctx, sid, now)
	if errors.Is(err, ErrNotFound) || err == nil && !x.opens(secret) {
		return Identity{}, ErrNotSignedIn
	}
	if err != nil {
		return Identity{}, err
	}
	s.touch(x, now)
	h.identity.Cookie = true
	return h.identity, nil
}

// opens compares in constant time, and nothing opens a session of another mode.
func (x *Session) opens(secret cookieSecret) bool {
	sum := sha256.Sum256(secret[:])
	return x.Mode == ModeSessionCookie && len(x.CookieHash) == len(sum) &&
		subtle.ConstantTimeCompare(sum[:], x.CookieHash) == 1
}

// holder is who holds the session, and the session, both fit for use at now; else
// ErrNotFound.
func (s *Service) holder(ctx context.Context, sid string, now time.Time) (h holder, x *Session, err error) {
	if x, h.marks[0], err = s.session(ctx, sid); err != nil {
		return holder{}, nil, err
	}
	if !s.usable(x, now) {
		return holder{}, nil, ErrNotFound
	}
	var u *User
	if u, h.marks[1], err = s.user(ctx, x.User); err != nil {
		return holder{}, nil, err
	}
	if !u.Active {
		return holder{}, nil, ErrNotFound
	}
	h.identity = Identity{User: u, Session: x.ID, Mode: x.Mode}
	h.until = x.Expires().UnixNano()
	return h, x, nil
}

// usable reports whether the session is live, counting uses not written yet. A
// session from the future is not: the clock was set back, and everything that
// has ended since would come alive again.
func (s *Service) usable(x *Session, now time.Time) bool {
	if x.CreatedAt.After(now.Add(leeway)) || !now.Before(x.End) {
		return false
	}
	if now.Before(x.IdleEnd) {
		return true
	}
	used, ok := s.touches.last(x.ID)
	return ok && now.Before(used.Add(s.deps.Config.Sessions.Idle))
}

// session is the cached session or the stored one; ErrNotFound. While the feed
// is down the caches are shut. Its refresh chain and what its holder's device is
// called are of no use to a request, and most of its memory.
func (s *Service) session(ctx context.Context, id string) (*Session, mark, error) {
	x, m, ok := s.sessions.get(id)
	if ok {
		return x, m, nil
	}
	x, err := fetch(ctx, s.deps.Store, s.sessions, id, m, func(tx Tx, id string) (Session, error) {
		x, err := tx.Session(id)
		x.Chain, x.ClientIP, x.UserAgent = nil, "", ""
		together(&x.ID, &x.User)
		return x, err
	})
	return x, m, err
}

// user is the same for users. The password hash is of no use to a request, and
// harm in a log; the networks are looked at where somebody signs in.
func (s *Service) user(ctx context.Context, id string) (*User, mark, error) {
	u, m, ok := s.users.get(id)
	if ok {
		return u, m, nil
	}
	u, err := fetch(ctx, s.deps.Store, s.users, id, m, func(tx Tx, id string) (User, error) {
		u, err := tx.User(id)
		u.PasswordHash, u.Networks = "", nil
		texts := []*string{&u.ID, &u.Username, &u.Email, &u.Name}
		for i := range u.Roles {
			texts = append(texts, &u.Roles[i])
		}
		together(texts...)
		return u, err
	})
	return u, m, err
}

// together puts texts into one piece of memory: a request reads all of them, and
// what was last used thousands of requests ago is far away.
func together(texts ...*string) {
	size := 0
	for _, t := range texts {
		size += len(*t)
	}
	var all strings.Builder
	all.Grow(size)
	for _, t := range texts {
		all.WriteString(*t)
	}
	rest := all.String()
	for _, t := range texts {
		n := len(*t)
		*t, rest = rest[:n], rest[n:]
	}
}

// fetch reads what a cache did not have, into it. A record that is not there is
// not remembered: only what was genuine once gets this far without one.
func fetch[V any](ctx context.Context, st Store, c *cache[string, *V], id string, m mark, read func(Tx, string) (V, error)) (*V, error) {
	v := new(V)
	err := st.View(ctx, func(tx Tx) (err error) { *v, err = read(tx, id); return err })
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	c.fill(id, v, m)
	return v, nil
}

// Current is id as of now, or ErrTokenRevoked / ErrNotSignedIn (cookie). Expiry
// of the access token is not looked at: for open streams.
func (s *Service) Current(ctx context.Context, id Identity) (Identity, error) {
	h, x, err := s.holder(ctx, id.Session, s.deps.Now())
	dead := errors.Is(err, ErrNotFound) || err == nil && x.User != id.User.ID
	switch {
	case dead && id.Cookie:
		return Identity{}, ErrNotSignedIn
	case dead:
		return Identity{}, ErrTokenRevoked
	case err != nil:
		return Identity{}, err
	}
	id.User, id.Mode = h.identity.User, x.Mode
	return id, nil
}
