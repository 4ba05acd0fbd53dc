package storetest

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/doorward/doorward/authn"
)

var ticketTests = []test{
	{"a ticket comes back as it was put", ticketRoundTrip},
	{"an unknown ticket is ErrNotFound", unknownTicket},
	{"the tickets of a subject are its own only, by id", ticketsOfSubject},
	{"a ticket that is put again can move to another subject", ticketMoves},
	{"of a crowd that deletes a ticket one wins", oneDeletesTheTicket},
}

func ticketRoundTrip(t *testing.T, f *fixture) {
	want := []authn.Ticket{ticket(1, id(7)), ticket(2, "")}
	f.put(t, want[0], want[1])
	f.reopen(t)
	f.view(t, func(tx authn.Tx) error {
		for _, w := range want {
			got, err := tx.Ticket(w.ID)
			must(t, err)
			wantEqual(t, got, w)
		}
		return nil
	})
	want[0].Hashes, want[0].ExpiresAt = [][]byte{[]byte("other")}, at(9)
	f.put(t, want[0])
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.Ticket(want[0].ID)
		wantEqual(t, got, want[0])
		return err
	})
}

func unknownTicket(t *testing.T, f *fixture) {
	f.put(t, ticket(1, id(7)))
	f.update(t, func(tx authn.Tx) error {
		must(t, tx.DeleteTicket(id(1)))
		_, err := tx.Ticket(id(1))
		wantNotFound(t, err)
		wantNotFound(t, tx.DeleteTicket(id(1)))
		held, err := tx.TicketsOf(id(7))
		wantEqual(t, len(held), 0)
		return err
	})
}

func ticketsOfSubject(t *testing.T, f *fixture) {
	mine := []authn.Ticket{ticket(1, id(7)), ticket(3, id(7)), ticket(5, id(7))}
	stranger, newcomer := ticket(2, id(70)), ticket(4, "")
	f.put(t, mine[2], stranger, mine[0], newcomer, mine[1])
	f.view(t, func(tx authn.Tx) error {
		held, err := tx.TicketsOf(id(7))
		must(t, err)
		wantEqual(t, held, mine)
		held, err = tx.TicketsOf(newcomer.Subject())
		must(t, err)
		wantEqual(t, held, []authn.Ticket{newcomer})
		held, err = tx.TicketsOf("")
		wantEqual(t, len(held), 0)
		return err
	})
}

func ticketMoves(t *testing.T, f *fixture) {
	k := ticket(1, id(7))
	f.put(t, k)
	k.User = id(8)
	f.put(t, k)
	f.view(t, func(tx authn.Tx) error {
		before, err1 := tx.TicketsOf(id(7))
		after, err2 := tx.TicketsOf(id(8))
		wantEqual(t, len(before), 0)
		wantEqual(t, after, []authn.Ticket{k})
		return errors.Join(err1, err2)
	})
}

func oneDeletesTheTicket(t *testing.T, f *fixture) {
	f.put(t, ticket(1, id(7)))
	var won atomic.Int32
	together(crowd, func(int) {
		err := f.Update(t.Context(), func(tx authn.Tx) error {
			if _, err := tx.Ticket(id(1)); err != nil {
				return err
			}
			return tx.DeleteTicket(id(1))
		})
		if err == nil {
			won.Add(1)
		} else {
			wantNotFound(t, err)
		}
	})
	wantEqual(t, won.Load(), int32(1))
}
