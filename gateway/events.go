package gateway

import (
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/doorward/doorward/authn"
)

// eventsPerPage is how many events one answer lists.
const eventsPerPage = 50

// eventsBody is one page of the security log; next is what to send as after for
// the page that follows, null on the last.
type eventsBody struct {
	Events []eventJSON `json:"events"`
	Next   *string     `json:"next"`
}

// ownEvents lists what happened to the caller's account, newest first.
func (s *Server) ownEvents(w *answer, r *http.Request) error {
	wrong := &authn.InputError{}
	after := readQuery(wrong, r, "after").Get("after")
	if !isCursor(after) {
		wrong.Add("after", "format", "send next of the page before")
	}
	if err := wrong.OrNil(); err != nil {
		return err
	}
	body, err := s.eventPage(r, authn.EventQuery{User: exchangeOf(r).identity.User.ID, After: after})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, body)
}

// allEvents lists the security log for an admin, newest first.
func (s *Server) allEvents(w *answer, r *http.Request, _ authn.Actor) error {
	q, err := s.eventQuery(r)
	if err != nil {
		return err
	}
	body, err := s.eventPage(r, q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, body)
}

// eventKind is how kinds of events are written.
var eventKind = regexp.MustCompile(`^[a-z_]{1,32}\.[a-z_]{1,32}$`)

// eventQuery reads the query of a listing; all that is wrong comes back at once.
func (s *Server) eventQuery(r *http.Request) (authn.EventQuery, error) {
	wrong := &authn.InputError{}
	values := readQuery(wrong, r, "after", "kind", "login", "since", "user")
	q := authn.EventQuery{User: values.Get("user"), Kind: authn.Kind(values.Get("kind")), After: values.Get("after")}
	if !isCursor(q.User) {
		wrong.Add("user", "format", "the id of a user")
	}
	if q.Kind != "" && !eventKind.MatchString(string(q.Kind)) {
		wrong.Add("kind", "format", "the kind of an event, such as sign_in.failed")
	}
	if text := values.Get("since"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			wrong.Add("since", "format", "a time such as 2026-01-31T12:00:00Z")
		}
		q.Since = since
	}
	if !isCursor(q.After) {
		wrong.Add("after", "format", "send next of the page before")
	}
	if err := s.eventsOf(r, values.Get("login"), &q, wrong); err != nil {
		return q, err
	}
	return q, wrong.OrNil()
}

// eventsOf narrows q to the account somebody signs in to as login. That is a
// parameter of its own: a username can look like another account's id. Who is
// deleted has an id only.
func (s *Server) eventsOf(r *http.Request, login string, q *authn.EventQuery, wrong *authn.InputError) error {
	switch {
	case login == "":
		return nil
	case q.User != "":
		wrong.Add("login", "duplicate", "give one of user and login")
		return nil
	}
	u, err := s.Authn.UserByLogin(r.Context(), login)
	if errors.Is(err, authn.ErrNotFound) {
		wrong.Add("login", "unknown", "nobody has this username or email address")
		return nil
	}
	q.User = u.ID
	return err
}

// eventPage asks for one event more than it shows, to know whether there is a
// next page.
func (s *Server) eventPage(r *http.Request, q authn.EventQuery) (eventsBody, error) {
	q.Limit = eventsPerPage + 1
	found, err := s.Authn.Events(r.Context(), q)
	if err != nil {
		return eventsBody{}, err
	}
	body := eventsBody{Events: []eventJSON{}}
	for i, e := range found {
		if i == eventsPerPage {
			body.Next = &body.Events[i-1].ID
			break
		}
		body.Events = append(body.Events, shapeEvent(e))
	}
	return body, nil
}

// isCursor reports whether text could be an id of ours; "" is the beginning.
func isCursor(text string) bool {
	if len(text) > 64 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
