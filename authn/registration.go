package authn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Registrations that wait until their address is proven.
//
// Anybody can register anybody's address, with a username and a password of
// their own choice. Two things keep that from becoming an account of theirs
// under her address. Registrations of one address stand side by side, each with
// what was chosen for it: were a newer one to replace an older one, she who has
// just registered would confirm the stranger's, with a click on the mail she is
// waiting for. And whoever confirms can be asked for the password chosen at
// registration, which the owner of the address does not know of the stranger's.

const (
	maxRegistrations = 5 // that wait for one address
	maxPasswordTries = 5 // at one registration
)

// registrationsOf returns the registrations that wait for an address.
func registrationsOf(tx Tx, email string) ([]Ticket, error) {
	held, err := tx.TicketsOf(addressSubject(email))
	return slices.DeleteFunc(held, func(t Ticket) bool { return t.Kind != TicketRegistration }), err
}

// makeRoom removes what is too many for one more registration to stand beside
// the others of its address, and reports whether it may. One whose mail is
// withheld gives way to those whose mails were sent.
func makeRoom(tx Tx, t Ticket, withheld bool) (bool, error) {
	held, err := registrationsOf(tx, t.Email)
	if err != nil {
		return false, err
	}
	for len(held) >= maxRegistrations {
		victim := leastMissed(held, t, withheld)
		if victim.ID == t.ID {
			return false, nil
		}
		if err := tx.DeleteTicket(victim.ID); err != nil {
			return false, err
		}
		held = slices.DeleteFunc(held, func(h Ticket) bool { return h.ID == victim.ID })
	}
	return true, nil
}

// leastMissed is the registration to go: one whose mail was withheld if there is
// any, and of these the newest of the network that has the most of them, the
// newcomer's counted. Whoever floods an address pushes out his own, not its
// owner's, and not what was mailed with what was not. A newcomer that is
// withheld can be the one.
func leastMissed(held []Ticket, newcomer Ticket, withheld bool) Ticket {
	count := map[string]int{newcomer.Pending.network(): 1}
	for _, t := range held {
		count[t.Pending.network()]++
	}
	at := slices.DeleteFunc(slices.Clone(held), func(t Ticket) bool { return len(t.Hashes) > 0 })
	if withheld {
		at = append(at, newcomer)
	}
	if len(at) == 0 {
		at = held
	}
	return slices.MaxFunc(at, func(a, b Ticket) int {
		if n := cmp.Compare(count[a.Pending.network()], count[b.Pending.network()]); n != 0 {
			return n
		}
		return byAge(a, b)
	})
}

// byAge orders tickets by when they were asked for.
func byAge(a, b Ticket) int {
	if n := a.CreatedAt.Compare(b.CreatedAt); n != 0 {
		return n
	}
	return strings.Compare(a.ID, b.ID)
}

// network is where the registration came from, as limits count.
func (p *PendingUser) network() string {
	ip, _ := netip.ParseAddr(p.ClientIP) // none is no address
	return Client{IP: ip}.Network()
}

// registrationToRenew is the registration for which another mail is sent: the
// newest, but of those that came from where the mail is asked for if there are
// any, so that a stranger's does not stand before one's own. False if none
// waits.
func registrationToRenew(tx Tx, o Outgoing, now time.Time) (Ticket, bool, error) {
	held, err := registrationsOf(tx, o.Email)
	if err != nil {
		return Ticket{}, false, err
	}
	held = slices.DeleteFunc(held, func(t Ticket) bool { return !now.Before(t.ExpiresAt) })
	if len(held) == 0 {
		return Ticket{}, false, nil
	}
	from := o.asker().Network()
	own := slices.DeleteFunc(slices.Clone(held), func(t Ticket) bool { return t.Pending.network() != from })
	if len(own) > 0 {
		held = own
	}
	return slices.MaxFunc(held, byAge), true, nil
}

// withhold takes a mail out of the outbox that is not to be sent now. A
// registration stays, behind a ticket that nothing opens yet: its owner can ask
// for the mail again.
func (s *Service) withhold(ctx context.Context, o Outgoing, now time.Time) error {
	if o.Pending == nil {
		return s.remove(ctx, o.ID)
	}
	t := newRegistration(newID(now), o, now)
	ctx, cancel := settle(ctx)
	defer cancel()
	err := s.deps.Store.Update(ctx, func(tx Tx) error {
		switch err := tx.NamesFree("", o.Email); {
		case err == nil:
			room, err := makeRoom(tx, t, true)
			if err != nil {
				return err
			}
			if room {
				err = tx.PutTicket(t)
			}
			if err != nil {
				return err
			}
		case !errors.Is(err, ErrEmailTaken): // it can come to nothing
			return err
		}
		return tx.DeleteOutgoing(o.ID)
	})
	if err != nil {
		return fmt.Errorf("withhold a mail: %w", err)
	}
	return nil
}

