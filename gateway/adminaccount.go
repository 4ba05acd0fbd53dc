package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/doorward/doorward/authn"
)

// eventsOnPage is how much of the security log the page of an account shows.
const eventsOnPage = 20

// adminAccountPage shows one account to an admin.
func (s *Server) adminAccountPage(w *answer, r *http.Request) error {
	data, err := s.adminAccountData(r)
	if err != nil {
		return err
	}
	data.Notice = notices[r.URL.Query().Get("notice")]
	return writePage(w, http.StatusOK, "admin-account", data)
}

func (s *Server) adminAccountData(r *http.Request) (pageData, error) {
	x := exchangeOf(r)
	u, err := s.Authn.User(r.Context(), r.PathValue("id"))
	if err != nil {
		return pageData{}, err
	}
	held, err := s.Authn.Sessions(r.Context(), u.ID)
	if err != nil {
		return pageData{}, err
	}
	events, err := s.Authn.Events(r.Context(), authn.EventQuery{User: u.ID, Limit: eventsOnPage})
	if err != nil {
		return pageData{}, err
	}
	account := shapeUser(u)
	data := s.pageData(x, account.Login())
	data.Wide = true
	data.Admin = &adminData{
		Account: &account, Self: u.ID == x.identity.User.ID, Locked: s.Authn.Locked(u.ID), Sessions: shapeSessions(held, x.identity.Session),
		Typed: accountForm{Username: u.Username, Email: u.Email, Name: u.Name, Roles: strings.Join(u.Roles, ", ")},
	}
	for _, e := range events {
		by := e.Actor
		if by == u.ID {
			by = "the person"
		}
		data.Admin.Events = append(data.Admin.Events, adminEvent{shapeEvent(e), by})
	}
	return data, nil
}

// changeUserForm is changeUser for the page's forms. Each has a part of the
// account and sends that part alone: a page that has been open for a while must
// not bring back roles that were taken away meanwhile.
func (s *Server) changeUserForm(w *answer, r *http.Request, a authn.Actor) error {
	return s.actOnAccount(w, r, "saved", func(form url.Values) error {
		change, err := changeOf(form)
		if err == nil {
			_, err = s.Authn.UpdateUser(r.Context(), r.PathValue("id"), change, a)
		}
		return err
	}, "username", "email", "name", "roles", "active", "email_verified")
}

// changeOf is what a form changes; what it does not have stays.
func changeOf(form url.Values) (authn.UserChange, error) {
	var ch authn.UserChange
	wrong := &authn.InputError{}
	text := func(name string) *string {
		if !form.Has(name) {
			return nil
		}
		value := form.Get(name)
		return &value
	}
	yes := func(name string) *bool {
		value := text(name)
		if value == nil {
			return nil
		}
		if *value != "true" && *value != "false" {
			wrong.Add(name, "format", "true or false")
		}
		is := *value == "true"
		return &is
	}
	ch.Username, ch.Email, ch.Name = text("username"), text("email"), text("name")
	ch.Active, ch.EmailVerified = yes("active"), yes("email_verified")
	if written := text("roles"); written != nil {
		roles := splitRoles(*written)
		ch.Roles = &roles
	}
	return ch, wrong.OrNil()
}

// signOutUserForm, mailResetForm and unlockUserForm are the buttons of the page.
func (s *Server) signOutUserForm(w *answer, r *http.Request, a authn.Actor) error {
	return s.actOnAccount(w, r, "signed_out", func(url.Values) error {
		return s.Authn.SignOut(r.Context(), r.PathValue("id"), a)
	})
}

func (s *Server) mailResetForm(w *answer, r *http.Request, a authn.Actor) error {
	return s.actOnAccount(w, r, "reset_mailed", func(url.Values) error {
		return s.Authn.AdminResetPassword(r.Context(), r.PathValue("id"), a)
	})
}

func (s *Server) unlockUserForm(w *answer, r *http.Request, a authn.Actor) error {
	return s.actOnAccount(w, r, "unlocked", func(url.Values) error {
		return s.Authn.Unlock(r.Context(), r.PathValue("id"), a)
	})
}

// deleteUserForm is deleteUser for the page's form. What cannot be undone takes
// more than one slip of the mouse.
func (s *Server) deleteUserForm(w *answer, r *http.Request, a authn.Actor) error {
	return s.actOnAccount(w, r, "deleted", func(form url.Values) error {
		if form.Get("confirm") != "yes" {
			return invalid("confirm", "required", "tick that you mean it")
		}
		return s.Authn.DeleteUser(r.Context(), r.PathValue("id"), a)
	}, "confirm")
}

// actOnAccount reads a form of an account's page and does what it asks. Then the
// page says so, or what was wrong beside what was typed; what is deleted has a
// page no more, and one's own account is no admin's when it is demoted.
func (s *Server) actOnAccount(w *answer, r *http.Request, notice string, act func(url.Values) error, fields ...string) error {
	x := exchangeOf(r)
	data, err := s.adminAccountData(r)
	if err != nil {
		return err
	}
	form, err := readForm(w, r, fields...)
	if err == nil {
		err = act(form)
	}
	if err != nil {
		for name, field := range map[string]*string{
			"username": &data.Admin.Typed.Username, "email": &data.Admin.Typed.Email, "name": &data.Admin.Typed.Name, "roles": &data.Admin.Typed.Roles,
		} {
			if form.Has(name) {
				*field = form.Get(name)
			}
		}
		return &formError{err, "admin-account", data}
	}
	if notice == "deleted" {
		return notify(w, x, "/admin", notice)
	}
	return seeOther(w, accountAddress(x, r.PathValue("id"))+"?notice="+notice)
}
