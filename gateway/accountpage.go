package gateway

import (
	"errors"
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
	me := shapeUser(*x.identity.User)
	data.IsAdmin = x.isAdmin()
	data.User, data.Sessions = &me, shapeSessions(held, x.identity.Session)
	return data, nil
}

// formsOnly is what a path answers to anything but its page's form: browsers have
// forms for GET and POST alone, and the API says the same with another method.
func formsOnly(*Server, *answer, *http.Request) error {
	no := refuse("UNSUPPORTED_MEDIA_TYPE")
	no.detail = "This is for the form of a page. Use the DELETE or PATCH of the API."
	return no
}

// endSessionForm is endSession for the page's form. One that is over already is
// what was wanted.
func (s *Server) endSessionForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	if _, err := readForm(w, r); err != nil {
		return s.accountError(r, err, "")
	}
	if err := s.endOwn(w, r); err != nil && !errors.Is(err, authn.ErrNotFound) {
		return s.accountError(r, err, "")
	}
	if r.PathValue("id") == x.identity.Session {
		return seeOther(w, x.live.cfg.Server.Prefix+"/login")
	}
	return notify(w, x, "/account", "session_ended")
}

// deleteAccountForm is deleteProfile for the page's form.
func (s *Server) deleteAccountForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "current_password")
	current := form.Get("current_password")
	if err = require(err, field{"current_password", current}); err == nil {
		err = s.Authn.DeleteAccount(r.Context(), *x.identity, authn.Secret(current), x.client(r))
	}
	if err != nil {
		return s.accountError(r, err, "")
	}
	s.clearShown(w, r)
	return notify(w, x, "/login", "account_deleted")
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
