package gateway

import (
	"errors"
	"net/http"

	"github.com/doorward/doorward/authn"
)

// registerBody is what a person may say about their new account. There is no
// field for roles or for being active or verified: those are not theirs to say.
type registerBody struct {
	Email    string       `json:"email"`
	Username string       `json:"username"`
	Name     string       `json:"name"`
	Password authn.Secret `json:"password"`
	Mode     string       `json:"mode"`
}

// register makes an account and signs it in; where addresses must be proven
// first, it says no more than that it has understood.
func (s *Server) register(w *answer, r *http.Request) error {
	var body registerBody
	decoded := readJSON(w, r, &body)
	mode, err := modeOf(decoded, body.Mode)
	asked := authn.Registration{Email: body.Email, Username: body.Username, Name: body.Name, Password: body.Password, Mode: mode}
	if err != nil {
		return bothInvalid(err, s.Authn.CheckRegistration(asked))
	}
	in, err := s.Authn.Register(r.Context(), asked, exchangeOf(r).client(r))
	if err != nil {
		return err
	}
	if in.Pending {
		return accepted(w)
	}
	return s.signIn(w, r, http.StatusCreated, in, mode)
}

// loginBody names the account in one of three ways: whichever word a client's
// author thought of first.
type loginBody struct {
	Login    string       `json:"login"`
	Email    string       `json:"email"`
	Username string       `json:"username"`
	Password authn.Secret `json:"password"`
	Mode     string       `json:"mode"`
}

// attempt is the body as authn wants it. Of the three names exactly one may be
// given: two would leave it open whose password was tried.
func (b *loginBody) attempt(decoded error) (authn.LoginAttempt, error) {
	mode, err := modeOf(decoded, b.Mode)
	given, misspelt := 0, false
	for _, name := range []field{{"login", b.Login}, {"email", b.Email}, {"username", b.Username}} {
		if name.value != "" {
			given++
		}
		misspelt = misspelt || complains(err, name.name)
	}
	if given > 1 {
		err = alsoInvalid(err, "login", "duplicate", "give one of login, email and username")
	}
	needed := []field{{"password", b.Password.Reveal()}}
	login := b.Login + b.Email + b.Username
	if !misspelt { // else one was given, and what is wrong with it is said
		needed = append(needed, field{"login", login})
	}
	err = require(err, needed...)
	return authn.LoginAttempt{Login: login, Password: b.Password, Mode: mode}, err
}

// login signs in by password.
func (s *Server) login(w *answer, r *http.Request) error {
	var body loginBody
	attempt, err := body.attempt(readJSON(w, r, &body))
	if err != nil {
		return err
	}
	in, err := s.Authn.Login(r.Context(), attempt, exchangeOf(r).client(r))
	if err != nil {
		return err
	}
	return s.signIn(w, r, http.StatusOK, in, attempt.Mode)
}

// modeOf reads a mode; decoded is what was wrong with the body already.
func modeOf(decoded error, mode string) (authn.Mode, error) {
	switch m := authn.Mode(mode); m {
	case "":
		return authn.ModeToken, decoded
	case authn.ModeToken, authn.ModeRefreshCookie, authn.ModeSessionCookie:
		return m, decoded
	}
	return "", alsoInvalid(decoded, "mode", "format", "one of token, refresh_cookie, session_cookie")
}

// alsoInvalid adds one more problem to what was wrong with a body. What is not
// about fields goes first and alone.
func alsoInvalid(decoded error, name, code, detail string) error {
	var input *authn.InputError
	switch {
	case errors.As(decoded, &input):
		input.Add(name, code, detail)
		return input
	case decoded != nil:
		return decoded
	}
	return invalid(name, code, detail)
}

// bothInvalid adds to what was wrong with a body's form what is wrong with its
// content, field by field: of what could not be read nothing more is said.
func bothInvalid(decoded, content error) error {
	var form, more *authn.InputError
	if !errors.As(decoded, &form) || !errors.As(content, &more) {
		return decoded
	}
	said := map[string]bool{}
	for _, f := range form.Fields {
		if said[f.Field] = true; f.Field == "" { // no JSON at all
			return decoded
		}
	}
	for _, f := range more.Fields {
		if !said[f.Field] {
			form.Add(f.Field, f.Code, f.Detail)
		}
	}
	return form
}

// signIn hands a fresh session to the client, in the way it asked for.
func (s *Server) signIn(w *answer, r *http.Request, status int, in authn.SignIn, mode authn.Mode) error {
	if err := s.handOver(w, r, in, mode); err != nil {
		return err
	}
	return writeJSON(w, status, shapeSignIn(in, mode))
}

