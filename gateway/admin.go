package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/doorward/doorward/authn"
)

// The administration of accounts. Who acts is the table's business, not the
// handlers': a row says as whom it calls one of these.

// adminHandler acts on accounts in somebody's name.
type adminHandler func(s *Server, w *answer, r *http.Request, a authn.Actor) error

// byAdmin calls h in the name of the admin who is signed in.
func byAdmin(h adminHandler) func(*Server, *answer, *http.Request) error {
	return func(s *Server, w *answer, r *http.Request) error {
		x := exchangeOf(r)
		return h(s, w, r, authn.Actor{ID: x.identity.User.ID, SignedIn: *x.identity, Client: x.client(r)})
	}
}

// usersBody is one page of accounts.
type usersBody struct {
	Users      []userJSON     `json:"users"`
	Pagination paginationJSON `json:"pagination"`
}

const (
	usersPerPage    = 10
	maxUsersPerPage = 100
	countUsersTo    = 10_000 // under a filter, counting further costs more than anyone learns
)

// listUsers lists accounts, newest first.
func (s *Server) listUsers(w *answer, r *http.Request, _ authn.Actor) error {
	q, page, err := userQuery(r)
	if err != nil {
		return err
	}
	found, err := s.Authn.Users(r.Context(), q)
	if err != nil {
		return err
	}
	body := usersBody{Users: []userJSON{}, Pagination: shapePagination(page, q.Limit, found)}
	for _, u := range found.Users {
		body.Users = append(body.Users, shapeUser(u))
	}
	return writeJSON(w, http.StatusOK, body)
}

// userQuery reads the query of a listing; all that is wrong comes back at once.
// A page has parameters besides.
func userQuery(r *http.Request, besides ...string) (authn.UserQuery, int, error) {
	wrong := &authn.InputError{}
	values := readQuery(wrong, r, append([]string{"active", "after", "limit", "page", "q", "role"}, besides...)...)
	number := func(name string, normal, most int) int {
		text := values.Get(name)
		if text == "" {
			return normal
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			wrong.Add(name, "format", "a whole number from 1 to "+strconv.Itoa(most))
			return normal
		}
		return n
	}
	page := number("page", 1, 1_000_000)
	q := authn.UserQuery{
		Prefix: values.Get("q"), Role: values.Get("role"), After: values.Get("after"),
		Limit: number("limit", usersPerPage, maxUsersPerPage), CountTo: countUsersTo,
	}
	q.Skip = (page - 1) * q.Limit
	if !isCursor(q.After) {
		wrong.Add("after", "format", "the id of the last user you have")
	}
	if text := values.Get("active"); text != "" {
		active := text == "true"
		if !active && text != "false" {
			wrong.Add("active", "format", "true or false")
		}
		q.Active = &active
	}
	return q, page, wrong.OrNil()
}

// readQuery is the query of a listing that knows these parameters, noting what
// else is in it: a filter that is misspelt and passed over would answer with
// everybody.
func readQuery(wrong *authn.InputError, r *http.Request, known ...string) url.Values {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		wrong.Add("", "format", "the query is not name=value&name=value")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case len(wrong.Fields) >= maxFormProblems:
			return values
		case !slices.Contains(known, name):
			wrong.Add(shown(name), "unknown", "no such parameter: there are "+strings.Join(known, ", "))
		case len(values[name]) > 1:
			wrong.Add(name, "duplicate", "given more than once")
		}
	}
	return values
}

// newUserBody is an account for someone else. Without a password one is made.
type newUserBody struct {
	Username      string       `json:"username"`
	Email         string       `json:"email"`
	Name          string       `json:"name"`
	Password      authn.Secret `json:"password"`
	Roles         *[]string    `json:"roles"`
	EmailVerified bool         `json:"email_verified"`
}

// madeBody is an account and, if it was made here, its password: the only time
// it is ever seen.
type madeBody struct {
	User     userJSON `json:"user"`
	Password string   `json:"password,omitempty"`
}

func (s *Server) createUser(w *answer, r *http.Request, a authn.Actor) error {
	var body newUserBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	n := authn.NewUser{
		Username: body.Username, Email: body.Email, Name: body.Name, Password: body.Password, EmailVerified: body.EmailVerified,
	}
	if body.Roles != nil {
		n.Roles = *body.Roles
	}
	u, made, err := s.Authn.CreateUser(r.Context(), n, a)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, madeBody{shapeUser(u), made.Reveal()})
}

func (s *Server) showUser(w *answer, r *http.Request, _ authn.Actor) error {
	u, err := s.Authn.User(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userBody{shapeUser(u)})
}

// userChangeBody is a change to an account; what is left out stays.
type userChangeBody struct {
	Username      *string   `json:"username"`
	Email         *string   `json:"email"`
	Name          *string   `json:"name"`
	Roles         *[]string `json:"roles"`
	Active        *bool     `json:"active"`
	EmailVerified *bool     `json:"email_verified"`
}

func (s *Server) changeUser(w *answer, r *http.Request, a authn.Actor) error {
	var body userChangeBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	u, err := s.Authn.UpdateUser(r.Context(), r.PathValue("id"), authn.UserChange(body), a)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userBody{shapeUser(u)})
}

func (s *Server) deleteUser(w *answer, r *http.Request, a authn.Actor) error {
	if err := s.Authn.DeleteUser(r.Context(), r.PathValue("id"), a); err != nil {
		return err
	}
	return noContent(w)
}

// signOutUser ends every session of an account.
func (s *Server) signOutUser(w *answer, r *http.Request, a authn.Actor) error {
	if err := readOptionalJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := s.Authn.SignOut(r.Context(), r.PathValue("id"), a); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) unlockUser(w *answer, r *http.Request, a authn.Actor) error {
	if err := readOptionalJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := s.Authn.Unlock(r.Context(), r.PathValue("id"), a); err != nil {
		return err
	}
	return noContent(w)
}

// mailReset has a link to a new password mailed to the account's address.
func (s *Server) mailReset(w *answer, r *http.Request, a authn.Actor) error {
	if err := readOptionalJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := s.Authn.AdminResetPassword(r.Context(), r.PathValue("id"), a); err != nil {
		return err
	}
	return accepted(w)
}

// userSessions lists where an account is signed in.
func (s *Server) userSessions(w *answer, r *http.Request, _ authn.Actor) error {
	u, err := s.Authn.User(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	held, err := s.Authn.Sessions(r.Context(), u.ID)
	if err != nil {
		return err
	}
	current := ""
	if me := exchangeOf(r).identity; me != nil {
		current = me.Session
	}
	return writeJSON(w, http.StatusOK, sessionsBody{shapeSessions(held, current)})
}

// setPassword sets a password for someone else, or makes one.
func (s *Server) setPassword(w *answer, r *http.Request, a authn.Actor) error {
	var body struct {
		Password authn.Secret `json:"password"`
	}
	if err := readOptionalJSON(w, r, &body); err != nil {
		return err
	}
	made, err := s.Authn.SetPassword(r.Context(), r.PathValue("id"), body.Password, a)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, passwordBody{made.Reveal()})
}

// passwordBody is a password that was made; empty if one was given.
type passwordBody struct {
	Password string `json:"password,omitempty"`
}
