package authn

import (
	"hash/maphash"
	"sync"
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
// and filled in after it would outlive a revocation, so a fill names the epoch
// of its shard from before the read, and counts only if that has not moved.
//
// A cache is shut, holding nothing, until it is opened: it must not be used
// while nobody would tell it of a change.
type cache[K comparable, V any] struct {
	seed   maphash.Seed
	shards [cacheShards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu         sync.Mutex
	open       bool
	epoch      uint64
	young, old map[K]V
	_          [16]byte // one shard's lock on no other's cache line
}

func newCache[K comparable, V any]() *cache[K, V] { return &cache[K, V]{seed: maphash.MakeSeed()} }

func (c *cache[K, V]) shard(key K) *shard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, key)%cacheShards]
}

// get returns what is held for the key, and the epoch to fill with if nothing is.
func (c *cache[K, V]) get(key K) (v V, epoch uint64, ok bool) {
	h := c.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok = h.young[key]; ok {
		return v, h.epoch, true
	}
	if v, ok = h.old[key]; ok {
		h.put(key, v)
	}
	return v, h.epoch, ok
}

// fill holds v unless anything in the shard was dropped since epoch.
func (c *cache[K, V]) fill(key K, v V, epoch uint64) {
	h := c.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open && h.epoch == epoch {
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
	h.epoch++
	delete(h.young, key)
	delete(h.old, key)
}

// clear forgets everything and every fill under way; so do open and shut.
func (c *cache[K, V]) clear() { c.each(func(*shard[K, V]) {}) }
func (c *cache[K, V]) open()  { c.each(func(h *shard[K, V]) { h.open = true }) }
func (c *cache[K, V]) shut()  { c.each(func(h *shard[K, V]) { h.open = false }) }

func (c *cache[K, V]) each(also func(*shard[K, V])) {
	for i := range c.shards {
		h := &c.shards[i]
		h.mu.Lock()
		h.epoch++
		h.young, h.old = nil, nil
		also(h)
		h.mu.Unlock()
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
