package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// Access tokens are RFC 9068 JWTs. The library does the signatures; every check
// it leaves open is made here, before and after (RFC 8725): the size before any
// parsing, exactly three segments, one spelling of base64url, a strict reading
// of JSON, the algorithm of the key and never of the header, and every claim
// present with its exact type.
//
// The claims say which session a token belongs to and until when. Who that is
// and what they may do comes from the current records, see identify.go.
const (
	maxToken  = 8 << 10
	tokenType = "at+jwt"
	// leeway is how far another machine's clock may be ahead of ours. It is
	// never added to exp: a token ends when it says.
	leeway = 30 * time.Second
	// maxTime keeps sums of times from overflowing.
	maxTime = int64(1) << 40
)

// Why a token is not ours; callers see ErrTokenInvalid only, so that a forger
// learns nothing.
var (
	errMalformed  = errors.New("malformed")
	errUnknownKey = errors.New("unknown key")
)

// tokenHeader is what a header of ours holds.
type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// keyHints are header members by which a token tells its reader where to find
// a key. They may be there; they are never followed. Anything else we did not
// write, above all crit (RFC 7515 section 4.1.11), refuses the token.
var keyHints = []string{"jku", "jwk", "x5u", "x5c"}

// claims are the payload of an access token.
type claims struct {
	Issuer    string   `json:"iss"`
	Audience  string   `json:"aud"`
	Subject   string   `json:"sub"`
	Expires   int64    `json:"exp"`
	IssuedAt  int64    `json:"iat"`
	NotBefore int64    `json:"nbf"`
	ID        string   `json:"jti"`
	Session   string   `json:"sid"`
	Roles     []string `json:"roles"`
	Username  string   `json:"username"`

	key *ringKey // what it was signed with, once that is verified
}

// signedIn is what a session's holder gets once the session is stored: the
// access token is minted here, outside the transaction.
func (s *Service) signedIn(u User, f freshSession, now time.Time) (SignIn, error) {
	u.PasswordHash = "" // the answer is no place for it
	in := SignIn{User: u, Session: f.Session}
	if f.Session.Mode == ModeSessionCookie {
		// The idle end moves with every use and the cookie is not sent again, so
		// it must outlast them all.
		in.Cookie, in.CookieExpiresIn = f.cookie, f.Session.End.Sub(now)
		return in, nil
	}
	in.RefreshToken, in.RefreshExpiresIn = f.refresh, f.Session.Expires().Sub(now)
	in.AccessExpiresIn = min(s.deps.Config.Tokens.AccessTTL, in.RefreshExpiresIn)
	var err error
	in.AccessToken, err = s.mint(u, f.Session, in.AccessExpiresIn, now)
	return in, err
}

// mint signs an access token of the session.
func (s *Service) mint(u User, x Session, ttl time.Duration, now time.Time) (Secret, error) {
	ring := s.ring.Load()
	payload, err := json.Marshal(claims{
		Issuer: s.deps.Config.Tokens.Issuer, Audience: s.deps.Config.Tokens.Audience,
		Subject: u.ID, Session: x.ID, ID: newID(now),
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(ttl).Unix(),
		Roles: append([]string{}, u.Roles...), Username: u.Username,
	})
	if err != nil {
		return "", err
	}
	text := ring.header + strictBase64.EncodeToString(payload)
	sig, err := ring.signing.method.Sign(text, ring.signing.private)
	if err != nil {
		return "", err
	}
	return Secret(text + "." + strictBase64.EncodeToString(sig)), nil
}

// verify reads a token and checks its signature and everything in it but the
// time it ends, which is the caller's to judge: an expired token still names
// its session when that is to be ended.
func (c TokenConfig) verify(token string, ring *keyring, now time.Time) (claims, error) {
	var p claims
	text, header, payload, sig, ok := segments(token)
	if !ok {
		return p, errMalformed
	}
	key, err := keyOf(header, ring, now)
	if err != nil {
		return p, err
	}
	if err := key.method.Verify(text, sig, key.public); err != nil {
		return p, err
	}
	if err := decodeJSON(payload, &p, otherClaim); err != nil {
		return p, err
	}
	p.key = key
	return p, c.check(p, now)
}

// segments takes a token of exactly three segments apart. text is what is
// signed.
func segments(token string) (text string, header, payload, sig []byte, ok bool) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return "", nil, nil, nil, false
	}
	end := strings.LastIndexByte(token, '.')
	text = token[:end]
	h, p, _ := strings.Cut(text, ".")
	header, ok1 := decodeStrict(h)
	payload, ok2 := decodeStrict(p)
	sig, ok3 := decodeStrict(token[end+1:])
	return text, header, payload, sig, ok1 && ok2 && ok3
}

// keyOf finds the key a header names. The header must agree with the key about
// the algorithm; it does not choose it.
func keyOf(header []byte, ring *keyring, now time.Time) (*ringKey, error) {
	var h tokenHeader
	err := decodeJSON(header, &h, func(name string) bool { return slices.Contains(keyHints, name) })
	if err != nil {
		return nil, err
	}
	key := ring.byID[h.KeyID]
	if key == nil {
		return nil, errUnknownKey
	}
	if !key.verifies(now) || h.Type != tokenType || h.Algorithm != key.Algorithm {
		return nil, errMalformed
	}
	return key, nil
}

// otherClaim accepts claims that are not ours, but none that a careless reader
// would take for one of ours.
func otherClaim(name string) bool {
	return !slices.ContainsFunc(claimNames, func(ours string) bool { return strings.EqualFold(ours, name) })
}

var claimNames = []string{"iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "roles", "username"}

// check holds the claims to what mint writes. Missing members are zero here,
// and zero is never right. aud must be the string we write: a list is not ours.
func (c TokenConfig) check(p claims, now time.Time) error {
	soonest := now.Add(leeway).Unix()
	switch {
	case p.Issuer == "" || p.Issuer != c.Issuer,
		p.Audience == "" || p.Audience != c.Audience,
		!isUserID(p.Subject), !isID(p.Session), !isID(p.ID),
		!inRange(p.Expires), !inRange(p.IssuedAt), !inRange(p.NotBefore),
		p.IssuedAt > soonest, p.NotBefore > soonest,
		p.Expires < p.IssuedAt,
		p.Expires-p.IssuedAt > int64(c.AccessTTL/time.Second)+1:
		return errMalformed
	}
	return nil
}

func inRange(t int64) bool { return t > 0 && t < maxTime }

func isID(id string) bool {
	_, ok := idBytes(id)
	return ok
}

// isUserID is wider than isID: accounts brought from elsewhere keep their ids.
func isUserID(id string) bool {
	return len(id) >= 20 && len(id) <= 32 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// headerOf is the header of every token a key signs, with the dot behind it.
func headerOf(k *ringKey) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// Cannot fail: three strings.
	_ = e.Encode(tokenHeader{Algorithm: k.Algorithm, KeyID: k.ID, Type: tokenType})
	return strictBase64.EncodeToString(bytes.TrimSpace(b.Bytes())) + "."
}
