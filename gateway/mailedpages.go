package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
)

// The pages the links of mails lead to, and those that ask for such a mail.
//
// Opening a link uses nothing up: mail scanners open links too. The token goes
// into a cookie for that one page, and the browser on to the page's address
// without it, so that it stands in no address bar and is not copied from there.
// On that page a button posts it.

// ticketLasts is how long the page of a link can be reloaded. The form of a page
// that is open holds the token itself.
const ticketLasts = 10 * time.Minute

// notices is what a page says after a form was accepted, by the name that
// stands in its address: no page says what somebody has put into a link.
var notices = map[string]string{
	"mail_sent":         "If there is an account with this address that needs it, a mail is on its way. Open the link in it.",
	"confirm_address":   "A mail is on its way to the address. The account is yours once you have opened the link in it.",
	"confirm_change":    "A mail is on its way to the new address. It takes the place of the old one once you have opened the link in it.",
	"address_confirmed": "Your address is confirmed.",
	"session_ended":     "That device is signed out.",
	"account_deleted":   "Your account is deleted.",
	"account_made":      "The account is made, and a mail on its way to its address.",
	"saved":             "It is saved.",
	"signed_out":        "The account is signed out everywhere.",
	"reset_mailed":      "A link to a new password is on its way. The old one stays good until then.",
	"unlocked":          "The wrong passwords are forgotten.",
	"deleted":           "The account is deleted.",
	"password_set":      "Your new password is set. Sign in with it.",
}

// notify sends the browser on to a page of ours that says so.
func notify(w *answer, x *exchange, page, notice string) error {
	return seeOther(w, x.live.cfg.Server.Prefix+page+"?notice="+notice)
}

const (
	verifyTitle = "Confirm your email address"
	resetTitle  = "Set your password"
	forgotTitle = "Forgot your password?"
)

// verifyPage is where the links of verification mails lead. Without a token it
// offers to send another mail. It says whose account is confirmed, or would come
// to be, and asks for its password unless the browser is signed in to it: with a
// click alone people would confirm what a stranger has asked for under their
// address.
func (s *Server) verifyPage(w *answer, r *http.Request) error {
	return s.ticketPage(w, r, "verify", verifyTitle, s.showPurpose)
}

// showPurpose puts on the page what its token confirms.
func (s *Server) showPurpose(r *http.Request, data *pageData) error {
	p, err := s.Authn.TicketFor(r.Context(), authn.Secret(data.Ticket))
	if err != nil {
		return err
	}
	data.Registration, data.Moves = p.Kind == authn.TicketRegistration, p.Kind == authn.TicketChangeEmail
	data.Account, data.AskPassword = p.Account, p.Password && !s.signedInAs(r, p.User)
	return nil
}

// signedInAs reports whether the browser holds a session of the user, and the
// request is no other site's doing. Who cannot be told is not.
func (s *Server) signedInAs(r *http.Request, user string) bool {
	x := exchangeOf(r)
	cred := authn.Credential{Cookies: s.cookieValues(r, x.live.cookies.session)}
	if user == "" || len(cred.Cookies) == 0 || s.crossOrigin(r, x) != nil {
		return false
	}
	id, err := s.Authn.Identify(r.Context(), cred)
	return err == nil && id.User.ID == user
}

// resetPage is where the links of reset mails and invitations lead.
func (s *Server) resetPage(w *answer, r *http.Request) error {
	return s.ticketPage(w, r, "reset", resetTitle, func(r *http.Request, data *pageData) error {
		return s.Authn.CheckReset(r.Context(), authn.Secret(data.Ticket))
	})
}

// ticketPage shows the page with the token that the browser keeps for it, or
// has the browser keep the one in the address. show adds what the token is for,
// or says that it is good for nothing.
func (s *Server) ticketPage(w *answer, r *http.Request, page, title string, show func(*http.Request, *pageData) error) error {
	x := exchangeOf(r)
	query := r.URL.Query()
	if query.Has("token") {
		token := query.Get("token")
		if !isTicket(token) {
			return authn.ErrTicketInvalid
		}
		http.SetCookie(w, x.live.cookies.forPage(x.route, token, ticketLasts))
		return seeOther(w, x.route)
	}
	data := s.pageData(x, title)
	data.Notice = notices[query.Get("notice")]
	if data.Notice == "" {
		if err := s.showKept(r, &data, show); err != nil {
			return s.ticketError(w, x, err, page, data)
		}
	}
	return writePage(w, http.StatusOK, page, data)
}

