package storetest

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/doorward/doorward/authn"
)

var updateTests = []test{
	{"a view is consistent while an update runs", viewIsConsistent},
	{"what fn of a view returns is returned as it is", viewReturnsAsIs},
	{"writing in a view is an error", viewIsReadOnly},
	{"an update reads its own writes", updateReadsOwnWrites},
	{"an update that fails never happened", failedUpdateNeverHappened},
	{"an update that fails after another in the same moment takes only itself back", failuresAreAlone},
	{"what was committed is there after reopening", committedIsDurable},
	{"updates are serialisable: nothing is lost by a crowd", nothingIsLost},
	{"updates are serialisable: an invariant over two records holds", invariantsHold},
	{"a ctx that has ended gives up", endedContext},
	{"a ctx that ends while waiting gives up without effect", contextEndsWhileWaiting},
	{"a panic in fn is an error and changes nothing", panicInUpdate},
	{"a panic in a view is an error", panicInView},
	{"a goroutine that ends inside fn changes nothing and holds nobody up", goexitInUpdate},
	{"check passes and leaves nothing", checkPasses},
	{"calls after close return an error", closed},
}

func viewIsConsistent(t *testing.T, f *fixture) {
	f.put(t, user(1))
	f.view(t, func(tx authn.Tx) error {
		before, err := tx.User(id(1))
		must(t, err)
		done := make(chan error)
		go func() {
			done <- f.Update(context.Background(), func(tx authn.Tx) error {
				u := user(1)
				u.Name = "changed"
				return put(tx, u, user(2), session(3, id(1)))
			})
		}()
		must(t, <-done)
		after, err := tx.User(id(1))
		must(t, err)
		wantEqual(t, after, before)
		_, err = tx.User(id(2))
		wantNotFound(t, err)
		sessions, err := tx.SessionsOf(id(1))
		must(t, err)
		wantEqual(t, len(sessions), 0)
		return nil
	})
	f.view(t, func(tx authn.Tx) error {
		u, err := tx.User(id(1))
		wantEqual(t, u.Name, "changed")
		return err
	})
}

func viewReturnsAsIs(t *testing.T, f *fixture) {
	want := errors.New("mine")
	if got := f.View(t.Context(), func(authn.Tx) error { return want }); got != want {
		t.Errorf("got %v, want %v itself", got, want)
	}
}

func viewIsReadOnly(t *testing.T, f *fixture) {
	f.put(t, user(1), session(1, id(1)), ticket(1, id(1)), outgoing(1), authn.Key{ID: "k"}, counter("c", 1), event(1, authn.UserCreated, "", id(1)))
	var eid string
	f.view(t, func(tx authn.Tx) error {
		events, err := tx.Events(authn.EventQuery{Limit: 1})
		eid = events[0].ID
		return err
	})
	writes := map[string]func(tx authn.Tx) error{
		"PutUser":        func(tx authn.Tx) error { return tx.PutUser(user(2)) },
		"DeleteUser":     func(tx authn.Tx) error { return tx.DeleteUser(id(1)) },
		"PutSession":     func(tx authn.Tx) error { return tx.PutSession(session(2, id(1))) },
		"DeleteSession":  func(tx authn.Tx) error { return tx.DeleteSession(id(1)) },
		"PutTicket":      func(tx authn.Tx) error { return tx.PutTicket(ticket(2, id(1))) },
		"DeleteTicket":   func(tx authn.Tx) error { return tx.DeleteTicket(id(1)) },
		"PutOutgoing":    func(tx authn.Tx) error { return tx.PutOutgoing(outgoing(2)) },
		"DeleteOutgoing": func(tx authn.Tx) error { return tx.DeleteOutgoing(id(1)) },
		"PutKey":         func(tx authn.Tx) error { return tx.PutKey(authn.Key{ID: "l"}) },
		"DeleteKey":      func(tx authn.Tx) error { return tx.DeleteKey("k") },
		"PutCounter":     func(tx authn.Tx) error { return tx.PutCounter(counter("d", 1)) },
		"DeleteCounter":  func(tx authn.Tx) error { return tx.DeleteCounter("c") },
		"AddEvent":       func(tx authn.Tx) error { return tx.AddEvent(event(2, authn.UserCreated, "", id(1)), at(9)) },
		"DeleteEvent":    func(tx authn.Tx) error { return tx.DeleteEvent(eid) },
	}
	for name, write := range writes {
		err := f.View(t.Context(), write)
		if err == nil || errors.Is(err, authn.ErrNotFound) {
			t.Errorf("%s in a view: got %v, want an error that says so", name, err)
		}
	}
}

