package gateway

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/doorward/doorward/authn"
)

// The pages for whoever administers accounts: the API of admin.go for a person
// with a browser. adminaccount.go has the page of one account.

// adminData is what these pages show besides what every page does.
type adminData struct {
	Users    []userJSON
	Count    string // of all that were found, in words
	Page     paginationJSON
	Q, Role  string // what was looked for
	Active   string
	Previous string // addresses of the pages before and after; "" for none
	Next     string

	Account  *userJSON
	Self     bool // it is the admin's own
	Locked   bool // failures to sign in keep people out of it
	Sessions []sessionJSON
	Events   []adminEvent

	Typed accountForm // what the forms hold
	Made  string      // a password made for the account: the only time it is seen
}

// adminEvent is an event in the words of a page.
type adminEvent struct {
	eventJSON
	By string // "the person" for what somebody did themself
}

// accountForm is an account as the fields of a form.
type accountForm struct {
	Username, Email, Name, Roles string
	Verified                     bool
}

// login is what the account is called, as its person would type it.
func (u userJSON) Login() string { return or(u.Username, or(u.Email, u.ID)) }

// adminPage lists accounts, newest first, and has a form for a new one.
func (s *Server) adminPage(w *answer, r *http.Request) error {
	data, err := s.adminListData(r)
	if err != nil {
		return err
	}
	return writePage(w, http.StatusOK, "admin", data)
}

func (s *Server) adminListData(r *http.Request) (pageData, error) {
	q, page, err := userQuery(r, "notice")
	if err != nil {
		return pageData{}, err
	}
	found, err := s.Authn.Users(r.Context(), q)
	if err != nil {
		return pageData{}, err
	}
	data := s.pageData(exchangeOf(r), "Accounts")
	values := r.URL.Query()
	data.Notice, data.Wide = notices[values.Get("notice")], true
	list := &adminData{
		Page: shapePagination(page, q.Limit, found), Q: q.Prefix, Role: q.Role, Active: values.Get("active"),
		Typed: accountForm{Roles: strings.Join(s.Authn.DefaultRoles(), ", ")},
	}
	for _, u := range found.Users {
		list.Users = append(list.Users, shapeUser(u))
	}
	if page > 1 {
		list.Previous = listAddress(data.Prefix, values, page-1)
	}
	if full := len(found.Users) == q.Limit; full && (list.Page.Pages == nil || page < *list.Page.Pages) {
		list.Next = listAddress(data.Prefix, values, page+1)
	}
	list.Count = counted(found)
	data.Admin = list
	return data, nil
}

// counted is how many were found.
func counted(found authn.UserPage) string {
	switch {
	case found.AtLeast:
		return "At least " + strconv.Itoa(found.Total) + " accounts"
	case found.Total == 1:
		return "1 account"
	}
	return strconv.Itoa(found.Total) + " accounts"
}

// listAddress is the address of another page of the same list.
func listAddress(prefix string, values url.Values, page int) string {
	to := url.Values{"page": {strconv.Itoa(page)}}
	for _, name := range []string{"q", "role", "active", "limit"} {
		if value := values.Get(name); value != "" {
			to.Set(name, value)
		}
	}
	return prefix + "/admin?" + to.Encode()
}

// createUserForm is createUser for the page's form. A password that was made is
// on the answer itself: it must stand in no address and no cookie.
func (s *Server) createUserForm(w *answer, r *http.Request, a authn.Actor) error {
	form, err := readForm(w, r, "username", "email", "name", "roles", "email_verified")
	if err == nil {
		var u authn.User
		var made authn.Secret
		u, made, err = s.Authn.CreateUser(r.Context(), authn.NewUser{
			Username: form.Get("username"), Email: form.Get("email"), Name: form.Get("name"),
			Roles: splitRoles(form.Get("roles")), EmailVerified: form.Get("email_verified") == "true",
		}, a)
		switch {
		case err == nil && made == "":
			return seeOther(w, accountAddress(exchangeOf(r), u.ID)+"?notice=account_made")
		case err == nil:
			data := s.pageData(exchangeOf(r), "The account is made")
			account := shapeUser(u)
			data.Admin = &adminData{Account: &account, Made: made.Reveal()}
			return writePage(w, http.StatusOK, "admin-made", data)
		}
	}
	data, failed := s.adminListData(r)
	if failed != nil {
		return failed
	}
	data.Admin.Typed = typed(form)
	return &formError{err, "admin", data}
}

// typed is what somebody has written into the form of an account.
func typed(form url.Values) accountForm {
	return accountForm{
		Username: form.Get("username"), Email: form.Get("email"), Name: form.Get("name"), Roles: form.Get("roles"),
		Verified: form.Get("email_verified") == "true",
	}
}

// splitRoles reads roles as people write them: with commas, spaces or both.
// Nothing is no roles, and not the default ones.
func splitRoles(text string) []string {
	return append([]string{}, strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })...)
}

func accountAddress(x *exchange, id string) string {
	return x.live.cfg.Server.Prefix + "/admin/accounts/" + id
}
