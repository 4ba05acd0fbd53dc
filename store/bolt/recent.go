package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
)

// What was written lately stands apart from where it belongs.
//
// Sixty-four refreshes of a million sessions would change as many leaves of the
// tree, with the branches above them: 150 pages that lie anywhere, for which a
// disk takes a dozen times what it takes for 150 in a row. So an entry that
// would go into the middle of a scattered bucket is put at the end of one that
// is filled in the order of writing, where sixty-four take twenty pages, side by
// side. There it hides what is in its own bucket. Later, while nobody waits, or
// beside what is written when there are very many, the oldest move to where they
// belong (settle).
//
// This is true of every state of the file, and of the file after a crash, for
// all of it happens in the transactions of those who write:
//
//   - Of a key there is one entry here at most: who writes it again removes the
//     one before.
//   - What is deleted is deleted in both places: nothing here says that a key is
//     gone, and nothing anywhere still says who was.
//   - The index of keys (places) is of the same state as the file: readers get
//     that of their transaction. It is made anew when the file is opened.
//
// What an entry hides is still in the file, as what lies in freed pages is. It
// is not in a backup.

// scattered are the buckets whose entries are written in no order, each with its
// letter. Whoever registers writes to others too; few do, beside those who use
// what they have.
var scattered = map[bucket]byte{usersBucket: 'u', sessionsBucket: 's', sessionsOfBucket: 'o', eventsOfBucket: 'e'}

// byLetter is scattered the other way round.
var byLetter = func() map[byte]bucket {
	m := map[byte]bucket{}
	for b, letter := range scattered {
		m[letter] = b
	}
	return m
}()

// room is how many entries may stand apart.
type room struct {
	// keep is how many are left there until there is quiet. Most are written
	// again before long.
	keep int
	// most is how many there may be before each transaction moves more of them
	// than it adds. A start reads them all.
	most int
}

var ordinaryRoom = room{keep: 16 << 10, most: 48 << 10}

const (
	// settleAtOnce is how many entries are moved in one go while nobody waits:
	// who comes meanwhile waits for some 80 pages.
	settleAtOnce = 32
	// breakAfter is how long nobody must have come before those are moved that
	// are too many to be kept. Callers just let go have come back by then.
	breakAfter = 2 * time.Millisecond
	// quietAfter is how long before all are.
	quietAfter = time.Second
	forever    = math.MaxInt64 * time.Nanosecond
)

// places tell where the entry of a key stands in the recent bucket: its number,
// never 0. Keys have the letter of their bucket before them.
type places = btree.Map[string, uint64]

// recent is what the writer knows between two transactions.
type recent struct {
	room
	last      uint64  // number given out
	committed *places // the writer's own copy: to copy it again writes to it
}

// states are the indexes readers go by.
type states struct {
	now    *places
	coming *places // of a commit under way, or nil: it is visible before the writer knows
	from   int     // the id of its transaction
}

// at returns the index for a reader of the state a transaction left.
func (s *states) at(id int) *places {
	if s.coming != nil && id >= s.from {
		return s.coming
	}
	return s.now
}

// written is an entry of the recent bucket.
type written struct {
	bucket     bucket
	key, value []byte
}

// encode is the entry as it is on disk: the letter of its bucket, how long the
// key is, the key and the value.
func (w written) encode() []byte {
	b := make([]byte, 0, 1+binary.MaxVarintLen64+len(w.key)+len(w.value))
	b = append(b, scattered[w.bucket])
	b = binary.AppendUvarint(b, uint64(len(w.key)))
	b = append(b, w.key...)
	return append(b, w.value...)
}

// decodeWritten reads an entry without copying it.
func decodeWritten(b []byte) (written, error) {
	if len(b) > 0 && byLetter[b[0]] != "" {
		n, size := binary.Uvarint(b[1:])
		if rest := b[1+max(size, 0):]; size > 0 && n <= uint64(len(rest)) {
			return written{bucket: byLetter[b[0]], key: rest[:n], value: rest[n:]}, nil
		}
	}
	return written{}, fmt.Errorf("%w: an entry in %s cannot be read: restore a backup", ErrDamaged, recentBucket)
}

// name is a key in places.
func name(b bucket, key []byte) string {
	return string(append(append(make([]byte, 0, 64), scattered[b]), key...))
}

// number is the key of an entry in the recent bucket.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// readRecent makes the index of a file that was opened.
func readRecent(btx *bbolt.Tx) (p *places, last uint64, err error) {
	p = new(places)
	err = btx.Bucket([]byte(recentBucket)).ForEach(func(k, v []byte) error {
		w, err := decodeWritten(v)
		if err != nil {
			return err
		}
		if len(k) != 8 || bytes.Equal(k, number(0)) {
			return fmt.Errorf("%w: a number in %s cannot be read: restore a backup", ErrDamaged, recentBucket)
		}
		last = binary.BigEndian.Uint64(k)
		if _, twice := p.Set(name(w.bucket, w.key), last); twice {
			return fmt.Errorf("%w: %s has a key twice: restore a backup", ErrDamaged, recentBucket)
		}
		return nil
	})
	return p, last, err
}

