package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/doorward/doorward/authn"
)

// eventMark is what filters look at, so that only the events of an answer are
// decoded: the event's time, the latest time of any event up to it, and its
// kind. Times need not follow the order of writing; once the latest time is
// before what is asked for, so is everything older.
type eventMark []byte

func newEventMark(at time.Time, latest []byte, kind authn.Kind) eventMark {
	return slices.Concat(stamp(at), latest, []byte(kind))
}

func (m eventMark) whole() bool      { return len(m) >= 2*stampSize }
func (m eventMark) time() string     { return string(m[:stampSize]) }
func (m eventMark) latest() string   { return string(m[stampSize : 2*stampSize]) }
func (m eventMark) kind() authn.Kind { return authn.Kind(m[2*stampSize:]) }

// AddEvent implements authn.Tx.
func (t *tx) AddEvent(e authn.Event, expires time.Time) error {
	switch {
	case !t.writable:
		return errReadOnly
	case !plain(string(e.Kind), e.Actor, e.Subject):
		return errNotPlain
	}
	n, latest := t.lastEvent()
	n++
	if now := stamp(e.Time); latest == nil || string(now) > string(latest) {
		latest = now
	}
	id := fmt.Sprintf("%016x", n)
	err := t.put(metaBucket, metaEvent, slices.Concat(binary.BigEndian.AppendUint64(nil, n), latest))
	mark := newEventMark(e.Time, latest, e.Kind)
	for _, k := range eventKeys(id, e) {
		err = errors.Join(err, t.put(k.bucket, k.key, mark))
	}
	return errors.Join(err,
		t.expire(kindEvent, id, expires),
		t.save(eventsBucket, id, newEventRecord(e, expires)),
	)
}

// DeleteEvent implements authn.Tx.
func (t *tx) DeleteEvent(id string) error {
	if !t.writable {
		return errReadOnly
	}
	r, err := load[eventRecord](t, eventsBucket, id)
	if err != nil {
		return err
	}
	for _, k := range eventKeys(id, r.event(id)) {
		err = errors.Join(err, t.del(k.bucket, k.key))
	}
	return errors.Join(err, t.unexpire(kindEvent, id, r.Expires), t.del(eventsBucket, []byte(id)))
}

// Events implements authn.Tx. It walks the narrowest index: a user's, a
// kind's, or the log.
func (t *tx) Events(q authn.EventQuery) ([]authn.Event, error) {
	if q.Limit <= 0 {
		return nil, errLimit
	}
	var events []authn.Event
	var err error
	since := string(stamp(q.Since))
	see := func(id, v []byte) bool {
		mark := eventMark(v)
		switch {
		case !mark.whole():
			err = fmt.Errorf("%w: an event's mark cannot be read", ErrDamaged)
			return false
		case mark.latest() < since:
			return false
		case mark.time() < since || q.Kind != "" && mark.kind() != q.Kind:
			return true
		}
		var r eventRecord
		if r, err = load[eventRecord](t, eventsBucket, string(id)); err != nil {
			return false
		}
		events = append(events, r.event(string(id)))
		return len(events) < q.Limit
	}
	switch {
	case q.User != "":
		t.descend(eventsOfBucket, pair(q.User, ""), q.After, see)
	case q.Kind != "":
		t.descend(eventsByBucket, pair(string(q.Kind), ""), q.After, see)
	default:
		t.descend(eventLogBucket, nil, q.After, see)
	}
	if err != nil {
		return nil, err
	}
	return events, nil
}

type indexKey struct {
	bucket bucket
	key    []byte
}

// eventKeys are the places where the event's mark stands.
func eventKeys(id string, e authn.Event) []indexKey {
	keys := []indexKey{{eventLogBucket, []byte(id)}, {eventsByBucket, pair(string(e.Kind), id)}}
	if e.Actor != "" {
		keys = append(keys, indexKey{eventsOfBucket, pair(e.Actor, id)})
	}
	if e.Subject != "" && e.Subject != e.Actor {
		keys = append(keys, indexKey{eventsOfBucket, pair(e.Subject, id)})
	}
	return keys
}

// lastEvent is the number of the last event and the latest time so far.
func (t *tx) lastEvent() (n uint64, latest []byte) {
	v := t.get(metaBucket, metaEvent)
	if len(v) != 2*stampSize {
		return 0, nil
	}
	return binary.BigEndian.Uint64(v), slices.Clone(v[stampSize:])
}
