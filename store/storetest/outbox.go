package storetest

import (
	"testing"

	"github.com/doorward/doorward/authn"
)

var outboxTests = []test{
	{"a mail comes back as it was put", outgoingRoundTrip},
	{"an unknown mail is ErrNotFound", unknownOutgoing},
	{"whose turn comes first is ahead, up to the limit, and all are counted", outboxOrder},
	{"a mail that is put again takes its new turn", outgoingMoves},
	{"a listing without a limit is an error", outboxLimit},
}

func (f *fixture) outbox(t *testing.T, limit int) (ids []string, total int) {
	t.Helper()
	f.view(t, func(tx authn.Tx) error {
		list, n, err := tx.Outbox(limit)
		for _, o := range list {
			ids = append(ids, o.ID)
		}
		total = n
		return err
	})
	return ids, total
}

func outgoingRoundTrip(t *testing.T, f *fixture) {
	full, bare := outgoing(1), authn.Outgoing{ID: id(2), Kind: authn.MailNewDevice, Email: "a@example.com", NextAt: at(2)}
	f.put(t, full, bare)
	f.reopen(t)
	f.view(t, func(tx authn.Tx) error {
		for _, want := range []authn.Outgoing{full, bare} {
			got, err := tx.Outgoing(want.ID)
			must(t, err)
			wantEqual(t, got, want)
		}
		list, total, err := tx.Outbox(10)
		wantEqual(t, list, []authn.Outgoing{full, bare})
		wantEqual(t, total, 2)
		return err
	})
}

func unknownOutgoing(t *testing.T, f *fixture) {
	f.put(t, outgoing(1))
	f.update(t, func(tx authn.Tx) error {
		must(t, tx.DeleteOutgoing(id(1)))
		_, err := tx.Outgoing(id(1))
		wantNotFound(t, err)
		wantNotFound(t, tx.DeleteOutgoing(id(1)))
		return nil
	})
	ids, total := f.outbox(t, 10)
	wantEqual(t, len(ids), 0)
	wantEqual(t, total, 0)
}

func outboxOrder(t *testing.T, f *fixture) {
	f.put(t, outgoing(30), outgoing(10), outgoing(40), outgoing(20))
	ids, total := f.outbox(t, 3)
	wantEqual(t, ids, []string{id(10), id(20), id(30)})
	wantEqual(t, total, 4)
}

func outgoingMoves(t *testing.T, f *fixture) {
	f.put(t, outgoing(1), outgoing(2))
	o := outgoing(1)
	o.NextAt, o.Attempts = at(9), 4
	f.put(t, o)
	ids, total := f.outbox(t, 10)
	wantEqual(t, ids, []string{id(2), id(1)})
	wantEqual(t, total, 2)
}

func outboxLimit(t *testing.T, f *fixture) {
	f.view(t, func(tx authn.Tx) error {
		if _, _, err := tx.Outbox(0); err == nil {
			t.Error("got no error for a limit of 0")
		}
		return nil
	})
}