func updateReadsOwnWrites(t *testing.T, f *fixture) {
	f.update(t, func(tx authn.Tx) error {
		must(t, put(tx, user(1), session(1, id(1)), counter("c", 2)))
		u, err := tx.UserByEmail("USER1@example.com")
		must(t, err)
		wantEqual(t, u, user(1))
		page, err := tx.Users(authn.UserQuery{Limit: 5})
		must(t, err)
		wantEqual(t, page.Total, 1)
		wantEqual(t, len(page.Users), 1)
		sessions, err := tx.SessionsOf(id(1))
		must(t, err)
		wantEqual(t, sessions, []authn.Session{session(1, id(1))})
		must(t, tx.DeleteSession(id(1)))
		_, err = tx.Session(id(1))
		wantNotFound(t, err)
		return nil
	})
}

func failedUpdateNeverHappened(t *testing.T, f *fixture) {
	f.put(t, user(1), session(1, id(1)), ticket(1, id(1)), outgoing(1), authn.Key{ID: "k", Algorithm: "EdDSA", CreatedAt: at(1)}, counter("c", 1), event(1, authn.UserCreated, "", id(1)))
	before := dump(t, f)
	err := f.try(t, func(tx authn.Tx) error {
		u := user(1)
		u.Username, u.Email, u.Name, u.Roles, u.Active = "renamed", "new@example.com", "New", []string{"admin"}, false
		must(t, put(tx, u, user(2), session(1, id(2)), session(2, id(1)), ticket(1, id(2)), ticket(2, id(1)), outgoing(2), authn.Key{ID: "l"}, counter("c", 7), counter("d", 1), event(2, authn.UserUpdated, id(1), "")))
		must(t, tx.DeleteUser(id(2)))
		must(t, tx.DeleteKey("k"))
		must(t, tx.DeleteOutgoing(id(1)))
		must(t, tx.DeleteTicket(id(2)))
		return tx.DeleteCounter("c")
	})
	must(t, err)
	wantEqual(t, dump(t, f), before)
	f.reopen(t)
	wantEqual(t, dump(t, f), before)
	// The names that were taken and given up again are free, tombstones too.
	other := user(3)
	other.Username, other.Email = "RENAMED", "new@example.com"
	f.put(t, other, user(2))
}

// snapshot is everything that can be read.
type snapshot struct {
	Users    []authn.User
	Total    int
	Admins   int
	Editors  int
	Sessions []authn.Session
	Tickets  []authn.Ticket
	Outbox   []authn.Outgoing
	Waiting  int
	Keys     []authn.Key
	Events   []authn.Event
	Counters []authn.Counter
	Expired  []authn.Expired
}

func dump(t *testing.T, f *fixture) (s snapshot) {
	t.Helper()
	f.view(t, func(tx authn.Tx) error {
		page, err := tx.Users(authn.UserQuery{Limit: 1000})
		must(t, err)
		s.Users, s.Total = page.Users, page.Total
		for _, u := range s.Users {
			sessions, err := tx.SessionsOf(u.ID)
			must(t, err)
			s.Sessions = append(s.Sessions, sessions...)
			tickets, err := tx.TicketsOf(u.ID)
			must(t, err)
			s.Tickets = append(s.Tickets, tickets...)
		}
		s.Outbox, s.Waiting, err = tx.Outbox(1000)
		must(t, err)
		s.Admins, err = tx.CountActive("admin", 1000)
		must(t, err)
		s.Editors, err = tx.CountActive("editor", 1000)
		must(t, err)
		s.Keys, err = tx.Keys()
		must(t, err)
		s.Events, err = tx.Events(authn.EventQuery{Limit: 1000})
		must(t, err)
		must(t, tx.Counters("", func(c authn.Counter) bool {
			s.Counters = append(s.Counters, c)
			return true
		}))
		s.Expired, err = tx.Expired(at(1<<30), 1000)
		return err
	})
	return s
}

