package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
)

// A refresh token is 72 bytes in strict base64url:
//
//	sid 16 | generation 8 | secret 32 | tag 16
//
// The tag, keyed by the session, tells a token of ours from one a stranger made
// up, so that no stranger can end a session by presenting garbage.
//
// Each token is exchanged once. An answer can be lost and two tabs can ask at
// once, so within a short grace the same token gets the same successor again;
// after it, a token of ours that was exchanged before is in two hands, and the
// session ends (RFC 9700 section 4.14.2).
const (
	refreshGenAt    = 16
	refreshSecretAt = refreshGenAt + 8
	refreshTagAt    = refreshSecretAt + 32
	refreshBytes    = refreshTagAt + 16

	// maxLinks bounds the rotations of one session within one grace.
	maxLinks = 8
)

// strictBase64 has one spelling for every value: no padding, no stray bits.
// Its decoder still skips line breaks, so decode with decodeStrict.
var strictBase64 = base64.RawURLEncoding.Strict()

// decodeStrict reads base64url in its only spelling.
func decodeStrict(text string) ([]byte, bool) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := strictBase64.DecodeString(text)
	return b, err == nil
}

// refreshToken is a refresh token in bytes.
type refreshToken [refreshBytes]byte

// makeRefresh puts a token together and tags it.
func makeRefresh(sid [16]byte, gen uint64, secret, tagKey []byte) (t refreshToken) {
	copy(t[:], sid[:])
	binary.BigEndian.PutUint64(t[refreshGenAt:], gen)
	copy(t[refreshSecretAt:], secret)
	copy(t[refreshTagAt:], t.mac(tagKey))
	return t
}

// parseRefresh reads a token; false for anything reveal cannot have written.
func parseRefresh(text Secret) (t refreshToken, ok bool) {
	if len(text) != strictBase64.EncodedLen(refreshBytes) {
		return t, false
	}
	b, ok := decodeStrict(text.Reveal())
	if !ok || len(b) != refreshBytes {
		return t, false
	}
	return refreshToken(b), true
}

func (t *refreshToken) reveal() Secret  { return Secret(strictBase64.EncodeToString(t[:])) }
func (t *refreshToken) session() string { return idString([16]byte(t[:16])) }
func (t *refreshToken) gen() uint64     { return binary.BigEndian.Uint64(t[refreshGenAt:]) }

// mac is the tag the token should carry.
func (t *refreshToken) mac(tagKey []byte) []byte {
	h := hmac.New(sha256.New, tagKey)
	h.Write(t[:refreshTagAt])
	return h.Sum(nil)[:refreshBytes-refreshTagAt]
}

// genuine compares the tag in constant time.
func (t *refreshToken) genuine(c *Chain) bool {
	return c != nil && len(c.TagKey) > 0 && hmac.Equal(t[refreshTagAt:], t.mac(c.TagKey))
}

func (t *refreshToken) sum() []byte {
	h := sha256.Sum256(t[:])
	return h[:]
}

// successor is the token that follows t. Whoever holds t cannot tell it without
// the seed, and whoever reads the seed in the store cannot without t.
func (t *refreshToken) successor(seed, tagKey []byte) refreshToken {
	h := hmac.New(sha256.New, seed)
	h.Write(t[:])
	return makeRefresh([16]byte(t[:16]), t.gen()+1, h.Sum(nil), tagKey)
}

// newChain begins a refresh chain and returns its first token.
func newChain(sid string) (Secret, *Chain) {
	id, _ := idBytes(sid)
	key := randomBytes(32)
	t := makeRefresh(id, 1, randomBytes(32), key)
	return t.reveal(), &Chain{TagKey: key, Gen: 1, CurHash: t.sum()}
}

// refreshOutcome is what presenting a token comes to, in the words of the metric.
type refreshOutcome string

const (
	refreshInvalid  refreshOutcome = "invalid"  // nothing changes: a stranger cannot end a session
	refreshRotated  refreshOutcome = "rotated"  // the current token: it gets a successor
	refreshRepeated refreshOutcome = "repeated" // exchanged a moment ago: the same successor again
	refreshReused   refreshOutcome = "reused"   // exchanged before that: two hold it
	refreshLimited  refreshOutcome = "limited"  // the current token, too often in a row
)

// present judges a token against the chain as it is, and changes nothing.
func (c *Chain) present(t *refreshToken, now time.Time, grace time.Duration) refreshOutcome {
	if !t.genuine(c) {
		return refreshInvalid
	}
	sum := t.sum()
	if hmac.Equal(sum, c.CurHash) {
		if len(c.fresh(now, grace)) >= maxLinks {
			return refreshLimited
		}
		return refreshRotated
	}
	known := func(l Link) bool { return hmac.Equal(sum, l.Hash) }
	if slices.ContainsFunc(c.fresh(now, grace), known) {
		return refreshRepeated
	}
	return refreshReused
}

