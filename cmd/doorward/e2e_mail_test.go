package main_test

import (
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/doorward/doorward/mail/smtptest"
)

// mailing is what a gateway that sends mails is started with.
func mailing(server *smtptest.Server, credentials string) string {
	return fmt.Sprintf(`
mail: {url: "smtp://%s%s", from: "Door <no-reply@example.org>"}
upstreams: [{name: app, url: "whoami:"}]
routes: [{path: "/**", upstream: app, allow: authenticated}]
`, credentials, server.Addr)
}

// unlimited is for tests that ask for more mails than a person would.
var unlimited = []string{"DOORWARD_LIMITS_MAIL=", "DOORWARD_LIMITS_PASSWORD_RESET="}

// proven has every address proven before there is an account.
const proven = "DOORWARD_ACCOUNTS_EMAIL_VERIFICATION=required"

const nextPassword = "another horse, another battery"

// letter is a mail as a person reads it.
type letter struct {
	smtptest.Mail
	text string
}

// mailbox reads a mail server's mails in order.
type mailbox struct {
	t      testing.TB
	server *smtptest.Server
	seen   int
}

// next waits for the next mail to an address with these words in its subject,
// passing over all that come before it.
func (b *mailbox) next(to, subject string) letter {
	b.t.Helper()
	for {
		b.seen++
		m := b.server.Wait(b.t, b.seen)
		if len(m.To) == 1 && m.To[0] == to && strings.Contains(m.Header.Get("Subject"), subject) {
			return letter{m, textPart(b.t, m)}
		}
	}
}

