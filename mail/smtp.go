package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// attemptTimeout bounds one attempt, from the first byte to the server's last
// word: a server that stops talking must not hold up whoever waits for it.
const attemptTimeout = 60 * time.Second

// server is one mail server, spoken to by RFC 5321 with RFC 3207 STARTTLS or
// RFC 8314 implicit TLS. Nothing in it changes: every mail has a conversation of
// its own.
type server struct {
	host     string
	options  []gomail.Option
	from     from
	tls      *tls.Config
	implicit bool // TLS from the first byte
}

// newServer reads smtp://user:password@host:port. With credentials, or with
// smtps, nothing is said in clear. Without credentials smtp uses TLS if the
// server offers it, which is how a relay inside a private network is reached.
func newServer(u *url.URL, f from) (*server, error) {
	host := u.Hostname()
	if host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("mail.url: write smtp://user:password@host:587 and nothing behind the port")
	}
	port := 587
	if u.Scheme == "smtps" {
		port = 465
	}
	if p := u.Port(); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("mail.url: %q is not a port", p)
		}
		port = n
	}
	s := &server{host: host, from: f, implicit: u.Scheme == "smtps", tls: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}}
	s.options = []gomail.Option{
		gomail.WithPort(port),
		gomail.WithTimeout(attemptTimeout),
		gomail.WithTLSConfig(s.tls),
		gomail.WithHELO(helo(f)),
	}
	password, hasPassword := u.User.Password()
	signIn := gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover)
	switch {
	case s.implicit:
		s.options = append(s.options, gomail.WithSSL())
		signIn = gomail.WithOpportunisticSMTPAuth(overTLS...)
	case hasPassword && !loopback(host):
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	default:
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	}
	if hasPassword {
		s.options = append(s.options, signIn,
			gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	return s, nil
}

// overTLS are the ways to sign in over TLS, the best first, as go-mail would
// choose if it knew of the TLS that dial makes.
var overTLS = []gomail.SMTPAuthType{
	gomail.SMTPAuthSCRAMSHA256PLUS, gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1PLUS, gomail.SMTPAuthSCRAMSHA1,
	gomail.SMTPAuthNTLM, gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin,
}

// helo is the name we greet with: the domain mails come from, since the name of
// a container means nothing to anyone.
func helo(f from) string {
	_, domain, _ := strings.Cut(f.address, "@")
	return domain
}

// deliver makes one attempt, which is over when ctx is.
func (s *server) deliver(ctx context.Context, m Message) error {
	msg, err := s.compose(m)
	if err != nil {
		return permanentError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	client, err := gomail.NewClient(s.host, slices.Concat(s.options, []gomail.Option{gomail.WithDialContextFunc(s.dial(ctx))})...)
	if err != nil {
		return permanentError{fmt.Errorf("mail.url: %w", err)}
	}
	if err := client.DialWithContext(ctx); err != nil {
		return fmt.Errorf("reach the mail server: %w", err)
	}
	err = client.Send(msg)
	// The server's answer to the mail decides. How the conversation ends after
	// it must not make us send the mail again.
	client.Close()
	if err == nil || msg.IsDelivered() {
		return nil
	}
	return classify(err)
}

// dial makes the connection of one attempt, and closes it when the attempt is
// over, whatever has come of the conversation: go-mail heeds no context once it
// is connected, gives its steps attemptTimeout anew, and leaves connections open
// that it could not sign in on or say goodbye to.
func (s *server) dial(attempt context.Context) gomail.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(attempt, func() { conn.Close() })
		if !s.implicit {
			return conn, nil
		}
		secured := tls.Client(conn, s.tls)
		return secured, secured.HandshakeContext(ctx)
	}
}

// compose builds the MIME message: text, and HTML as its alternative.
func (s *server) compose(m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&netmail.Address{Name: s.from.name, Address: s.from.address})
	if err := msg.To(m.To); err != nil {
		return nil, errRecipient
	}
	if strings.ContainsAny(m.Subject, "\r\n") {
		return nil, errors.New("a subject is one line")
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.Date)
	msg.SetMessageIDWithValue(m.ID + "@" + helo(s.from))
	// RFC 3834: so that no vacation responder answers.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, nil
}

// classify tells a refusal for good (a 5xx answer to this mail or this
// address) from what another attempt may mend.
func classify(err error) error {
	var refused *gomail.SendError
	var broken net.Error
	if errors.As(err, &refused) && !refused.IsTemp() && refused.ErrorCode() >= 500 && !errors.As(err, &broken) {
		return permanentError{answeredError{fmt.Sprintf("the mail server refused the mail for good: %d", refused.ErrorCode()), refused}}
	}
	return fmt.Errorf("hand over the mail: %w", withoutAddress(err))
}

// withoutAddress keeps what the server said, which often repeats the address,
// out of logs: only the code is kept.
func withoutAddress(err error) error {
	var refused *gomail.SendError
	if errors.As(err, &refused) && refused.ErrorCode() != 0 {
		return answeredError{fmt.Sprintf("the mail server answered %d", refused.ErrorCode()), refused}
	}
	return err
}

// answeredError is what a server said, of which message is fit for a log.
type answeredError struct {
	message string
	answer  error
}

func (e answeredError) Error() string { return e.message }

// Said is an error of Send with the server's own words, which often repeat the
// address: for whoever gave that address, and for no log.
func Said(err error) string {
	var a answeredError
	if errors.As(err, &a) {
		return a.answer.Error()
	}
	return err.Error()
}