// failuresAreAlone lets half of a crowd fail: a store that commits several
// updates at once must not mix them up.
func failuresAreAlone(t *testing.T, f *fixture) {
	mine := errors.New("mine")
	errs := make([]error, crowd)
	together(crowd, func(i int) {
		errs[i] = f.Update(context.Background(), func(tx authn.Tx) error {
			c, err := tx.Counter("n")
			if err != nil && err != authn.ErrNotFound {
				return err
			}
			if err := put(tx, user(i), session(i, id(i)), counter("n", c.Count+1)); err != nil {
				return err
			}
			if i%2 == 1 {
				return mine
			}
			return nil
		})
	})
	f.view(t, func(tx authn.Tx) error {
		for i, got := range errs {
			_, err := tx.User(id(i))
			if i%2 == 1 {
				if got != mine {
					t.Errorf("update %d: got %v, want fn's error as it is", i, got)
				}
				wantNotFound(t, err)
				_, err = tx.Session(id(i))
				wantNotFound(t, err)
				continue
			}
			must(t, errors.Join(got, err))
		}
		c, err := tx.Counter("n")
		wantEqual(t, c.Count, float64(crowd/2))
		return err
	})
}

func committedIsDurable(t *testing.T, f *fixture) {
	f.put(t, user(1), user(2), session(1, id(1)), authn.Key{ID: "k", Algorithm: "EdDSA", Private: "der", CreatedAt: at(1)}, counter("c", 1.5), event(1, authn.UserCreated, "", id(1)))
	f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(id(2)) })
	before := dump(t, f)
	wantEqual(t, len(before.Users), 1)
	f.reopen(t)
	wantEqual(t, dump(t, f), before)
}

func nothingIsLost(t *testing.T, f *fixture) {
	f.put(t, user(1), session(1, id(1)), authn.Key{ID: "k"}, counter("c", 0))
	together(crowd, func(i int) {
		err := f.Update(context.Background(), func(tx authn.Tx) error {
			u, err1 := tx.User(id(1))
			u.Networks = append(u.Networks, authn.KnownNetwork{Network: id(i)})
			s, err2 := tx.Session(id(1))
			s.Chain.Gen++
			s.IdleEnd = s.IdleEnd.Add(1)
			c, err3 := tx.Counter("c")
			c.Count++
			keys, err4 := tx.Keys()
			keys[0].CreatedAt = keys[0].CreatedAt.Add(1)
			return errors.Join(err1, err2, err3, err4, put(tx, u, s, c, keys[0], event(i, authn.UserUpdated, "", id(1))))
		})
		if err != nil {
			t.Error(err)
		}
	})
	f.view(t, func(tx authn.Tx) error {
		u, err1 := tx.User(id(1))
		wantEqual(t, len(u.Networks), len(user(1).Networks)+crowd)
		s, err2 := tx.Session(id(1))
		wantEqual(t, s.Chain.Gen, session(1, id(1)).Chain.Gen+crowd)
		c, err3 := tx.Counter("c")
		wantEqual(t, c.Count, float64(crowd))
		keys, err4 := tx.Keys()
		wantEqual(t, keys[0].CreatedAt.Nanosecond(), crowd)
		events, err5 := tx.Events(authn.EventQuery{Limit: 2 * crowd})
		wantEqual(t, len(events), crowd)
		expired, err6 := tx.Expired(at(1<<30), 10*crowd)
		wantEqual(t, len(expired), crowd+2) // the events, one session, one counter
		return errors.Join(err1, err2, err3, err4, err5, err6)
	})
}

