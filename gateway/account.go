package gateway

import (
	"errors"
	"net/http"

	"github.com/doorward/doorward/authn"
)

// userBody is an answer that is one account.
type userBody struct {
	User userJSON `json:"user"`
}

// profile answers with the caller's own account.
func (s *Server) profile(w *answer, r *http.Request) error {
	return writeJSON(w, http.StatusOK, userBody{shapeUser(*exchangeOf(r).identity.User)})
}

// changeProfile changes what a person may change about themself: the name.
func (s *Server) changeProfile(w *answer, r *http.Request) error {
	var body struct {
		Name *string `json:"name"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	x := exchangeOf(r)
	if body.Name == nil {
		return invalid("name", "required", "is required")
	}
	u, err := s.Authn.SetName(r.Context(), *x.identity, *body.Name, x.client(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userBody{shapeUser(u)})
}

// deleteProfile deletes the caller's account. The password is asked again: an
// open session alone must not be enough to destroy everything.
func (s *Server) deleteProfile(w *answer, r *http.Request) error {
	var body struct {
		CurrentPassword authn.Secret `json:"current_password"`
	}
	err := readJSON(w, r, &body)
	if err := require(err, field{"current_password", body.CurrentPassword.Reveal()}); err != nil {
		return err
	}
	x := exchangeOf(r)
	if err := s.Authn.DeleteAccount(r.Context(), *x.identity, body.CurrentPassword, x.client(r)); err != nil {
		return err
	}
	s.clearShown(w, r)
	return noContent(w)
}

// changePassword sets a new password; every session ends, this one too.
func (s *Server) changePassword(w *answer, r *http.Request) error {
	var body struct {
		CurrentPassword authn.Secret `json:"current_password"`
		NewPassword     authn.Secret `json:"new_password"`
	}
	err := readJSON(w, r, &body)
	err = require(err, field{"current_password", body.CurrentPassword.Reveal()}, field{"new_password", body.NewPassword.Reveal()})
	if err != nil {
		return err
	}
	x := exchangeOf(r)
	err = s.Authn.ChangePassword(r.Context(), *x.identity, body.CurrentPassword, body.NewPassword, x.client(r))
	if err != nil {
		return err
	}
	s.clearShown(w, r)
	return noContent(w)
}

// wrongPassword reports whether err says that the current password was wrong.
func wrongPassword(err error) bool {
	var input *authn.InputError
	if !errors.As(err, &input) {
		return false
	}
	for _, f := range input.Fields {
		if f.Field == "current_password" && f.Code == "incorrect" {
			return true
		}
	}
	return false
}
