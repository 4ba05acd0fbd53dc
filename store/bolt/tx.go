package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// tx is one authn.Tx. Several of them, one after the other, may write to the
// same bbolt transaction (write.go), so each keeps what it takes to undo
// itself.
type tx struct {
	b        *bbolt.Tx // nil once fn has returned: a Tx does not outlive it
	writable bool
	places   *places // of what stands apart (recent.go)
	recent   *recent // if writable

	undo    []undo
	changes []authn.Change
	failed  error // a write that went wrong: the transaction must not commit
}

var _ authn.Tx = (*tx)(nil)

// undo is what was under a key before, nil for nothing, where that stood, and
// where it stands now.
type undo struct {
	bucket   bucket
	key      []byte
	value    []byte
	was, now uint64 // places
}

func (t *tx) finish() { t.b = nil }

func (t *tx) bucket(b bucket) *bbolt.Bucket {
	if t.b == nil {
		panic("a transaction is used after it has ended")
	}
	bb := t.b.Bucket([]byte(b))
	if fill := filled[b]; fill > 0 && t.writable {
		bb.FillPercent = fill
	}
	return bb
}

// get returns what is under key. The slice is bbolt's: read it at once.
func (t *tx) get(b bucket, key []byte) []byte { return t.getAt(b, key, t.place(b, key)) }

// getAt is get of a key whose place is known.
func (t *tx) getAt(b bucket, key []byte, at uint64) []byte {
	if at != 0 {
		return t.writtenAt(at).value
	}
	return t.bucket(b).Get(key)
}

func (t *tx) put(b bucket, key, value []byte) error {
	if !t.writable {
		return errReadOnly
	}
	// bbolt copies the key and keeps the value. An empty one must not be nil:
	// it is what get answers in this transaction, and nil means nothing there.
	at := t.place(b, key)
	return t.change(b, key, at, t.placeFor(b, key, at), append([]byte{}, value...))
}

// index puts an entry unless it is there already. Most writes move none of a
// record's entries, and each that were written again would be another page, or
// several, of the commit.
func (t *tx) index(b bucket, key, value []byte) error {
	if old := t.get(b, key); old != nil && bytes.Equal(old, value) {
		return nil
	}
	return t.put(b, key, value)
}

func (t *tx) del(b bucket, key []byte) error {
	if !t.writable {
		return errReadOnly
	}
	return t.change(b, key, t.place(b, key), 0, nil)
}

// change moves the entry of a key (recent.go), and remembers how to undo that.
func (t *tx) change(b bucket, key []byte, from, to uint64, value []byte) error {
	u := undo{bucket: b, key: slices.Clone(key), value: bytes.Clone(t.getAt(b, key, from)), was: from, now: to}
	t.undo = append(t.undo, u)
	if err := t.move(b, u.key, from, to, value); err != nil {
		return t.fail(fmt.Errorf("store: write to %s: %w", b, err))
	}
	return nil
}

// fail keeps a record that is half written from being committed, even if the
// caller drops the error.
func (t *tx) fail(err error) error {
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// rollback puts back in btx what was there before t.
func (t *tx) rollback(btx *bbolt.Tx) error {
	t.b = btx
	defer t.finish()
	for _, u := range slices.Backward(t.undo) {
		if err := t.move(u.bucket, u.key, u.now, u.was, u.value); err != nil {
			return err
		}
	}
	return nil
}

// changed notes what watchers are to be told.
func (t *tx) changed(c authn.Change) {
	if n := len(t.changes); n == 0 || t.changes[n-1] != c {
		t.changes = append(t.changes, c)
	}
}

// ascend calls fn for each key that begins with prefix, in order, until fn
// returns false. fn must not write.
func (t *tx) ascend(b bucket, prefix []byte, fn func(suffix, v []byte) bool) {
	m := t.forward(b, prefix, fn)
	c := t.bucket(b).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if !m.see(k[len(prefix):], v) {
			return
		}
	}
	m.rest()
}

// descend is ascend backwards; unless before is empty it begins at the last
// suffix below that.
func (t *tx) descend(b bucket, prefix []byte, before string, fn func(suffix, v []byte) bool) {
	m := t.backward(b, prefix, before, fn)
	c := t.bucket(b).Cursor()
	first, _ := c.First()
	limit := after(prefix)
	if before != "" {
		limit = append(slices.Clone(prefix), before...)
	}
	k, v := seekBelow(c, first, limit)
	for k != nil && bytes.HasPrefix(k, prefix) {
		if !m.see(k[len(prefix):], v) {
			return
		}
		k, v = previous(c, first, k)
	}
	m.rest()
}

// seekBelow moves c to the last key below limit; nil means no limit.
func seekBelow(c *bbolt.Cursor, first, limit []byte) (k, v []byte) {
	if limit == nil {
		return c.Last()
	}
	at, _ := c.Seek(limit)
	if at == nil {
		return c.Last()
	}
	return previous(c, first, at)
}

// previous moves c back by one key. bbolt's Prev answers nil, as at the
// beginning, when it comes to a page that the same transaction has emptied; as
// long as there are keys before at, it must be asked again.
func previous(c *bbolt.Cursor, first, at []byte) (k, v []byte) {
	for !bytes.Equal(at, first) {
		if k, v := c.Prev(); k != nil {
			return k, v
		}
	}
	return nil, nil
}

// after is the first key beyond all that begin with prefix; nil if none is.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for len(end) > 0 {
		if last := len(end) - 1; end[last] < 0xff {
			end[last]++
			return end
		}
		end = end[:len(end)-1]
	}
	return nil
}

// pair is the key made of two parts.
func pair(a, b string) []byte {
	k := make([]byte, 0, len(a)+1+len(b))
	k = append(k, a...)
	k = append(k, 0)
	return append(k, b...)
}

// flag is a bool as an index keeps it.
func flag(on bool) []byte {
	if on {
		return []byte("1")
	}
	return []byte("0")
}

// stampSize is the length of a stamp.
const stampSize = 8

var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

// stamp is a time as bytes that sort like it. Times too far off for 64 bits of
// nanoseconds, the zero time among them, stand for the nearest that are not.
func stamp(at time.Time) []byte {
	n := at.UnixNano()
	switch {
	case at.Before(firstTime):
		n = math.MinInt64
	case at.After(lastTime):
		n = math.MaxInt64
	}
	return binary.BigEndian.AppendUint64(nil, uint64(n)^(1<<63))
}

// unstamp is the time of a stamp.
func unstamp(b []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(b)^(1<<63))).UTC()
}
