package bolt

import (
	"fmt"
	"slices"
	"time"

	"github.com/doorward/doorward/authn"
)

// The expiry index has one entry for each record that ends by itself, ordered
// by when. Whoever sweeps reads it from the front and stops at the first entry
// whose time has not come, so a sweep that finds nothing costs one lookup.

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
	var expired []authn.Expired
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
		expired = append(expired, authn.Expired{
			Kind: expiredKinds[expiryKind(k[stampSize])],
			ID:   string(k[stampSize+1:]),
			At:   unstamp(k),
		})
		return len(expired) < limit
	})
	if err != nil {
		return nil, err
	}
	return expired, nil
}
