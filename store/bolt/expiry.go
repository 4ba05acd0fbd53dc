package bolt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/doorward/doorward/authn"
)

// The expiry index has one entry for each record that ends by itself, ordered
// by when. Whoever sweeps reads it from the front and stops at the first entry
// whose time has not come, so a sweep that finds nothing costs one lookup.
// A session whose end is put off keeps its entry where it is; the sweep that
// comes to it moves it.

// expiryKind is the letter of a kind in the index.
type expiryKind byte

const (
	kindSession expiryKind = 's'
	kindEvent   expiryKind = 'e'
	kindCounter expiryKind = 'c'
	kindTicket  expiryKind = 't'
)

var expiredKinds = map[expiryKind]authn.ExpiredKind{
	kindSession: authn.ExpiredSession,
	kindEvent:   authn.ExpiredEvent,
	kindCounter: authn.ExpiredCounter,
	kindTicket:  authn.ExpiredTicket,
}

func expiryKey(kind expiryKind, id string, at time.Time) []byte {
	return slices.Concat(stamp(at), []byte{byte(kind)}, []byte(id))
}

func (t *tx) expire(kind expiryKind, id string, at time.Time) error {
	return t.index(expiryBucket, expiryKey(kind, id, at), nil)
}

func (t *tx) unexpire(kind expiryKind, id string, at time.Time) error {
	return t.del(expiryBucket, expiryKey(kind, id, at))
}

// Expired implements authn.Tx.
func (t *tx) Expired(now time.Time, limit int) ([]authn.Expired, error) {
	if limit <= 0 {
		return nil, errLimit
	}
	var expired, moved []authn.Expired
	var err error
	until := string(stamp(now))
	t.ascend(expiryBucket, nil, func(k, _ []byte) bool {
		if len(k) <= stampSize+1 {
			err = fmt.Errorf("%w: an expiry cannot be read", ErrDamaged)
			return false
		}
		if string(k[:stampSize]) > until {
			return false
		}
		e := authn.Expired{
			Kind: expiredKinds[expiryKind(k[stampSize])],
			ID:   string(k[stampSize+1:]),
			At:   unstamp(k),
		}
		if e.Kind == authn.ExpiredSession {
			if e, err = t.sessionExpired(e, now); err != nil {
				return false
			}
		}
		switch {
		case e.Kind != authn.ExpiredMoved:
			expired = append(expired, e)
		case t.writable:
			moved = append(moved, e)
		}
		return len(expired)+len(moved) < limit
	})
	for _, e := range moved {
		if err == nil {
			err = t.moveExpiry(e.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(expired, func(a, b authn.Expired) int { return a.At.Compare(b.At) })
	return append(expired, moved...), nil
}

// sessionExpired looks at a session whose entry is due: its end may have been
// put off since.
func (t *tx) sessionExpired(e authn.Expired, now time.Time) (authn.Expired, error) {
	x, err := t.Session(e.ID)
	if errors.Is(err, authn.ErrNotFound) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	e.At = unstamp(stamp(x.Expires()))
	if x.Live(now) {
		e.Kind = authn.ExpiredMoved
	}
	return e, nil
}

// moveExpiry puts the entry of a session that lives on to its end.
func (t *tx) moveExpiry(id string) error {
	r, err := load[sessionRecord](t, sessionsBucket, id)
	if err != nil {
		return err
	}
	return t.putOff(id, r)
}
