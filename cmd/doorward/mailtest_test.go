package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/doorward/doorward/mail/smtptest"
)

// mailTest runs `doorward mail test` with a mail.url.
func mailTest(t *testing.T, url, to string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	file := "mail: {url: \"" + url + "\", from: \"Door <door@example.org>\"}\n" +
		"upstreams: [{name: app, url: \"whoami:\"}]\nroutes: [{path: \"/**\", upstream: app, allow: authenticated}]\n"
	if err := os.WriteFile("config.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return runProgram(nil, "mail", "test", to)
}

func TestMailTestIsSent(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	code, stdout, stderr := mailTest(t, "smtp://"+server.Addr, "ann@example.com")
	if code != exitDone || !strings.Contains(stdout, server.Addr) || !strings.Contains(stdout, "ann@example.com") {
		t.Fatalf("got code %d, %q and %q, want it done, and the server and the address named", code, stdout, stderr)
	}
	got := server.Wait(t, 1)
	if got.From != "door@example.org" || len(got.To) != 1 || got.To[0] != "ann@example.com" || !strings.Contains(got.Body, "http://localhost:8080") {
		t.Errorf("got %+v, want a mail from door@example.org to ann@example.com alone that names the site", got)
	}
	if files, _ := os.ReadDir("."); len(files) != 1 {
		t.Errorf("got files %v, want no store made", files)
	}
}

// What the server said is all that helps, so it is told; but no secret.
func TestMailTestSaysWhatTheServerSaid(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	refusing := smtptest.Start(t, smtptest.Options{})
	refusing.Refuse(func(string) error { return smtptest.Permanent() })
	certificate, _ := smtptest.Certificate(t)
	locked := smtptest.Start(t, smtptest.Options{TLS: certificate, User: "door", Password: "right"})
	for _, c := range []struct{ name, url, to, want string }{
		{"refused", "smtp://" + refusing.Addr, "ann@example.com", "nobody of that name"},
		{"nobody listens", "smtp://door:s3cret@" + nobody, "ann@example.com", "connection refused"},
		{"a certificate nobody trusts", "smtps://door:s3cret@" + locked.Addr, "ann@example.com", "tls"},
		{"no address", "smtp://" + refusing.Addr, "ann@example.com, bob@example.com", "address"},
		{"no mail", "", "ann@example.com", "no mail is configured: write mail.url in config.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := mailTest(t, c.url, c.to)
			if code != exitNot || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("got code %d, %q and %q, want it not done, and %q", code, stdout, stderr, c.want)
			}
			if strings.Contains(stderr, "s3cret") {
				t.Errorf("the password is printed: %q", stderr)
			}
		})
	}
}

// A server can repeat what it was given, in a line that moves the cursor.
func TestMailTestKeepsSecrets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("554 no, s3cr\\et p@ss and AGRvb3IAczNjclxldCBwQHNz \x1b[2J\r\n"))
			c.Close()
		}
	}()
	code, _, stderr := mailTest(t, `smtp://door:s3cr%5Cet%20p%40ss@`+l.Addr().String(), "ann@example.com")
	if code != exitNot || !strings.Contains(stderr, "REDACTED and REDACTED") || strings.Contains(stderr, "\x1b") {
		t.Errorf("got code %d and %q, want what the server said without the password or control characters", code, stderr)
	}
}

func TestMailTestToTheLog(t *testing.T) {
	code, stdout, stderr := mailTest(t, "log:", "ann@example.com")
	if code != exitDone || !strings.Contains(stdout, "To: ann@example.com") || !strings.Contains(stdout, `mail.url is "log:"`) {
		t.Errorf("got code %d, %q and %q, want the mail and why it is here", code, stdout, stderr)
	}
}
