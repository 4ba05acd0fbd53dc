package gateway

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// The buckets are an attack surface themselves: whoever can choose keys can
// make as many as they like. So there is room for a fixed number, and a
// stranger's key costs another bucket its place: the fullest of those it could
// stand beside, which remembers the least. Nobody empties a bucket of their own
// that way.
const (
	bucketSets   = 4096
	bucketsInSet = 8
)

// bucketKey is which budget, and whose: a user's, else another holder's.
type bucketKey struct{ limit, route, user, holder string }

// buckets is a table of sets, in one of which a key has its place. Every request
// takes from a bucket, and where thousands take turns each look into memory is
// dear: so the buckets of a set lie beside their keys.
//
// It holds no keys but hashes of them: a table that strangers have filled takes 3
// MB, and what lives counts five times, for so far garbage may grow. Two keys that
// meet share a budget; nobody can make such who does not know the seed, and by
// chance it takes 2^48 of them.
type buckets struct {
	seed maphash.Seed
	sets [bucketSets]atomic.Pointer[bucketSet] // each made when it is first needed
}

type bucketSet struct {
	mu     sync.Mutex // held while any of them is used: another key may get its place
	hashes [bucketsInSet]uint64
	all    [bucketsInSet]rate.Limiter
}

func newBuckets() *buckets { return &buckets{seed: maphash.MakeSeed()} }

// take takes one from the bucket of a key, full if it is new, and else says how
// much is left. A reloaded limit applies to buckets that are there.
func (bs *buckets) take(key bucketKey, limit Rate, now time.Time) (ok bool, left float64) {
	set, hash := bs.place(key)
	set.mu.Lock()
	defer set.mu.Unlock()
	i := slices.Index(set.hashes[:], hash)
	known := i >= 0
	if !known {
		i = set.fullest(now)
		set.hashes[i] = hash
	}
	b := &set.all[i]
	if b.Burst() != limit.N || b.Limit() != limit.perSecond() {
		b.SetLimitAt(now, limit.perSecond())
		b.SetBurstAt(now, limit.N)
	}
	if !known {
		b.AllowN(now, -limit.N) // filled: what does not fit does not stay
	}
	if b.AllowN(now, 1) {
		return true, 0
	}
	return false, b.TokensAt(now)
}

// giveBack returns one to the bucket of a key, if it is remembered.
func (bs *buckets) giveBack(key bucketKey, now time.Time) {
	set, hash := bs.place(key)
	set.mu.Lock()
	defer set.mu.Unlock()
	if i := slices.Index(set.hashes[:], hash); i >= 0 {
		set.all[i].AllowN(now, -1)
	}
}

// place is the set a key belongs to, and its hash there, which is never 0.
func (bs *buckets) place(key bucketKey) (*bucketSet, uint64) {
	hash := maphash.Comparable(bs.seed, key)
	set := &bs.sets[hash%bucketSets]
	if set.Load() == nil {
		set.CompareAndSwap(nil, new(bucketSet))
	}
	return set.Load(), max(hash, 1)
}

// fullest is a free place, or that of the bucket which remembers the least.
func (set *bucketSet) fullest(now time.Time) int {
	most, at := -1.0, 0
	for i := range set.all {
		if set.hashes[i] == 0 {
			return i
		}
		b := &set.all[i]
		if full := b.TokensAt(now) / float64(b.Burst()); full > most {
			most, at = full, i
		}
	}
	return at
}

// len is how many buckets there are.
func (bs *buckets) len() int {
	n := 0
	for i := range bs.sets {
		set := bs.sets[i].Load()
		if set == nil {
			continue
		}
		set.mu.Lock()
		for _, hash := range set.hashes {
			if hash != 0 {
				n++
			}
		}
		set.mu.Unlock()
	}
	return n
}
