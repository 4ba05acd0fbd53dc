package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

var listTests = []test{
	{"every query answers like a walk over all users", listingLikeAWalk},
	{"pages follow one another without gap or repeat", pagesFollow},
	{"the listing stays right inside a transaction that deletes", listingWhileDeleting},
	{"a total is counted up to its bound", totalIsBounded},
	{"an unfiltered total is exact", unfilteredTotal},
	{"a limit is needed", limitNeeded},
}

// people are users that share prefixes across their names, put in an order
// that is not the listing's.
func people(n int) []authn.User {
	names := []string{"Al", "alba", "Bo", "bob", "Ål", "zed"}
	var users []authn.User
	for i := range n {
		k := (i * 37) % n // all of 0..n-1 when n is not a multiple of 37
		u := authn.User{ID: id(k), Active: k%3 != 0, CreatedAt: at(k)}
		if k%2 == 0 {
			u.Username = fmt.Sprintf("%s.%d", names[k%2], k)
		}
		if k%5 != 0 {
			u.Email = fmt.Sprintf("al%d@example.com", k)
		}
		u.Name = names[k%len(names)]
		for _, role := range []string{"admin", "user"} {
			if k%7 == len(role)%7 || role == "user" && k%2 == 1 {
				u.Roles = append(u.Roles, role)
			}
		}
		users = append(users, u)
	}
	return users
}

// naive is the listing written as its definition.
func naive(all []authn.User, q authn.UserQuery) authn.UserPage {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b authn.User) int { return strings.Compare(b.ID, a.ID) })
	matches := slices.DeleteFunc(all, func(u authn.User) bool {
		starts := func(s string) bool {
			return s != "" && strings.HasPrefix(strings.ToLower(s), strings.ToLower(q.Prefix))
		}
		return q.Prefix != "" && !starts(u.Username) && !starts(u.Email) && !starts(u.Name) ||
			q.Role != "" && !u.HasRole(q.Role) ||
			q.Active != nil && u.Active != *q.Active
	})
	page := authn.UserPage{Total: min(len(matches), q.CountTo), AtLeast: q.CountTo > 0 && len(matches) > q.CountTo}
	if q.Prefix == "" && q.Role == "" && q.Active == nil {
		page.Total, page.AtLeast = len(matches), false
	}
	if q.After != "" {
		matches = slices.DeleteFunc(matches, func(u authn.User) bool { return u.ID >= q.After })
	}
	matches = matches[min(q.Skip, len(matches)):]
	if matches = matches[:min(q.Limit, len(matches))]; len(matches) > 0 {
		page.Users = matches
	}
	return page
}

func listingLikeAWalk(t *testing.T, f *fixture) {
	users := people(60)
	for _, u := range users {
		f.put(t, u)
	}
	yes, no := true, false
	f.view(t, func(tx authn.Tx) error {
		for _, prefix := range []string{"", "a", "AL", "al.1", "bo", "åL", "al1@", "x", "al\x00"} {
			for _, role := range []string{"", "admin", "user", "Admin"} {
				for _, active := range []*bool{nil, &yes, &no} {
					for _, after := range []string{"", id(30), id(31) + "x", "0", id(0)} {
						for _, skip := range []int{0, 1, 7, 100} {
							for _, n := range []int{0, 1, 5, 20, 60} {
								q := authn.UserQuery{Prefix: prefix, Role: role, Active: active, After: after, Skip: skip, Limit: max(1, n/2), CountTo: n}
								got, err := tx.Users(q)
								must(t, err)
								if want := naive(users, q); !slices.EqualFunc(got.Users, want.Users, sameID) || got.Total != want.Total || got.AtLeast != want.AtLeast {
									t.Fatalf("%+v: got %s, want %s", q, summary(got), summary(want))
								}
							}
						}
					}
				}
			}
		}
		return nil
	})
}

func sameID(a, b authn.User) bool { return a.ID == b.ID }

func summary(p authn.UserPage) string {
	var ids []string
	for _, u := range p.Users {
		ids = append(ids, strings.TrimLeft(u.ID, "0"))
	}
	return fmt.Sprintf("%v of %d (at least: %v)", ids, p.Total, p.AtLeast)
}

