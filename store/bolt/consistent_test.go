package bolt

import (
	"testing"

	"go.etcd.io/bbolt"
)

// mustBeConsistent holds every index against the records it was made from, and
// bbolt's pages against each other.
func mustBeConsistent(t *testing.T, s *Store) {
	t.Helper()
	err := s.db.View(func(btx *bbolt.Tx) error {
		for err := range btx.Check() {
			t.Error(err)
		}
		got, want := indexes(btx), rebuilt(t, btx)
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

var indexBuckets = []bucket{
	statesBucket, usernamesBucket, emailsBucket, namesBucket, rolesBucket,
	sessionsOfBucket, ticketsOfBucket, outboxDueBucket, eventLogBucket, eventsOfBucket, eventsByBucket, expiryBucket,
}

// indexes are the keys of every index, with the name of the index before them.
func indexes(btx *bbolt.Tx) map[string]bool {
	keys := map[string]bool{}
	for _, b := range indexBuckets {
		btx.Bucket([]byte(b)).ForEach(func(k, _ []byte) error {
			keys[string(b)+" "+string(k)] = true
			return nil
		})
	}
	return keys
}

// rebuilt is what indexes should be, from the records alone.
func rebuilt(t *testing.T, btx *bbolt.Tx) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	add := func(b bucket, key []byte) { keys[string(b)+" "+string(key)] = true }
	each := func(b bucket, fn func(id string, v []byte) error) {
		err := btx.Bucket([]byte(b)).ForEach(func(k, v []byte) error { return fn(string(k), v) })
		if err != nil {
			t.Fatal(err)
		}
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
	if got := (&tx{b: btx}).users(); got != users {
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
	if got := (&tx{b: btx}).outboxTotal(); got != waiting {
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
