package bolt

import (
	"maps"
	"testing"

	"github.com/doorward/doorward/authn"
)

// mustBeConsistent holds every index against the records it was made from, and
// bbolt's pages against each other, while nobody else writes.
func mustBeConsistent(t *testing.T, s *Store) {
	t.Helper()
	err := s.Update(t.Context(), func(at authn.Tx) error {
		tx := at.(*tx)
		mustHaveWholePages(t, tx)
		got, want := indexes(tx), rebuilt(t, tx)
		for key := range want {
			if !got[key] {
				t.Errorf("the index lacks %q", key)
			}
		}
		for key := range got {
			if !want[key] {
				t.Errorf("the index has %q and there is no such record", key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mustHaveWholePages holds bbolt's pages against each other, and what stands
// apart against its index.
func mustHaveWholePages(t *testing.T, tx *tx) {
	t.Helper()
	for err := range tx.b.Check() {
		t.Error(err)
	}
	p, last, err := readRecent(tx.b)
	if err != nil || last > tx.recent.last || !maps.Equal(listed(p), listed(tx.places)) {
		t.Errorf("what stands apart is not what the index says it is: %v", err)
	}
}

func listed(p *places) map[string]uint64 {
	m := map[string]uint64{}
	p.Scan(func(name string, at uint64) bool { m[name] = at; return true })
	return m
}

var indexBuckets = []bucket{
	statesBucket, usernamesBucket, emailsBucket, namesBucket, rolesBucket,
	sessionsOfBucket, ticketsOfBucket, outboxDueBucket, eventLogBucket, eventsOfBucket, eventsByBucket, expiryBucket,
}

// indexes are the keys of every index, with the name of the index before them.
func indexes(tx *tx) map[string]bool {
	keys := map[string]bool{}
	for _, b := range indexBuckets {
		tx.ascend(b, nil, func(k, _ []byte) bool {
			keys[string(b)+" "+string(k)] = true
			return true
		})
	}
	return keys
}

// rebuilt is what indexes should be, from the records alone.
func rebuilt(t *testing.T, tx *tx) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	add := func(b bucket, key []byte) { keys[string(b)+" "+string(key)] = true }
	each := func(b bucket, fn func(id string, v []byte) error) {
		tx.ascend(b, nil, func(k, v []byte) bool {
			if err := fn(string(k), v); err != nil {
				t.Fatal(err)
			}
			return true
		})
	}
	users := 0
	each(usersBucket, func(id string, v []byte) error {
		users++
		r, err := decode[userRecord](usersBucket, v)
		add(statesBucket, []byte(id))
		for _, name := range append(r.Former, r.Username) {
			if name != "" {
				add(usernamesBucket, fold(name))
			}
		}
		if r.Email != "" {
			add(emailsBucket, fold(r.Email))
		}
		if r.Name != "" {
			add(namesBucket, pair(string(fold(r.Name)), id))
		}
		for _, role := range r.Roles {
			add(rolesBucket, pair(role, id))
		}
		return err
	})
	if got := tx.users(); got != users {
		t.Errorf("the total is %d, there are %d users", got, users)
	}
	each(sessionsBucket, func(id string, v []byte) error {
		r, err := decode[sessionRecord](sessionsBucket, v)
		s := r.session(id)
		add(sessionsOfBucket, sessionOf(s))
		add(expiryBucket, expiryKey(kindSession, id, r.due()))
		return err
	})
	each(ticketsBucket, func(id string, v []byte) error {
		r, err := decode[ticketRecord](ticketsBucket, v)
		add(ticketsOfBucket, pair(r.ticket(id).Subject(), id))
		add(expiryBucket, expiryKey(kindTicket, id, r.ExpiresAt))
		return err
	})
	waiting := 0
	each(outboxBucket, func(id string, v []byte) error {
		waiting++
		r, err := decode[outgoingRecord](outboxBucket, v)
		add(outboxDueBucket, outgoingDue(r.outgoing(id)))
		return err
	})
	if got := tx.outboxTotal(); got != waiting {
		t.Errorf("the outbox is said to hold %d mails, it holds %d", got, waiting)
	}
	each(eventsBucket, func(id string, v []byte) error {
		r, err := decode[eventRecord](eventsBucket, v)
		for _, k := range eventKeys(id, r.event(id)) {
			add(k.bucket, k.key)
		}
		add(expiryBucket, expiryKey(kindEvent, id, r.Expires))
		return err
	})
	each(countersBucket, func(id string, v []byte) error {
		r, err := decode[counterRecord](countersBucket, v)
		add(expiryBucket, expiryKey(kindCounter, id, r.Expires))
		return err
	})
	return keys
}