// newRegistration is the ticket of what a mail in the outbox has pending.
func newRegistration(id string, o Outgoing, now time.Time) Ticket {
	return Ticket{
		ID: id, Kind: TicketRegistration, Email: o.Email, Pending: o.Pending,
		CreatedAt: o.CreatedAt, ExpiresAt: now.Add(TicketRegistration.lifetime()),
	}
}

// Purpose is what a token that proves an address is for.
type Purpose struct {
	Kind    TicketKind
	User    string // whose account; "" for a registration
	Account string // what it is called: the username, else the address it has; of a registration the username or ""

	// Password says that the account has one, by which whoever confirms can show
	// that the account is theirs. An invited one has none yet.
	Password bool
}

// TicketFor says what a token that proves an address is for. It uses nothing up.
// ErrTicketInvalid.
func (s *Service) TicketFor(ctx context.Context, token Secret) (p Purpose, err error) {
	now := s.deps.Now()
	err = s.deps.Store.View(ctx, func(tx Tx) error {
		t, err := findTicket(tx, token, now, addressTickets...)
		if err != nil {
			return err
		}
		if t.Kind == TicketRegistration {
			p = Purpose{Kind: t.Kind, Account: t.Pending.Username, Password: true}
			return nil
		}
		u, err := ticketUser(tx, t)
		p = Purpose{Kind: t.Kind, User: u.ID, Account: u.Login(), Password: u.PasswordHash != ""}
		return err
	})
	if err != nil {
		return Purpose{}, err
	}
	return p, nil
}

// showPassword checks that whoever confirms an address knows the password of
// the account, or the one chosen for a registration, and returns what it was
// checked against: "" for an account that has none. A wrong one counts, and the
// last that may be wrong makes the ticket void.
func (s *Service) showPassword(ctx context.Context, token, password Secret) (hash string, err error) {
	var e InputError
	checkTypedPassword(&e, "password", password)
	if err := e.OrNil(); err != nil {
		return "", err
	}
	t, hash, err := s.takeTry(ctx, token)
	if err != nil || hash == "" {
		return "", err
	}
	v, err := s.passwords.check(ctx, hash, password)
	if err != nil {
		return "", errors.Join(err, s.giveTryBack(ctx, t.ID))
	}
	if v.right {
		return hash, nil
	}
	if t.Tries >= maxPasswordTries {
		err := s.deps.Store.Update(ctx, func(tx Tx) error { return tx.DeleteTicket(t.ID) })
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	e.Add("password", "incorrect", "this is not the password of this account")
	return "", e.OrNil()
}

// takeTry counts a password before it is looked at, or any number of them could
// be tried at once. hash is what it is to be held against, "" for nothing.
func (s *Service) takeTry(ctx context.Context, token Secret) (t Ticket, hash string, err error) {
	now := s.deps.Now()
	err = s.deps.Store.Update(ctx, func(tx Tx) error {
		t, err = findTicket(tx, token, now, addressTickets...)
		if err != nil {
			return err
		}
		if t.Kind == TicketRegistration {
			hash = t.Pending.PasswordHash
		} else {
			u, err := ticketUser(tx, t)
			if err != nil {
				return err
			}
			hash = u.PasswordHash
		}
		if hash == "" {
			return nil
		}
		if t.Tries >= maxPasswordTries { // the last are being looked at
			return ErrTicketInvalid
		}
		t.Tries++
		return tx.PutTicket(t)
	})
	return t, hash, err
}

// giveTryBack is for a password that was not looked at after all.
func (s *Service) giveTryBack(ctx context.Context, id string) error {
	ctx, cancel := settle(ctx)
	defer cancel()
	err := s.deps.Store.Update(ctx, func(tx Tx) error {
		t, err := tx.Ticket(id)
		if err != nil {
			return err
		}
		t.Tries = max(0, t.Tries-1)
		return tx.PutTicket(t)
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