func pagesFollow(t *testing.T, f *fixture) {
	users := people(53)
	for _, u := range users {
		f.put(t, u)
	}
	want := naive(users, authn.UserQuery{Limit: 100}).Users
	f.view(t, func(tx authn.Tx) error {
		var bySkip, byAfter []authn.User
		for skip := 0; ; skip += 10 {
			page, err := tx.Users(authn.UserQuery{Skip: skip, Limit: 10})
			must(t, err)
			if len(page.Users) == 0 {
				break
			}
			bySkip = append(bySkip, page.Users...)
		}
		for after := ""; ; {
			page, err := tx.Users(authn.UserQuery{After: after, Limit: 10})
			must(t, err)
			if len(page.Users) == 0 {
				break
			}
			byAfter = append(byAfter, page.Users...)
			after = page.Users[len(page.Users)-1].ID
		}
		wantEqual(t, bySkip, want)
		wantEqual(t, byAfter, want)
		return nil
	})
}

// listingWhileDeleting empties long runs of neighbours first: an index that is
// walked backwards must step over what is no longer there.
func listingWhileDeleting(t *testing.T, f *fixture) {
	const n = 1000
	f.update(t, func(tx authn.Tx) error {
		for i := range n {
			must(t, tx.PutUser(authn.User{ID: id(i), Name: "x", Roles: []string{"user"}, Active: true}))
			must(t, tx.AddEvent(authn.Event{Kind: authn.UserCreated, Subject: id(i % 2)}, at(0)))
		}
		return nil
	})
	f.update(t, func(tx authn.Tx) error {
		for i := range n {
			if i > 10 && i < n-10 || i == 0 || i == n-1 {
				must(t, tx.DeleteUser(id(i)))
			}
		}
		events, err := tx.Events(authn.EventQuery{Limit: n})
		must(t, err)
		for _, e := range events[10 : n-10] {
			must(t, tx.DeleteEvent(e.ID))
		}
		for _, q := range []authn.UserQuery{{}, {Role: "user"}, {Prefix: "x"}} {
			q.Limit, q.CountTo = n, n
			page, err := tx.Users(q)
			must(t, err)
			if len(page.Users) != 19 || page.Total != 19 {
				t.Errorf("%+v: got %d users, total %d, want 19", q, len(page.Users), page.Total)
			}
		}
		events, err = tx.Events(authn.EventQuery{Limit: n})
		must(t, err)
		wantEqual(t, len(events), 20)
		events, err = tx.Events(authn.EventQuery{User: id(1), Limit: n})
		wantEqual(t, len(events), 10)
		return err
	})
}

func totalIsBounded(t *testing.T, f *fixture) {
	for i := range 10 {
		f.put(t, user(i))
	}
	for _, tt := range []struct {
		countTo, total int
		atLeast        bool
	}{{0, 0, false}, {1, 1, true}, {9, 9, true}, {10, 10, false}, {11, 10, false}} {
		f.view(t, func(tx authn.Tx) error {
			page, err := tx.Users(authn.UserQuery{Role: "user", Skip: 3, Limit: 2, CountTo: tt.countTo})
			if page.Total != tt.total || page.AtLeast != tt.atLeast || len(page.Users) != 2 {
				t.Errorf("count to %d: got %s, want 2 of %d (at least: %v)", tt.countTo, summary(page), tt.total, tt.atLeast)
			}
			return err
		})
	}
}

func unfilteredTotal(t *testing.T, f *fixture) {
	total := func(want int) {
		t.Helper()
		f.view(t, func(tx authn.Tx) error {
			for _, countTo := range []int{0, 1, 100} {
				page, err := tx.Users(authn.UserQuery{Limit: 1, CountTo: countTo})
				must(t, err)
				if page.Total != want || page.AtLeast {
					t.Errorf("got %s, want exactly %d", summary(page), want)
				}
			}
			return nil
		})
	}
	total(0)
	together(crowd, func(i int) { f.put(t, user(i)) })
	total(crowd)
	f.put(t, user(1)) // again: not one more
	total(crowd)
	together(10, func(i int) { f.update(t, func(tx authn.Tx) error { return tx.DeleteUser(id(i)) }) })
	total(crowd - 10)
	f.reopen(t)
	total(crowd - 10)
}

func limitNeeded(t *testing.T, f *fixture) {
	f.view(t, func(tx authn.Tx) error {
		for _, limit := range []int{0, -1} {
			if _, err := tx.Users(authn.UserQuery{Limit: limit}); err == nil {
				t.Errorf("Users with limit %d: got no error", limit)
			}
			if _, err := tx.Events(authn.EventQuery{Limit: limit}); err == nil {
				t.Errorf("Events with limit %d: got no error", limit)
			}
		}
		return nil
	})
}
