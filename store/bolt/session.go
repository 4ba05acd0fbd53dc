package bolt

import (
	"bytes"
	"errors"
	"slices"
	"time"

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
	r := newSessionRecord(s)
	old, err := load[sessionRecord](t, sessionsBucket, s.ID)
	if err != nil && !errors.Is(err, authn.ErrNotFound) {
		return err
	}
	if err == nil {
		if at := old.due(); at.Before(s.Expires()) {
			r.Due = at
		}
		if err := t.unindexSession(s.ID, old, r); err != nil {
			return err
		}
	}
	t.changed(authn.Change{User: s.User, Session: s.ID})
	return errors.Join(
		t.index(sessionsOfBucket, sessionOf(s), nil),
		t.expire(kindSession, s.ID, r.due()),
		t.save(sessionsBucket, s.ID, r),
	)
}

// due is when a sweep is to look at the session: at its end, or before where
// the end was put off. A refresh does that every few minutes; moving the entry
// each time would write two more pages than the session's own, to sweep a
// session that is long in use.
func (r sessionRecord) due() time.Time {
	if !r.Due.IsZero() {
		return r.Due
	}
	return r.session("").Expires()
}

// putOff moves the session's entry to its end.
func (t *tx) putOff(id string, r sessionRecord) error {
	err := t.unexpire(kindSession, id, r.due())
	r.Due = time.Time{}
	return errors.Join(err, t.expire(kindSession, id, r.due()), t.save(sessionsBucket, id, r))
}

// DeleteSession implements authn.Tx.
func (t *tx) DeleteSession(id string) error {
	if !t.writable {
		return errReadOnly
	}
	r, err := load[sessionRecord](t, sessionsBucket, id)
	if err != nil {
		return err
	}
	t.changed(authn.Change{User: r.User, Session: id})
	return errors.Join(t.unindexSession(id, r, sessionRecord{}), t.del(sessionsBucket, []byte(id)))
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

// unindexSession takes out what is no longer so of the session once it is now;
// a now without a version is none.
func (t *tx) unindexSession(id string, old, now sessionRecord) error {
	var err error
	if place := sessionOf(old.session(id)); now.V == 0 || !bytes.Equal(place, sessionOf(now.session(id))) {
		err = t.del(sessionsOfBucket, place)
	}
	if now.V == 0 || !old.due().Equal(now.due()) {
		err = errors.Join(err, t.unexpire(kindSession, id, old.due()))
	}
	return err
}

// sessionOf is the session's key among its user's.
func sessionOf(s authn.Session) []byte {
	return slices.Concat(pair(s.User, ""), stamp(s.CreatedAt), []byte(s.ID))
}
