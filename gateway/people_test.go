package gateway

import (
	"testing"

	"github.com/doorward/doorward/authn"
)

// person is someone with an account, signed in twice: with an access token, and
// in a browser.
type person struct {
	id     string
	token  string
	bearer string // the header line with the token
	cookie string // the session cookie as it stands in the header Cookie

	mobile, web authn.Session
}

// person makes an account with these roles and signs it in both ways.
func (g *testGateway) person(t testing.TB, name string, roles ...string) person {
	t.Helper()
	u := g.addUser(name, roles...)
	mobile, web := g.signIn(name, authn.ModeToken), g.signIn(name, authn.ModeSessionCookie)
	token := mobile.AccessToken.Reveal()
	return person{
		id: u.ID, token: token, bearer: "Authorization: Bearer " + token, mobile: mobile.Session, web: web.Session,
		cookie: g.live.Load().cookies.session + "=" + web.Cookie.Reveal(),
	}
}
