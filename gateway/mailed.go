package gateway

import (
	"net/http"

	"github.com/doorward/doorward/authn"
)

// What people do by mail. The answers say nothing about whether anybody has an
// address, and neither do their times: authn only notes that a mail was asked
// for.

// addressBody names an address.
type addressBody struct {
	Email string `json:"email"`
}

// readAddress reads a body that is one address.
func readAddress(w *answer, r *http.Request) (string, error) {
	var body addressBody
	err := readJSON(w, r, &body)
	return body.Email, require(err, field{"email", body.Email})
}

// forgotPassword has a link to a new password mailed.
func (s *Server) forgotPassword(w *answer, r *http.Request) error {
	email, err := readAddress(w, r)
	if err != nil {
		return err
	}
	if err := s.Authn.ForgotPassword(r.Context(), email, exchangeOf(r).client(r)); err != nil {
		return err
	}
	return accepted(w)
}

// resendVerification has another link mailed to an address that waits to be
// proven.
func (s *Server) resendVerification(w *answer, r *http.Request) error {
	email, err := readAddress(w, r)
	if err != nil {
		return err
	}
	if err := s.Authn.ResendVerification(r.Context(), email, exchangeOf(r).client(r)); err != nil {
		return err
	}
	return accepted(w)
}

// resetPassword sets a password with the token of a mail. Nobody is signed in
// by it: whoever has the mail still has to show the new password.
func (s *Server) resetPassword(w *answer, r *http.Request) error {
	var body struct {
		Token    authn.Secret `json:"token"`
		Password authn.Secret `json:"password"`
	}
	err := readJSON(w, r, &body)
	err = require(err, field{"token", body.Token.Reveal()}, field{"password", body.Password.Reveal()})
	if err != nil {
		return err
	}
	if err := s.Authn.ResetPassword(r.Context(), body.Token, body.Password, exchangeOf(r).client(r)); err != nil {
		return err
	}
	return noContent(w)
}

// verifyEmail proves an address with the token of a mail. The password, if one
// is sent, must be the account's, or the one chosen at registration.
func (s *Server) verifyEmail(w *answer, r *http.Request) error {
	var body struct {
		Token    authn.Secret `json:"token"`
		Password authn.Secret `json:"password"`
	}
	err := readJSON(w, r, &body)
	if err := require(err, field{"token", body.Token.Reveal()}); err != nil {
		return err
	}
	u, err := s.Authn.VerifyEmail(r.Context(), body.Token, body.Password, exchangeOf(r).client(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userBody{shapeUser(u)})
}

// changeEmail has a link mailed to the address the caller wants to have.
func (s *Server) changeEmail(w *answer, r *http.Request) error {
	var body struct {
		CurrentPassword authn.Secret `json:"current_password"`
		Email           string       `json:"email"`
	}
	err := readJSON(w, r, &body)
	err = require(err, field{"current_password", body.CurrentPassword.Reveal()}, field{"email", body.Email})
	if err != nil {
		return err
	}
	if err := s.moveTo(r, body.Email, body.CurrentPassword); err != nil {
		return err
	}
	return accepted(w)
}

// moveTo asks for another address. Each time sends a mail to an address of the
// person's choosing, so it counts as asking for a mail does: by client, and by
// user, who may come from many places.
func (s *Server) moveTo(r *http.Request, email string, current authn.Secret) error {
	x := exchangeOf(r)
	for _, key := range []string{x.client(r).Network(), "user " + x.identity.User.ID} {
		if err := s.allow(x, limitPasswordReset, key); err != nil {
			return err
		}
	}
	return s.Authn.ChangeEmail(r.Context(), *x.identity, current, email, x.client(r))
}
