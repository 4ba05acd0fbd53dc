// Package mail makes and sends the few mails a gateway has to send: a link, or
// a notice that something happened to an account.
//
// A Sender delivers one Message to one person and says whether trying again
// can help; it keeps no queue, so what must survive a restart is its caller's
// to keep. Templates turn a kind of mail and its facts into a Message; the
// built-in ones can be replaced one file at a time.
//
// It knows nothing of accounts, tickets or the web. Read smtp.go for how a
// mail travels, template.go for what it says, address.go for whom it may reach.
package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config is the section mail, but for the links, which belong to whoever makes
// them.
type Config struct {
	URL       string `yaml:"url"`       // smtp://[user:password@]host[:587], smtps://…[:465], "log:", or "" for no mail
	From      string `yaml:"from"`      // one address, with or without a display name
	Templates string `yaml:"templates"` // a folder whose files replace the built-in templates
}

// Message is one mail to one person, ready to send.
type Message struct {
	// ID makes the Message-ID, so that a receiver can tell a mail that was
	// delivered twice, after an acknowledgement was lost, from two mails.
	ID      string
	To      string // one addr-spec, nothing around it
	Subject string
	Text    string
	HTML    string
	Date    time.Time
}

// Sender delivers messages. It may be used from several goroutines at once: each
// message has a conversation of its own, and none waits for another.
type Sender struct {
	from    from
	deliver func(ctx context.Context, m Message) error
}

// permanentError is a failure that no later attempt can mend.
type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent reports whether an error of Send is final: the address is not one,
// or the server has refused this mail for good.
func Permanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// Open returns a Sender for c.URL, or nil where c.URL is empty: no mail. It
// opens no connection: a mail server that is down is an error of Send. Mails to
// "log:" are written to w in full, links and all, so that a person can try the
// gateway without a mail server; whoever loads the configuration must refuse
// "log:" on anything that others can reach.
func Open(c Config, w io.Writer) (*Sender, error) {
	if c.URL == "" {
		return nil, nil
	}
	sender, err := parseFrom(c.From)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("mail.url is not a URL: write smtp://user:password@host:587") // the parse error would print the password
	}
	if u.Scheme != "" && !strings.HasPrefix(c.URL, u.Scheme+":") { // whoever looks for log: would miss LOG:
		return nil, fmt.Errorf("mail.url: the scheme is written in lower case: write %s:", u.Scheme)
	}
	s := &Sender{from: sender}
	switch u.Scheme {
	case "log":
		s.deliver = toLog(w, sender)
	case "smtp", "smtps":
		server, err := newServer(u, sender)
		if err != nil {
			return nil, err
		}
		s.deliver = server.deliver
	default:
		return nil, fmt.Errorf("mail.url: scheme %q is not one of smtp, smtps, log: write smtp://user:password@host:587", u.Scheme)
	}
	return s, nil
}

// Send delivers m. A nil error means that the receiving server has taken
// responsibility for it; after any other, it may be tried again unless
// Permanent says that it is of no use.
func (s *Sender) Send(ctx context.Context, m Message) error {
	if err := checkRecipient(m.To); err != nil {
		return permanentError{err}
	}
	return s.deliver(ctx, m)
}

// toLog prints mails instead of sending them, one after another.
func toLog(w io.Writer, f from) func(context.Context, Message) error {
	var mu sync.Mutex
	return func(_ context.Context, m Message) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintf(w, "---- mail, not sent: mail.url is log: ----\nFrom: %s\nTo: %s\nSubject: %s\n\n%s----\n", f, m.To, m.Subject, m.Text)
		return err
	}
}

// Validate says what is wrong with c, each with the key it concerns.
func (c Config) Validate() map[string]string {
	wrong := map[string]string{}
	if c.URL != "" {
		if _, err := Open(Config{URL: c.URL, From: "a@localhost"}, io.Discard); err != nil {
			wrong["mail.url"] = err.Error()
		}
		if _, err := parseFrom(c.From); err != nil {
			wrong["mail.from"] = err.Error()
		}
	}
	if c.Templates != "" {
		if _, err := LoadTemplates(c.Templates); err != nil {
			wrong["mail.templates"] = err.Error()
		}
	}
	return wrong
}

// loopback reports whether host can only be this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
