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
		_, epoch, _ := c.get(key)
		c.fill(key, 1, epoch)
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
		_, epoch, _ := c.get("k")
		between(c)
		c.fill("k", 1, epoch)
		if _, _, ok := c.get("k"); ok {
			t.Errorf("%s: a fill from before it counts", name)
		}
	}
	c := newCache[string, int]()
	_, epoch, _ := c.get("k")
	c.fill("k", 1, epoch)
	if c.len() != 0 {
		t.Error("a cache that was never opened holds something")
	}
}
