package authn

import (
	"strconv"
	"testing"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache[string, int]()
	c.open()
	bound := 2 * cacheShards * shardEntries
	put := func(key string) {
		_, m, _ := c.get(key)
		c.fill(key, 1, m)
	}
	put("in use")
	for i := range 3 * bound {
		put(strconv.Itoa(i))
		if i%shardEntries == 0 { // often enough never to be in the generation that goes
			if _, _, ok := c.get("in use"); !ok {
				t.Fatal("what is in use was let go")
			}
		}
	}
	if n := c.len(); n > bound || n < bound/4 {
		t.Errorf("%d entries, want at most %d and not much less than half of it", n, bound)
	}
	if _, _, ok := c.get("0"); ok {
		t.Error("the oldest is still there")
	}
}

func TestCacheEpochs(t *testing.T) {
	for name, between := range map[string]func(c *cache[string, int]){
		"drop":          func(c *cache[string, int]) { c.drop("k") },
		"clear":         func(c *cache[string, int]) { c.clear() },
		"shut":          func(c *cache[string, int]) { c.shut() },
		"shut and open": func(c *cache[string, int]) { c.shut(); c.open() },
	} {
		c := newCache[string, int]()
		c.open()
		_, m, _ := c.get("k")
		between(c)
		c.fill("k", 1, m)
		if _, _, ok := c.get("k"); ok {
			t.Errorf("%s: a fill from before it counts", name)
		}
	}
	c := newCache[string, int]()
	_, m, _ := c.get("k")
	c.fill("k", 1, m)
	if c.len() != 0 {
		t.Error("a cache that was never opened holds something")
	}
}

func TestMarks(t *testing.T) {
	c := newCache[string, int]()
	if _, m, _ := c.get("k"); m.holds() {
		t.Error("a mark of a cache that was never opened holds")
	}
	if (mark{}).holds() {
		t.Error("the zero mark holds")
	}
	for name, forget := range map[string]func(){
		"drop":          func() { c.drop("k") },
		"clear":         c.clear,
		"shut":          c.shut,
		"shut and open": func() { c.shut(); c.open() },
	} {
		c.open()
		_, m, _ := c.get("k")
		if !m.holds() {
			t.Errorf("before %s: the mark does not hold", name)
		}
		c.fill("k", 1, m)
		if !m.holds() {
			t.Errorf("before %s: a fill ended the mark", name)
		}
		forget()
		if m.holds() {
			t.Errorf("after %s: the mark holds", name)
		}
	}
	c.shut()
	if _, m, _ := c.get("k"); m.holds() {
		t.Error("a mark of a cache that was shut holds")
	}
}

// TestDropForgetsBothGenerations: what has not been used for a while is dropped
// like what just was.
func TestDropForgetsBothGenerations(t *testing.T) {
	c := newCache[int, string]()
	c.open()
	fill := func(key int) {
		_, m, _ := c.get(key)
		c.fill(key, "held", m)
	}
	fill(0)
	for key, n := 1, 0; n < shardEntries; key++ {
		if c.shard(key) == c.shard(0) {
			fill(key)
			n++
		}
	}
	if h := c.shard(0); h.old[0] != "held" {
		t.Fatal("the first is not in the old generation")
	}
	c.drop(0)
	if v, _, ok := c.get(0); ok {
		t.Errorf("got %q, want nothing", v)
	}
}

// TestSweepOfACache lets go of what is over in both generations, and of nothing
// else. It is no change: what was read before it may be filled in after it.
func TestSweepOfACache(t *testing.T) {
	c := newCache[int, string]()
	c.open()
	held := map[int]string{}
	var before []mark
	put := func(key int) {
		held[key] = []string{"over", "good"}[key%2]
		_, m, _ := c.get(key)
		c.fill(key, held[key], m)
		before = append(before, m)
	}
	put(0)
	put(1)
	for key := 2; c.shard(0).old == nil || c.shard(1).old == nil; key++ {
		put(key)
	}
	_, underWay, _ := c.get(-1)
	c.sweep(func(v string) bool { return v == "over" })
	c.fill(-1, "good", underWay)
	if _, _, ok := c.get(-1); !ok {
		t.Error("a fill that was under way does not count")
	}
	for key, v := range held {
		if got, _, ok := c.get(key); ok != (v == "good") || ok && got != v {
			t.Fatalf("%d: got %q, %v; it was %s", key, got, ok, v)
		}
	}
	for _, m := range before {
		if !m.holds() {
			t.Fatal("a mark from before the sweep does not hold")
		}
	}
	c.sweep(func(string) bool { return true })
	for i := range c.shards {
		if h := &c.shards[i]; h.young != nil || h.old != nil {
			t.Fatal("a shard without entries keeps their memory")
		}
	}
	put(1)
	if _, _, ok := c.get(1); !ok {
		t.Error("what was swept empty takes nothing more")
	}
}