// showKept puts on the page the first token it is kept that is good: a sibling
// host can plant another under the same name, and must not stand in the way of a
// password that is to be reset.
func (s *Server) showKept(r *http.Request, data *pageData, show func(*http.Request, *pageData) error) (err error) {
	for _, kept := range s.cookieValues(r, exchangeOf(r).live.cookies.ticket) {
		if !isTicket(kept.Reveal()) {
			continue
		}
		data.Ticket = kept.Reveal()
		if err = show(r, data); err == nil || codeOf(err) != "TICKET_INVALID" {
			break
		}
	}
	return err
}

// isTicket reports whether text could be a token of ours, and so can stand in a
// cookie and a form.
func isTicket(text string) bool {
	const longest = 128
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return text != "" && len(text) <= longest && strings.Trim(text, letters) == ""
}

// verifyForm is verifyEmail for the page's form.
func (s *Server) verifyForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "token", "password")
	data := s.pageData(x, verifyTitle)
	data.Ticket = form.Get("token")
	if err = require(err, field{"token", data.Ticket}); err == nil {
		err = s.showPurpose(r, &data)
	}
	password := form.Get("password")
	if err == nil && data.AskPassword {
		err = require(nil, field{"password", password})
	}
	if err == nil {
		_, err = s.Authn.VerifyEmail(r.Context(), authn.Secret(data.Ticket), authn.Secret(password), x.client(r))
	}
	if err != nil {
		return s.ticketError(w, x, err, "verify", data)
	}
	dropTicket(w, x)
	return notify(w, x, "/verify-email", "address_confirmed")
}

// resetForm is resetPassword for the page's form.
func (s *Server) resetForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "token", "password")
	data := s.pageData(x, resetTitle)
	data.Ticket = form.Get("token")
	password := form.Get("password")
	if err = require(err, field{"token", data.Ticket}, field{"password", password}); err == nil {
		err = s.Authn.ResetPassword(r.Context(), authn.Secret(data.Ticket), authn.Secret(password), x.client(r))
	}
	if err != nil {
		return s.ticketError(w, x, err, "reset", data)
	}
	dropTicket(w, x)
	return notify(w, x, "/login", "password_set")
}

// ticketError shows the form again, with the token as long as it may be good
// for another try.
func (s *Server) ticketError(w *answer, x *exchange, err error, page string, data pageData) error {
	switch {
	case codeOf(err) == "TICKET_INVALID":
		dropTicket(w, x)
		data.Ticket = ""
	case !isTicket(data.Ticket):
		data.Ticket = ""
	}
	return &formError{err, page, data}
}

// dropTicket takes back the token the browser kept for this page.
func dropTicket(w *answer, x *exchange) {
	http.SetCookie(w, x.live.cookies.forPage(x.route, "", 0))
}

// forgotPage asks for the address of somebody who forgot their password.
func (s *Server) forgotPage(w *answer, r *http.Request) error {
	data := s.pageData(exchangeOf(r), forgotTitle)
	data.Notice = notices[r.URL.Query().Get("notice")]
	return writePage(w, http.StatusOK, "forgot", data)
}

// forgotForm is forgotPassword for the page's form.
func (s *Server) forgotForm(w *answer, r *http.Request) error {
	return s.askForm(w, r, "forgot", forgotTitle, "/forgot-password", s.Authn.ForgotPassword)
}

// resendForm is resendVerification for the page's form.
func (s *Server) resendForm(w *answer, r *http.Request) error {
	return s.askForm(w, r, "verify", verifyTitle, "/verify-email", s.Authn.ResendVerification)
}

// askForm asks for a mail, and says the same whoever has the address.
func (s *Server) askForm(w *answer, r *http.Request, page, title, path string, ask func(context.Context, string, authn.Client) error) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "email")
	data := s.pageData(x, title)
	data.Email = form.Get("email")
	if err = require(err, field{"email", data.Email}); err == nil {
		err = ask(r.Context(), data.Email, x.client(r))
	}
	if err != nil {
		return &formError{err, page, data}
	}
	return notify(w, x, path, "mail_sent")
}
