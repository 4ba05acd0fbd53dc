package bolt

import (
	"bytes"
	"errors"
	"slices"

	"github.com/doorward/doorward/authn"
)

// Session implements authn.Tx.
func (t *tx) Session(id string) (authn.Session, error) {
	r, err := load[sessionRecord](t, sessionsBucket, id)
	if err != nil {
		return authn.Session{}, err
	}
	return r.session(id), nil
}

// PutSession implements authn.Tx.
func (t *tx) PutSession(s authn.Session) error {
	switch {
	case !t.writable:
		return errReadOnly
	case s.ID == "" || s.User == "":
		return errors.New("store: a session needs an id and a user")
	case !plain(s.ID, s.User):
		return errNotPlain
	}
	old, err := t.Session(s.ID)
	if err != nil && !errors.Is(err, authn.ErrNotFound) {
		return err
	}
	if err == nil {
		if err := t.unindexSession(old, s); err != nil {
			return err
		}
	}
	t.changed(authn.Change{User: s.User, Session: s.ID})
	return errors.Join(
		t.index(sessionsOfBucket, sessionOf(s), nil),
		t.expire(kindSession, s.ID, s.Expires()),
		t.save(sessionsBucket, s.ID, newSessionRecord(s)),
	)
}

// DeleteSession implements authn.Tx.
func (t *tx) DeleteSession(id string) error {
	if !t.writable {
		return errReadOnly
	}
	s, err := t.Session(id)
	if err != nil {
		return err
	}
	t.changed(authn.Change{User: s.User, Session: id})
	return errors.Join(t.unindexSession(s, authn.Session{}), t.del(sessionsBucket, []byte(id)))
}

// SessionsOf implements authn.Tx.
func (t *tx) SessionsOf(user string) ([]authn.Session, error) {
	var sessions []authn.Session
	var err error
	t.ascend(sessionsOfBucket, pair(user, ""), func(rest, _ []byte) bool {
		var s authn.Session
		s, err = t.Session(string(rest[stampSize:]))
		sessions = append(sessions, s)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return sessions, nil
}

// unindexSession takes out what is no longer so of the session once it is now.
func (t *tx) unindexSession(s, now authn.Session) error {
	var err error
	if !bytes.Equal(sessionOf(s), sessionOf(now)) {
		err = t.del(sessionsOfBucket, sessionOf(s))
	}
	if now.ID == "" || !s.Expires().Equal(now.Expires()) {
		err = errors.Join(err, t.unexpire(kindSession, s.ID, s.Expires()))
	}
	return err
}

// sessionOf is the session's key among its user's.
func sessionOf(s authn.Session) []byte {
	return slices.Concat(pair(s.User, ""), stamp(s.CreatedAt), []byte(s.ID))
}
