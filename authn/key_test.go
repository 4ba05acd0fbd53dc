package authn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestKeyIsMadeOnce(t *testing.T) {
	for _, alg := range everyAlgorithm {
		st := newStore(t)
		a := newServiceOn(t, st, withAlgorithm(alg))
		b := newServiceOn(t, st, withAlgorithm(alg))
		ka, err := a.Keys(ctx)
		kb, err2 := b.Keys(ctx)
		if err != nil || err2 != nil || len(ka) != 1 || len(kb) != 1 || ka[0].ID != kb[0].ID {
			t.Errorf("%s: %v and %v (%v, %v)", alg, ka, kb, err, err2)
		}
		if ka[0].Private != "" {
			t.Errorf("%s: the list of keys holds a private key", alg)
		}
	}
}

// TestKeyIsMadeOnceByMany: two processes that start at once agree on one key.
func TestKeyIsMadeOnceByMany(t *testing.T) {
	st := newStore(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := authn.New(ctx, plainDeps(st))
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	all.Wait()
	if keys := storedKeys(t, st); len(keys) != 1 {
		t.Errorf("%d keys, want 1", len(keys))
	}
}

func plainDeps(st authn.Store) authn.Deps {
	cfg := authn.Default()
	cfg.Tokens.Issuer = "https://gate.example"
	cfg.Accounts.Password.BcryptCost = 4
	return authn.Deps{Config: cfg, Store: st, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return start }}
}

func storedKeys(t testing.TB, st authn.Store) (keys []authn.Key) {
	t.Helper()
	if err := st.View(ctx, func(tx authn.Tx) (err error) { keys, err = tx.Keys(); return err }); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestPublicKeys(t *testing.T) {
	want := map[string]string{"EdDSA": "ed25519", "ES256": "P-256", "RS256": "rsa 2048", "HS256": ""}
	for _, alg := range everyAlgorithm {
		f := newService(t, withAlgorithm(alg))
		got := ""
		for _, k := range f.PublicKeys() {
			switch p := k.Key.(type) {
			case ed25519.PublicKey:
				got += "ed25519"
			case *ecdsa.PublicKey:
				got += p.Curve.Params().Name
			case *rsa.PublicKey:
				got += fmt.Sprint("rsa ", p.N.BitLen())
			default:
				got += fmt.Sprintf("%T", p) // a secret, or a private key
			}
		}
		if got != want[alg] {
			t.Errorf("%s: got %q, want %q", alg, got, want[alg])
		}
	}
}

// TestKeyRotation: the old key verifies until what it signed has expired, is
// then refused, and goes with the sweep.
func TestKeyRotation(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			f := newService(t, withAlgorithm(alg))
			u := f.newUser(t, "ada", "user")
			old := f.signIn(t, "ada", authn.ModeToken)
			k, err := f.RotateKeys(ctx, authn.Actor{ID: u.ID})
			if err != nil || k.Private != "" || k.Algorithm != alg {
				t.Fatalf("got %+v, %v", k, err)
			}
			fresh := f.signIn(t, "ada", authn.ModeToken)
			if got := stolen(t, f, fresh.AccessToken).header.get("kid"); got != `"`+k.ID+`"` {
				t.Errorf("signed with %s, want %s", got, k.ID)
			}
			for name, in := range map[string]authn.SignIn{"old": old, "new": fresh} {
				if _, err := f.bearer(in.AccessToken.Reveal()); err != nil {
					t.Errorf("%s token: %v", name, err)
				}
			}
			if n := len(f.PublicKeys()); n != 2 {
				t.Errorf("%d public keys, want 2", n)
			}
			if got := f.events(t, u.ID); got[1] != "key.rotated" && got[0] != "key.rotated" {
				t.Errorf("events %q", got)
			}
			// A token from whoever kept the old key, as long as it verifies.
			thief := stolen(t, f, old.AccessToken)
			f.advance(15*time.Minute + authn.Leeway - 1)
			late := fmt.Sprint(f.at().Unix())
			thief = thief.with("iat", late).with("nbf", late).with("exp", fmt.Sprint(f.at().Unix()+60))
			seen := thief.token(t)
			if _, err := f.bearer(seen); err != nil {
				t.Errorf("before the key's end: %v", err)
			}
			f.advance(1)
			if _, err := f.bearer(thief.with("jti", `"00000000000000000000000000"`).token(t)); !errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("after the key's end: got %v, want %v", err, authn.ErrTokenInvalid)
			}
			if _, err := f.bearer(seen); !errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("cached, after the key's end and before the sweep: got %v, want %v", err, authn.ErrTokenInvalid)
			}
			if n := len(f.PublicKeys()); n != 1 {
				t.Errorf("%d public keys, want 1", n)
			}
			if err := f.Sweep(ctx, f.at()); err != nil {
				t.Fatal(err)
			}
			if keys := storedKeys(t, f.Store); len(keys) != 1 || keys[0].ID != k.ID {
				t.Errorf("%d keys in the store, want the new one", len(keys))
			}
			// What the swept key had verified is forgotten with it.
			if _, err := f.bearer(seen); !errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("cached under the swept key: got %v, want %v", err, authn.ErrTokenInvalid)
			}
		})
	}
}

