package authn

import (
	"math"
	"sync"
	"time"
)

// mailLimiter bounds how many mails of a kind one address gets because somebody
// asked for them, so that the gateway is no means of flooding a mailbox. Nobody
// is told: the answer to a request for a mail is the same when none is sent.
// Only mails that are sent count, and each kind for itself: what comes to
// nothing, and what another wants, keep nobody from a new password.
type mailLimiter struct {
	mu    sync.Mutex
	limit MailLimit
	count map[[16]byte]mailCount
}

// mailCount is how many mails count as of a time; it drains evenly.
type mailCount struct {
	n  float64
	at time.Time
}

func newMailLimiter(l MailLimit) *mailLimiter {
	return &mailLimiter{limit: l, count: map[[16]byte]mailCount{}}
}

// SetMailLimit changes limits.mail while the service runs.
func (s *Service) SetMailLimit(l MailLimit) {
	s.mailLimit.mu.Lock()
	defer s.mailLimit.mu.Unlock()
	s.mailLimit.limit = l
}

// mailKey is what mails are counted under.
func mailKey(k MailKind, email string) [16]byte {
	return [16]byte(Secret(string(k) + " " + email).sum())
}

// room reports whether one more mail of the kind may go to the address.
func (l *mailLimiter) room(k MailKind, email string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit.N <= 0 {
		return true
	}
	// Draining is arithmetic in floating point.
	return l.level(l.count[mailKey(k, email)], now)+1 <= float64(l.limit.N)+1e-6
}

// take counts a mail to the address.
func (l *mailLimiter) take(k MailKind, email string, now time.Time) {
	key := mailKey(k, email)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit.N <= 0 {
		return
	}
	level := l.level(l.count[key], now)
	if _, known := l.count[key]; !known && len(l.count) >= maxCounters {
		l.evict(now)
	}
	l.count[key] = mailCount{level + 1, now}
}

// level is what is left of a count at now. A clock that went backwards drains
// nothing.
func (l *mailLimiter) level(c mailCount, now time.Time) float64 {
	passed := max(0, now.Sub(c.at).Seconds())
	return max(0, c.n-passed*float64(l.limit.N)/l.limit.Per.Seconds())
}

// evict drops the lowest of a few counts: whoever fills the table with
// addresses of one mail each pushes out his own.
func (l *mailLimiter) evict(now time.Time) {
	var victim [16]byte
	least, seen := math.Inf(1), 0
	for key, c := range l.count { // in random order
		if n := l.level(c, now); n < least {
			victim, least = key, n
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	delete(l.count, victim)
}
