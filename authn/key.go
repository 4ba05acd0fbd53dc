package authn

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The key of HS256 is the configured secret: it is never stored and has no
// public half. The others are made here and kept in the store.
const hs256 = "HS256"

const (
	minSecret  = 32   // bytes of an HS256 secret: as much as its hash
	minRSABits = 2048 // RFC 7518 section 3.3
)

// algorithm is one way to sign, with how its key is made and what it must be.
type algorithm struct {
	method jwt.SigningMethod
	make   func() (crypto.Signer, error)
	fits   func(crypto.PublicKey) bool
}

var algorithms = map[string]algorithm{
	"EdDSA": {
		jwt.SigningMethodEdDSA,
		func() (crypto.Signer, error) { _, k, err := ed25519.GenerateKey(rand.Reader); return k, err },
		func(k crypto.PublicKey) bool { _, ok := k.(ed25519.PublicKey); return ok },
	},
	"ES256": {
		jwt.SigningMethodES256,
		func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		func(k crypto.PublicKey) bool {
			e, ok := k.(*ecdsa.PublicKey)
			return ok && e.Curve == elliptic.P256()
		},
	},
	"RS256": {
		jwt.SigningMethodRS256,
		func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, minRSABits) },
		func(k crypto.PublicKey) bool {
			r, ok := k.(*rsa.PublicKey)
			return ok && r.N.BitLen() >= minRSABits
		},
	},
}

// ringKey is a key ready for use.
type ringKey struct {
	Key     // without Private
	method  jwt.SigningMethod
	private any
	public  any
}

// verifies reports whether tokens of the key still count.
func (k *ringKey) verifies(now time.Time) bool {
	return k.RetireAt.IsZero() || now.Before(k.RetireAt)
}

// keyring is the keys as of one moment; it is replaced, never changed.
type keyring struct {
	keys    []*ringKey // oldest first
	byID    map[string]*ringKey
	signing *ringKey
	header  string // of every token signed now, with the dot behind it
}

// newKeyring makes a ring that signs with the newest key of the wanted
// algorithm that is not on its way out. Where another process has gone over to
// another algorithm, its key is used rather than none.
func newKeyring(stored []Key, c TokenConfig) (*keyring, error) {
	r := &keyring{byID: make(map[string]*ringKey)}
	for _, k := range stored {
		parsed, err := parseKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.ID, err)
		}
		r.add(parsed, c.Algorithm)
	}
	if c.Algorithm == hs256 {
		k, err := secretKey(c.Secret)
		if err != nil {
			return nil, err
		}
		r.add(k, c.Algorithm)
	}
	if r.signing == nil {
		return nil, errors.New("no key can sign")
	}
	if err := r.signing.try(); err != nil {
		return nil, fmt.Errorf("key %s: %w", r.signing.ID, err)
	}
	r.header = headerOf(r.signing)
	return r, nil
}

func (r *keyring) add(k *ringKey, wanted string) {
	r.keys = append(r.keys, k)
	r.byID[k.ID] = k
	better := r.signing == nil || k.Algorithm == wanted || r.signing.Algorithm != wanted
	if k.RetireAt.IsZero() && better {
		r.signing = k
	}
}

// try signs and verifies something, so that a broken key is found when it is
// loaded and not when someone signs in.
func (k *ringKey) try() error {
	sig, err := k.method.Sign("try", k.private)
	if err != nil {
		return err
	}
	return k.method.Verify("try", sig, k.public)
}

// parseKey makes a stored key usable. Its errors never quote the key.
func parseKey(k Key) (*ringKey, error) {
	alg, ok := algorithms[k.Algorithm]
	if !ok {
		return nil, fmt.Errorf("unknown algorithm %q", k.Algorithm)
	}
	private, err := x509.ParsePKCS8PrivateKey([]byte(k.Private.Reveal()))
	signer, ok := private.(crypto.Signer)
	if err != nil || !ok || !alg.fits(signer.Public()) {
		return nil, fmt.Errorf("not a private key for %s", k.Algorithm)
	}
	k.Private = ""
	return &ringKey{Key: k, method: alg.method, private: private, public: signer.Public()}, nil
}

// secretKey is the key of HS256. Its kid is derived from the secret, so that a
// token of another secret names another key.
func secretKey(secret Secret) (*ringKey, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("tokens.secret must have at least %d bytes for HS256", minSecret)
	}
	b := []byte(secret.Reveal())
	h := hmac.New(sha256.New, b)
	h.Write([]byte("doorward kid"))
	return &ringKey{
		Key:    Key{ID: "hs" + hex.EncodeToString(h.Sum(nil)[:12]), Algorithm: hs256},
		method: jwt.SigningMethodHS256, private: b, public: b,
	}, nil
}

// makeKey makes a key to store.
func makeKey(alg string, now time.Time) (Key, error) {
	a, ok := algorithms[alg]
	if !ok {
		return Key{}, fmt.Errorf("tokens.algorithm %q cannot have a key made; use EdDSA, ES256 or RS256", alg)
	}
	signer, err := a.make()
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	return Key{ID: newID(now), Algorithm: alg, Private: Secret(der), CreatedAt: now}, err
}

