// Package smtptest is a mail server for tests: it speaks SMTP over a real
// socket, with STARTTLS or implicit TLS and AUTH, keeps what it is sent, and
// misbehaves as it is told. Read server.go; tls.go makes its certificate.
package smtptest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is one mail the server has taken responsibility for.
type Mail struct {
	From   string
	To     []string
	Secure bool // it came over TLS
	User   string
	Header netmail.Header
	Body   string // as it came, MIME and all
}

// Options say what the server asks of its clients.
type Options struct {
	TLS            *tls.Config // nil: never encrypted
	Implicit       bool        // TLS from the first byte instead of STARTTLS
	User, Password string      // "" for no AUTH
}

// Server keeps mails. Its methods may be called from several goroutines.
type Server struct {
	Addr string // host:port

	mu       sync.Mutex
	arrived  *sync.Cond
	mails    []Mail
	attempts int
	refuse   func(to string) error
	dropAck  bool
}

// Start runs a server on a loopback port until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String()}
	s.arrived = sync.NewCond(&s.mu)
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{server: s, conn: c, options: o}, nil
	}))
	srv.Domain = "localhost"
	srv.AllowInsecureAuth = false
	srv.ErrorLog = silent{}
	if o.TLS != nil && o.Implicit {
		l = tls.NewListener(l, o.TLS)
	} else {
		srv.TLSConfig = o.TLS
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return s
}

// Refuse has the server answer a recipient with f's error, and as late as f
// returns; nil accepts again. Use Temporary and Permanent for errors.
func (s *Server) Refuse(f func(to string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// DropAcknowledgements has the server take each mail and then break the
// connection without a word.
func (s *Server) DropAcknowledgements(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropAck = on
}

// Temporary is an answer of the kind "try again later".
func Temporary() error {
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"}
}

// Permanent is an answer of the kind "never".
func Permanent() error {
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "nobody of that name"}
}

// Wait returns the n-th mail (from 1) once it has arrived; it fails the test
// when that takes longer than a slow machine would need.
func (s *Server) Wait(t testing.TB, n int) Mail {
	t.Helper()
	s.await(t, "mail", n, func() int { return len(s.mails) })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails[n-1]
}

// WaitAttempts returns once a recipient has been named n times, whatever the
// answer was.
func (s *Server) WaitAttempts(t testing.TB, n int) {
	t.Helper()
	s.await(t, "attempt", n, func() int { return s.attempts })
}

func (s *Server) await(t testing.TB, what string, n int, count func() int) {
	t.Helper()
	const patience = 60 * time.Second
	deadline := time.Now().Add(patience)
	wake := time.AfterFunc(patience, s.arrived.Broadcast)
	defer wake.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for count() < n {
		if time.Now().After(deadline) {
			t.Fatalf("%s %d did not arrive; there are %d", what, n, count())
		}
		s.arrived.Wait()
	}
}

// Mails are all mails so far.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// session is one conversation.
type session struct {
	server  *Server
	conn    *smtp.Conn
	options Options
	user    string
	mail    Mail
}

func (s *session) AuthMechanisms() []string {
	if s.options.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.options.User || password != s.options.Password {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.options.User != "" && s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.mail = Mail{From: from, User: s.user}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mu.Lock()
	s.server.attempts++
	s.server.arrived.Broadcast()
	refuse := s.server.refuse
	s.server.mu.Unlock()
	if refuse != nil {
		if err := refuse(to); err != nil {
			return err
		}
	}
	s.mail.To = append(s.mail.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	msg, err := netmail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil {
		return err
	}
	_, s.mail.Secure = s.conn.TLSConnectionState()
	s.mail.Header, s.mail.Body = msg.Header, string(body)

	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.mails = append(s.server.mails, s.mail)
	s.server.arrived.Broadcast()
	if s.server.dropAck {
		s.conn.Conn().Close()
		return errors.New("dropped")
	}
	return nil
}

func (s *session) Reset()        { s.mail = Mail{} }
func (s *session) Logout() error { return nil }

// silent drops the server's own complaints: tests break connections on purpose.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
