package gateway

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// limiterName is the YAML key of a limit, and its name in RateLimit-Policy.
type limiterName string

const (
	limitLoginFailures limiterName = "login_failures"
	limitRegister      limiterName = "register"
	limitPasswordReset limiterName = "password_reset"
	limitMail          limiterName = "mail"
	limitRefresh       limiterName = "refresh"
	limitRequests      limiterName = "requests"
)

// rate is the setting of a limit; the zero Rate is off.
func (c LimitConfig) rate(name limiterName) Rate {
	switch name {
	case limitLoginFailures:
		return c.LoginFailures
	case limitRegister:
		return c.Register
	case limitPasswordReset:
		return c.PasswordReset
	case limitMail:
		return c.Mail
	case limitRefresh:
		return c.Refresh
	case limitRequests:
		return c.Requests
	}
	panic("no limit " + string(name))
}

// allow takes one from the budget that key has under a limit, or refuses. Key
// is a client's network, a user's id or an address; an empty one is a budget
// like any other, shared by all who have none.
func (s *Server) allow(x *exchange, name limiterName, key string) error {
	return s.take(name, x.live.cfg.Limits.rate(name), bucketKey{limit: string(name), holder: key})
}

// reserve is allow for what counts only if it goes wrong: giveBack returns what
// was taken. It is taken first, so that a hundred guesses at once are not all
// made before the first is counted. giveBack is nil where there is no limit.
func (s *Server) reserve(x *exchange, name limiterName, key string) (giveBack func(), err error) {
	limit, bucket := x.live.cfg.Limits.rate(name), bucketKey{limit: string(name), holder: key}
	if err := s.take(name, limit, bucket); err != nil || limit.N == 0 {
		return nil, err
	}
	return func() { s.buckets.giveBack(bucket, s.Now()) }, nil
}

// limitRequest takes the request itself from its budget: the user's if signed
// in, else the client's. The route's own limit is a budget apart from that of
// limits.requests.
func (s *Server) limitRequest(x *exchange, r *http.Request) error {
	key := bucketKey{limit: string(limitRequests)}
	limit := x.live.cfg.Limits.Requests
	if i := x.match.Rule; i >= 0 && x.live.cfg.Routes[i].Limit.N > 0 {
		limit = x.live.cfg.Routes[i].Limit
		key.route = x.live.routes[i].label
	}
	if limit.N == 0 {
		return nil
	}
	if x.identity != nil {
		key.user = x.identity.User.ID
	} else {
		key.holder = x.client(r).Network()
	}
	return s.take(limitRequests, limit, key)
}

// take takes one from a bucket, or says when there will be one.
func (s *Server) take(name limiterName, limit Rate, key bucketKey) error {
	if limit.N == 0 {
		return nil
	}
	ok, left := s.buckets.take(key, limit, s.Now())
	if ok {
		return nil
	}
	return tooMany(name, limit, limit.untilOne(left))
}

// tooMany is the refusal of an empty bucket, in the fields of the IETF draft
// for rate limits. A login's budget has a code of its own.
func tooMany(name limiterName, limit Rate, after time.Duration) *refusal {
	code := Code("RATE_LIMITED")
	if name == limitLoginFailures {
		code = "TOO_MANY_ATTEMPTS"
	}
	seconds := max(1, int(math.Ceil(after.Seconds())))
	h := http.Header{}
	h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%d`, name, limit.N, max(1, int(limit.Per.Seconds()))))
	h.Set("RateLimit", fmt.Sprintf(`"%s";r=0;t=%d`, name, seconds))
	return &refusal{code: code, after: time.Duration(seconds) * time.Second, header: h}
}

// perSecond is how fast a bucket refills.
func (r Rate) perSecond() rate.Limit { return rate.Limit(float64(r.N) / r.Per.Seconds()) }

// untilOne is how long a bucket that holds so many takes to hold one.
func (r Rate) untilOne(tokens float64) time.Duration {
	return time.Duration((1 - tokens) / float64(r.perSecond()) * float64(time.Second))
}
