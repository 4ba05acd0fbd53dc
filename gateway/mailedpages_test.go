package gateway

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// hidden is the value of a hidden field of a page.
func hidden(page, name string) string {
	m := regexp.MustCompile(`<input type="hidden" name="` + name + `" value="([^"]*)">`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return m[1]
}

func TestOpeningALinkUsesNothingUp(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	u := g.member("ann", "ann@example.com", false)
	token := g.mail(authn.MailVerifyEmail, "ann@example.com", 0).Token.Reveal()
	link := "/auth/verify-email?token=" + token
	for _, method := range []string{"GET", "HEAD", "GET"} { // a mail scanner, over and over
		a := g.do(method, link, "", "Accept: text/html", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
		c := a.cookie(g.live.Load().cookies.ticket)
		if a.Status != 303 || a.Header.Get("Location") != "/auth/verify-email" {
			t.Fatalf("got %d to %q, want to be sent on without the token", a.Status, a.Header.Get("Location"))
		}
		if c == nil || c.Path != "/auth/verify-email" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge <= 0 || c.MaxAge > 3600 {
			t.Errorf("got cookie %v, want one for that page, short-lived, HttpOnly, Lax", c)
		}
	}
	if g.userOf(u.ID).EmailVerified {
		t.Fatal("opening the link proved the address")
	}

	b := g.browser()
	a := b.open(link)
	if b.at != "/auth/verify-email" || hidden(a.Body, "token") != token || strings.Contains(a.Body, "<script") {
		t.Fatalf("at %s, want a page with the token in a form:\n%s", b.at, a.Body)
	}
	a = b.submit("/auth/verify-email", "token", hidden(a.Body, "token"), "password", testPassword)
	if a.Status != 200 || b.at != "/auth/verify-email?notice=address_confirmed" || !strings.Contains(a.Body, "confirmed") {
		t.Errorf("got %d at %s, want to be told:\n%s", a.Status, b.at, a.Body)
	}
	if !g.userOf(u.ID).EmailVerified {
		t.Error("the button did not prove the address")
	}
	if a = b.open("/auth/verify-email"); hidden(a.Body, "token") != "" {
		t.Error("the browser still keeps the token")
	}
	a = b.submit("/auth/verify-email", "token", token)
	if a.Status != 400 || a.code() != "TICKET_INVALID" || !strings.Contains(a.Body, `action="/auth/resend-verification"`) {
		t.Errorf("a second time: got %d %s, want another mail offered:\n%s", a.Status, a.code(), a.Body)
	}
	a = b.submit("/auth/resend-verification", "email", "nobody@example.com")
	if a.Status != 200 || b.at != "/auth/verify-email?notice=mail_sent" {
		t.Errorf("another mail: got %d at %s, want to be told that it is sent", a.Status, b.at)
	}
}

func TestBrowserResetsAForgottenPassword(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	g.member("ann", "ann@example.com", true)
	b := g.browser()
	if a := b.open("/auth/login"); !strings.Contains(a.Body, `href="/auth/forgot-password"`) {
		t.Errorf("the sign-in page does not lead there:\n%s", a.Body)
	}
	if a := b.open("/auth/forgot-password"); !strings.Contains(a.Body, `<form method="post" action="/auth/forgot-password">`) {
		t.Errorf("no form:\n%s", a.Body)
	}
	if a := b.submit("/auth/forgot-password", "email", "nobody"); a.Status != 400 || !strings.Contains(a.Body, `value="nobody"`) || !strings.Contains(a.Body, `role="alert"`) {
		t.Errorf("got %d, want the form again, saying why:\n%s", a.Status, a.Body)
	}
	a := b.submit("/auth/forgot-password", "email", "ann@example.com")
	if a.Status != 200 || b.at != "/auth/forgot-password?notice=mail_sent" || !strings.Contains(a.Body, `role="status"`) {
		t.Fatalf("got %d at %s, want to be told:\n%s", a.Status, b.at, a.Body)
	}
	token := g.mail(authn.MailResetPassword, "ann@example.com", 0).Token.Reveal()

	a = b.open("/auth/reset-password?token=" + token)
	if b.at != "/auth/reset-password" || hidden(a.Body, "token") != token {
		t.Fatalf("at %s, want the form:\n%s", b.at, a.Body)
	}
	a = b.submit("/auth/reset-password", "token", token, "password", "x9K")
	if a.Status != 400 || hidden(a.Body, "token") != token || strings.Contains(a.Body, "x9K") {
		t.Errorf("a weak password: got %d, want the form again, with the token and without the password:\n%s", a.Status, a.Body)
	}
	a = b.submit("/auth/reset-password", "token", token, "password", nextPassword)
	if a.Status != 200 || b.at != "/auth/login?notice=password_set" || !strings.Contains(a.Body, `role="status"`) {
		t.Fatalf("got %d at %s, want the sign-in page:\n%s", a.Status, b.at, a.Body)
	}
	if b.submit("/auth/login", "login", "ann", "password", nextPassword, "return_to", "/x"); b.at != "/x" {
		t.Errorf("at %s, want to be signed in", b.at)
	}
}

// TestPlantedTicketsStandInNobodysWay: a browser sends a cookie that a sibling
// host has planted under our name too, and before ours.
func TestPlantedTicketsStandInNobodysWay(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	g.member("ann", "ann@example.com", false)
	verify := g.mail(authn.MailVerifyEmail, "ann@example.com", 0).Token.Reveal()
	g.browser().submit("/auth/forgot-password", "email", "ann@example.com")
	reset := g.mail(authn.MailResetPassword, "ann@example.com", 0).Token.Reveal()
	name := g.live.Load().cookies.ticket
	for page, c := range map[string]struct{ good, other string }{
		"/auth/verify-email":   {verify, reset},
		"/auth/reset-password": {reset, verify},
	} {
		for _, planted := range []string{"", name + "=planted; ", name + "=\"; " + name + "=" + c.other + "; "} {
			a := g.get(page, "Accept: text/html", "Cookie: "+planted+name+"="+c.good)
			if got := hidden(a.Body, "token"); a.Status != 200 || got != c.good {
				t.Errorf("%s behind %q: got %d with the token %q, want that of the mail", page, planted, a.Status, got)
			}
		}
		a := g.get(page, "Accept: text/html", "Cookie: "+name+"=planted")
		if cleared := a.cookie(name); a.Status != 400 || a.code() != "TICKET_INVALID" || hidden(a.Body, "token") != "" || cleared == nil || cleared.MaxAge >= 0 {
			t.Errorf("%s: got %d %s, cookie %v, want a token that is none refused and dropped", page, a.Status, a.code(), cleared)
		}
	}
}

func TestLinksThatAreNone(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	for _, page := range []string{"/auth/verify-email", "/auth/reset-password"} {
		for _, token := range []string{"", "a%20b", "a%3Bb", "%22%3E", "%0d%0aSet-Cookie:%20x=y", strings.Repeat("a", 200), "%ff"} {
			a := g.get(page+"?token="+token, "Accept: text/html")
			if a.Status != 400 || a.code() != "TICKET_INVALID" || len(a.Header.Values("Set-Cookie")) != 0 {
				t.Errorf("%s?token=%s: got %d %s, cookies %q, want it refused", page, token, a.Status, a.code(), a.Header.Values("Set-Cookie"))
			}
		}
		a := g.get(page+"?notice=%3Cb%3Eall+is+well", "Accept: text/html", "Cookie: "+g.live.Load().cookies.ticket+"=\"><b>x")
		if a.Status != 200 || strings.Contains(a.Body, "<b>") || strings.Contains(a.Body, "all is well") || hidden(a.Body, "token") != "" {
			t.Errorf("%s shows what somebody put into a link or a cookie:\n%s", page, a.Body)
		}
	}
}

func TestTicketCookieUnderHTTPS(t *testing.T) {
	c := newCookieNames("https://app.example.com").forPage("/auth/verify-email", "t", ticketLasts)
	if c.Name != "__Secure-doorward_ticket" || !c.Secure || !c.HttpOnly || c.Path != "/auth/verify-email" || c.Domain != "" {
		t.Errorf("got %v", c)
	}
	for _, name := range []string{"__Secure-doorward_ticket", "doorward_ticket_8080", "doorward_ticket"} {
		if !isOurCookie(name) {
			t.Errorf("%s is not kept from backends", name)
		}
	}
}

func TestBrowserRegistersWithProof(t *testing.T) {
	g := newMailGateway(t, nil, proveAddresses)
	b := g.browser()
	if a := b.open("/auth/register"); !strings.Contains(a.Body, `autocomplete="email" required`) {
		t.Errorf("the form does not ask for an address:\n%s", a.Body)
	}
	a := b.submit("/auth/register", "username", "ann", "email", "ann@example.com", "name", "", "password", testPassword, "return_to", "/x")
	if a.Status != 200 || b.at != "/auth/verify-email?notice=confirm_address" || b.cookies() != 0 {
		t.Fatalf("got %d at %s, want to be told to open the mail:\n%s", a.Status, b.at, a.Body)
	}
	a = b.open("/auth/verify-email?token=" + g.mail(authn.MailVerifyRegistration, "ann@example.com", 0).Token.Reveal())
	token := hidden(a.Body, "token")
	if !strings.Contains(a.Body, "<strong>ann</strong>") || !strings.Contains(a.Body, `name="password" type="password"`) || token == "" {
		t.Errorf("the page does not say whose account it would be and ask for the password:\n%s", a.Body)
	}
	a = b.submit("/auth/verify-email", "token", token, "password", testPassword)
	if a.Status != 200 || b.at != "/auth/verify-email?notice=address_confirmed" {
		t.Errorf("got %d at %s, want to be told:\n%s", a.Status, b.at, a.Body)
	}
	if b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/x"); b.at != "/x" {
		t.Errorf("at %s, want to be signed in", b.at)
	}
}

// Who follows the mail of a registration that is a stranger's, and clicks
// through, makes no account of it.
func TestBlindConfirmationOfAStrangersRegistration(t *testing.T) {
	g := newMailGateway(t, nil, proveAddresses)
	g.post("/auth/register", `{"email":"ann@example.com","username":"mallory","password":"`+testPassword+`"}`)
	link := "/auth/verify-email?token=" + g.mail(authn.MailVerifyRegistration, "ann@example.com", 0).Token.Reveal()
	b := g.browser()
	a := b.open(link)
	token := hidden(a.Body, "token")
	for _, c := range []struct{ password, field string }{{"", "is required"}, {nextPassword, "not the password"}} {
		a = b.submit("/auth/verify-email", "token", token, "password", c.password)
		if a.Status != 400 || a.code() != "INVALID_INPUT" || !strings.Contains(a.Body, c.field) || !strings.Contains(a.Body, "mallory") ||
			hidden(a.Body, "token") != token || strings.Contains(a.Body, nextPassword) {
			t.Errorf("password %q: got %d %s, want the page again, saying why:\n%s", c.password, a.Status, a.code(), a.Body)
		}
	}
	if a = b.submit("/auth/verify-email", "token", token); a.Status != 400 || a.code() != "INVALID_INPUT" {
		t.Errorf("no password: got %d %s, want it refused", a.Status, a.code())
	}
	for range 4 {
		b.submit("/auth/verify-email", "token", token, "password", nextPassword)
	}
	a = b.submit("/auth/verify-email", "token", token, "password", testPassword)
	if a.Status != 400 || a.code() != "TICKET_INVALID" || hidden(a.Body, "token") != "" {
		t.Errorf("after five: got %d %s, want the link void:\n%s", a.Status, a.code(), a.Body)
	}
	if a = b.open(link); a.Status != 400 || a.code() != "TICKET_INVALID" || !strings.Contains(a.Body, `action="/auth/resend-verification"`) {
		t.Errorf("its link: got %d %s, want another mail offered:\n%s", a.Status, a.code(), a.Body)
	}
	wantProblem(t, g.login("mallory", "token"), 401, "INVALID_CREDENTIALS")
}

// Who follows the mail of a stranger's change of address, and clicks through,
// gives his account no address of hers: not signed out, not signed in to her
// own account, not by another site's form.
func TestBlindConfirmationOfAStrangersMove(t *testing.T) {
	g := newMailGateway(t, nil, proveAddresses)
	mallory := g.member("", "mallory@evil.example", true)
	g.member("ann", "ann@example.com", true)
	cookie := "Cookie: " + g.live.Load().cookies.session + "=" + g.signIn("mallory@evil.example", authn.ModeSessionCookie).Cookie.Reveal()
	a := g.post("/auth/change-email", `{"current_password":"`+testPassword+`","email":"ann@new.example"}`, cookie, "Sec-Fetch-Site: same-origin")
	if a.Status != 202 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	link := "/auth/verify-email?token=" + g.mail(authn.MailVerifyChange, "ann@new.example", 0).Token.Reveal()
	unmoved := func(how string) {
		t.Helper()
		if got := g.userOf(mallory.ID).Email; got != mallory.Email {
			t.Fatalf("%s: his account is at %s", how, got)
		}
	}
	b := g.browser()
	for _, how := range []string{"signed out", "signed in to her own account"} {
		a = b.open(link)
		if !strings.Contains(a.Body, "<strong>mallory@evil.example</strong>") || !strings.Contains(a.Body, `name="password" type="password"`) {
			t.Errorf("%s: the page does not say whose account it is and ask for its password:\n%s", how, a.Body)
		}
		token := hidden(a.Body, "token")
		if a = b.submit("/auth/verify-email", "token", token); a.Status != 400 || a.code() != "INVALID_INPUT" || hidden(a.Body, "token") != token {
			t.Errorf("%s: got %d %s, want the page again", how, a.Status, a.code())
		}
		if a = b.submit("/auth/verify-email", "token", token, "password", nextPassword); a.Status != 400 || a.code() != "INVALID_INPUT" {
			t.Errorf("%s, another password: got %d %s", how, a.Status, a.code())
		}
		unmoved(how)
		b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/x")
	}
	token := strings.TrimPrefix(link, "/auth/verify-email?token=")
	a = g.do("POST", "/auth/verify-email", "token="+token, "Content-Type: application/x-www-form-urlencoded", cookie, "Sec-Fetch-Site: cross-site")
	unmoved("another site's form")
	a = g.do("POST", "/auth/verify-email", "token="+token, "Content-Type: application/x-www-form-urlencoded", cookie, "Sec-Fetch-Site: same-origin")
	if got := g.userOf(mallory.ID).Email; got != "ann@new.example" {
		t.Errorf("signed in to the account itself: %d %s, it is at %s", a.Status, a.Body, got)
	}
}

func TestBrowserChangesPasswordAndAddress(t *testing.T) {
	g := newMailGateway(t, nil, nil)
	u := g.member("ann", "ann@example.com", false)
	b := g.browser()
	b.submit("/auth/login", "login", "ann", "password", testPassword, "return_to", "/auth/account")
	a := b.open("/auth/account")
	for _, want := range []string{`action="/auth/change-password"`, `action="/auth/change-email"`, `action="/auth/resend-verification"`} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("the account page has no %s:\n%s", want, a.Body)
		}
	}
	a = b.submit("/auth/change-email", "current_password", "wrong-wrong-wrong", "email", "ann@new.example")
	if a.Status != 400 || !strings.Contains(a.Body, `value="ann@new.example"`) || !strings.Contains(a.Body, "This device") || strings.Contains(a.Body, "wrong-wrong") {
		t.Errorf("got %d, want the page again, with the address and without the password:\n%s", a.Status, a.Body)
	}
	a = b.submit("/auth/change-email", "current_password", testPassword, "email", "ann@new.example")
	if a.Status != 200 || b.at != "/auth/account?notice=confirm_change" || !strings.Contains(a.Body, `role="status"`) {
		t.Errorf("got %d at %s, want to be told:\n%s", a.Status, b.at, a.Body)
	}
	a = b.open("/auth/verify-email?token=" + g.mail(authn.MailVerifyChange, "ann@new.example", 0).Token.Reveal())
	b.submit("/auth/verify-email", "token", hidden(a.Body, "token"))
	if got := g.userOf(u.ID); got.Email != "ann@new.example" || !got.EmailVerified {
		t.Errorf("got %s, verified %v, want the new address, proven", got.Email, got.EmailVerified)
	}
	a = b.submit("/auth/change-password", "current_password", testPassword, "new_password", "x9K")
	if a.Status != 400 || !strings.Contains(a.Body, "New password") {
		t.Errorf("got %d, want the page again, saying why:\n%s", a.Status, a.Body)
	}
	a = b.submit("/auth/change-password", "current_password", testPassword, "new_password", nextPassword)
	if a.Status != 200 || b.at != "/auth/login?notice=password_set" || b.cookies() != 0 {
		t.Errorf("got %d at %s with %d cookies, want the sign-in page and none", a.Status, b.at, b.cookies())
	}
	if b.submit("/auth/login", "login", "ann", "password", nextPassword, "return_to", "/x"); b.at != "/x" {
		t.Errorf("at %s, want to be signed in with the new one", b.at)
	}
}
