package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"
)

// maxPassword bounds a password in bytes, before any work is done on it.
const maxPassword = 1024

// labelKey keys the hash where no pepper is configured. It keeps nothing
// secret; it only makes the construction the same with and without a pepper.
const labelKey = "doorward password dw1"

// passwords hashes and checks passwords. What is stored looks like
//
//	$dw1$k=1f3c9a02$2a$12$<salt and hash>
//
// that is: the scheme, the id of the key, and bcrypt over
// base64(HMAC-SHA-384(key, NFC(password))). bcrypt alone compares only 72 bytes
// and takes "P" and "P\0P" for the same; the HMAC makes 64 bytes without a zero
// of any password, so all of it counts. The key is the pepper, which lives
// outside the database, or a fixed label.
//
// Hashing happens only inside the pool.
type passwords struct {
	cfg   PasswordConfig
	pool  *hashPool
	keys  map[string][]byte // by key id: today's, and the label's from before there was a pepper
	today string            // id of the key new hashes use
	dummy string            // what is verified for someone who has no password; nothing matches it

	// work is what has been hashed, in bcrypt's units of 2^cost. Tests read it:
	// equal work cannot be shown with a stopwatch.
	work atomic.Int64
}

// newPasswords makes the dummy hash, which also teaches the pool what a hash
// takes here. The pool is the caller's to close.
func newPasswords(ctx context.Context, cfg PasswordConfig, pool *hashPool) (*passwords, error) {
	p := &passwords{cfg: cfg, pool: pool, keys: map[string][]byte{}}
	p.today = p.addKey([]byte(labelKey))
	if cfg.Pepper != "" {
		p.today = p.addKey([]byte(cfg.Pepper.Reveal()))
	}
	var err error
	p.dummy, err = p.make(ctx, Secret(randomBytes(32)))
	if err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	return p, nil
}

// addKey files a key under its id: enough to tell keys apart, too little to
// find one by.
func (p *passwords) addKey(key []byte) (id string) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("doorward password key id"))
	id = hex.EncodeToString(mac.Sum(nil)[:4])
	p.keys[id] = key
	return id
}

// make hashes a password by today's rules.
func (p *passwords) make(ctx context.Context, password Secret) (stored string, err error) {
	poolErr := p.pool.run(ctx, func() { stored, err = p.hash(password) })
	if poolErr != nil {
		return "", poolErr
	}
	return stored, err
}

// verdict is the outcome of checking a password.
type verdict struct {
	right   bool
	renewed string // by today's rules, where the stored hash was not
}

// check compares a password with what is stored. An unknown user, or one
// without a password, is checked against "" and costs the same as a wrong
// password does.
func (p *passwords) check(ctx context.Context, stored string, password Secret) (v verdict, err error) {
	poolErr := p.pool.run(ctx, func() {
		v.right = p.verify(stored, password)
		if v.right && p.outdated(stored) {
			v.renewed, err = p.hash(password)
		}
	})
	if poolErr != nil {
		return verdict{}, poolErr
	}
	return v, err
}

// exchange checks the current password and, if it is right, hashes the next,
// in one turn of the pool. An empty next is not hashed.
func (p *passwords) exchange(ctx context.Context, stored string, current, next Secret) (right bool, renewed string, err error) {
	poolErr := p.pool.run(ctx, func() {
		right = p.verify(stored, current)
		if right && next != "" {
			renewed, err = p.hash(next)
		}
	})
	if poolErr != nil {
		return false, "", poolErr
	}
	return right, renewed, err
}

// prepare turns a password of any length into the 64 bytes bcrypt gets.
func prepare(key []byte, password Secret) []byte {
	return prepareBytes(key, norm.NFC.Bytes([]byte(password.Reveal())))
}

func prepareBytes(key, secret []byte) []byte {
	mac := hmac.New(sha512.New384, key)
	mac.Write(secret)
	return base64.StdEncoding.AppendEncode(nil, mac.Sum(nil))
}

// hash must be called inside the pool, like verify.
func (p *passwords) hash(password Secret) (string, error) {
	b, err := p.bcrypt(password, p.cfg.BcryptCost)
	if err != nil {
		return "", err
	}
	return "$dw1$k=" + p.today + string(b), nil
}