// place is where the newest entry of the key stands, 0 for its own bucket.
func (t *tx) place(b bucket, key []byte) uint64 {
	if scattered[b] == 0 || t.places.Len() == 0 {
		return 0
	}
	at, _ := t.places.Get(name(b, key))
	return at
}

// writtenAt reads the entry at a place. What the index names is there, or the
// file is damaged: then fn ends as any other crash does.
func (t *tx) writtenAt(at uint64) written {
	w, err := decodeWritten(t.bucket(recentBucket).Get(number(at)))
	if err != nil {
		panic(err)
	}
	return w
}

// placeFor is where a value for the key is to be put whose newest entry stands
// at from. What comes after all keys of its bucket goes there at once: that is
// the order of writing already. So does what will never go there, to be refused.
func (t *tx) placeFor(b bucket, key []byte, from uint64) uint64 {
	if scattered[b] == 0 || len(key) > bbolt.MaxKeySize {
		return 0
	}
	if from == 0 {
		if end, _ := t.bucket(b).Cursor().Last(); bytes.Compare(key, end) > 0 {
			return 0
		}
	}
	t.recent.last++
	return t.recent.last
}

// move takes the entry of a key from one place to another, with the value it is
// to have there; nil is for no entry at all, anywhere.
func (t *tx) move(b bucket, key []byte, from, to uint64, value []byte) error {
	if from != 0 {
		if err := t.bucket(recentBucket).Delete(number(from)); err != nil {
			return err
		}
		t.places.Delete(name(b, key))
	}
	switch {
	case to != 0:
		t.places.Set(name(b, key), to)
		return t.bucket(recentBucket).Put(number(to), written{b, key, value}.encode())
	case value == nil:
		return t.bucket(b).Delete(key)
	}
	return t.bucket(b).Put(key, value)
}

// settle moves up to n of the oldest entries to where they belong.
func (t *tx) settle(n int) error {
	var moving []uint64
	c := t.bucket(recentBucket).Cursor()
	for k, _ := c.First(); k != nil && len(moving) < n; k, _ = c.Next() {
		moving = append(moving, binary.BigEndian.Uint64(k))
	}
	for _, at := range moving {
		w := t.writtenAt(at)
		// bbolt keeps the value: it must not lie where the file is mapped.
		if err := t.move(w.bucket, w.key, at, 0, bytes.Clone(w.value)); err != nil {
			return err
		}
	}
	return nil
}

// lately are the entries of a bucket that stand apart and begin with prefix, in
// order, their keys without it.
func (t *tx) lately(b bucket, prefix []byte) []written {
	if scattered[b] == 0 || t.places.Len() == 0 {
		return nil
	}
	var found []written
	from := name(b, prefix)
	t.places.Ascend(from, func(key string, at uint64) bool {
		if len(key) < len(from) || key[:len(from)] != from {
			return false
		}
		w := t.writtenAt(at)
		w.key = w.key[len(prefix):]
		found = append(found, w)
		return true
	})
	return found
}

// merge passes the entries of a bucket to fn, and those that stand apart in
// their place among them.
type merge struct {
	lately  []written // in the order of the walk
	compare func(a, b []byte) int
	fn      func(suffix, v []byte) bool
}

// see passes the next entry of the bucket, after what comes before it.
func (m *merge) see(suffix, v []byte) bool {
	for len(m.lately) > 0 {
		w := m.lately[0]
		switch order := m.compare(w.key, suffix); {
		case order > 0:
			return m.fn(suffix, v)
		case order == 0:
			m.lately = m.lately[1:]
			return m.fn(suffix, w.value)
		}
		if m.lately = m.lately[1:]; !m.fn(w.key, w.value) {
			return false
		}
	}
	return m.fn(suffix, v)
}

// rest passes what comes after the last entry of the bucket.
func (m *merge) rest() {
	for _, w := range m.lately {
		if !m.fn(w.key, w.value) {
			return
		}
	}
}

// forward and backward are the merges of a walk in either direction; the second
// begins below before, unless that is empty.
func (t *tx) forward(b bucket, prefix []byte, fn func(suffix, v []byte) bool) *merge {
	return &merge{t.lately(b, prefix), bytes.Compare, fn}
}

func (t *tx) backward(b bucket, prefix []byte, before string, fn func(suffix, v []byte) bool) *merge {
	lately := t.lately(b, prefix)
	if before != "" {
		lately = slices.DeleteFunc(lately, func(w written) bool { return string(w.key) >= before })
	}
	slices.Reverse(lately)
	return &merge{lately, func(a, b []byte) int { return bytes.Compare(b, a) }, fn}
}
