package authn

import (
	"bufio"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
)

// vector is a line of testdata/digests.txt.
type vector struct{ digest, password, source string }

func vectors(t *testing.T) []vector {
	t.Helper()
	f, err := os.Open("testdata/digests.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []vector
	source := ""
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		switch {
		case strings.HasPrefix(line, "#"):
			source = strings.TrimSpace(line[1:])
		case line != "":
			digest, password, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("no password in %q", line)
			}
			all = append(all, vector{digest, password, source})
		}
	}
	return all
}

// TestPublishedDigests holds every scheme to what others have published: as it
// comes and wrapped.
func TestPublishedDigests(t *testing.T) {
	ctx := context.Background()
	p := testPasswords(t, nil)
	seen := map[string]bool{}
	for _, c := range vectors(t) {
		name := digestName(c.digest)
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			stored, wrap, err := p.adopt(c.digest)
			if err != nil {
				t.Fatalf("%s (%s): %v", c.digest, c.source, err)
			}
			weak := slices.Contains([]string{"{SHA}", "{SSHA}", "1", "apr1"}, name) ||
				strings.Contains(c.digest, "$rounds=1400$") || strings.Contains(c.digest, "$1$c2FsdA$") || strings.Contains(c.digest, "$1212$")
			if (wrap != nil) != weak {
				t.Errorf("%s: wrapped %v, want %v", c.digest, wrap != nil, weak)
			}
			d, err := parseDigest(c.digest)
			if err != nil {
				t.Fatal(err)
			}
			wrapped, cheap := "", d.units(len(c.password)) <= 100
			if d.sum != nil && cheap {
				if wrapped, err = p.wrap(d); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(wrapped, string(d.want)) || !strings.HasPrefix(wrapped, "$dw1w$") {
					t.Errorf("the wrapped digest is %s, want nothing of the sum in it", wrapped)
				}
			}
			if wrap != nil {
				stored = wrapped
			}
			for _, stored := range []string{stored, wrapped} {
				if stored == "" {
					continue
				}
				if v, err := p.check(ctx, stored, Secret(c.password)); err != nil || !v.right || !strings.HasPrefix(v.renewed, "$dw1$k="+p.today) {
					t.Errorf("%s: the right password: %+v, %v; want it right and hashed anew", stored, v, err)
				}
				wrong := []string{c.password + "x", c.password[1:], string(d.want), c.digest}
				if !cheap {
					wrong = wrong[:1]
				}
				for _, wrong := range wrong {
					if v, err := p.check(ctx, stored, Secret(wrong)); err != nil || v.right {
						t.Errorf("%s: %q is taken for the password (%v)", stored, wrong, err)
					}
				}
				if again, wrap, err := p.adopt(stored); err != nil || wrap != nil || again != stored {
					t.Errorf("back from an export: got %q, wrap %v, %v; want it as it is", again, wrap != nil, err)
				}
			}
		})
	}
	for name := range digestSchemes {
		if !seen[name] {
			t.Errorf("no published digest of scheme %s in testdata", name)
		}
	}
	for name := range schemes {
		if _, ok := digestSchemes[name]; !ok && name != "dw1" && name != "dw1w" {
			t.Errorf("scheme %s can be stored, but nothing reads it", name)
		}
	}
}

