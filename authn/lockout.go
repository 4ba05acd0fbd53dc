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
// limit are hashed.
type lockout struct {
	cfg LockoutConfig
	key []byte // hashes what is counted

	mu    sync.Mutex
	table map[string]tally
}

// tally is one count of failures as of a time.
type tally struct {
	count  float64
	at     time.Time
	locked bool // an attempt was refused since one was last admitted
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
	l := &lockout{cfg: cfg, key: mac.Sum(nil), table: map[string]tally{}}
	err := store.View(ctx, func(tx Tx) error {
		clear(l.table)
		return tx.Counters(func(c Counter) bool {
			if c.Expires.After(now) {
				l.put(c.Key, tally{count: c.Count, at: c.At}, now)
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

// reserve takes room for one attempt. Where there is none it returns a
// RetryError of ErrTooManyAttempts, and first reports whether that is news:
// the first refusal since an attempt was last admitted.
func (l *lockout) reserve(a account, network string, now time.Time) (t attempt, first bool, err error) {
	if l.cfg.Failures > 0 {
		t.network = l.networkKey(a, network)
	}
	if l.cfg.Ceiling > 0 && !a.known {
		t.ceiling = l.ceilingKey(a)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := time.Duration(0)
	for _, key := range t.keys() {
		if w := l.wait(key, now); w > wait {
			wait = w
			entry := l.table[key]
			first = !entry.locked
			entry.locked = true
			l.table[key] = entry
		}
	}
	if wait > 0 {
		after := time.Duration(math.Ceil(wait.Seconds())) * time.Second
		return attempt{}, first, &RetryError{Err: ErrTooManyAttempts, After: max(time.Second, after)}
	}
	for _, key := range t.keys() {
		l.put(key, tally{count: l.level(key, now) + 1, at: now}, now)
	}
	return t, false, nil
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

// release gives the room back: the attempt never happened.
func (l *lockout) release(t attempt, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range t.keys() {
		l.put(key, tally{count: l.level(key, now) - 1, at: now}, now)
	}
}

// succeeded forgets the failures of account and network, and gives back the
// room under the ceiling: who knows one password has not proved the failures
// from elsewhere to be theirs.
func (l *lockout) succeeded(t attempt, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.table, t.network)
	if t.ceiling != "" {
		l.put(t.ceiling, tally{count: l.level(t.ceiling, now) - 1, at: now}, now)
	}
}

// forget drops every counter of an account.
func (l *lockout) forget(a account) {
	counts := l.counterOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.table {
		if counts(key) {
			delete(l.table, key)
		}
	}
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
	e, ok := l.table[key]
	if !ok {
		return 0
	}
	return e.drained(l.limit(key), l.cfg.Window, now)
}

func (e tally) drained(limit float64, window time.Duration, now time.Time) float64 {
	passed := max(0, now.Sub(e.at).Seconds())
	return max(0, e.count-passed*limit/window.Seconds())
}

// wait is how long until the counter has room for one attempt more.
func (l *lockout) wait(key string, now time.Time) time.Duration {
	// A millionth of slack: draining is arithmetic in floating point.
	over := l.level(key, now) + 1 - l.limit(key)
	if over <= 1e-6 {
		return 0
	}
	return time.Duration(over / l.limit(key) * float64(l.cfg.Window))
}

// put stores a counter, or drops it if it is empty. A full table loses the
// emptiest of a few: a stranger who fills it with names of one failure each
// pushes out his own, not the counter that is full.
func (l *lockout) put(key string, e tally, now time.Time) {
	if e.count <= 0 {
		delete(l.table, key)
		return
	}
	if _, held := l.table[key]; !held && len(l.table) >= maxCounters {
		l.evict(now)
	}
	l.table[key] = e
}

func (l *lockout) evict(now time.Time) {
	victim, least, seen := "", math.Inf(1), 0
	for key, e := range l.table { // in random order
		if fill := e.drained(l.limit(key), l.cfg.Window, now) / l.limit(key); fill < least {
			victim, least = key, fill
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	delete(l.table, victim)
}

// save writes an attempt's counters as they stand, in the transaction of the
// event about it. It reads the table inside the transaction: transactions come
// one after the other, so the last one to write has seen every count before.
func (l *lockout) save(tx Tx, t attempt) error {
	for _, key := range t.keys() {
		l.mu.Lock()
		e, held := l.table[key]
		l.mu.Unlock()
		var err error
		if held {
			full := time.Duration(e.count / l.limit(key) * float64(l.cfg.Window))
			err = tx.PutCounter(Counter{Key: key, Count: e.count, At: e.at, Expires: e.at.Add(full)})
		} else {
			err = dropCounter(tx, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
	counts := l.counterOf(a)
	var keys []string
	err := tx.Counters(func(c Counter) bool {
		if counts(c.Key) {
			keys = append(keys, c.Key)
		}
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