// openRing sees to it that the store holds a key for the configured algorithm
// and loads the ring. Keys of another algorithm begin to retire.
func (s *Service) openRing(ctx context.Context) error {
	alg, now := s.deps.Config.Tokens.Algorithm, s.deps.Now()
	var stored []Key
	if err := s.deps.Store.View(ctx, func(tx Tx) (err error) { stored, err = tx.Keys(); return err }); err != nil {
		return fmt.Errorf("read the key ring: %w", err)
	}
	signs := func(k Key) bool { return k.RetireAt.IsZero() && k.Algorithm == alg }
	retires := func(k Key) bool { return k.RetireAt.IsZero() && k.Algorithm != alg }
	missing := alg != hs256 && !slices.ContainsFunc(stored, signs)
	if missing || slices.ContainsFunc(stored, retires) {
		var fresh Key
		var err error
		if missing {
			if fresh, err = makeKey(alg, now); err != nil {
				return err
			}
		}
		err = s.deps.Store.Update(ctx, func(tx Tx) error {
			keys, err := tx.Keys()
			if err != nil {
				return err
			}
			// Another process may have been first.
			if missing && !slices.ContainsFunc(keys, signs) {
				if err := tx.PutKey(fresh); err != nil {
					return err
				}
			}
			return s.retireKeys(tx, keys, retires, Actor{}, now)
		})
		if err != nil {
			return fmt.Errorf("change the key ring: %w", err)
		}
	}
	return s.loadRing(ctx)
}

// retireKeys gives the keys that which picks the time that what they signed
// still has, and notes the rotation if there was anything to rotate.
func (s *Service) retireKeys(tx Tx, keys []Key, which func(Key) bool, a Actor, now time.Time) error {
	rotated := false
	for _, k := range keys {
		if !which(k) {
			continue
		}
		k.RetireAt = now.Add(s.deps.Config.Tokens.AccessTTL + leeway)
		if err := tx.PutKey(k); err != nil {
			return err
		}
		rotated = true
	}
	if !rotated {
		return nil
	}
	return s.addEvent(tx, KeyRotated, a, "", "", now, nil)
}

// loadRing reads the ring and puts it in place. What was verified with the old
// one is forgotten.
func (s *Service) loadRing(ctx context.Context) error {
	s.loading.Lock() // or an older ring could replace a newer one
	defer s.loading.Unlock()
	s.ringStale.Store(false)
	var stored []Key
	err := s.deps.Store.View(ctx, func(tx Tx) (err error) { stored, err = tx.Keys(); return err })
	if err == nil {
		var ring *keyring
		if ring, err = newKeyring(stored, s.deps.Config.Tokens); err == nil {
			s.ring.Store(ring)
			s.tokens.clear()
			return nil
		}
	}
	s.ringStale.Store(true)
	return fmt.Errorf("load the key ring: %w", err)
}

// RotateKeys makes a new signing key. The old ones verify until what they
// signed has expired; then the sweep removes them. InputError with HS256, whose
// key is not ours to make.
func (s *Service) RotateKeys(ctx context.Context, a Actor) (Key, error) {
	alg, now := s.deps.Config.Tokens.Algorithm, s.deps.Now()
	if alg == hs256 {
		return Key{}, &InputError{Fields: []FieldError{{"tokens.algorithm", "format", "the key of HS256 is tokens.secret: change that and restart, and what the old one signed is void"}}}
	}
	fresh, err := makeKey(alg, now)
	if err != nil {
		return Key{}, err
	}
	err = s.deps.Store.Update(ctx, func(tx Tx) error {
		keys, err := tx.Keys()
		if err != nil {
			return err
		}
		if err := tx.PutKey(fresh); err != nil {
			return err
		}
		return s.retireKeys(tx, keys, func(k Key) bool { return k.RetireAt.IsZero() }, a, now)
	})
	if err != nil {
		return Key{}, err
	}
	fresh.Private = ""
	return fresh, s.loadRing(ctx)
}

// Keys lists the ring, oldest first, without the private halves.
func (s *Service) Keys(ctx context.Context) ([]Key, error) {
	if s.ringStale.Load() {
		if err := s.loadRing(ctx); err != nil {
			return nil, err
		}
	}
	var list []Key
	for _, k := range s.ring.Load().keys {
		list = append(list, k.Key)
	}
	return list, nil
}

// PublicKey is one verification key, for the JWKS document.
type PublicKey struct {
	ID        string
	Algorithm string
	Key       crypto.PublicKey
}

// PublicKeys is the ring as others may see it; empty for HS256.
func (s *Service) PublicKeys() []PublicKey {
	now := s.deps.Now()
	var list []PublicKey
	for _, k := range s.ring.Load().keys {
		if k.Algorithm != hs256 && k.verifies(now) {
			list = append(list, PublicKey{k.ID, k.Algorithm, k.public})
		}
	}
	return list
}

// sweepKeys removes the keys whose time is over.
func (s *Service) sweepKeys(ctx context.Context, now time.Time) error {
	gone := func(k *ringKey) bool { return !k.verifies(now) }
	if !slices.ContainsFunc(s.ring.Load().keys, gone) {
		return nil
	}
	err := s.deps.Store.Update(ctx, func(tx Tx) error {
		keys, err := tx.Keys()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if k.RetireAt.IsZero() || now.Before(k.RetireAt) {
				continue
			}
			if err := tx.DeleteKey(k.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.loadRing(ctx)
}
