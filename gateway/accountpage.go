package gateway

import (
	"net/http"

	"github.com/doorward/doorward/authn"
)

// accountPage shows people who they are here and where they are signed in, and
// lets them change what is theirs.
func (s *Server) accountPage(w *answer, r *http.Request) error {
	data, err := s.accountData(r)
	if err != nil {
		return err
	}
	data.Notice = notices[r.URL.Query().Get("notice")]
	return writePage(w, http.StatusOK, "account", data)
}

func (s *Server) accountData(r *http.Request) (pageData, error) {
	x := exchangeOf(r)
	held, err := s.Authn.Sessions(r.Context(), x.identity.User.ID)
	if err != nil {
		return pageData{}, err
	}
	data := s.pageData(x, "Your account")
	me := shapeUser(x.identity.User)
	data.User, data.Sessions = &me, shapeSessions(held, x.identity.Session)
	return data, nil
}

// changePasswordForm is changePassword for the page's form.
func (s *Server) changePasswordForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "current_password", "new_password")
	current, next := form.Get("current_password"), form.Get("new_password")
	if err = require(err, field{"current_password", current}, field{"new_password", next}); err == nil {
		err = s.Authn.ChangePassword(r.Context(), *x.identity, authn.Secret(current), authn.Secret(next), x.client(r))
	}
	if err != nil {
		return s.accountError(r, err, "")
	}
	s.clearShown(w, r)
	return notify(w, x, "/login", "password_set")
}

// changeEmailForm is changeEmail for the page's form.
func (s *Server) changeEmailForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "current_password", "email")
	current, email := form.Get("current_password"), form.Get("email")
	if err = require(err, field{"current_password", current}, field{"email", email}); err == nil {
		err = s.moveTo(r, email, authn.Secret(current))
	}
	if err != nil {
		return s.accountError(r, err, email)
	}
	if !s.Authn.Mails() { // it has taken place
		return seeOther(w, x.live.cfg.Server.Prefix+"/account")
	}
	return notify(w, x, "/account", "confirm_change")
}

// accountError shows the account page again, and what was wrong.
func (s *Server) accountError(r *http.Request, err error, email string) error {
	data, failed := s.accountData(r)
	if failed != nil {
		return failed
	}
	data.NewEmail = email
	return &formError{err, "account", data}
}
