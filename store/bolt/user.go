package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/doorward/doorward/authn"
)

// User implements authn.Tx.
func (t *tx) User(id string) (authn.User, error) {
	r, err := load[userRecord](t, usersBucket, id)
	if err != nil {
		return authn.User{}, err
	}
	return r.user(id), nil
}

// UserByUsername implements authn.Tx.
func (t *tx) UserByUsername(username string) (authn.User, error) {
	id, current := owner(t.get(usernamesBucket, fold(username)))
	if !current {
		return authn.User{}, authn.ErrNotFound
	}
	return t.User(id)
}

// UserByEmail implements authn.Tx.
func (t *tx) UserByEmail(email string) (authn.User, error) {
	id := t.get(emailsBucket, fold(email))
	if id == nil {
		return authn.User{}, authn.ErrNotFound
	}
	return t.User(string(id))
}

// PutUser implements authn.Tx.
func (t *tx) PutUser(u authn.User) error {
	switch {
	case !t.writable:
		return errReadOnly
	case u.ID == "":
		return errors.New("store: a user needs an id")
	case !plain(u.ID, u.Username, u.Email, u.Name) || !plain(u.Roles...):
		return errNotPlain
	}
	old, err := load[userRecord](t, usersBucket, u.ID)
	known := err == nil
	if err != nil && !errors.Is(err, authn.ErrNotFound) {
		return err
	}
	// All that can refuse the user comes before the first write, so that a
	// caller may go on after ErrUsernameTaken.
	if err := t.namesFree(u.Username, u.Email, u.ID); err != nil {
		return err
	}
	r := newUserRecord(u, former(old, u.Username))
	if err := t.reindexUser(u.ID, old, r); err != nil {
		return err
	}
	if !known {
		if err := t.countUsers(+1); err != nil {
			return err
		}
	}
	t.changed(authn.Change{User: u.ID})
	return t.save(usersBucket, u.ID, r)
}

// DeleteUser implements authn.Tx.
func (t *tx) DeleteUser(id string) error {
	if !t.writable {
		return errReadOnly
	}
	r, err := load[userRecord](t, usersBucket, id)
	if err != nil {
		return err
	}
	if err := t.reindexUser(id, r, userRecord{}); err != nil {
		return err
	}
	names := r.Former
	if r.Username != "" {
		names = append(names, string(fold(r.Username)))
	}
	for _, name := range names {
		err = errors.Join(err, t.del(usernamesBucket, []byte(name)), t.put(tombstonesBucket, tombstone(usernamesBucket, name), nil))
	}
	if r.Email != "" {
		err = errors.Join(err, t.put(tombstonesBucket, tombstone(emailsBucket, string(fold(r.Email))), nil))
	}
	if err := errors.Join(err, t.del(usersBucket, []byte(id)), t.countUsers(-1)); err != nil {
		return err
	}
	t.changed(authn.Change{User: id})
	return nil
}

// reindexUser makes the user findable by everything in r, and no longer by what
// was only in old; an r without a version is nobody. But for the usernames:
// they are never free again while the user lives.
func (t *tx) reindexUser(id string, old, r userRecord) error {
	now := userEntries(id, r)
	var err error
	for _, e := range userEntries(id, old) {
		if !slices.ContainsFunc(now, e.samePlace) {
			err = errors.Join(err, t.del(e.bucket, e.key))
		}
	}
	if r.Username != "" {
		now = append(now, entry{usernamesBucket, fold(r.Username), []byte("=" + id)})
	}
	for _, name := range r.Former {
		now = append(now, entry{usernamesBucket, []byte(name), []byte("~" + id)})
	}
	for _, e := range now {
		err = errors.Join(err, t.index(e.bucket, e.key, e.value))
	}
	return err
}

// entry is one of a record's in an index.
type entry struct {
	bucket bucket
	key    []byte
	value  []byte
}

func (e entry) samePlace(x entry) bool { return e.bucket == x.bucket && bytes.Equal(e.key, x.key) }

// userEntries are where a user is found, but for the usernames.
func userEntries(id string, r userRecord) []entry {
	if r.V == 0 {
		return nil
	}
	entries := []entry{{statesBucket, []byte(id), flag(r.Active)}}
	if r.Email != "" {
		entries = append(entries, entry{emailsBucket, fold(r.Email), []byte(id)})
	}
	if r.Name != "" {
		entries = append(entries, entry{namesBucket, pair(string(fold(r.Name)), id), nil})
	}
	for _, role := range r.Roles {
		entries = append(entries, entry{rolesBucket, pair(role, id), flag(r.Active)})
	}
	return entries
}

// NamesFree implements authn.Tx.
func (t *tx) NamesFree(username, email string) error { return t.namesFree(username, email, "") }

// namesFree says whether the user with this id, or a new one, may have the
// names.
func (t *tx) namesFree(username, email, id string) error {
	switch {
	case !t.mayHave(usernamesBucket, username, id):
		return authn.ErrUsernameTaken
	case !t.mayHave(emailsBucket, email, id):
		return authn.ErrEmailTaken
	}
	return nil
}

// mayHave reports whether the user may take the name: nobody else has it, and
// nobody had it and was deleted.
func (t *tx) mayHave(b bucket, name, id string) bool {
	if name == "" {
		return true
	}
	folded := fold(name)
	holder := string(t.get(b, folded))
	if b == usernamesBucket {
		holder, _ = owner([]byte(holder))
	}
	if holder != "" {
		return holder == id
	}
	return t.get(tombstonesBucket, tombstone(b, string(folded))) == nil
}

// owner reads an entry of the usernames: whose it is, and whether the name is
// in use rather than given up.
func owner(entry []byte) (id string, current bool) {
	if len(entry) < 2 {
		return "", false
	}
	return string(entry[1:]), entry[0] == '='
}

// former are the usernames given up once old has taken the new one.
func former(old userRecord, username string) []string {
	now := string(fold(username))
	names := slices.Clone(old.Former)
	if old.Username != "" {
		names = append(names, string(fold(old.Username)))
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == now })
}

// tombstone is the key of a deleted user's name: enough to refuse the name to
// the next person, and no list of who was here.
func tombstone(b bucket, folded string) []byte {
	h := sha256.Sum256(pair(string(b), folded))
	return h[:]
}

// fold is a name as the indexes keep it. It never changes what is equal for
// usernames, which are ASCII.
func fold(name string) []byte { return []byte(strings.ToLower(name)) }

// countUsers moves the total.
func (t *tx) countUsers(by int) error {
	return t.put(metaBucket, metaUsers, binary.BigEndian.AppendUint64(nil, uint64(t.users()+by)))
}

// users is how many there are.
func (t *tx) users() int {
	v := t.get(metaBucket, metaUsers)
	if len(v) != 8 {
		return 0
	}
	return int(binary.BigEndian.Uint64(v))
}

// CountActive implements authn.Tx.
func (t *tx) CountActive(role string, limit int) (int, error) {
	n := 0
	t.ascend(rolesBucket, pair(role, ""), func(_, active []byte) bool {
		if n >= limit {
			return false
		}
		if bytes.Equal(active, flag(true)) {
			n++
		}
		return true
	})
	return n, nil
}

// plain reports whether texts can be index keys: NUL parts keys, and JSON would
// replace what is not UTF-8, so that record and index no longer agree.
func plain(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool {
		return strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)
	})
}

var errNotPlain = errors.New("store: a name or an id is not UTF-8, or has a NUL in it")

// errLimit is a programmer's mistake: a listing without an end.
var errLimit = errors.New("store: a listing needs a limit above zero")