// textPart is the plain text of a mail.
func textPart(t testing.TB, m smtptest.Mail) string {
	t.Helper()
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	part, err := multipart.NewReader(strings.NewReader(m.Body), params["boundary"]).NextPart()
	if err != nil {
		t.Fatalf("the mail has no parts: %v\n%s", err, m.Body)
	}
	text, err := io.ReadAll(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var linkInMail = regexp.MustCompile(`(?m)^http://localhost:8080(/auth/[a-z-]+)\?token=([A-Za-z0-9_-]{64})\s*$`)

// link is where the mail's link leads, and its token.
func (l letter) link(t testing.TB) (path, token string) {
	t.Helper()
	m := linkInMail.FindStringSubmatch(l.text)
	if m == nil {
		t.Fatalf("no link in the mail:\n%s", l.text)
	}
	return m[1], m[2]
}

func (g *gate) want(r reply, status int, code string) {
	g.t.Helper()
	if r.status != status || r.header.Get("Doorward") != code {
		g.t.Fatalf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
}

type fields = map[string]string

// TestLifeByMail is one person's account from registration to another address,
// over STARTTLS with a password, and with a restart between a mail and its use.
func TestLifeByMail(t *testing.T) {
	config, certificate := smtptest.Certificate(t)
	server := smtptest.Start(t, smtptest.Options{TLS: config, User: "door", Password: "pass word"})
	g := start(t, mailing(server, "door:pass%20word@"), append(unlimited, proven, "SSL_CERT_FILE="+certificate)...)
	box := &mailbox{t: t, server: server}

	// Registration: there is nobody until the link is used.
	ann := fields{"email": "Ann@Example.com", "username": "ann", "password": goodPassword}
	if r := g.post("/auth/register", ann); r.status != 202 || string(r.body) != "{}\n" {
		t.Fatalf("register: got %d %s, want 202 {}", r.status, r.body)
	}
	g.want(g.post("/auth/login", fields{"login": "ann", "password": goodPassword}), 401, "INVALID_CREDENTIALS")
	m := box.next("ann@example.com", "Confirm")
	if !m.Secure || m.User != "door" || m.From != "no-reply@example.org" {
		t.Errorf("got a mail from %s by %q, over TLS %v, want no-reply@example.org, door and TLS", m.From, m.User, m.Secure)
	}
	path, token := m.link(t)
	if path != "/auth/verify-email" {
		t.Errorf("the link leads to %s", path)
	}
	g.want(g.call("GET", path+"?token="+token, nil), 303, "")

	g.stop()
	g.run()
	winners := g.everybodyTries(token)
	if winners != 1 {
		t.Fatalf("%d of 20 used the link, want one", winners)
	}
	first, second := g.login("ann", goodPassword), g.login("ann@example.com", goodPassword)

	// Somebody else tries the same address.
	if r := g.post("/auth/register", fields{"email": "ann@example.com", "password": goodPassword}); r.status != 202 || string(r.body) != "{}\n" {
		t.Errorf("a taken address: got %d %s, want 202 {}", r.status, r.body)
	}
	if m := box.next("ann@example.com", ""); strings.Contains(m.text, "token=") || !strings.Contains(m.text, "ann") {
		t.Errorf("the owner is told:\n%s", m.text)
	}

	// A forgotten password: every session ends.
	g.want(g.post("/auth/forgot-password", fields{"email": "ann@example.com"}), 202, "")
	path, token = box.next("ann@example.com", "password").link(t)
	if path != "/auth/reset-password" {
		t.Errorf("the link leads to %s", path)
	}
	g.stop()
	g.run()
	g.want(g.post("/auth/reset-password", fields{"token": token, "password": nextPassword}), 204, "")
	for _, p := range []pair{first, second} {
		g.want(g.call("GET", "/x", nil, bearer(p.Access)...), 401, "TOKEN_REVOKED")
		g.want(g.post("/auth/refresh", fields{"refresh_token": p.Refresh}), 401, "REFRESH_TOKEN_INVALID")
	}
	g.want(g.post("/auth/reset-password", fields{"token": token, "password": goodPassword}), 400, "TICKET_INVALID")
	g.want(g.post("/auth/login", fields{"login": "ann", "password": goodPassword}), 401, "INVALID_CREDENTIALS")
	box.next("ann@example.com", "password") // the notice
	p := g.login("ann", nextPassword)

	// Another address: the old one counts until the new one is proven.
	g.want(g.post("/auth/change-email", fields{"current_password": nextPassword, "email": "ann@new.example"}, bearer(p.Access)...), 202, "")
	arrived := map[string]letter{}
	for len(arrived) < 2 {
		box.seen++
		m := server.Wait(t, box.seen)
		arrived[m.To[0]] = letter{m, textPart(t, m)}
	}
	if told := arrived["ann@example.com"].text; strings.Contains(told, "token=") || !strings.Contains(told, "ann@new.example") {
		t.Errorf("the old address is told:\n%s", told)
	}
	g.login("ann@example.com", nextPassword)
	_, token = arrived["ann@new.example"].link(t)
	r := g.post("/auth/verify-email", fields{"token": token})
	var got struct {
		User struct {
			Email    string
			Verified bool `json:"email_verified"`
		}
	}
	r.json(t, &got)
	if r.status != 200 || got.User.Email != "ann@new.example" || !got.User.Verified {
		t.Errorf("got %d %s, want the new address, proven", r.status, r.body)
	}
	g.login("ann@new.example", nextPassword)
	g.want(g.post("/auth/login", fields{"login": "ann@example.com", "password": nextPassword}), 401, "INVALID_CREDENTIALS")
	if strings.Contains(g.log.String(), token) {
		t.Error("a token is in the log")
	}
}

// everybodyTries uses one link 20 times at once and counts who got in.
func (g *gate) everybodyTries(token string) (winners int) {
	g.t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 20 {
		all.Go(func() {
			r := g.post("/auth/verify-email", fields{"token": token})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case r.status == 200:
				winners++
			case r.header.Get("Doorward") != "TICKET_INVALID":
				g.t.Errorf("got %d %s, want TICKET_INVALID", r.status, r.body)
			}
		})
	}
	all.Wait()
	return winners
}

// TestInvitation is an account made by an admin, whose person chooses the
// password.
func TestInvitation(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	g := start(t, mailing(server, ""))
	g.doorward(goodPassword+"\n", "user", "add", "boss", "--role", "admin", "--password-stdin")
	boss := g.login("boss", goodPassword)
	r := g.post("/auth/admin/users", fields{"email": "carol@example.com"}, bearer(boss.Access)...)
	if r.status != 201 || strings.Contains(string(r.body), "password") {
		t.Fatalf("got %d %s, want an account and no password", r.status, r.body)
	}
	box := &mailbox{t: t, server: server}
	path, token := box.next("carol@example.com", "").link(t)
	if path != "/auth/reset-password" {
		t.Errorf("the link leads to %s", path)
	}
	g.want(g.post("/auth/reset-password", fields{"token": token, "password": goodPassword}), 204, "")
	carol := g.login("carol@example.com", goodPassword)
	r = g.call("GET", "/", nil, bearer(carol.Access)...)
	if r.status != 200 || !strings.Contains(string(r.body), "carol@example.com") {
		t.Errorf("got %d %s, want the backend to be told the proven address", r.status, r.body)
	}
	g.want(g.post("/auth/admin/users", fields{"email": "eve@example.com"}, bearer(carol.Access)...), 403, "INSUFFICIENT_ROLE")
}

// TestKilledBeforeItCouldSend has the mail server hang, and the process die with
// a mail it has promised and not begun to send: letters to one address wait for
// each other.
func TestKilledBeforeItCouldSend(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	g := start(t, mailing(server, ""), unlimited...)
	box := &mailbox{t: t, server: server}
	r := g.post("/auth/register", fields{"username": "ann", "email": "ann@example.com", "password": goodPassword})
	g.want(r, 201, "")
	box.next("ann@example.com", "Confirm")
	release := make(chan struct{})
	server.Refuse(func(string) error { <-release; return smtptest.Temporary() })
	g.want(g.post("/auth/resend-verification", fields{"email": "ann@example.com"}), 202, "")
	server.WaitAttempts(t, 2) // and there it hangs
	// Nobody waits for the mail server: the next one is promised all the same.
	g.want(g.post("/auth/forgot-password", fields{"email": "ann@example.com"}), 202, "")
	g.kill()
	close(release)
	server.Refuse(nil)
	g.run()
	_, token := box.next("ann@example.com", "password").link(t)
	g.want(g.post("/auth/reset-password", fields{"token": token, "password": nextPassword}), 204, "")
	g.login("ann", nextPassword)
}

// TestASlowRecipientHoldsUpNobodyElse: the mail server holds one conversation,
// and the others go on. What it holds arrives once, and before what was sent to
// the same person after it.
func TestASlowRecipientHoldsUpNobodyElse(t *testing.T) {
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	server := smtptest.Start(t, smtptest.Options{})
	t.Cleanup(release) // before the server is closed
	g := start(t, mailing(server, ""), unlimited...)
	for _, name := range []string{"slow", "ann", "bob"} {
		g.doorward(goodPassword+"\n", "user", "add", name+"@example.com", "--verified", "--password-stdin")
	}
	var held atomic.Bool
	server.Refuse(func(to string) error {
		if to == "slow@example.com" && held.CompareAndSwap(false, true) {
			<-hold // the first of them
		}
		return nil
	})
	box := &mailbox{t: t, server: server}
	forgot := func(name string) {
		g.want(g.post("/auth/forgot-password", fields{"email": name + "@example.com"}), 202, "")
	}
	forgot("slow")
	server.WaitAttempts(t, 1)
	forgot("slow")
	for range 3 {
		for _, name := range []string{"ann", "bob"} {
			forgot(name)
			box.next(name+"@example.com", "password")
		}
	}
	for _, m := range server.Mails() {
		if m.To[0] == "slow@example.com" {
			t.Error("a mail has overtaken the one before it")
		}
	}
	release()
	_, older := box.next("slow@example.com", "password").link(t)
	_, newer := box.next("slow@example.com", "password").link(t)
	g.want(g.post("/auth/reset-password", fields{"token": older, "password": nextPassword}), 400, "TICKET_INVALID")
	g.want(g.post("/auth/reset-password", fields{"token": newer, "password": nextPassword}), 204, "")
	box.next("slow@example.com", "changed")
	g.stop()
	seen := map[string]bool{}
	for _, m := range server.Mails() {
		id := m.Header.Get("Message-Id")
		if seen[id] {
			t.Errorf("%s to %v was sent twice", id, m.To)
		}
		seen[id] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d mails, want 9", len(seen))
	}
}

// TestMailGivenUp has the mail server refuse an address for good: that is in the
// security log and in the metrics, and the rest of the outbox goes on.
func TestMailGivenUp(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	server.Refuse(func(to string) error {
		if to == "gone@example.com" {
			return smtptest.Permanent()
		}
		return nil
	})
	g := start(t, mailing(server, ""), unlimited...)
	g.doorward(goodPassword+"\n", "user", "add", "boss", "--role", "admin", "--password-stdin")
	for _, email := range []string{"gone@example.com", "here@example.com"} {
		g.want(g.post("/auth/register", fields{"email": email, "password": goodPassword}), 201, "")
	}
	(&mailbox{t: t, server: server}).next("here@example.com", "Confirm")
	boss := g.login("boss", goodPassword)
	r := g.call("GET", "/auth/admin/events?kind=mail.given_up", nil, bearer(boss.Access)...)
	if r.status != 200 || strings.Count(string(r.body), `"kind":"mail.given_up"`) != 1 || strings.Contains(string(r.body), "gone@") {
		t.Errorf("got %d %s, want one event, without the address", r.status, r.body)
	}
	ops := *g
	ops.url = g.ops
	if text := string(ops.call("GET", "/metrics", nil).body); !strings.Contains(text, `doorward_mails_total{result="given_up"} 1`) {
		t.Error("the metrics do not say so")
	}
	if strings.Contains(g.log.String(), "gone@example.com") {
		t.Error("the address is in the log")
	}
}

// TestNobodyLearnsWhoIsThere compares the answers for an address with an account
// and one without: status, header names and length.
func TestNobodyLearnsWhoIsThere(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	g := start(t, mailing(server, ""), append(unlimited, proven)...)
	g.doorward(goodPassword+"\n", "user", "add", "known1@example.com", "--password-stdin")
	for _, c := range []struct {
		path string
		body fields
	}{
		{"/auth/forgot-password", fields{}},
		{"/auth/resend-verification", fields{}},
		{"/auth/register", fields{"password": goodPassword}},
	} {
		t.Run(strings.TrimPrefix(c.path, "/auth/"), func(t *testing.T) {
			ask := func(email string) reply {
				body := maps.Clone(c.body)
				body["email"] = email
				return g.post(c.path, body)
			}
			known, unknown := ask("known1@example.com"), ask("nobody@example.com")
			names := func(r reply) []string { return slices.Sorted(maps.Keys(r.header)) }
			if known.status != 202 || unknown.status != 202 || string(known.body) != string(unknown.body) || !slices.Equal(names(known), names(unknown)) {
				t.Errorf("known: %d %q %q\nunknown: %d %q %q\nwant no difference", known.status, names(known), known.body, unknown.status, names(unknown), unknown.body)
			}
		})
	}
	// The forms neither.
	for _, path := range []string{"/auth/forgot-password", "/auth/resend-verification"} {
		var answers []string
		for _, email := range []string{"known1@example.com", "nobody@example.com"} {
			form := strings.NewReader(url.Values{"email": {email}}.Encode())
			r := g.call("POST", path, form, "Content-Type", "application/x-www-form-urlencoded")
			answers = append(answers, fmt.Sprint(r.status, r.header.Get("Location"), slices.Sorted(maps.Keys(r.header)), string(r.body)))
		}
		if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "303") {
			t.Errorf("%s: got\n%s\nfor known and\n%s\nfor unknown, want no difference", path, answers[0], answers[1])
		}
	}
}
