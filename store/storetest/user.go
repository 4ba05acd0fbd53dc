package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

var userTests = []test{
	{"free names are free, and no others", namesFree},
	{"a user comes back as it was put", userRoundTrip},
	{"times come back in UTC", timesInUTC},
	{"an unknown user is ErrNotFound", unknownUser},
	{"names are found ignoring case", namesIgnoreCase},
	{"names are unique ignoring case", namesAreUnique},
	{"a refused put changes nothing even if fn goes on", refusedPutChangesNothing},
	{"a user keeps its own names when put again", ownNamesStay},
	{"one of a crowd gets the name", oneWinner},
	{"a username given up stays reserved for its user", givenUpUsername},
	{"an email given up is free", givenUpEmail},
	{"names of deleted users stay taken", tombstones},
	{"users without names do not collide", noNames},
	{"delete removes the user from every listing", deleteUser},
	{"delete removes nothing else", deleteLeavesSessions},
	{"active holders of a role are counted up to a limit", countActive},
	{"slices belong to whoever received them", slicesAreCopies},
}

func userRoundTrip(t *testing.T, f *fixture) {
	bare := authn.User{ID: id(2)}
	f.put(t, user(1), bare)
	check := func() {
		f.view(t, func(tx authn.Tx) error {
			full, err1 := tx.User(id(1))
			wantEqual(t, full, user(1))
			got, err2 := tx.User(id(2))
			wantEqual(t, got, bare)
			return errors.Join(err1, err2)
		})
	}
	check()
	f.reopen(t)
	check()
	changed := user(1)
	changed.Roles, changed.Networks, changed.Active, changed.PasswordHash = []string{"admin"}, nil, false, ""
	f.put(t, changed)
	f.view(t, func(tx authn.Tx) error {
		got, err := tx.User(id(1))
		wantEqual(t, got, changed)
		return err
	})
}

func timesInUTC(t *testing.T, f *fixture) {
	there := time.FixedZone("there", 5*3600)
	u, s := user(1), session(1, id(1))
	u.CreatedAt, s.End = u.CreatedAt.In(there), s.End.In(there)
	f.put(t, u, s)
	f.view(t, func(tx authn.Tx) error {
		gotUser, err1 := tx.User(id(1))
		gotSession, err2 := tx.Session(id(1))
		wantEqual(t, gotUser, user(1))
		wantEqual(t, gotSession, session(1, id(1)))
		return errors.Join(err1, err2)
	})
}

func unknownUser(t *testing.T, f *fixture) {
	f.put(t, user(1))
	f.update(t, func(tx authn.Tx) error {
		_, err := tx.User(id(9))
		wantNotFound(t, err)
		for _, name := range []string{"nobody", "", "user", "user1@example.com"} {
			_, err = tx.UserByUsername(name)
			wantNotFound(t, err)
		}
		for _, email := range []string{"nobody@example.com", "", "user1"} {
			_, err = tx.UserByEmail(email)
			wantNotFound(t, err)
		}
		wantNotFound(t, tx.DeleteUser(id(9)))
		return nil
	})
}

func namesIgnoreCase(t *testing.T, f *fixture) {
	f.put(t, user(1))
	f.view(t, func(tx authn.Tx) error {
		for _, name := range []string{"User1", "user1", "USER1"} {
			u, err := tx.UserByUsername(name)
			must(t, err)
			wantEqual(t, u, user(1))
		}
		for _, email := range []string{"user1@example.com", "USER1@Example.COM"} {
			u, err := tx.UserByEmail(email)
			must(t, err)
			wantEqual(t, u, user(1))
		}
		return nil
	})
}

// named is a user with these names and no more.
func named(n int, username, email string) authn.User {
	return authn.User{ID: id(n), Username: username, Email: email, Active: true}
}

