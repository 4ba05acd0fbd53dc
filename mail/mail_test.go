package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/mail"
	"github.com/doorward/doorward/mail/smtptest"
)

// trustingEnv names the file of a certificate the re-executed test trusts: the
// system's roots are read once in a process, so trust has to be there at start.
const trustingEnv = "SSL_CERT_FILE"

func testMessage() mail.Message {
	return mail.Message{ID: "m1", To: "ann@example.com", Subject: "Grüße", Text: "Hello\nAnn\n", HTML: "<p>Hello Ann</p>", Date: time.Unix(1_800_000_000, 0)}
}

func open(t testing.TB, url string) *mail.Sender {
	t.Helper()
	s, err := mail.Open(mail.Config{URL: url, From: `Door W <no-reply@example.org>`}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSend(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	if err := open(t, "smtp://"+server.Addr).Send(t.Context(), testMessage()); err != nil {
		t.Fatal(err)
	}
	got := server.Wait(t, 1)
	if len(got.To) != 1 || got.To[0] != "ann@example.com" || got.From != "no-reply@example.org" {
		t.Errorf("envelope: got %s to %v", got.From, got.To)
	}
	for name, want := range map[string]string{
		"From":           `"Door W" <no-reply@example.org>`,
		"Subject":        "=?UTF-8?q?Gr=C3=BC=C3=9Fe?=",
		"Message-Id":     "<m1@example.org>",
		"Auto-Submitted": "auto-generated",
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(got.Body, "text/plain") || !strings.Contains(got.Body, "text/html") || !strings.Contains(got.Body, "<p>Hello Ann</p>") {
		t.Errorf("body: want text and HTML, got:\n%s", got.Body)
	}
}

// TestSendOverTLS runs itself again, trusting the test server's certificate.
func TestSendOverTLS(t *testing.T) {
	if url := os.Getenv("DOORWARD_TEST_MAIL_URL"); url != "" {
		if err := open(t, url).Send(t.Context(), testMessage()); err != nil {
			t.Fatal(err)
		}
		return
	}
	config, file := smtptest.Certificate(t)
	for _, c := range []struct {
		name, url string
		options   smtptest.Options
		trusted   bool
	}{
		{"STARTTLS with a password", "smtp://door:pass%20word@", smtptest.Options{TLS: config, User: "door", Password: "pass word"}, true},
		{"implicit TLS", "smtps://door:pw@", smtptest.Options{TLS: config, Implicit: true, User: "door", Password: "pw"}, true},
		{"a certificate nobody trusts", "smtps://door:pw@", smtptest.Options{TLS: config, Implicit: true, User: "door", Password: "pw"}, false},
		{"a wrong password", "smtps://door:wrong@", smtptest.Options{TLS: config, Implicit: true, User: "door", Password: "pw"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := smtptest.Start(t, c.options)
			again := exec.Command(os.Args[0], "-test.run=^TestSendOverTLS$")
			again.Env = append(os.Environ(), "DOORWARD_TEST_MAIL_URL="+c.url+server.Addr)
			if c.trusted {
				again.Env = append(again.Env, trustingEnv+"="+file)
			}
			out, err := again.CombinedOutput()
			if c.trusted && !strings.Contains(c.url, "wrong") {
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if got := server.Wait(t, 1); !got.Secure || got.User != "door" {
					t.Errorf("got secure %v by %q, want TLS by door", got.Secure, got.User)
				}
				return
			}
			if err == nil || len(server.Mails()) != 0 {
				t.Errorf("the mail was sent all the same:\n%s", out)
			}
			if strings.Contains(string(out), "pass word") || strings.Contains(string(out), ":wrong@") {
				t.Errorf("the error holds the password: %s", out)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	sender := open(t, "smtp://"+server.Addr)
	for _, c := range []struct {
		name      string
		answer    func() error
		permanent bool
	}{
		{"later", smtptest.Temporary, false},
		{"never", smtptest.Permanent, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server.Refuse(func(string) error { return c.answer() })
			defer server.Refuse(nil)
			err := sender.Send(t.Context(), testMessage())
			if err == nil || mail.Permanent(err) != c.permanent {
				t.Errorf("got %v (permanent %v), want an error with permanent %v", err, mail.Permanent(err), c.permanent)
			}
			if err != nil && strings.Contains(err.Error(), "ann@") {
				t.Errorf("the error holds the address: %v", err)
			}
		})
	}
	t.Run("connection dropped before the acknowledgement", func(t *testing.T) {
		server.DropAcknowledgements(true)
		defer server.DropAcknowledgements(false)
		if err := sender.Send(t.Context(), testMessage()); err == nil || mail.Permanent(err) {
			t.Errorf("got %v, want an error that allows another try", err)
		}
	})
	t.Run("server down", func(t *testing.T) {
		if err := open(t, "smtp://127.0.0.1:1").Send(t.Context(), testMessage()); err == nil || mail.Permanent(err) {
			t.Errorf("got %v, want an error that allows another try", err)
		}
	})
	t.Run("context over", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sender.Send(ctx, testMessage()); err == nil || mail.Permanent(err) {
			t.Errorf("got %v, want an error that allows another try", err)
		}
	})
}

// TestSendEndsWithItsContext, wherever the server has stopped talking: whoever
// stops the process waits for it. And nothing is left open.
func TestSendEndsWithItsContext(t *testing.T) {
	endsWith := func(t *testing.T, url string, stopped func()) {
		t.Helper()
		sender := open(t, url)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- sender.Send(ctx, testMessage()) }()
		stopped()
		cancel()
		select {
		case err := <-ended:
			if err == nil || mail.Permanent(err) {
				t.Errorf("got %v, want an error that allows another try", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("it is still waiting for the server")
		}
	}
	t.Run("before it answers a recipient", func(t *testing.T) {
		hold := make(chan struct{})
		server := smtptest.Start(t, smtptest.Options{})
		server.Refuse(func(string) error { <-hold; return nil })
		defer close(hold)
		endsWith(t, "smtp://"+server.Addr, func() { server.WaitAttempts(t, 1) })
	})
	for _, scheme := range []string{"smtp", "smtps"} {
		t.Run("before its first word to "+scheme, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var conn net.Conn
			endsWith(t, scheme+"://"+l.Addr().String(), func() {
				if conn, err = l.Accept(); err != nil {
					t.Fatal(err)
				}
			})
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection was left open")
			}
		})
	}
}

// TestSendSeveralAtOnce: each mail has a conversation of its own, and one that
// the server holds keeps none of the others.
func TestSendSeveralAtOnce(t *testing.T) {
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	server := smtptest.Start(t, smtptest.Options{})
	t.Cleanup(release) // before the server is closed
	server.Refuse(func(to string) error {
		if to == "slow@example.com" {
			<-hold
		}
		return nil
	})
	sender := open(t, "smtp://"+server.Addr)
	var all sync.WaitGroup
	send := func(name string) {
		all.Go(func() {
			m := testMessage()
			m.ID, m.To, m.Text = name, name+"@example.com", "to "+name+"\n"
			if err := sender.Send(t.Context(), m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	const others = 20
	send("slow")
	server.WaitAttempts(t, 1)
	for n := range others {
		send(fmt.Sprintf("ann%d", n))
	}
	server.Wait(t, others) // while it is held
	release()
	server.Wait(t, others+1)
	all.Wait()
	seen := map[string]bool{}
	for _, m := range server.Mails() {
		name, _, _ := strings.Cut(m.To[0], "@")
		if seen[name] || len(m.To) != 1 || m.Header.Get("Message-Id") != "<"+name+"@example.org>" || !strings.Contains(m.Body, "to "+name+"\r\n") {
			t.Errorf("to %v, again %v: %v\n%s\nwant what was written to %s, once", m.To, seen[name], m.Header, m.Body, name)
		}
		seen[name] = true
	}
}

// TestRecipientTricks has what would reach somebody else, or write headers.
func TestRecipientTricks(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	sender := open(t, "smtp://"+server.Addr)
	for _, to := range []string{
		"", "ann", "@example.com", "ann@", "ann@example.com, bob@example.com", "ann@example.com,bob@example.com", "ann@example.com;bob@example.com",
		"Ann <ann@example.com>", "<ann@example.com>", "ann@example.com (comment)", `"ann bob"@example.com`, `ann@[127.0.0.1]`, "ann@b@example.com",
		"ann@example.com\r\nBcc: bob@example.com", "ann@example.com\nRCPT TO:<bob@example.com>", "ann@example.com\x00", " ann@example.com", "group:ann@example.com;",
		strings.Repeat("a", 250) + "@example.com",
	} {
		m := testMessage()
		m.To = to
		if err := sender.Send(t.Context(), m); err == nil || !mail.Permanent(err) {
			t.Errorf("%q: got %v, want a permanent refusal", to, err)
		}
	}
	m := testMessage()
	m.Subject = "Hi\r\nBcc: bob@example.com"
	if err := sender.Send(t.Context(), m); err == nil || !mail.Permanent(err) {
		t.Errorf("a subject of two lines: got %v, want a permanent refusal", err)
	}
	if got := server.Mails(); len(got) != 0 {
		t.Errorf("%d mails were sent all the same", len(got))
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	s, err := mail.Open(mail.Config{URL: "log:", From: "a@localhost"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), testMessage()); err != nil || !strings.Contains(out.String(), "To: ann@example.com") || !strings.Contains(out.String(), "Hello\nAnn") {
		t.Errorf("got %v and %q", err, out.String())
	}
	if s, err := mail.Open(mail.Config{}, &out); s != nil || err != nil {
		t.Errorf("no URL: got %v, %v, want no sender", s, err)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		config mail.Config
		key    string
	}{
		{"a scheme nobody speaks", mail.Config{URL: "http://mail", From: "a@b.c"}, "mail.url"},
		{"no host", mail.Config{URL: "smtp://", From: "a@b.c"}, "mail.url"},
		{"a path", mail.Config{URL: "smtp://mail/x", From: "a@b.c"}, "mail.url"},
		{"a port out of range", mail.Config{URL: "smtp://mail:99999", From: "a@b.c"}, "mail.url"},
		{"not a URL", mail.Config{URL: "smtp://user:p%zzw@mail", From: "a@b.c"}, "mail.url"},
		{"two senders", mail.Config{URL: "log:", From: "a@b.c, d@e.f"}, "mail.from"},
		{"a folder there is not", mail.Config{Templates: "nowhere"}, "mail.templates"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrong := c.config.Validate()
			if wrong[c.key] == "" || len(wrong) != 1 {
				t.Errorf("got %v, want one problem with %s", wrong, c.key)
			}
			if strings.Contains(wrong[c.key], "p%zzw") {
				t.Errorf("the problem holds the password: %s", wrong[c.key])
			}
		})
	}
}

func TestTemplates(t *testing.T) {
	built, err := mail.LoadTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	data := mail.Data{Name: "Ann\r\nBcc: x@y <b>", Login: "ann", Link: "https://app.example.com/auth/reset-password?token=abc", Expires: "noon", Service: "https://app.example.com"}
	for _, kind := range mail.Kinds {
		m, err := built.Render(kind, data)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if m.Subject == "" || strings.ContainsAny(m.Subject, "\r\n") || strings.Contains(m.Text, "\r") || strings.Contains(m.HTML, "<b>,") {
			t.Errorf("%s: what a person is called was not made harmless:\n%+v", kind, m)
		}
	}
	m, _ := built.Render("reset_password", data)
	if !strings.Contains(m.Text, data.Link) || !strings.Contains(m.HTML, data.Link) {
		t.Errorf("the link is missing:\n%s\n%s", m.Text, m.HTML)
	}
	for username, want := range map[string]string{"mallory": "username mallory", "": "without a username"} {
		data.Username, data.Where = username, "192.0.2.1"
		m, _ := built.Render("verify_registration", data)
		for _, want := range []string{want, "192.0.2.1", "do not confirm it", data.Link} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("the text for %q does not say %q:\n%s", username, want, m.Text)
			}
			if html := strings.NewReplacer("<strong>", "", "</strong>", "").Replace(m.HTML); !strings.Contains(html, want) {
				t.Errorf("the page for %q does not say %q:\n%s", username, want, m.HTML)
			}
		}
		if strings.Contains(m.Text, "Ann") { // a stranger may have written it
			t.Errorf("the mail carries what somebody wants to be called:\n%s", m.Text)
		}
	}
	for _, kind := range []string{"verify_email", "verify_change"} {
		for login, want := range map[string]string{"mallory@evil.test": "the account mallory@evil.test", "": "an account without a username"} {
			data.Login = login
			m, _ := built.Render(kind, data)
			for _, body := range []string{m.Text, strings.NewReplacer("<strong>", "", "</strong>", "").Replace(m.HTML)} {
				body = strings.Join(strings.Fields(body), " ")
				for _, want := range []string{want, "192.0.2.1", "do not confirm it", data.Link} {
					if !strings.Contains(body, want) {
						t.Errorf("%s for %q does not say %q:\n%s", kind, login, want, body)
					}
				}
				if strings.Contains(body, "Ann") {
					t.Errorf("%s carries what somebody wants to be called:\n%s", kind, body)
				}
			}
		}
	}

	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("reset_password.txt", "Subject: Ours\n\n{{.Link}}\n")
	own, err := mail.LoadTemplates(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := own.Render("reset_password", data); m.Subject != "Ours" || !strings.Contains(m.HTML, data.Link) {
		t.Errorf("one file replaced: got %+v", m)
	}
	for name, content := range map[string]string{
		"verify_email.txt":  "no subject\n",
		"verify_email.html": "{{.Nobody}}",
		"verify-email.txt":  "Subject: misspelt\n",
		"readme.md":         "x",
	} {
		write(name, content)
		if _, err := mail.LoadTemplates(dir); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(strings.TrimSuffix(name, ".txt"), ".html")) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
		os.Remove(filepath.Join(dir, name))
	}
}