func (p *passwords) bcrypt(password Secret, cost int) ([]byte, error) {
	p.work.Add(1 << cost)
	return bcrypt.GenerateFromPassword(prepare(p.keys[p.today], password), cost)
}

// schemes verifies a stored hash by the scheme it names. A verifier returns
// the units its work was worth, 0 for none. All but the first are those of
// imported hashes, see digest.go.
var schemes = map[string]func(p *passwords, stored string, password Secret) (right bool, units int){
	"dw1":           (*passwords).verifyDW1,
	"dw1w":          (*passwords).verifyWrapped,
	"2a":            (*passwords).verifyDigest,
	"2b":            (*passwords).verifyDigest,
	"2y":            (*passwords).verifyDigest,
	"5":             (*passwords).verifyDigest,
	"6":             (*passwords).verifyDigest,
	"argon2id":      (*passwords).verifyDigest,
	"pbkdf2-sha256": (*passwords).verifyDigest,
	"pbkdf2-sha512": (*passwords).verifyDigest,
}

// verify costs what today's hash costs when the answer is no, whatever is
// stored: an old hash, none, or one of an unknown scheme cannot be told from a
// new one by the time a wrong password takes. What takes more than today's
// hash shows, until the person next signs in: a cost that was lowered since,
// or an imported hash with more work in it. And the work of imported schemes
// that are not bcrypt is an estimate, which another processor may prove wrong
// by some of what that scheme takes.
func (p *passwords) verify(stored string, password Secret) bool {
	right, units := false, 0
	if v, ok := schemes[schemeOf(stored)]; ok {
		right, units = v(p, stored, password)
	}
	if right {
		return true
	}
	if units == 0 {
		p.verifyDW1(p.dummy, password)
		return false
	}
	for _, c := range padding(units, p.cfg.BcryptCost) {
		_, _ = p.bcrypt(password, c) // only the work is of interest
	}
	return false
}

// padding lists the costs at which to hash once more so that the units done
// add up to work at cost today: cost c is 2^c units, so these are the bits of
// what is missing.
func padding(done, today int) []int {
	var costs []int
	missing := 1<<today - done
	for c := bcrypt.MinCost; c <= today && missing > 0; c++ {
		if missing&(1<<c) != 0 {
			costs = append(costs, c)
		}
	}
	return costs
}

func schemeOf(stored string) string {
	scheme, _, _ := strings.Cut(strings.TrimPrefix(stored, "$"), "$")
	return scheme
}

func (p *passwords) verifyDW1(stored string, password Secret) (right bool, units int) {
	id, hash, ok := splitDW1(stored)
	key, known := p.keys[id]
	if !ok || !known {
		return false, 0
	}
	cost, err := bcrypt.Cost(hash)
	if err != nil {
		return false, 0
	}
	p.work.Add(1 << cost)
	return bcrypt.CompareHashAndPassword(hash, prepare(key, password)) == nil, 1 << cost
}

// splitDW1 takes "$dw1$k=ID$2a$..." apart into the key's id and bcrypt's part.
func splitDW1(stored string) (key string, hash []byte, ok bool) {
	rest, ok := strings.CutPrefix(stored, "$dw1$k=")
	if !ok {
		return "", nil, false
	}
	key, bcrypted, ok := strings.Cut(rest, "$")
	return key, []byte("$" + bcrypted), ok
}

// outdated reports whether a hash was made by other rules than today's.
func (p *passwords) outdated(stored string) bool {
	id, hash, ok := splitDW1(stored)
	if !ok || id != p.today {
		return true
	}
	cost, err := bcrypt.Cost(hash)
	return err != nil || cost != p.cfg.BcryptCost
}

// keyLost reports whether a hash was made with a pepper that is not configured
// any more: nobody can sign in with it, and only the operator can mend that.
func (p *passwords) keyLost(stored string) bool {
	id, _, ok := splitDW1(stored)
	if _, wrapped, _, isWrapped := splitWrapped(stored); isWrapped {
		id, ok = wrapped, true
	}
	return ok && p.keys[id] == nil
}
