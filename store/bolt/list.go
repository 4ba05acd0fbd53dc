package bolt

import (
	"bytes"
	"slices"

	"github.com/doorward/doorward/authn"
)

// How users are listed. The answer is found among index keys, newest first:
// the ids of a role, or of a prefix, or of everyone. Filters are looked up by
// id in the other indexes, and only the users of the page are decoded. So a
// page costs by how many ids the narrowest index holds up to it, some tens of
// nanoseconds each, and never by the size of the records. The matches of a
// prefix must be put in order first, about a microsecond each; where there are
// very many, a walk through everyone meets enough of them soon.

const (
	fewMatches = 10_000 // of a prefix: they are gathered and sorted
	longWalk   = 50_000 // users looked at for a common prefix before that is given up
)

// Users implements authn.Tx.
func (t *tx) Users(q authn.UserQuery) (authn.UserPage, error) {
	if q.Limit <= 0 {
		return authn.UserPage{}, errLimit
	}
	l := listing{q: q, t: t}
	if unfiltered(q) {
		l.page.Total = t.users()
		l.q.CountTo = 0
	}
	switch {
	case q.Prefix != "":
		l = l.byPrefix()
	case q.Role != "":
		t.descend(rolesBucket, pair(q.Role, ""), l.start(), l.see)
	default:
		t.descend(statesBucket, nil, l.start(), l.see)
	}
	return l.page, l.err
}

func unfiltered(q authn.UserQuery) bool {
	return q.Prefix == "" && q.Role == "" && q.Active == nil
}

// listing is one Users under way.
type listing struct {
	q       authn.UserQuery
	t       *tx
	skipped int
	page    authn.UserPage
	err     error
}

// byPrefix lists those one of whose names begins with the prefix.
func (l listing) byPrefix() listing {
	ids, all := l.t.idsByPrefix(l.q.Prefix, fewMatches)
	if !all {
		if walked, done := l.walk(); done {
			return walked
		}
		ids, _ = l.t.idsByPrefix(l.q.Prefix, 0) // they are common, and all of them old
	}
	l.each(ids)
	return l
}

// walk looks at everyone's names, newest first. False if it took too long.
func (l listing) walk() (_ listing, done bool) {
	p, left := fold(l.q.Prefix), longWalk
	l.t.descend(statesBucket, nil, l.start(), func(id, state []byte) bool {
		if left--; left < 0 {
			return false
		}
		u, err := l.t.User(string(id))
		if err != nil {
			l.err = err
			return false
		}
		for _, name := range []string{u.Username, u.Email, u.Name} {
			if bytes.HasPrefix(fold(name), p) {
				return l.see(id, state)
			}
		}
		return true
	})
	return l, left >= 0
}

// start is where the walk begins: matches before it need no visit unless they
// are to be counted.
func (l *listing) start() string {
	if l.q.CountTo > 0 {
		return ""
	}
	return l.q.After
}

// each sees every id, without a state.
func (l *listing) each(ids [][]byte) {
	for _, id := range ids {
		if !l.see(id, nil) {
			return
		}
	}
}

// see takes the next id of the walk, with the user's state where the index
// tells it, and reports whether it wants another.
func (l *listing) see(id, state []byte) bool {
	if !l.matches(id, state) {
		return true
	}
	counting := l.count()
	if l.q.After != "" && string(id) >= l.q.After {
		return true
	}
	switch {
	case l.skipped < l.q.Skip:
		l.skipped++
	case len(l.page.Users) < l.q.Limit:
		u, err := l.t.User(string(id))
		if err != nil {
			l.err = err
			return false
		}
		l.page.Users = append(l.page.Users, u)
	}
	return counting || len(l.page.Users) < l.q.Limit
}

// count counts a match and reports whether counting goes on.
func (l *listing) count() bool {
	switch {
	case l.q.CountTo <= 0 || l.page.AtLeast:
		return false
	case l.page.Total == l.q.CountTo:
		l.page.AtLeast = true
		return false
	}
	l.page.Total++
	return true
}

// matches reports whether the user passes the filters the walk itself does
// not make.
func (l *listing) matches(id, state []byte) bool {
	if l.q.Role != "" && l.q.Prefix != "" && l.t.get(rolesBucket, pair(l.q.Role, string(id))) == nil {
		return false
	}
	if l.q.Active == nil {
		return true
	}
	if state == nil {
		state = l.t.get(statesBucket, id)
	}
	return bytes.Equal(state, flag(*l.q.Active))
}

// idsByPrefix are the users one of whose names begins with the prefix, newest
// first, each once, and whether these are all: it gives up past most names,
// unless most is 0. The slices are bbolt's.
func (t *tx) idsByPrefix(prefix string, most int) (ids [][]byte, all bool) {
	if !plain(prefix) {
		return nil, true // no name begins so, but a key with its separator might
	}
	p := fold(prefix)
	add := func(id []byte) bool {
		ids = append(ids, id)
		return most == 0 || len(ids) <= most
	}
	t.ascend(usernamesBucket, p, func(_, entry []byte) bool {
		return len(entry) <= 1 || entry[0] != '=' || add(entry[1:])
	})
	t.ascend(emailsBucket, p, func(_, id []byte) bool { return add(id) })
	t.ascend(namesBucket, p, func(rest, _ []byte) bool { return add(rest[bytes.LastIndexByte(rest, 0)+1:]) })
	if most > 0 && len(ids) > most {
		return nil, false
	}
	slices.SortFunc(ids, func(a, b []byte) int { return bytes.Compare(b, a) })
	return slices.CompactFunc(ids, bytes.Equal), true
}
