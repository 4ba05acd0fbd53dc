package authn

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// testPasswords hashes at the least cost there is.
func testPasswords(t *testing.T, change func(*PasswordConfig)) *passwords {
	t.Helper()
	cfg := Default().Accounts.Password
	cfg.BcryptCost = 4
	if change != nil {
		change(&cfg)
	}
	pool := newHashPool(ignore)
	t.Cleanup(pool.Close)
	p, err := newPasswords(context.Background(), cfg, pool)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPasswordSemantics is the row of that name: all of a password counts, and
// nothing of it counts twice.
func TestPasswordSemantics(t *testing.T) {
	p := testPasswords(t, nil)
	keys := strings.Repeat("🔑", 63)
	long := strings.Repeat("x", 72)
	for _, c := range []struct {
		name, set, typed string
		want             bool
	}{
		{"same", "tapioca", "tapioca", true},
		{"other case", "tapioca", "Tapioca", false},
		{"space behind", "tapioca", "tapioca ", false},
		{"73 bytes, last one differs", long + "a", long + "b", false},
		{"72 bytes and a suffix", long, long + "suffix", false},
		{"P and P NUL P", "P", "P\x00P", false},
		{"P NUL and P", "P\x00", "P", false},
		{"P NUL P itself", "P\x00P", "P\x00P", true},
		{"63 keys and a or b", keys + "a", keys + "b", false},
		{"composed and decomposed", "caf\u00e9", "cafe\u0301", true},
		{"decomposed and composed", "cafe\u0301", "caf\u00e9", true},
		{"full-width is another", "tapioca", "ｔapioca", false},
		{"1024 bytes, last one differs", strings.Repeat("y", 1023) + "a", strings.Repeat("y", 1023) + "b", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stored, err := p.make(context.Background(), Secret(c.set))
			if err != nil {
				t.Fatal(err)
			}
			v, err := p.check(context.Background(), stored, Secret(c.typed))
			if err != nil || v.right != c.want || v.renewed != "" {
				t.Errorf("check = %+v, %v; want right %v and nothing renewed", v, err, c.want)
			}
		})
	}
}

func TestStoredHashes(t *testing.T) {
	ctx := context.Background()
	plain := testPasswords(t, nil)
	peppered := testPasswords(t, func(c *PasswordConfig) { c.Pepper = "a pepper of some length" })
	dearer := testPasswords(t, func(c *PasswordConfig) { c.BcryptCost = 5 })
	hash := func(p *passwords) string {
		stored, err := p.make(ctx, "tapioca")
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	for _, c := range []struct {
		name    string
		stored  string
		checker *passwords
		right   bool
		renewed string // prefix; "" for none
	}{
		{"by today's rules", hash(plain), plain, true, ""},
		{"from before the pepper", hash(plain), peppered, true, "$dw1$k=" + peppered.today + "$2a$04$"},
		{"with the pepper", hash(peppered), peppered, true, ""},
		{"with a pepper that is gone", hash(peppered), plain, false, ""},
		{"of an old cost", hash(plain), dearer, true, "$dw1$k=" + plain.today + "$2a$05$"},
		{"of a higher cost", hash(dearer), plain, true, "$dw1$k=" + plain.today + "$2a$04$"},
		{"none", "", plain, false, ""},
		{"the dummy", plain.dummy, plain, false, ""},
		{"unknown scheme", "$argon9$x", plain, false, ""},
		{"bcrypt without our scheme", strings.TrimPrefix(hash(plain), "$dw1$k="+plain.today), plain, false, ""},
		{"cut short", hash(plain)[:30], plain, false, ""},
		{"no key id", "$dw1$2a$04$xxx", plain, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := c.checker.check(ctx, c.stored, "tapioca")
			if err != nil || v.right != c.right {
				t.Errorf("check = %+v, %v; want right %v", v, err, c.right)
			}
			if (v.renewed != "") != (c.renewed != "") || !strings.HasPrefix(v.renewed, c.renewed) {
				t.Errorf("renewed %q, want %q...", v.renewed, c.renewed)
			}
			if v.renewed != "" && !c.checker.verify(v.renewed, "tapioca") {
				t.Error("the renewed hash does not match the password")
			}
		})
	}
	if !plain.keyLost(hash(peppered)) || plain.keyLost(hash(plain)) || plain.keyLost("") {
		t.Error("keyLost does not tell a lost pepper from a wrong password")
	}
}

// TestEqualWork is the hash oracle row: whatever is stored, a wrong password
// costs what today's hash costs, so no parameter of a hash tells a known name
// from an unknown one.
func TestEqualWork(t *testing.T) {
	ctx := context.Background()
	today := testPasswords(t, func(c *PasswordConfig) { c.BcryptCost = 7 })
	stored := map[string]string{
		"nothing":           "",
		"unknown scheme":    "$argon9$x",
		"cut short":         today.dummy[:30],
		"key that is gone":  strings.Replace(today.dummy, today.today, "00000000", 1),
		"today's own dummy": today.dummy,
	}
	for cost := 4; cost <= 7; cost++ {
		old := testPasswords(t, func(c *PasswordConfig) { c.BcryptCost = cost })
		hash, err := old.make(ctx, "tapioca")
		if err != nil {
			t.Fatal(err)
		}
		stored[fmt.Sprint("cost ", cost)] = hash
	}
	for name, hash := range stored {
		before := today.work.Load()
		v, err := today.check(ctx, hash, "nonsense")
		if got := today.work.Load() - before; err != nil || v.right || got != 1<<7 {
			t.Errorf("%s: %d units of work, %+v, %v; want %d", name, got, v, err, 1<<7)
		}
	}
}