// TestHostileDigests: a file must not decide how much work a sign-in is, nor
// break anything by being damaged. No error repeats the hash.
func TestHostileDigests(t *testing.T) {
	p := testPasswords(t, nil)
	gone := testPasswords(t, func(c *PasswordConfig) { c.Pepper = "a pepper of some length" })
	foreign := "$dw1w$apr1$r31.....$k=" + gone.today + gone.dummy[len("$dw1$k=")+8:]
	const sum32, sum64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	bcrypted := ".c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"[1:]
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"bcrypt, dear":             {"$2y$14$" + bcrypted, true},
		"bcrypt, too dear":         {"$2y$15$" + bcrypted, false},
		"bcrypt, cost 31":          {"$2b$31$" + bcrypted, false},
		"bcrypt, cut short":        {"$2y$12$" + bcrypted[1:], false},
		"bcrypt, longer":           {"$2y$12$" + bcrypted + "x", false},
		"bcrypt, odd letter":       {"$2y$12$" + bcrypted[1:] + "!", false},
		"bcrypt, the broken one":   {"$2x$12$" + bcrypted, false},
		"SHA crypt, most rounds":   {"$5$rounds=500000$salt$" + sum32, true},
		"SHA crypt, more rounds":   {"$5$rounds=500001$salt$" + sum32, false},
		"SHA crypt, huge":          {"$6$rounds=999999999$salt$" + sum64, false},
		"SHA crypt, overflow":      {"$6$rounds=99999999999999999999$salt$" + sum64, false},
		"SHA crypt, few rounds":    {"$5$rounds=999$salt$" + sum32, false},
		"SHA crypt, negative":      {"$5$rounds=-5000$salt$" + sum32, false},
		"SHA crypt, long salt":     {"$5$12345678901234567$" + sum32, false},
		"SHA crypt, no salt":       {"$5$$" + sum32, false},
		"SHA crypt, no sum":        {"$5$salt", false},
		"SHA crypt, short sum":     {"$6$salt$" + sum64[1:], false},
		"SHA crypt, more fields":   {"$5$rounds=5000$salt$salt$" + sum32, false},
		"argon2id":                 {"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$" + sum32, true},
		"argon2id, any order":      {"$argon2id$v=19$t=3,p=4,m=65536$c29tZXNhbHQ$" + sum32, true},
		"argon2id, a gigabyte":     {"$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, long":           {"$argon2id$v=19$m=65536,t=9,p=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, passes":         {"$argon2id$v=19$m=1024,t=17,p=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, next to none":   {"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, lanes":          {"$argon2id$v=19$m=65536,t=1,p=17$c29tZXNhbHQ$" + sum32, false},
		"argon2id, no lanes":       {"$argon2id$v=19$m=65536,t=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, old":            {"$argon2id$v=16$m=65536,t=1,p=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, twice":          {"$argon2id$v=19$m=65536,m=65536,t=1,p=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, unknown":        {"$argon2id$v=19$m=65536,t=1,p=1,keyid=1$c29tZXNhbHQ$" + sum32, false},
		"argon2id, length differs": {"$argon2id$v=19$m=65536,t=1,p=1,l=64$c29tZXNhbHQ$" + sum32, false},
		"argon2id, long sum":       {"$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$" + strings.Repeat("AAAA", 30), false},
		"argon2id, empty":          {"$argon2id$", false},
		"argon2i":                  {"$argon2i$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$" + sum32, false},
		"pbkdf2":                   {"$pbkdf2-sha256$2000000$c29tZXNhbHQ$" + sum32, true},
		"pbkdf2, padded":           {"$pbkdf2-sha256$i=29000$c29tZXNhbHQ=$" + sum32 + "=", true},
		"pbkdf2, too many":         {"$pbkdf2-sha256$2000001$c29tZXNhbHQ$" + sum32, false},
		"pbkdf2, two blocks":       {"$pbkdf2-sha256$1000001$c29tZXNhbHQ$" + strings.Repeat("AAAA", 20), false},
		"pbkdf2, none":             {"$pbkdf2-sha512$0$c29tZXNhbHQ$" + sum32, false},
		"pbkdf2, long sum":         {"$pbkdf2-sha512$1000$c29tZXNhbHQ$" + strings.Repeat("AAAA", 30), false},
		"pbkdf2, no salt":          {"$pbkdf2-sha512$1000$$" + sum32, false},
		"MD5 crypt, long salt":     {"$apr1$123456789$HqJZimcKQFAMYayBlzkrA/", false},
		"MD5 crypt, cut short":     {"$apr1$r31.....$HqJZimcKQFAMYayBlzkrA", false},
		"SHA-1, cut short":         {"{SHA}VBPuJHI7uixaa6LQGWx4s+5GKN==", false},
		"SHA-1, salt unannounced":  {"{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNExMjM0", false},
		"SHA-1, no salt":           {"{SSHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", false},
		"ours":                     {p.dummy, true},
		"ours, another pepper":     {gone.dummy, false},
		"wrapped, another pepper":  {foreign, false},
		"wrapped, cut short":       {"$dw1w$apr1$r31.....$k=" + p.today + "$2a$04$short", false},
		"wrapped, unknown":         {"$dw1w$none$k=" + p.dummy[len("$dw1$k="):], false},
		"wrapped, bcrypt":          {"$dw1w$2y$05$" + bcrypted + "$k=" + p.dummy[len("$dw1$k="):], false},
		"wrapped":                  {"$dw1w$apr1$r31.....$k=" + p.dummy[len("$dw1$k="):], true},
		"DES crypt":                {"rqXexS6ZhobKA", false},
		"plain text":               {"myPassword", false},
		"empty":                    {"", false},
		"dollars":                  {"$$$$", false},
		"yescrypt":                 {"$y$j9T$salt$sum", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := p.adopt(c.text)
			if (err == nil) != c.ok {
				t.Errorf("adopt(%s) = %v, want taken %v", c.text, err, c.ok)
			}
			if err != nil && len(c.text) > 20 && strings.Contains(err.Error(), c.text[10:]) {
				t.Errorf("the error %q repeats the hash", err)
			}
			if err != nil { // a record damaged later must refuse too, and panic nowhere
				p.verify(c.text, "tapioca")
			}
		})
	}
}

// TestLostPepper: who cannot sign in because of it is not told from a wrong
// password, but the operator is.
func TestLostPepper(t *testing.T) {
	plain, peppered := testPasswords(t, nil), testPasswords(t, func(c *PasswordConfig) { c.Pepper = "a pepper of some length" })
	d, err := parseDigest("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := peppered.wrap(d)
	if err != nil {
		t.Fatal(err)
	}
	if !peppered.verify(stored, "myPassword") || plain.verify(stored, "myPassword") {
		t.Error("a wrapped digest does not depend on the pepper")
	}
	if !plain.keyLost(stored) || peppered.keyLost(stored) {
		t.Error("keyLost does not tell a lost pepper from a wrong password")
	}
}

// TestEqualWorkImported is the hash oracle row for imported hashes: a wrong
// password costs what today's hash costs.
func TestEqualWorkImported(t *testing.T) {
	ctx := context.Background()
	today := testPasswords(t, func(c *PasswordConfig) { c.BcryptCost = 8 })
	compared := 0
	for _, c := range vectors(t) {
		stored, wrap, err := today.adopt(c.digest)
		if err != nil {
			t.Fatal(err)
		}
		if wrap != nil {
			if stored, err = today.wrap(*wrap); err != nil {
				t.Fatal(err)
			}
		} else if d, _ := parseDigest(stored); d.units(8) > 1<<8 {
			continue // dearer than today's, which shows
		}
		compared++
		before := today.work.Load()
		v, err := today.check(ctx, stored, "nonsense")
		if got := today.work.Load() - before; err != nil || v.right || got != 1<<8 {
			t.Errorf("%s: %d units of work, %+v, %v; want %d", stored, got, v, err, 1<<8)
		}
	}
	if compared < 15 {
		t.Errorf("only %d digests take less than a hash of today's", compared)
	}
}

func FuzzAdopt(f *testing.F) {
	f.Add("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/")
	f.Add("{SSHA}VBPuJHI7uixaa6LQGWx4s+5GKNExMjM0")
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$dw1w$apr1$r31.....$k=00000000$2a$04$x")
	f.Add("$1$k=abcdef$" + strings.Repeat("a", 22)) // a salt that looks like our own mark
	p := &passwords{cfg: PasswordConfig{BcryptCost: 4}, keys: map[string][]byte{"00000000": {1}}, today: "00000000"}
	f.Fuzz(func(t *testing.T, text string) {
		stored, wrap, err := p.adopt(text)
		if err == nil && wrap == nil && schemes[schemeOf(stored)] == nil {
			t.Errorf("%q is taken, but nothing verifies it", text)
		}
		if wrap != nil && len(wrap.want) == 0 {
			t.Errorf("%q wraps %+v", text, wrap)
		}
	})
}