// handOver sets the session's cookie, if it travels in one. A session this
// browser had before ends: its cookie is about to be overwritten, and a session
// nobody can sign out of must not live on.
func (s *Server) handOver(w *answer, r *http.Request, in authn.SignIn, mode authn.Mode) error {
	x := exchangeOf(r)
	client := x.client(r)
	switch mode {
	case authn.ModeSessionCookie:
		if old := s.sessionCookies(r); len(old) > 0 {
			if err := s.Authn.Logout(r.Context(), authn.Credential{Cookies: old}, "", client); err != nil {
				return err
			}
		}
		s.setSessionCookie(w, in)
	case authn.ModeRefreshCookie:
		for _, old := range s.refreshCookies(r) {
			if err := s.Authn.Logout(r.Context(), authn.Credential{}, old, client); err != nil {
				return err
			}
		}
		s.setRefreshCookie(w, in)
	}
	x.known(in)
	return nil
}

// known notes for the log who has just shown that they are somebody.
func (x *exchange) known(in authn.SignIn) {
	x.identity = &authn.Identity{User: &in.User, Session: in.Session.ID, Mode: in.Session.Mode}
}

// refreshBody is a refresh token, for clients that keep it themselves.
type refreshBody struct {
	RefreshToken authn.Secret `json:"refresh_token"`
}

// refresh exchanges a refresh token for the next pair. A token in the body wins
// over the cookie, and each is answered in kind.
func (s *Server) refresh(w *answer, r *http.Request) error {
	var body refreshBody
	if err := readOptionalJSON(w, r, &body); err != nil {
		return err
	}
	x := exchangeOf(r)
	if body.RefreshToken != "" {
		in, err := s.Authn.Refresh(r.Context(), body.RefreshToken, x.client(r))
		if err != nil {
			return err
		}
		x.known(in)
		return writeJSON(w, http.StatusOK, shapeSignIn(in, authn.ModeToken))
	}
	cookies := s.refreshCookies(r)
	in, err := s.refreshFirst(r, cookies, x.client(r))
	if len(cookies) > 0 && (errors.Is(err, authn.ErrRefreshInvalid) || errors.Is(err, authn.ErrRefreshReused)) {
		s.clearRefreshCookie(w) // it opens nothing any more, which one beside a token in the body may
	}
	if err != nil {
		return err
	}
	x.known(in)
	s.setRefreshCookie(w, in)
	return writeJSON(w, http.StatusOK, shapeSignIn(in, authn.ModeRefreshCookie))
}

// refreshFirst takes the first cookie that is genuine: a sibling host can plant
// another of the same name, and must not lock the person out with it.
func (s *Server) refreshFirst(r *http.Request, cookies []authn.Secret, c authn.Client) (authn.SignIn, error) {
	for _, token := range cookies {
		in, err := s.Authn.Refresh(r.Context(), token, c)
		if !errors.Is(err, authn.ErrRefreshInvalid) {
			return in, err
		}
	}
	return authn.SignIn{}, authn.ErrRefreshInvalid
}

// logout ends the session of whatever the client shows. That there is nothing
// left to end is what it wanted.
func (s *Server) logout(w *answer, r *http.Request) error {
	var body refreshBody
	if err := readOptionalJSON(w, r, &body); err != nil {
		return err
	}
	if err := s.endShown(w, r, body.RefreshToken); err != nil {
		return err
	}
	return noContent(w)
}

// endShown ends the session of every credential of the request and takes the
// cookies back. Here a Bearer does not decide alone: it and a cookie can name two
// sessions, and whoever signs out wants neither left. Of a request that brings a
// Bearer nobody has asked yet which page sent it (see sameSite); if another
// site's, the cookies are not the sender's to end.
func (s *Server) endShown(w *answer, r *http.Request, token authn.Secret) error {
	shown, err := s.credential(r)
	if err != nil {
		return err
	}
	x := exchangeOf(r)
	client, cookies := x.client(r), []authn.Secret(nil)
	if shown.Cookies = nil; s.crossOrigin(r, x) == nil {
		shown.Cookies, cookies = s.sessionCookies(r), s.refreshCookies(r)
	}
	if err := s.Authn.Logout(r.Context(), shown, token, client); err != nil {
		return err
	}
	for _, c := range cookies {
		if err := s.Authn.Logout(r.Context(), authn.Credential{}, c, client); err != nil {
			return err
		}
	}
	if len(shown.Cookies)+len(cookies) > 0 {
		s.clearCookies(w)
	}
	return nil
}

// logoutAll ends every session of the person.
func (s *Server) logoutAll(w *answer, r *http.Request) error {
	if err := readOptionalJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := s.endAll(w, r); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) endAll(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	if err := s.Authn.LogoutAll(r.Context(), *x.identity, x.client(r)); err != nil {
		return err
	}
	s.clearShown(w, r)
	return nil
}

// clearShown takes back the cookies the client sent, now that they open nothing.
func (s *Server) clearShown(w *answer, r *http.Request) {
	shown, err := s.credential(r)
	if err == nil && len(shown.Cookies)+len(s.refreshCookies(r)) > 0 {
		s.clearCookies(w)
	}
}
