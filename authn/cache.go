package authn

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
)

const (
	cacheShards = 32
	// shardEntries bounds one generation of one shard; a cache holds at most
	// 2 * cacheShards * shardEntries = 65536 entries.
	shardEntries = 1024
)

// cache keeps what was used lately in bounded memory: two generations a shard,
// and when the young one is full the old one goes.
//
// What is told to it by drop and clear is final: a value read before a change
// and filled in after it would outlive a revocation, so a fill brings the mark
// of its shard from before the read, and counts only if that still holds. What
// is let go for room, or by sweep, has not changed: marks hold on.
//
// A cache is shut, holding nothing, until it is opened: it must not be used
// while nobody would tell it of a change.
type cache[K comparable, V any] struct {
	seed   maphash.Seed
	shards [cacheShards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu         sync.Mutex
	epoch      atomic.Uint64 // odd while open; moved under mu, by everything that tells of a change
	young, old map[K]V
	_          [16]byte // one shard's lock on no other's cache line
}

// mark is a moment of a shard. While it holds, what was in the store at that
// moment for a key of the shard still is: whoever keeps a value beside its mark
// need not look it up again. The zero mark never holds.
type mark struct {
	epoch *atomic.Uint64
	was   uint64
}

func (m mark) holds() bool {
	return m.was%2 == 1 && m.epoch.Load() == m.was
}

func newCache[K comparable, V any]() *cache[K, V] { return &cache[K, V]{seed: maphash.MakeSeed()} }

func (c *cache[K, V]) shard(key K) *shard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, key)%cacheShards]
}

// get returns what is held for the key, and the mark to fill with if nothing is.
func (c *cache[K, V]) get(key K) (v V, m mark, ok bool) {
	h := c.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	m = mark{&h.epoch, h.epoch.Load()}
	if v, ok = h.young[key]; ok {
		return v, m, true
	}
	if v, ok = h.old[key]; ok {
		h.put(key, v)
	}
	return v, m, ok
}

// fill holds v unless anything in the shard was dropped since the mark.
func (c *cache[K, V]) fill(key K, v V, m mark) {
	h := c.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.holds() {
		h.put(key, v)
	}
}

func (h *shard[K, V]) put(key K, v V) {
	if len(h.young) >= shardEntries {
		h.old, h.young = h.young, nil
	}
	if h.young == nil {
		h.young = make(map[K]V)
	}
	h.young[key] = v
	delete(h.old, key)
}

// drop forgets the key and every fill under way in its shard.
func (c *cache[K, V]) drop(key K) {
	h := c.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch.Add(2)
	delete(h.young, key)
	delete(h.old, key)
}

// clear forgets everything and every fill under way; so do open and shut.
func (c *cache[K, V]) clear() { c.each(func(epoch uint64) uint64 { return epoch + 2 }) }
func (c *cache[K, V]) open()  { c.each(func(epoch uint64) uint64 { return epoch + 2 | 1 }) }
func (c *cache[K, V]) shut()  { c.each(func(epoch uint64) uint64 { return (epoch + 2) &^ 1 }) }

func (c *cache[K, V]) each(next func(epoch uint64) uint64) {
	for i := range c.shards {
		h := &c.shards[i]
		h.mu.Lock()
		h.epoch.Store(next(h.epoch.Load()))
		h.young, h.old = nil, nil
		h.mu.Unlock()
	}
}

// sweep lets go of what is over. Requests wait for one shard at a time, and for
// what a shard holds at most that is a fraction of a millisecond.
func (c *cache[K, V]) sweep(over func(V) bool) {
	for i := range c.shards {
		c.shards[i].sweep(over)
	}
}

func (h *shard[K, V]) sweep(over func(V) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, generation := range []*map[K]V{&h.young, &h.old} {
		maps.DeleteFunc(*generation, func(_ K, v V) bool { return over(v) })
		if len(*generation) == 0 {
			*generation = nil // a map keeps the room of what was in it
		}
	}
}

func (c *cache[K, V]) len() int {
	n := 0
	for i := range c.shards {
		h := &c.shards[i]
		h.mu.Lock()
		n += len(h.young) + len(h.old)
		h.mu.Unlock()
	}
	return n
}
