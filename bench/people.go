package main

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
	"encoding/base32"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store"
)

const (
	people   = 1_000  // who sign in
	sessions = 10_000 // theirs, each with a token
	issuer   = "http://localhost:8080"
	ttl      = time.Hour // of tokens, but in a soak
)

// newID makes an id as authn makes them: time first, then chance.
func newID(now time.Time) string {
	var b [16]byte
	ms := now.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:])
	return base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// signedIn is one session and who it belongs to.
type signedIn struct {
	user    authn.User
	session string
}

// crowd is everyone who is signed in when the measurement begins.
type crowd struct {
	members []signedIn // sessions of them
	guest   signedIn   // lacks the role
	left    signedIn   // is about to sign out
}

// populate writes a crowd into a new store.
func populate(ctx context.Context, url string, now time.Time) (crowd, error) {
	var c crowd
	st, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		return c, err
	}
	defer st.Close()
	users := make([]authn.User, people)
	for i := range users {
		users[i] = newUser(fmt.Sprintf("user%d", i), "member", now)
	}
	for i := range sessions {
		c.members = append(c.members, signedIn{users[i%people], newID(now)})
	}
	c.guest = signedIn{newUser("guest", "guest", now), newID(now)}
	c.left = signedIn{users[0], newID(now)}
	users = append(users, c.guest.user)
	return c, st.Update(ctx, func(tx authn.Tx) error {
		for _, u := range users {
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		for _, in := range append([]signedIn{c.guest, c.left}, c.members...) {
			if err := tx.PutSession(newSession(in, now)); err != nil {
				return err
			}
		}
		return nil
	})
}

func newUser(name, role string, now time.Time) authn.User {
	return authn.User{
		ID: newID(now), Username: name, Email: name + "@example.com", Name: "A Person", EmailVerified: true,
		Roles: []string{role}, Active: true, CreatedAt: now, UpdatedAt: now,
	}
}

func newSession(in signedIn, now time.Time) authn.Session {
	tag, hash := make([]byte, 32), make([]byte, 32)
	rand.Read(tag)
	rand.Read(hash)
	return authn.Session{
		ID: in.session, User: in.user.ID, Mode: authn.ModeToken, ClientIP: "127.0.0.1", UserAgent: "bench",
		CreatedAt: now, LastUsedAt: now, IdleEnd: now.Add(24 * time.Hour), End: now.Add(48 * time.Hour),
		Chain: &authn.Chain{TagKey: tag, CurHash: hash},
	}
}

// signer signs tokens as one instance of Doorward would.
type signer struct {
	algorithm, kid string
	ttl            time.Duration
	secret         string // of HS256
	private        crypto.Signer
}

func newSigner(algorithm string, ttl time.Duration, now time.Time) (*signer, error) {
	s := &signer{algorithm: algorithm, kid: newID(now), ttl: ttl}
	var err error
	switch algorithm {
	case "HS256":
		key := make([]byte, 24)
		rand.Read(key)
		s.secret = hex.EncodeToString(key)
		mac := hmac.New(sha256.New, []byte(s.secret)) // the kid of a configured secret
		mac.Write([]byte("doorward kid"))
		s.kid = "hs" + hex.EncodeToString(mac.Sum(nil)[:12])
	case "RS256":
		s.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		s.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, s.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no algorithm %q", algorithm)
	}
	return s, err
}

// keep puts the key where Doorward looks for it.
func (s *signer) keep(ctx context.Context, url string, now time.Time) error {
	if s.private == nil {
		return nil // configured, never stored
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		return err
	}
	defer st.Close()
	key := authn.Key{ID: s.kid, Algorithm: s.algorithm, Private: authn.Secret(der), CreatedAt: now}
	return st.Update(ctx, func(tx authn.Tx) error { return tx.PutKey(key) })
}

// public is the public key, as HAProxy reads it.
func (s *signer) public() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(s.private.Public())
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// mint signs a token of the session, as of some moment.
func (s *signer) mint(in signedIn, at time.Time) (string, error) {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(s.algorithm), jwt.MapClaims{
		"iss": issuer, "aud": "doorward", "sub": in.user.ID, "sid": in.session, "jti": newID(at),
		"iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(s.ttl).Unix(),
		"roles": in.user.Roles, "username": in.user.Username,
	})
	t.Header = map[string]any{"alg": s.algorithm, "kid": s.kid, "typ": "at+jwt"}
	if s.private == nil {
		return t.SignedString([]byte(s.secret))
	}
	return t.SignedString(s.private)
}

// mintAll signs a token for each, on all processors: RSA takes its time.
func (s *signer) mintAll(ins []signedIn, at time.Time) ([]string, error) {
	tokens, errs := make([]string, len(ins)), make([]error, len(ins))
	var wg sync.WaitGroup
	workers := runtime.NumCPU()
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(ins); i += workers {
				tokens[i], errs[i] = s.mint(ins[i], at)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return tokens, nil
}
