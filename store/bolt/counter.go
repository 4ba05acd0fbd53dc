package bolt

import (
	"errors"
	"slices"
	"strings"

	"github.com/doorward/doorward/authn"
)

// Counter implements authn.Tx.
func (t *tx) Counter(key string) (authn.Counter, error) {
	r, err := load[counterRecord](t, countersBucket, key)
	if err != nil {
		return authn.Counter{}, err
	}
	return r.counter(key), nil
}

// PutCounter implements authn.Tx.
func (t *tx) PutCounter(c authn.Counter) error {
	switch {
	case !t.writable:
		return errReadOnly
	case c.Key == "":
		return errors.New("store: a counter needs a key")
	}
	old, err := load[counterRecord](t, countersBucket, c.Key)
	if err != nil && !errors.Is(err, authn.ErrNotFound) {
		return err
	}
	if err == nil {
		if err := t.unexpire(kindCounter, c.Key, old.Expires); err != nil {
			return err
		}
	}
	return errors.Join(
		t.expire(kindCounter, c.Key, c.Expires),
		t.save(countersBucket, c.Key, newCounterRecord(c)),
	)
}

// DeleteCounter implements authn.Tx.
func (t *tx) DeleteCounter(key string) error {
	if !t.writable {
		return errReadOnly
	}
	r, err := load[counterRecord](t, countersBucket, key)
	if err != nil {
		return err
	}
	return errors.Join(t.unexpire(kindCounter, key, r.Expires), t.del(countersBucket, []byte(key)))
}

// Counters implements authn.Tx. It finds its place again after each fn, so
// that fn may write.
func (t *tx) Counters(prefix string, fn func(authn.Counter) bool) error {
	c := t.bucket(countersBucket).Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); {
		r, err := decode[counterRecord](countersBucket, v)
		if err != nil {
			return err
		}
		at := slices.Clone(k)
		if !fn(r.counter(string(at))) {
			return nil
		}
		// The first key that could follow at is at with a zero byte added.
		k, v = c.Seek(append(at, 0))
	}
	return nil
}
