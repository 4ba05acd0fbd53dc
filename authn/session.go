package authn

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// Mode is how a session's credentials travel.
type Mode string

const (
	ModeToken         Mode = "token"          // access and refresh token in the answer
	ModeRefreshCookie Mode = "refresh_cookie" // access token in the answer, refresh token in a cookie
	ModeSessionCookie Mode = "session_cookie" // an opaque session cookie, nothing else
)

// Session is one sign-in on one device. It is live until it is deleted or one
// of its two ends has passed.
type Session struct {
	ID   string // [a-z0-9]{26}; the sid of tokens
	User string
	Mode Mode

	ClientIP  string
	UserAgent string // at most 256 bytes

	CreatedAt  time.Time
	LastUsedAt time.Time // coalesced: may lag behind by a minute
	IdleEnd    time.Time // moved by each refresh or cookie use, never past End
	End        time.Time // never moves

	// CookieHash is the SHA-256 of the session cookie's secret; nil in other modes.
	CookieHash []byte

	// Chain is the refresh chain; nil in ModeSessionCookie.
	Chain *Chain
}

// Expires is when the session ends if nothing more is done with it.
func (s Session) Expires() time.Time {
	if s.IdleEnd.Before(s.End) {
		return s.IdleEnd
	}
	return s.End
}

// Live reports whether the session may still be used at now.
func (s Session) Live(now time.Time) bool { return now.Before(s.Expires()) }

// Chain is what the store knows of a session's refresh tokens: enough to tell
// the current one, a repeat within the grace, a replay, and a stranger's
// invention apart, and to answer a repeat with the same successor, without
// holding any token that could be presented.
type Chain struct {
	TagKey  []byte // 32 bytes; keys the tag that tells ours from a stranger's
	Gen     uint64 // of the current token
	CurHash []byte // SHA-256 of the current token
	Links   []Link // rotations within the grace, oldest first, at most 8
}

// Link is one rotation: Hash is of the token presented, and Seed makes its
// successor from that token again. A seed lives no longer than the grace.
type Link struct {
	Gen  uint64
	Hash []byte
	Seed []byte
	At   time.Time
}

// Client is where a call comes from, as the gateway has established it.
type Client struct {
	IP        netip.Addr
	UserAgent string
	RequestID string
}

// Network is the unit that limits and lockout count by: an IPv4 address or an
// IPv6 /64. An IPv4-mapped address counts as its IPv4 self; an address that
// could not be established counts as the one network "unknown", never as none.
func (c Client) Network() string {
	ip := c.IP.Unmap().WithZone("")
	switch {
	case !ip.IsValid():
		return "unknown"
	case ip.Is4():
		return ip.String()
	default:
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
}

// Identity is who a request is from, as established for this one request from
// current records.
type Identity struct {
	User    *User  // nil only in the zero Identity, which is nobody
	Session string // sid
	Mode    Mode
	Cookie  bool // established by the session cookie: cross-origin rules apply
}

// maxUserAgent bounds what a client can make us keep about itself.
const maxUserAgent = 256

// device is the client's word for itself as it is kept: it ends up on terminals
// and in mails, where it must not move the cursor or turn the text around it.
func device(userAgent string) string {
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return -1
		}
		return r
	}, cut(userAgent, maxUserAgent))
}

// freshSession is a session that is about to begin, with the secrets its
// holder will get and the store never sees.
type freshSession struct {
	Session Session
	refresh Secret
	cookie  Secret
}

// newSession draws the secrets of a session and stores nothing, so it can run
// outside the transaction that opens it. An empty mode is ModeToken.
func (s *Service) newSession(u User, m Mode, c Client, now time.Time) freshSession {
	if m == "" {
		m = ModeToken
	}
	end := now.Add(s.deps.Config.Sessions.Max)
	f := freshSession{Session: Session{
		ID: newID(now), User: u.ID, Mode: m,
		ClientIP: addrString(c.IP), UserAgent: device(c.UserAgent),
		CreatedAt: now, LastUsedAt: now,
		IdleEnd: earlier(now.Add(s.deps.Config.Sessions.Idle), end), End: end,
	}}
	if m == ModeSessionCookie {
		f.cookie, f.Session.CookieHash = newCookie(f.Session.ID)
	} else {
		f.refresh, f.Session.Chain = newChain(f.Session.ID)
	}
	return f
}

// openSession stores a fresh session. Where the user may have only so many,
// the oldest end to make room; those already over end as expired.
func (s *Service) openSession(tx Tx, u User, f freshSession, a Actor) error {
	now, limit := f.Session.CreatedAt, s.deps.Config.Sessions.PerUser
	if limit > 0 {
		held, err := tx.SessionsOf(u.ID) // oldest first
		if err != nil {
			return err
		}
		live := held[:0:0]
		for _, x := range held {
			if x.Live(now) || s.usable(&x, now) { // thanks to a use that is not written yet
				live = append(live, x)
			} else if err := s.endSession(tx, x, EndedByExpiry, Actor{}, now); err != nil {
				return err
			}
		}
		for len(live) >= limit {
			if err := s.endSession(tx, live[0], EndedByLimit, a, now); err != nil {
				return err
			}
			live = live[1:]
		}
	}
	return tx.PutSession(f.Session)
}

// endSession removes the session and says why in the security log.
func (s *Service) endSession(tx Tx, x Session, why Reason, a Actor, now time.Time) error {
	if err := tx.DeleteSession(x.ID); err != nil {
		return err
	}
	return s.addEvent(tx, SessionEnded, a, x.User, x.ID, now, map[string]string{"reason": string(why)})
}

// endSessions ends every session of the user.
func (s *Service) endSessions(tx Tx, user string, why Reason, a Actor, now time.Time) error {
	held, err := tx.SessionsOf(user)
	if err != nil {
		return err
	}
	for _, x := range held {
		if err := s.endSession(tx, x, why, a, now); err != nil {
			return err
		}
	}
	return nil
}

// addrString is the address as it is kept: an IPv4-mapped one as IPv4, no
// zone, "" where none could be established.
func addrString(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// cut returns at most n bytes of text, whole runes, without what is not UTF-8.
func cut(text string, n int) string {
	if len(text) > n {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	return strings.ToValidUTF8(text, "")
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
