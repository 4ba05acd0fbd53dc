package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// maxCounters bounds the lockout table, whatever anybody types.
const maxCounters = 100_000

// evictionSample is how many counters are looked at to find one to drop.
const evictionSample = 16

// lockout limits how many passwords can be tried. It counts failures per
// account and client network, and per account over all networks the account is
// not known from. A count drains evenly over the window; at its limit, further
// attempts are refused without a hash, whether the password would have been
// right or not. So a stranger can lock out himself, and the world at large for
// a while, but never the network the owner signs in from.
//
// An account that does not exist is counted like one that does, by the hash of
// what was typed. What is counted is kept in the store too, written with the
// event of the failure, so a restart gives nobody fresh attempts.
//
// Room for an attempt is taken before its hash and given back if it was right
// or never happened: however many attempts arrive at once, no more than the
// limit are hashed. Attempts that find no room only because others are under
// way wait for those to be settled, so that many sign-ins of one person at
// once are not taken for guesses.
type lockout struct {
	cfg LockoutConfig
	key []byte // hashes what is counted

	mu    sync.Mutex
	table map[string]*tally
}

// tally is one count of failures as of a time, and of attempts under way.
type tally struct {
	count   float64
	at      time.Time
	pending int
	settled chan struct{} // closed when one under way is settled; nil while nobody waits
	locked  bool          // an attempt was refused since one was last admitted
}

// account is what failures are counted against.
type account struct {
	user  string // id, "" if nobody has the name
	name  string // the plain login, where user is ""
	known bool   // has signed in from this network lately
}

