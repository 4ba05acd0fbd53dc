package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/mail"
)

// mailer turns authn's letters into mails and sends them: it knows where links
// lead and how times are written.
type mailer struct {
	sender    *mail.Sender
	templates *mail.Templates
	service   string // server.public_url
	verify    string // where the links lead; see linkTo
	reset     string
}

// openMailer makes the mailer of a configuration, nil if there is to be none.
// Mails to "log:" are written to w.
func openMailer(cfg *loaded, w io.Writer) (authn.Mailer, error) {
	c := cfg.Mail.sending()
	sender, err := mail.Open(c, w)
	if err != nil || sender == nil {
		return nil, err
	}
	templates, err := mail.LoadTemplates(c.Templates)
	if err != nil {
		return nil, err
	}
	ours := strings.TrimSuffix(cfg.Server.PublicURL, "/") + cfg.Server.Prefix
	m := &mailer{sender: sender, templates: templates, service: cfg.Server.PublicURL,
		verify: ours + "/verify-email", reset: ours + "/reset-password"}
	if own := cfg.Mail.Links.VerifyEmail; own != "" {
		m.verify = own
	}
	if own := cfg.Mail.Links.ResetPassword; own != "" {
		m.reset = own
	}
	return m, nil
}

// sending is the part of the section that package mail takes.
func (c MailConfig) sending() mail.Config {
	return mail.Config{URL: c.URL, From: c.From, Templates: c.Templates}
}

// Deliver implements authn.Mailer.
func (m *mailer) Deliver(ctx context.Context, l authn.Letter) error {
	data := mail.Data{
		Name: l.Name, Login: l.Login, Username: l.Username, Service: m.service, NewEmail: l.NewEmail,
		When: inWords(l.When), Where: orUnknown(l.Where, "an unknown address"), Device: orUnknown(l.Device, "an unknown device"),
	}
	if l.Token != "" {
		base, err := m.page(l.Kind)
		if err != nil {
			return authn.PermanentFailure(err)
		}
		data.Link, data.Expires = linkTo(base, l.Token), inWords(l.ExpiresAt)
	}
	message, err := m.templates.Render(string(l.Kind), data)
	if err != nil {
		return authn.PermanentFailure(fmt.Errorf("render the mail %s: %w", l.Kind, err))
	}
	message.ID, message.To, message.Date = l.ID, l.To, l.When
	err = m.sender.Send(ctx, message)
	if mail.Permanent(err) {
		return authn.PermanentFailure(err)
	}
	return err
}

// page is where the link of a mail leads.
func (m *mailer) page(k authn.MailKind) (string, error) {
	switch k {
	case authn.MailVerifyEmail, authn.MailVerifyChange, authn.MailVerifyRegistration:
		return m.verify, nil
	case authn.MailResetPassword, authn.MailInvitation:
		return m.reset, nil
	}
	return "", errors.New("a mail of the kind " + string(k) + " has no link")
}

// tokenPlace is where a token goes in a link of one's own.
const tokenPlace = "{token}"

// linkTo puts the token where the address says, else behind it as a query.
func linkTo(base string, token authn.Secret) string {
	value := url.QueryEscape(token.Reveal())
	if strings.Contains(base, tokenPlace) {
		return strings.ReplaceAll(base, tokenPlace, value)
	}
	page, fragment, hasFragment := strings.Cut(base, "#")
	separator := "?"
	if strings.Contains(page, "?") {
		separator = "&"
	}
	link := page + separator + "token=" + value
	if hasFragment {
		link += "#" + fragment
	}
	return link
}

// inWords is a time for people whose time zone nobody knows.
func inWords(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

func orUnknown(text, unknown string) string {
	if text == "" {
		return unknown
	}
	return text
}
