package gateway

import (
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"sync"
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
	_, err := s.take(name, x.live.cfg.Limits.rate(name), bucketKey{limit: string(name), holder: key})
	return err
}

// reserve is allow for what counts only if it goes wrong: giveBack returns what
// was taken. It is taken first, so that a hundred guesses at once are not all
// made before the first is counted. giveBack is nil where there is no limit.
func (s *Server) reserve(x *exchange, name limiterName, key string) (giveBack func(), err error) {
	b, err := s.take(name, x.live.cfg.Limits.rate(name), bucketKey{limit: string(name), holder: key})
	if b == nil || err != nil {
		return nil, err
	}
	return func() { b.AllowN(s.Now(), -1) }, nil
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
	_, err := s.take(limitRequests, limit, key)
	return err
}

// take takes one from a bucket, or says when there will be one.
func (s *Server) take(name limiterName, limit Rate, key bucketKey) (*rate.Limiter, error) {
	if limit.N == 0 {
		return nil, nil
	}
	now := s.Now()
	b := s.buckets.of(key, limit, now)
	if b.AllowN(now, 1) {
		return b, nil
	}
	return nil, tooMany(name, limit, limit.untilOne(b.TokensAt(now)))
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

// The buckets are an attack surface themselves: whoever can choose keys can
// make as many as they like. So there is room for a fixed number, and a
// stranger's key costs another bucket its place: the fullest of a few, which
// remembers the least. Nobody empties a bucket of their own that way.
const (
	bucketShards   = 64
	bucketsInShard = 768
	evictionSample = 8
)

// bucketKey is which budget, and whose: a user's, else another holder's.
type bucketKey struct{ limit, route, user, holder string }

type buckets struct {
	seed   maphash.Seed
	shards [bucketShards]bucketShard
}

// bucketShard holds no keys but hashes of them: a table that strangers have
// filled is a quarter of the size, and what lives counts five times, for so far
// garbage may grow. Two keys that meet share a budget; nobody can make such who
// does not know the seed, and by chance it takes 2^48 of them.
type bucketShard struct {
	mu  sync.Mutex
	all map[uint64]*rate.Limiter
}

func newBuckets() *buckets { return &buckets{seed: maphash.MakeSeed()} }

// of is the bucket of a key, full if it is new. A reloaded limit applies to
// those that are there too.
func (bs *buckets) of(key bucketKey, limit Rate, now time.Time) *rate.Limiter {
	hash := maphash.Comparable(bs.seed, key)
	shard := &bs.shards[hash%bucketShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	b := shard.all[hash]
	if b == nil {
		shard.makeRoom(now)
		b = rate.NewLimiter(limit.perSecond(), limit.N)
		shard.all[hash] = b
		return b
	}
	if b.Burst() != limit.N || b.Limit() != limit.perSecond() {
		b.SetLimitAt(now, limit.perSecond())
		b.SetBurstAt(now, limit.N)
	}
	return b
}

// makeRoom evicts the fullest of a few buckets if there is no room for another.
func (s *bucketShard) makeRoom(now time.Time) {
	if s.all == nil {
		s.all = map[uint64]*rate.Limiter{}
	}
	if len(s.all) < bucketsInShard {
		return
	}
	var fullest uint64
	most, looked := -1.0, 0
	for hash, b := range s.all { // from a random place
		if full := b.TokensAt(now) / float64(b.Burst()); full > most {
			fullest, most = hash, full
		}
		if looked++; looked == evictionSample || most >= 1 {
			break
		}
	}
	delete(s.all, fullest)
}

// len is how many buckets there are.
func (bs *buckets) len() int {
	n := 0
	for i := range bs.shards {
		bs.shards[i].mu.Lock()
		n += len(bs.shards[i].all)
		bs.shards[i].mu.Unlock()
	}
	return n
}