// fresh are the links within the grace. A link from the future is as far from
// now as one from the past: setting the clock back does not stretch the grace.
func (c *Chain) fresh(now time.Time, grace time.Duration) []Link {
	var kept []Link
	for _, l := range c.Links {
		if now.Sub(l.At).Abs() <= grace {
			kept = append(kept, l)
		}
	}
	return kept
}

// rotate makes t's successor current, and drops the links past the grace with
// their seeds.
func (c *Chain) rotate(t *refreshToken, seed []byte, now time.Time, grace time.Duration) refreshToken {
	next := t.successor(seed, c.TagKey)
	c.Links = append(c.fresh(now, grace), Link{Gen: t.gen(), Hash: c.CurHash, Seed: seed, At: now})
	c.Gen, c.CurHash = next.gen(), next.sum()
	return next
}

// head walks from a token exchanged within the grace to the current one. False
// if the links do not lead there.
func (c *Chain) head(t refreshToken) (refreshToken, bool) {
	for range c.Links {
		sum := t.sum()
		i := slices.IndexFunc(c.Links, func(l Link) bool { return hmac.Equal(sum, l.Hash) })
		if i < 0 {
			break
		}
		t = t.successor(c.Links[i].Seed, c.TagKey)
	}
	return t, hmac.Equal(t.sum(), c.CurHash)
}

// presented is what one presentation came to.
type presented struct {
	outcome refreshOutcome
	user    User
	session Session
	next    refreshToken
}

// Refresh exchanges a refresh token. ErrRefreshInvalid, ErrRefreshReused,
// ErrRefreshTooMany (in a RetryError).
func (s *Service) Refresh(ctx context.Context, token Secret, c Client) (SignIn, error) {
	now := s.deps.Now()
	p, err := s.exchange(ctx, token, c, now)
	if err != nil {
		return SignIn{}, err
	}
	s.observe(MetricRefreshes, string(p.outcome), 1)
	switch p.outcome {
	case refreshRotated, refreshRepeated:
		return s.signedIn(p.user, freshSession{Session: p.session, refresh: p.next.reveal()}, now)
	case refreshReused:
		return SignIn{}, ErrRefreshReused
	case refreshLimited:
		return SignIn{}, &RetryError{ErrRefreshTooMany, p.session.Chain.room(now, s.deps.Config.Tokens.RefreshGrace)}
	default:
		return SignIn{}, ErrRefreshInvalid
	}
}

// room is how long until another rotation fits.
func (c *Chain) room(now time.Time, grace time.Duration) time.Duration {
	wait := time.Second
	if fresh := c.fresh(now, grace); len(fresh) > 0 {
		wait = fresh[0].At.Add(grace).Sub(now)
	}
	return max(wait.Truncate(time.Second)+time.Second, time.Second)
}

// exchange judges the token in a view and, only if there is something to write,
// once more in the transaction that writes it: garbage costs no write.
func (s *Service) exchange(ctx context.Context, token Secret, c Client, now time.Time) (p presented, err error) {
	t, ok := parseRefresh(token)
	if !ok {
		return presented{outcome: refreshInvalid}, nil
	}
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) { p, err = s.present(tx, t, now); return err })
	if err != nil || p.outcome != refreshRotated && p.outcome != refreshReused {
		return p, err
	}
	seed := randomBytes(32)
	err = s.deps.Store.Update(ctx, func(tx Tx) (err error) {
		if p, err = s.present(tx, t, now); err != nil {
			return err
		}
		switch p.outcome {
		case refreshRotated:
			p.next = p.session.Chain.rotate(&t, seed, now, s.deps.Config.Tokens.RefreshGrace)
			s.extend(&p.session, now)
			return tx.PutSession(p.session)
		case refreshReused:
			a := Actor{Client: c}
			if err := s.addEvent(tx, RefreshReused, a, p.user.ID, p.session.ID, now, nil); err != nil {
				return err
			}
			return s.endSession(tx, p.session, EndedByReuse, a, now)
		}
		return nil
	})
	if err == nil && p.outcome == refreshRotated {
		s.rotated.add(p.session.ID, now)
	}
	return p, err
}

// present finds the session of a token and judges the token.
func (s *Service) present(tx Tx, t refreshToken, now time.Time) (presented, error) {
	invalid := presented{outcome: refreshInvalid}
	x, err := tx.Session(t.session())
	if errors.Is(err, ErrNotFound) {
		return invalid, nil
	}
	if err != nil {
		return invalid, err
	}
	if !s.usable(&x, now) || x.Chain == nil {
		return invalid, nil
	}
	u, err := tx.User(x.User)
	if errors.Is(err, ErrNotFound) || err == nil && !u.Active {
		return invalid, nil
	}
	if err != nil {
		return invalid, err
	}
	p := presented{outcome: x.Chain.present(&t, now, s.deps.Config.Tokens.RefreshGrace), user: u, session: x}
	if p.outcome == refreshRepeated {
		var whole bool
		if p.next, whole = x.Chain.head(t); !whole {
			return invalid, nil
		}
	}
	return p, nil
}
