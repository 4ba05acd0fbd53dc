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
	mac := hmac.New(sha512.New384, key)
	mac.Write(norm.NFC.Bytes([]byte(password.Reveal())))
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
// the bcrypt cost its work was worth, 0 for none. Imported hashes will get
// rows of their own.
var schemes = map[string]func(p *passwords, stored string, password Secret) (right bool, cost int){
	"dw1": (*passwords).verifyDW1,
}

// verify costs what today's hash costs when the answer is no, whatever is
// stored: an old hash, none, or one of an unknown scheme cannot be told from a
// new one by the time a wrong password takes. Only a cost that was lowered
// shows, until the person next signs in.
func (p *passwords) verify(stored string, password Secret) bool {
	right, cost := false, 0
	if v, ok := schemes[schemeOf(stored)]; ok {
		right, cost = v(p, stored, password)
	}
	if right {
		return true
	}
	if cost == 0 {
		p.verifyDW1(p.dummy, password)
		return false
	}
	for _, c := range padding(cost, p.cfg.BcryptCost) {
		_, _ = p.bcrypt(password, c) // only the work is of interest
	}
	return false
}

// padding lists the costs at which to hash once more so that work at cost done
// adds up to work at cost today. Cost c is 2^c units, and
// 2^c + (2^c + 2^(c+1) + ... + 2^(today-1)) = 2^today.
func padding(done, today int) []int {
	var costs []int
	for c := done; c < today; c++ {
		costs = append(costs, c)
	}
	return costs
}

func schemeOf(stored string) string {
	scheme, _, _ := strings.Cut(strings.TrimPrefix(stored, "$"), "$")
	return scheme
}

func (p *passwords) verifyDW1(stored string, password Secret) (right bool, cost int) {
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
	return bcrypt.CompareHashAndPassword(hash, prepare(key, password)) == nil, cost
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
	return ok && p.keys[id] == nil
}
