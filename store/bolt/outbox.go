package bolt

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/doorward/doorward/authn"
)

// Outgoing implements authn.Tx.
func (t *tx) Outgoing(id string) (authn.Outgoing, error) {
	r, err := load[outgoingRecord](t, outboxBucket, id)
	if err != nil {
		return authn.Outgoing{}, err
	}
	return r.outgoing(id), nil
}

// PutOutgoing implements authn.Tx.
func (t *tx) PutOutgoing(o authn.Outgoing) error {
	switch {
	case !t.writable:
		return errReadOnly
	case o.ID == "":
		return errors.New("store: a mail needs an id")
	case !plain(o.ID, o.Email, o.User, o.Ticket, o.NewEmail):
		return errNotPlain
	}
	old, err := t.Outgoing(o.ID)
	switch {
	case err == nil:
		err = t.del(outboxDueBucket, outgoingDue(old))
	case errors.Is(err, authn.ErrNotFound):
		t.changed(authn.Change{Outbox: true})
		err = t.countOutbox(+1)
	}
	if err != nil {
		return err
	}
	return errors.Join(
		t.put(outboxDueBucket, outgoingDue(o), nil),
		t.save(outboxBucket, o.ID, newOutgoingRecord(o)),
	)
}

// DeleteOutgoing implements authn.Tx.
func (t *tx) DeleteOutgoing(id string) error {
	if !t.writable {
		return errReadOnly
	}
	o, err := t.Outgoing(id)
	if err != nil {
		return err
	}
	return errors.Join(
		t.del(outboxDueBucket, outgoingDue(o)),
		t.del(outboxBucket, []byte(id)),
		t.countOutbox(-1),
	)
}

// Outbox implements authn.Tx.
func (t *tx) Outbox(limit int) (waiting []authn.Outgoing, total int, err error) {
	if limit <= 0 {
		return nil, 0, errLimit
	}
	t.ascend(outboxDueBucket, nil, func(due, _ []byte) bool {
		var o authn.Outgoing
		o, err = t.Outgoing(string(due[stampSize:]))
		waiting = append(waiting, o)
		return err == nil && len(waiting) < limit
	})
	if err != nil {
		return nil, 0, err
	}
	return waiting, t.outboxTotal(), nil
}

// outgoingDue is the mail's place in the queue.
func outgoingDue(o authn.Outgoing) []byte {
	return slices.Concat(stamp(o.NextAt), []byte(o.ID))
}

// countOutbox moves the total.
func (t *tx) countOutbox(by int) error {
	return t.put(metaBucket, metaOutbox, binary.BigEndian.AppendUint64(nil, uint64(t.outboxTotal()+by)))
}

// outboxTotal is how many mails wait.
func (t *tx) outboxTotal() int {
	v := t.get(metaBucket, metaOutbox)
	if len(v) != 8 {
		return 0
	}
	return int(binary.BigEndian.Uint64(v))
}