// loadLockout reads the counters back. pepper may be empty.
func loadLockout(ctx context.Context, store Store, cfg LockoutConfig, pepper Secret, now time.Time) (*lockout, error) {
	mac := hmac.New(sha256.New, []byte("doorward lockout"))
	mac.Write([]byte(pepper.Reveal()))
	l := &lockout{cfg: cfg, key: mac.Sum(nil), table: map[string]*tally{}}
	err := store.View(ctx, func(tx Tx) error {
		clear(l.table)
		return tx.Counters("", func(c Counter) bool {
			if c.Expires.After(now) && l.limit(c.Key) > 0 {
				e := l.entry(c.Key, now)
				e.count, e.at = c.Count, c.At
			}
			return true
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the lockout counters: %w", err)
	}
	return l, nil
}

// Keys look like "n/<account>/<network>" and "a/<account>", each part hashed:
// the table must not tell who signs in from where, nor what was mistyped.
func (l *lockout) networkKey(a account, network string) string {
	return l.networkPrefix(a) + l.hash(network)
}
func (l *lockout) networkPrefix(a account) string { return "n/" + l.hash(a.id()) + "/" }
func (l *lockout) ceilingKey(a account) string    { return "a/" + l.hash(a.id()) }

func (a account) id() string {
	if a.user != "" {
		return "user " + a.user
	}
	return "name " + a.name
}

func (l *lockout) hash(text string) string {
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// attempt is the room one attempt has taken.
type attempt struct {
	network string // key of the counter of account and network, "" if none counts
	ceiling string // key of the account's counter, "" if it does not apply
}

// reserve takes room for one attempt. Where failures have used it up it
// returns a RetryError of ErrTooManyAttempts, and first reports whether that is
// news: the first refusal since an attempt was last admitted. Where attempts
// under way might, it returns a channel that is closed when one is settled:
// try again then.
func (l *lockout) reserve(a account, network string, now time.Time) (t attempt, busy <-chan struct{}, first bool, err error) {
	if l.cfg.Failures > 0 {
		t.network = l.networkKey(a, network)
	}
	if l.cfg.Ceiling > 0 && !a.known {
		t.ceiling = l.ceilingKey(a)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if first, err = l.refuse(t, now); err != nil {
		return attempt{}, nil, first, err
	}
	for _, key := range t.keys() {
		if e := l.table[key]; e != nil && l.wait(key, e.pending, now) > 0 {
			if e.settled == nil {
				e.settled = make(chan struct{})
			}
			return attempt{}, e.settled, false, nil
		}
	}
	for _, key := range t.keys() {
		e := l.entry(key, now)
		e.pending++
		e.locked = false
	}
	return t, nil, false, nil
}

// refuse says no where failures leave no room.
func (l *lockout) refuse(t attempt, now time.Time) (first bool, err error) {
	longest := time.Duration(0)
	for _, key := range t.keys() {
		if wait := l.wait(key, 0, now); wait > 0 {
			e := l.entry(key, now)
			first = first || !e.locked
			e.locked = true
			longest = max(longest, wait)
		}
	}
	if longest == 0 {
		return false, nil
	}
	after := time.Duration(math.Ceil(longest.Seconds())) * time.Second
	return first, &RetryError{Err: ErrTooManyAttempts, After: max(time.Second, after)}
}

func (t attempt) keys() []string {
	var keys []string
	for _, k := range []string{t.network, t.ceiling} {
		if k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// failed counts an attempt. It comes before the failure is written, which
// must not be a way to guess uncounted.
func (l *lockout) failed(t attempt, now time.Time) { l.settle(t.keys(), 1, now) }

// release gives the room back: the attempt never happened.
func (l *lockout) release(t attempt, now time.Time) { l.settle(t.keys(), 0, now) }

// succeeded forgets the failures of account and network. Those under the
// ceiling stay: who knows the password has not proved the failures from
// elsewhere to be theirs.
func (l *lockout) succeeded(t attempt, now time.Time) {
	l.settle(t.keys(), 0, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.table[t.network]; e != nil {
		e.count = 0
		l.dropEmpty(t.network)
	}
}

// settle ends attempts under way and tells who waits for that.
func (l *lockout) settle(keys []string, failures float64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		e := l.table[key]
		if e == nil {
			continue // forgotten meanwhile
		}
		e.count, e.at = l.level(key, now)+failures, now
		e.pending = max(0, e.pending-1)
		if e.settled != nil {
			close(e.settled)
			e.settled = nil
		}
		l.dropEmpty(key)
	}
}

// forget drops every counter of an account.
func (l *lockout) forget(a account) {
	counts := l.counterOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.table {
		if counts(key) {
			l.table[key].count = 0
			l.dropEmpty(key)
		}
	}
}

// holds reports whether any counter of an account refuses attempts.
func (l *lockout) holds(a account, now time.Time) bool {
	counts := l.counterOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.table {
		if counts(key) && l.wait(key, 0, now) > 0 {
			return true
		}
	}
	return false
}

// counterOf tells the keys that count failures of the account.
func (l *lockout) counterOf(a account) func(key string) bool {
	ceiling, prefix := l.ceilingKey(a), l.networkPrefix(a)
	return func(key string) bool { return key == ceiling || strings.HasPrefix(key, prefix) }
}

// limit is how many failures a counter holds.
func (l *lockout) limit(key string) float64 {
	if strings.HasPrefix(key, "a/") {
		return float64(l.cfg.Ceiling)
	}
	return float64(l.cfg.Failures)
}

// level is what is left of a counter at now. A clock that went backwards
// drains nothing.
func (l *lockout) level(key string, now time.Time) float64 {
	e := l.table[key]
	if e == nil {
		return 0
	}
	passed := max(0, now.Sub(e.at).Seconds())
	return max(0, e.count-passed*l.limit(key)/l.cfg.Window.Seconds())
}

// wait is how long until the counter has room for one attempt more than those
// under way, if they all fail.
func (l *lockout) wait(key string, pending int, now time.Time) time.Duration {
	over := l.level(key, now) + float64(pending) + 1 - l.limit(key)
	if over <= 1e-6 { // draining is arithmetic in floating point
		return 0
	}
	return time.Duration(over / l.limit(key) * float64(l.cfg.Window))
}

// entry returns the counter, making it if need be. A full table loses the
// emptiest of a few: a stranger who fills it with names of one failure each
// pushes out his own, not the counter that is full.
func (l *lockout) entry(key string, now time.Time) *tally {
	e := l.table[key]
	if e == nil {
		if len(l.table) >= maxCounters {
			l.evict(now)
		}
		e = &tally{at: now}
		l.table[key] = e
	}
	return e
}

// evict drops a counter. One with an attempt under way is passed over: there
// are only as many of those as the hashing pool lets wait.
func (l *lockout) evict(now time.Time) {
	victim, least, seen := "", math.Inf(1), 0
	for key, e := range l.table { // in random order
		if e.pending > 0 {
			continue
		}
		if fill := l.level(key, now) / l.limit(key); fill < least {
			victim, least = key, fill
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	delete(l.table, victim)
}

func (l *lockout) dropEmpty(key string) {
	if e := l.table[key]; e.count <= 0 && e.pending == 0 {
		delete(l.table, key)
	}
}

// save writes an attempt's counters as they stand, in the transaction of the
// event about it. It reads the table inside the transaction: transactions come
// one after the other, so the last one to write has seen every count before.
func (l *lockout) save(tx Tx, t attempt) error {
	for _, key := range t.keys() {
		c, held := l.counter(key)
		if !held {
			continue // forgotten or pushed out meanwhile
		}
		if err := tx.PutCounter(c); err != nil {
			return err
		}
	}
	return nil
}

func (l *lockout) counter(key string) (Counter, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.table[key]
	if e == nil || e.count <= 0 {
		return Counter{}, false
	}
	empty := time.Duration(e.count / l.limit(key) * float64(l.cfg.Window))
	return Counter{Key: key, Count: e.count, At: e.at, Expires: e.at.Add(empty)}, true
}

// unsave removes what is stored of an account and network, in the transaction
// of the success.
func (l *lockout) unsave(tx Tx, t attempt) error {
	if t.network == "" {
		return nil
	}
	return dropCounter(tx, t.network)
}

// unsaveAll removes what is stored of an account.
func (l *lockout) unsaveAll(tx Tx, a account) error {
	keys := []string{l.ceilingKey(a)}
	err := tx.Counters(l.networkPrefix(a), func(c Counter) bool {
		keys = append(keys, c.Key)
		return true
	})
	for _, key := range keys {
		if err == nil {
			err = dropCounter(tx, key)
		}
	}
	return err
}

func dropCounter(tx Tx, key string) error {
	if err := tx.DeleteCounter(key); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
