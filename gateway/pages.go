package gateway

import (
	"bytes"
	"embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/doorward/doorward/authn"
)

// The pages work without scripts, in a text browser too. Their forms post the
// fields of the API to the paths of the API, and always get a session cookie.

//go:embed web
var web embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{"fieldLabel": fieldLabel, "require": requireInWords}).ParseFS(web, "web/*.html"))

// pageData is what a page shows. What was typed is shown again after an error,
// but for the password.
type pageData struct {
	Prefix, Title string
	Problem       *problemJSON

	ReturnTo         string
	Login, Username  string
	Email, Name      string
	NewEmail         string // on the account page
	RegistrationOpen bool
	Mails            bool // can be sent
	EmailRequired    bool // to register

	Notice string // one of notices
	Ticket string // the token of a mail's link

	// What the ticket of a verification mail confirms.
	Registration bool
	Moves        bool   // an account moves to the address
	Account      string // whose it is or would be; "" for no username
	AskPassword  bool   // who confirms is to show that the account is theirs

	Rules authn.Rules // what may be chosen

	User     *userJSON
	Sessions []sessionJSON

	IsAdmin bool // whoever it is may administer accounts
	Wide    bool // the page has a table
	Admin   *adminData
}

func (s *Server) pageData(x *exchange, title string) pageData {
	return pageData{
		Prefix: x.live.cfg.Server.Prefix, Title: title,
		RegistrationOpen: x.live.cfg.Registration == "open", Mails: s.Authn.Mails(), Rules: s.Authn.Rules(),
		EmailRequired: x.live.cfg.EmailVerification == "required",
	}
}

func (d pageData) with(p *problemJSON) pageData {
	d.Problem = p
	return d
}

// formError is an error that is shown on the page it came from, beside what
// was typed.
type formError struct {
	err  error
	page string
	data pageData
}

func (e *formError) Error() string { return e.err.Error() }
func (e *formError) Unwrap() error { return e.err }

// fieldLabel is a field in the words of the forms.
func fieldLabel(name string) string {
	labels := map[string]string{
		"login": "Username or email", "username": "Username", "email": "Email", "name": "Name", "password": "Password",
		"current_password": "Current password", "new_password": "New password", "token": "Link",
		"roles": "Roles", "active": "State", "email_verified": "Verified", "confirm": "Deleting",
	}
	if label, ok := labels[name]; ok {
		return label
	}
	return name
}

// requireInWords is accounts.password.require for a person.
func requireInWords(classes []string) string {
	words := map[string]string{"upper": "a capital letter", "lower": "a small letter", "digit": "a digit", "symbol": "a character that is neither letter nor digit"}
	var all []string
	for _, c := range classes {
		all = append(all, words[c])
	}
	return strings.Join(all, ", ")
}

// writePage answers with a page. It is rendered first: half a page is no answer.
func writePage(w *answer, status int, page string, data pageData) error {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, page+".html", data); err != nil {
		return err
	}
	// Not no-referrer: with it browsers send their forms with "Origin: null", as
	// a stranger's page would.
	w.Header().Set("Referrer-Policy", "strict-origin")
	if slices.Contains(entrances, page) {
		w.Header().Set("Content-Security-Policy", entrancePolicy)
	}
	return writeBytes(w, status, "text/html; charset=utf-8", out.Bytes())
}

// seeOther sends the client on with a GET. http.Redirect would clean the path.
func seeOther(w *answer, location string) error {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// loginURL is the sign-in page that leads back to target.
func loginURL(x *exchange, target string) string {
	return x.live.cfg.Server.Prefix + "/login?return_to=" + url.QueryEscape(target)
}

// loginPage shows the sign-in form; who is signed in already is sent on.
func (s *Server) loginPage(w *answer, r *http.Request) error {
	return s.entrance(w, r, "login", "Sign in")
}

// registerPage shows the form for a new account.
func (s *Server) registerPage(w *answer, r *http.Request) error {
	return s.entrance(w, r, "register", "Create an account")
}

// entrances are the pages that lead back into the application.
var entrances = []string{"login", "register"}

func (s *Server) entrance(w *answer, r *http.Request, page, title string) error {
	x := exchangeOf(r)
	data := s.pageData(x, title)
	data.ReturnTo = returnTo(data.Prefix, r.URL.Query().Get("return_to"))
	data.Notice = notices[r.URL.Query().Get("notice")]
	err := s.identify(r, x)
	if err == nil {
		return seeOther(w, data.ReturnTo)
	}
	s.clearDead(w, r, codeOf(err)) // whatever it was, signing in mends it
	return writePage(w, http.StatusOK, page, data)
}

// loginForm is login for the page's form.
func (s *Server) loginForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "login", "email", "username", "password", "mode", "return_to")
	data := s.pageData(x, "Sign in")
	data.ReturnTo = returnTo(data.Prefix, form.Get("return_to"))
	data.Login = form.Get("login") + form.Get("email") + form.Get("username")
	body := loginBody{
		Login: form.Get("login"), Email: form.Get("email"), Username: form.Get("username"),
		Password: authn.Secret(form.Get("password")), Mode: string(authn.ModeSessionCookie),
	}
	attempt, err := body.attempt(err)
	if err != nil {
		return &formError{err, "login", data}
	}
	in, err := s.Authn.Login(r.Context(), attempt, x.client(r))
	if err != nil {
		return &formError{err, "login", data}
	}
	return s.enter(w, r, in, data.ReturnTo)
}