func namesAreUnique(t *testing.T, f *fixture) {
	f.put(t, named(1, "Ann", "ann@example.com"))
	for _, tt := range []struct {
		name string
		user authn.User
		want error
	}{
		{"same username", named(2, "Ann", ""), authn.ErrUsernameTaken},
		{"username in another case", named(2, "aNN", ""), authn.ErrUsernameTaken},
		{"same email", named(2, "", "ann@example.com"), authn.ErrEmailTaken},
		{"email in another case", named(2, "", "ANN@example.com"), authn.ErrEmailTaken},
		{"other names", named(2, "Anna", "anna@example.com"), nil},
		{"a username like the email", named(2, "ann.example.com", ""), nil},
	} {
		if got := f.try(t, func(tx authn.Tx) error { return tx.PutUser(tt.user) }); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	// Taking the name of another by a change is refused as well.
	f.put(t, named(2, "Bob", "bob@example.com"))
	wantErr(t, f.try(t, func(tx authn.Tx) error { return tx.PutUser(named(2, "ANN", "bob@example.com")) }), authn.ErrUsernameTaken)
	wantErr(t, f.try(t, func(tx authn.Tx) error { return tx.PutUser(named(2, "Bob", "Ann@example.com")) }), authn.ErrEmailTaken)
}

func refusedPutChangesNothing(t *testing.T, f *fixture) {
	f.put(t, named(1, "Ann", "ann@example.com"), named(2, "Bob", "bob@example.com"))
	before := dump(t, f)
	f.update(t, func(tx authn.Tx) error {
		wantErr(t, tx.PutUser(named(2, "Carl", "ann@example.com")), authn.ErrEmailTaken)
		wantErr(t, tx.PutUser(named(3, "Ann", "new@example.com")), authn.ErrUsernameTaken)
		return nil
	})
	wantEqual(t, dump(t, f), before)
	f.put(t, named(4, "Carl", "new@example.com"))
}

func ownNamesStay(t *testing.T, f *fixture) {
	f.put(t, named(1, "Ann", "ann@example.com"))
	f.put(t, named(1, "ANN", "ann@example.com"))
	f.view(t, func(tx authn.Tx) error {
		u, err := tx.UserByUsername("ann")
		wantEqual(t, u.Username, "ANN")
		return err
	})
}

func oneWinner(t *testing.T, f *fixture) {
	var won atomic.Int32
	together(crowd, func(i int) {
		u := named(i, "Ann", "")
		want := authn.ErrUsernameTaken
		if i%2 == 1 {
			u, want = named(i, "", "ann@example.com"), authn.ErrEmailTaken
		}
		switch err := f.Update(context.Background(), func(tx authn.Tx) error { return tx.PutUser(u) }); {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, want):
			t.Errorf("got %v, want %v", err, want)
		}
	})
	wantEqual(t, won.Load(), int32(2)) // one username, one email
	wantEqual(t, dump(t, f).Total, 2)
}

func givenUpUsername(t *testing.T, f *fixture) {
	f.put(t, named(1, "Ann", ""))
	f.put(t, named(1, "Anna", ""))
	f.put(t, named(1, "", ""))
	f.reopen(t)
	for _, name := range []string{"ann", "ANNA"} {
		wantErr(t, f.try(t, func(tx authn.Tx) error { return tx.PutUser(named(2, name, "")) }), authn.ErrUsernameTaken)
		f.view(t, func(tx authn.Tx) error {
			_, err := tx.UserByUsername(name)
			wantNotFound(t, err)
			page, err := tx.Users(authn.UserQuery{Prefix: name, Limit: 5})
			wantEqual(t, len(page.Users), 0)
			return err
		})
	}
	f.put(t, named(1, "ann", ""))
	f.view(t, func(tx authn.Tx) error {
		u, err := tx.UserByUsername("Ann")
		wantEqual(t, u.ID, id(1))
		return err
	})
	f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(id(1)) })
	for _, name := range []string{"Ann", "Anna"} {
		wantErr(t, f.try(t, func(tx authn.Tx) error { return tx.PutUser(named(2, name, "")) }), authn.ErrUsernameTaken)
	}
}

func givenUpEmail(t *testing.T, f *fixture) {
	f.put(t, named(1, "", "ann@example.com"))
	f.put(t, named(1, "", "anna@example.com"))
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.UserByEmail("ann@example.com")
		wantNotFound(t, err)
		return nil
	})
	f.put(t, named(2, "", "ann@example.com"))
}

func tombstones(t *testing.T, f *fixture) {
	f.put(t, named(1, "Ann", "ann@example.com"))
	f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(id(1)) })
	f.reopen(t)
	for _, n := range []int{1, 2} {
		wantErr(t, f.try(t, func(tx authn.Tx) error { return tx.PutUser(named(n, "aNN", "")) }), authn.ErrUsernameTaken)
		wantErr(t, f.try(t, func(tx authn.Tx) error { return tx.PutUser(named(n, "", "ANN@example.com")) }), authn.ErrEmailTaken)
	}
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.UserByUsername("Ann")
		wantNotFound(t, err)
		_, err = tx.UserByEmail("ann@example.com")
		wantNotFound(t, err)
		return nil
	})
	// A username is not an email: one does not block the other.
	f.put(t, named(3, "ann@example.com", ""), named(4, "", "ann"))
}

func noNames(t *testing.T, f *fixture) {
	f.put(t, named(1, "", "a@example.com"), named(2, "", "b@example.com"), named(3, "c", ""), named(4, "d", ""))
	f.update(t, func(tx authn.Tx) error { return errors.Join(tx.DeleteUser(id(1)), tx.DeleteUser(id(3))) })
	f.put(t, named(5, "", ""), named(6, "", ""))
}

