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
// nanoseconds each, and never by the size of the records. A prefix costs by all
// that begin with it, for its matches must be put in order: about a microsecond
// each.

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
		l.each(t.idsByPrefix(q.Prefix))
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
// first, each once. The slices are bbolt's.
func (t *tx) idsByPrefix(prefix string) [][]byte {
	if !plain(prefix) {
		return nil // no name begins so, but a key with its separator might
	}
	var ids [][]byte
	p := fold(prefix)
	t.ascend(usernamesBucket, p, func(_, entry []byte) bool {
		if len(entry) > 1 && entry[0] == '=' {
			ids = append(ids, entry[1:])
		}
		return true
	})
	t.ascend(emailsBucket, p, func(_, id []byte) bool {
		ids = append(ids, id)
		return true
	})
	t.ascend(namesBucket, p, func(rest, _ []byte) bool {
		ids = append(ids, rest[bytes.LastIndexByte(rest, 0)+1:])
		return true
	})
	slices.SortFunc(ids, func(a, b []byte) int { return bytes.Compare(b, a) })
	return slices.CompactFunc(ids, bytes.Equal)
}
