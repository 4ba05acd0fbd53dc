package storetest

import (
	"testing"

	"github.com/doorward/doorward/authn"
)

var keyTests = []test{
	{"keys come back oldest first", keysOldestFirst},
	{"a key can be replaced and deleted", keyReplaced},
}

func keysOldestFirst(t *testing.T, f *fixture) {
	want := []authn.Key{
		{ID: "z", Algorithm: "EdDSA", Private: "\x00\xff der", CreatedAt: at(1), RetireAt: at(9)},
		{ID: "a", Algorithm: "RS256", Private: "der", CreatedAt: at(2)},
		{ID: "b", Algorithm: "ES256", Private: "der", CreatedAt: at(2)},
	}
	f.view(t, func(tx authn.Tx) error {
		keys, err := tx.Keys()
		wantEqual(t, len(keys), 0)
		return err
	})
	f.put(t, want[2], want[0], want[1])
	for range 2 {
		f.view(t, func(tx authn.Tx) error {
			got, err := tx.Keys()
			wantEqual(t, got, want)
			for i, k := range got {
				wantEqual(t, k.Private.Reveal(), want[i].Private.Reveal())
			}
			return err
		})
		f.reopen(t)
	}
}

func keyReplaced(t *testing.T, f *fixture) {
	f.put(t, authn.Key{ID: "k", CreatedAt: at(1)}, authn.Key{ID: "l", CreatedAt: at(2)})
	f.put(t, authn.Key{ID: "k", CreatedAt: at(1), RetireAt: at(5)})
	f.update(t, func(tx authn.Tx) error { return tx.DeleteKey("l") })
	f.view(t, func(tx authn.Tx) error {
		keys, err := tx.Keys()
		wantEqual(t, keys, []authn.Key{{ID: "k", CreatedAt: at(1), RetireAt: at(5)}})
		return err
	})
	wantNotFound(t, f.try(t, func(tx authn.Tx) error { return tx.DeleteKey("l") }))
}