func deleteUser(t *testing.T, f *fixture) {
	f.put(t, user(1), user(2))
	f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(id(1)) })
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.User(id(1))
		wantNotFound(t, err)
		for _, q := range []authn.UserQuery{{}, {Prefix: "u"}, {Role: "editor"}, {Prefix: "ursula"}} {
			q.Limit, q.CountTo = 10, 10
			page, err := tx.Users(q)
			must(t, err)
			wantEqual(t, page, authn.UserPage{Users: []authn.User{user(2)}, Total: 1})
		}
		n, err := tx.CountActive("editor", 10)
		wantEqual(t, n, 1)
		return err
	})
}

func deleteLeavesSessions(t *testing.T, f *fixture) {
	f.put(t, user(1), session(1, id(1)), event(1, authn.UserCreated, "", id(1)))
	f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(id(1)) })
	f.view(t, func(tx authn.Tx) error {
		_, err := tx.Session(id(1))
		must(t, err)
		events, err := tx.Events(authn.EventQuery{User: id(1), Limit: 5})
		wantEqual(t, len(events), 1)
		return err
	})
}

func countActive(t *testing.T, f *fixture) {
	role := func(n int, active bool, roles ...string) authn.User {
		return authn.User{ID: id(n), Roles: roles, Active: active}
	}
	f.put(t, role(1, true, "admin"), role(2, false, "admin"), role(3, true, "admin", "user"), role(4, true, "administrator"), role(5, true))
	count := func(role string, limit, want int) {
		t.Helper()
		f.view(t, func(tx authn.Tx) error {
			got, err := tx.CountActive(role, limit)
			wantEqual(t, got, want)
			return err
		})
	}
	count("admin", 10, 2)
	count("admin", 1, 1)
	count("Admin", 10, 0)
	count("admi", 10, 0)
	count("", 10, 0)
	count("administrator", 10, 1)
	f.put(t, role(1, false, "admin"), role(2, true, "admin"), role(3, true, "user"))
	count("admin", 10, 1)
	count("user", 10, 1)
}

func slicesAreCopies(t *testing.T, f *fixture) {
	u, s := user(1), session(1, id(1))
	f.put(t, u, s)
	u.Roles[0], s.CookieHash[0], s.Chain.Links[0].Seed[0] = "mine", 'x', 'x'
	f.view(t, func(tx authn.Tx) error {
		u, err1 := tx.User(id(1))
		wantEqual(t, u, user(1))
		s, err2 := tx.Session(id(1))
		wantEqual(t, s, session(1, id(1)))
		u.Roles[0], s.CookieHash[0], s.Chain.Gen = "mine", 'x', 0
		return errors.Join(err1, err2)
	})
	f.view(t, func(tx authn.Tx) error {
		u, err1 := tx.User(id(1))
		wantEqual(t, u, user(1))
		s, err2 := tx.Session(id(1))
		wantEqual(t, s, session(1, id(1)))
		return errors.Join(err1, err2)
	})
}

func namesFree(t *testing.T, f *fixture) {
	gone, moved := user(2), user(3)
	f.put(t, user(1), gone, moved)
	moved.Username, moved.Email = "Moved", "moved@example.com"
	f.put(t, moved)
	f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(gone.ID) })
	for _, tt := range []struct {
		name, username, email string
		want                  error
	}{
		{"nothing", "", "", nil},
		{"new ones", "User4", "user4@example.com", nil},
		{"a username", "uSER1", "user4@example.com", authn.ErrUsernameTaken},
		{"an email", "", "USER1@example.com", authn.ErrEmailTaken},
		{"a username of someone deleted", "user2", "", authn.ErrUsernameTaken},
		{"an email of someone deleted", "", "user2@example.com", authn.ErrEmailTaken},
		{"a username somebody gave up", "user3", "", authn.ErrUsernameTaken},
		{"an email somebody gave up", "", "user3@example.com", nil},
	} {
		f.view(t, func(tx authn.Tx) error {
			if got := tx.NamesFree(tt.username, tt.email); got != tt.want {
				t.Errorf("%s: got %v, want %v, bare", tt.name, got, tt.want)
			}
			return nil
		})
		other := user(9)
		other.Username, other.Email = tt.username, tt.email
		if got := f.try(t, func(tx authn.Tx) error { return tx.PutUser(other) }); got != tt.want {
			t.Errorf("%s: PutUser says %v, want %v like NamesFree", tt.name, got, tt.want)
		}
	}
}
