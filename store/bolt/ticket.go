package bolt

import (
	"errors"

	"github.com/doorward/doorward/authn"
)

// Ticket implements authn.Tx.
func (t *tx) Ticket(id string) (authn.Ticket, error) {
	r, err := load[ticketRecord](t, ticketsBucket, id)
	if err != nil {
		return authn.Ticket{}, err
	}
	return r.ticket(id), nil
}

// PutTicket implements authn.Tx.
func (t *tx) PutTicket(k authn.Ticket) error {
	switch {
	case !t.writable:
		return errReadOnly
	case k.ID == "" || k.Subject() == "":
		return errors.New("store: a ticket needs an id and a subject")
	case !plain(k.ID, k.User, k.Email) || k.Pending != nil && !plain(k.Pending.Username, k.Pending.Name, k.Pending.Email):
		return errNotPlain
	}
	old, err := t.Ticket(k.ID)
	if err != nil && !errors.Is(err, authn.ErrNotFound) {
		return err
	}
	if err == nil {
		if err := t.unindexTicket(old); err != nil {
			return err
		}
	}
	return errors.Join(
		t.put(ticketsOfBucket, pair(k.Subject(), k.ID), nil),
		t.expire(kindTicket, k.ID, k.ExpiresAt),
		t.save(ticketsBucket, k.ID, newTicketRecord(k)),
	)
}

// DeleteTicket implements authn.Tx.
func (t *tx) DeleteTicket(id string) error {
	if !t.writable {
		return errReadOnly
	}
	k, err := t.Ticket(id)
	if err != nil {
		return err
	}
	return errors.Join(t.unindexTicket(k), t.del(ticketsBucket, []byte(id)))
}

// TicketsOf implements authn.Tx.
func (t *tx) TicketsOf(subject string) ([]authn.Ticket, error) {
	var tickets []authn.Ticket
	var err error
	t.ascend(ticketsOfBucket, pair(subject, ""), func(id, _ []byte) bool {
		var k authn.Ticket
		k, err = t.Ticket(string(id))
		tickets = append(tickets, k)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return tickets, nil
}

func (t *tx) unindexTicket(k authn.Ticket) error {
	return errors.Join(
		t.del(ticketsOfBucket, pair(k.Subject(), k.ID)),
		t.unexpire(kindTicket, k.ID, k.ExpiresAt),
	)
}
