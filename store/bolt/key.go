package bolt

import (
	"cmp"
	"errors"
	"slices"

	"github.com/doorward/doorward/authn"
)

// Keys implements authn.Tx.
func (t *tx) Keys() ([]authn.Key, error) {
	var keys []authn.Key
	var err error
	t.ascend(keysBucket, nil, func(id, v []byte) bool {
		var r keyRecord
		r, err = decode[keyRecord](keysBucket, v)
		keys = append(keys, r.key(string(id)))
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(keys, func(a, b authn.Key) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return keys, nil
}

// PutKey implements authn.Tx.
func (t *tx) PutKey(k authn.Key) error {
	switch {
	case !t.writable:
		return errReadOnly
	case k.ID == "":
		return errors.New("store: a key needs an id")
	}
	t.changed(authn.Change{Keys: true})
	return t.save(keysBucket, k.ID, newKeyRecord(k))
}

// DeleteKey implements authn.Tx.
func (t *tx) DeleteKey(id string) error {
	if !t.writable {
		return errReadOnly
	}
	if t.get(keysBucket, []byte(id)) == nil {
		return authn.ErrNotFound
	}
	t.changed(authn.Change{Keys: true})
	return t.del(keysBucket, []byte(id))
}