// invariantsHold lets everyone step down at once; one must stay.
func invariantsHold(t *testing.T, f *fixture) {
	f.update(t, func(tx authn.Tx) error {
		for i := range crowd {
			u := user(i)
			u.Roles = []string{"admin"}
			must(t, tx.PutUser(u))
		}
		return nil
	})
	stay := errors.New("the last one")
	together(crowd, func(i int) {
		err := f.Update(context.Background(), func(tx authn.Tx) error {
			if n, err := tx.CountActive("admin", 2); err != nil || n < 2 {
				return errors.Join(stay, err)
			}
			u, err := tx.User(id(i))
			u.Active = false
			return errors.Join(err, tx.PutUser(u))
		})
		if err != nil && !errors.Is(err, stay) {
			t.Error(err)
		}
	})
	f.view(t, func(tx authn.Tx) error {
		n, err := tx.CountActive("admin", crowd)
		wantEqual(t, n, 1)
		return err
	})
}

func endedContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantErr(t, f.Update(ctx, func(tx authn.Tx) error { return tx.PutUser(user(1)) }), context.Canceled)
	wantErr(t, f.View(ctx, func(authn.Tx) error { t.Error("fn was called"); return nil }), context.Canceled)
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.User(id(1))
		wantNotFound(t, err)
		return nil
	})
}

func contextEndsWhileWaiting(t *testing.T, f *fixture) {
	inside, leave, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		first <- f.Update(context.Background(), func(tx authn.Tx) error {
			select {
			case <-inside: // called again
			default:
				close(inside)
			}
			<-leave
			return tx.PutUser(user(1))
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan error, crowd)
	for range crowd {
		go func() {
			second <- f.Update(ctx, func(tx authn.Tx) error { return tx.PutCounter(counter("c", 1)) })
		}()
	}
	cancel()
	for range crowd {
		wantErr(t, <-second, context.Canceled)
	}
	close(leave)
	must(t, <-first)
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.Counter("c")
		wantNotFound(t, err)
		_, err = tx.User(id(1))
		return err
	})
}

func panicInUpdate(t *testing.T, f *fixture) {
	errs := make([]error, crowd)
	together(crowd, func(i int) {
		errs[i] = f.Update(context.Background(), func(tx authn.Tx) error {
			must(t, put(tx, user(i)))
			if i%10 == 3 {
				panic("in fn")
			}
			return nil
		})
	})
	f.view(t, func(tx authn.Tx) error {
		for i, got := range errs {
			_, err := tx.User(id(i))
			if i%10 != 3 {
				must(t, errors.Join(got, err))
				continue
			}
			if got == nil {
				t.Errorf("update %d panicked: got no error", i)
			}
			wantNotFound(t, err)
		}
		page, err := tx.Users(authn.UserQuery{Limit: 1})
		wantEqual(t, page.Total, crowd*9/10)
		return err
	})
}

func panicInView(t *testing.T, f *fixture) {
	if err := f.View(t.Context(), func(authn.Tx) error { panic("in fn") }); err == nil {
		t.Error("got no error")
	}
	f.put(t, user(1))
	must(t, f.Close()) // would wait for a view that was left open
	f.Store = f.open(t, f.dir)
}

func goexitInUpdate(t *testing.T, f *fixture) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Update(context.Background(), func(tx authn.Tx) error {
			tx.PutUser(user(1))
			runtime.Goexit() // what FailNow does
			return nil
		})
	}()
	<-ended
	f.put(t, user(2))
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.User(id(1))
		wantNotFound(t, err)
		return nil
	})
}

func checkPasses(t *testing.T, f *fixture) {
	f.put(t, user(1))
	before := dump(t, f)
	for range 3 {
		must(t, f.Check(t.Context()))
	}
	wantEqual(t, dump(t, f), before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, f.Check(ctx), context.Canceled)
}

func closed(t *testing.T, f *fixture) {
	must(t, f.Close())
	ctx := context.Background()
	for name, err := range map[string]error{
		"View":   f.View(ctx, func(authn.Tx) error { return nil }),
		"Update": f.Update(ctx, func(authn.Tx) error { return nil }),
		"Check":  f.Check(ctx),
		"Watch":  f.Watch(ctx, func() {}, func(authn.Change) {}),
		"Close":  f.Close(),
	} {
		if err == nil {
			t.Errorf("%s after Close: got no error", name)
		}
	}
}