// registerForm is register for the page's form.
func (s *Server) registerForm(w *answer, r *http.Request) error {
	x := exchangeOf(r)
	form, err := readForm(w, r, "email", "username", "name", "password", "mode", "return_to")
	data := s.pageData(x, "Create an account")
	data.ReturnTo = returnTo(data.Prefix, form.Get("return_to"))
	data.Email, data.Username, data.Name = form.Get("email"), form.Get("username"), form.Get("name")
	if err != nil {
		return &formError{err, "register", data}
	}
	in, err := s.Authn.Register(r.Context(), authn.Registration{
		Email: data.Email, Username: data.Username, Name: data.Name,
		Password: authn.Secret(form.Get("password")), Mode: authn.ModeSessionCookie,
	}, x.client(r))
	if err != nil {
		return &formError{err, "register", data}
	}
	if in.Pending {
		return notify(w, x, "/verify-email", "confirm_address")
	}
	return s.enter(w, r, in, data.ReturnTo)
}

// enter sets the session cookie and sends the person on.
func (s *Server) enter(w *answer, r *http.Request, in authn.SignIn, to string) error {
	if err := s.handOver(w, r, in, authn.ModeSessionCookie); err != nil {
		return err
	}
	return seeOther(w, to)
}

// logoutPage asks first: opening an address must not sign anybody out.
func (s *Server) logoutPage(w *answer, r *http.Request) error {
	return writePage(w, http.StatusOK, "logout", s.pageData(exchangeOf(r), "Sign out"))
}

func (s *Server) logoutForm(w *answer, r *http.Request) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	if err := s.endShown(w, r, ""); err != nil {
		return err
	}
	return seeOther(w, exchangeOf(r).live.cfg.Server.Prefix+"/login")
}

func (s *Server) logoutAllForm(w *answer, r *http.Request) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	if err := s.endAll(w, r); err != nil {
		return err
	}
	return seeOther(w, exchangeOf(r).live.cfg.Server.Prefix+"/login")
}

// stylesheet serves the pages' one stylesheet; a file, because the pages' own
// policy allows no style inside them.
func (s *Server) stylesheet(w *answer, r *http.Request) error {
	css, err := web.ReadFile("web/style.css")
	if err != nil {
		return err
	}
	return writeBytes(w, http.StatusOK, "text/css; charset=utf-8", css)
}

// isForm reports whether the body is that of a page's form.
func isForm(r *http.Request) bool { return mediaType(r) == "application/x-www-form-urlencoded" }

// maxFormProblems bounds what is said of fields nobody asked for, as of a JSON
// body's: each is longer in the answer than in the form.
const maxFormProblems = 32

// readForm reads a form that may have these fields, each once. The values are
// usable even if something is wrong, to fill in the form again.
func readForm(w *answer, r *http.Request, fields ...string) (url.Values, error) {
	data, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	wrong := &authn.InputError{}
	// curl calls a form whatever it sends with -d. To say which of its fields are
	// unknown would be to say the password back.
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		wrong.Add("", "format", "not a form but JSON: send it with Content-Type: application/json")
		return url.Values{}, wrong
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		wrong.Add("", "format", "not a form")
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		switch values := form[name]; {
		case !slices.Contains(fields, name):
			if len(wrong.Fields) < maxFormProblems {
				wrong.Add(shown(name), "unknown", "no such field")
			}
		case len(values) > 1:
			wrong.Add(name, "duplicate", "given more than once")
		case !utf8.ValidString(values[0]):
			wrong.Add(name, "format", "not valid UTF-8")
			form.Set(name, "")
		}
	}
	return form, wrong.OrNil()
}

// shown is a name someone sent, short and clean enough to say back.
func shown(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), 64)], "")
}