// TestKeyRotationElsewhere: another process over the same store rotates, and
// its tokens are known here at once.
func TestKeyRotationElsewhere(t *testing.T) {
	st := newStore(t)
	here, there := newServiceOn(t, st, nil), newServiceOn(t, st, nil)
	here.newUser(t, "ada", "user")
	for range 3 {
		if _, err := there.RotateKeys(ctx, authn.Actor{ID: authn.ActorCLI}); err != nil {
			t.Fatal(err)
		}
		in := there.signIn(t, "ada", authn.ModeToken)
		if _, err := here.bearer(in.AccessToken.Reveal()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeyAlgorithmChanges: the old key verifies on, the new one signs.
func TestKeyAlgorithmChanges(t *testing.T) {
	st := newStore(t)
	var before authn.SignIn
	for i, alg := range []string{"EdDSA", "RS256", "ES256", "HS256", "EdDSA"} {
		f := newServiceOn(t, st, withAlgorithm(alg))
		if i == 0 {
			f.newUser(t, "ada", "user")
		}
		in := f.signIn(t, "ada", authn.ModeToken)
		if got := stolen(t, f, in.AccessToken).header.get("alg"); got != `"`+alg+`"` {
			t.Errorf("signed with %s, want %s", got, alg)
		}
		if _, err := f.bearer(in.AccessToken.Reveal()); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if i > 0 {
			// A secret out of the configuration leaves nothing to verify with.
			_, err := f.bearer(before.AccessToken.Reveal())
			if wasSecret := i == 4; wasSecret != errors.Is(err, authn.ErrTokenInvalid) {
				t.Errorf("the token from before %s: %v", alg, err)
			}
		}
		before = in
		f.Close()
	}
}

func TestKeyOfHS256(t *testing.T) {
	f := newService(t, withAlgorithm("HS256"))
	if keys := storedKeys(t, f.Store); len(keys) != 0 {
		t.Errorf("%d keys in the store, want none", len(keys))
	}
	keys, err := f.Keys(ctx)
	if err != nil || len(keys) != 1 || keys[0].Algorithm != "HS256" || strings.Contains(fmt.Sprintf("%#v", keys), f.Config.Tokens.Secret.Reveal()) {
		t.Errorf("got %v, %v", keys, err)
	}
	if _, err := f.RotateKeys(ctx, authn.Actor{ID: authn.ActorCLI}); !strings.Contains(codes(err), "tokens.algorithm") {
		t.Errorf("rotating a configured secret: got %v, want an InputError that says what to change", err)
	}
}

// TestNewRefuses says which configurations and stores no service is made from.
func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*authn.Deps){
		"no issuer":         func(d *authn.Deps) { d.Config.Tokens.Issuer = "" },
		"no audience":       func(d *authn.Deps) { d.Config.Tokens.Audience = "" },
		"unknown algorithm": func(d *authn.Deps) { d.Config.Tokens.Algorithm = "none" },
		"no algorithm":      func(d *authn.Deps) { d.Config.Tokens.Algorithm = "" },
		"no secret":         func(d *authn.Deps) { d.Config.Tokens.Algorithm = "HS256" },
		"a short secret": func(d *authn.Deps) {
			d.Config.Tokens.Algorithm, d.Config.Tokens.Secret = "HS256", "0123456789abcdef0123456789abcde"
		},
		"a broken key": func(d *authn.Deps) {
			putKey(d.Store, authn.Key{ID: "k", Algorithm: "EdDSA", Private: "garbage", CreatedAt: start})
		},
		"a key of another kind": func(d *authn.Deps) {
			s, err := authn.New(ctx, *d)
			if err != nil {
				panic(err)
			}
			s.Close()
			d.Store.Update(ctx, func(tx authn.Tx) error {
				keys, _ := tx.Keys()
				keys[0].Algorithm = "ES256"
				return tx.PutKey(keys[0])
			})
		},
		"a closed store": func(d *authn.Deps) { d.Store.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			d := plainDeps(newStore(t))
			spoil(&d)
			s, err := authn.New(ctx, d)
			if err == nil {
				s.Close()
				t.Fatal("a service was made")
			}
			if strings.Contains(err.Error(), "garbage") || strings.Contains(err.Error(), "0123456789") {
				t.Errorf("the error quotes a key: %v", err)
			}
		})
	}
}

func putKey(st authn.Store, k authn.Key) {
	if err := st.Update(ctx, func(tx authn.Tx) error { return tx.PutKey(k) }); err != nil {
		panic(err)
	}
}

// TestNewGivesUpOnAFeedThatNeverComes rather than serve without one.
func TestNewGivesUpOnAFeedThatNeverComes(t *testing.T) {
	spy := newSpy(t)
	mend := spy.cutFeed()
	defer mend()
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if s, err := authn.New(soon, plainDeps(spy)); err == nil {
		s.Close()
		t.Error("a service was made without a feed")
	}
}
