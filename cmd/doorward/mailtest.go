package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/doorward/doorward/mail"
)

func (p *program) mailCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "mail", Short: "Try out how mails leave"}
	cmd.AddCommand(&cobra.Command{
		Use:   "test ADDRESS",
		Short: "Send one mail the way mail.url says, and tell what the server said to it",
		Long: `Sends one mail to ADDRESS at once, from here: not by way of the outbox of a
running server, which needs none of this and tries again for a day. Settings
are the file's and the environment's, as the server would read them now.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			return p.mailTest(cmd.Context(), cfg, args[0])
		},
	})
	return group(cmd)
}

func (p *program) mailTest(ctx context.Context, cfg *loaded, to string) error {
	sender, err := mail.Open(cfg.Mail.sending(), p.stdout)
	if err != nil {
		return err
	}
	if sender == nil {
		return fmt.Errorf("no mail is configured: write mail.url in %s, such as smtp://user:password@host:587", cfg.file)
	}
	err = sender.Send(ctx, mail.Message{
		ID: "test-" + strings.ToLower(rand.Text()), To: to, Date: time.Now(),
		Subject: "A test of mails from " + cfg.Server.PublicURL,
		Text:    "Somebody who runs " + cfg.Server.PublicURL + " wanted to know whether mails arrive.\nThis one did.\n",
	})
	u, bad := url.Parse(cfg.Mail.URL)
	switch {
	case err != nil && bad == nil:
		return fmt.Errorf("the mail was not taken by %s: %s", mailServer(u), visible(withoutSecrets(mail.Said(err), u)))
	case err != nil || bad != nil:
		return fmt.Errorf("the mail was not sent")
	case cfg.Mail.way() == "log":
		fmt.Fprintln(p.stdout, `mail.url is "log:": this is all that becomes of a mail`)
	default:
		fmt.Fprintf(p.stdout, "%s has taken the mail from %s for %s: see whether it arrives, also among what is kept out as spam\n", mailServer(u), cfg.Mail.From, to)
	}
	return nil
}

// server names the mail server, and nothing else that stands in mail.url.
func mailServer(u *url.URL) string {
	if u.Host == "" {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// withoutSecrets takes the password out of what a server said, in the forms it
// was given it: what a server does with its input is its own affair.
func withoutSecrets(text string, u *url.URL) string {
	password, ok := u.User.Password()
	if !ok || password == "" {
		return text
	}
	user := u.User.Username()
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password)),
		base64.StdEncoding.EncodeToString([]byte(password)),
		url.QueryEscape(password), url.PathEscape(password), strings.Trim(strconv.Quote(password), `"`), password,
	} {
		text = strings.ReplaceAll(text, secret, "REDACTED")
	}
	return text
}
