package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestLinkTo(t *testing.T) {
	for _, c := range []struct{ name, base, want string }{
		{"our own page", "https://app.example.com/auth/verify-email", "https://app.example.com/auth/verify-email?token=to-k_en"},
		{"behind a query", "https://app.example.com/?page=verify", "https://app.example.com/?page=verify&token=to-k_en"},
		{"before a fragment", "https://app.example.com/app#verify", "https://app.example.com/app?token=to-k_en#verify"},
		{"in its place", "https://app.example.com/#/verify/{token}/now", "https://app.example.com/#/verify/to-k_en/now"},
	} {
		if got := linkTo(c.base, "to-k_en"); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// What each letter says: a link to the right page, or no link at all.
func TestDeliver(t *testing.T) {
	cfg := &loaded{Config: defaultConfig()}
	cfg.Mail.URL, cfg.Mail.Links.ResetPassword = "log:", "https://app.example.com/new-password"
	var out bytes.Buffer
	m, err := openMailer(cfg, &out)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for kind, want := range map[authn.MailKind]string{
		authn.MailVerifyEmail:        "http://localhost:8080/auth/verify-email?token=t0k3n",
		authn.MailVerifyChange:       "http://localhost:8080/auth/verify-email?token=t0k3n",
		authn.MailVerifyRegistration: "http://localhost:8080/auth/verify-email?token=t0k3n",
		authn.MailResetPassword:      "https://app.example.com/new-password?token=t0k3n",
		authn.MailInvitation:         "https://app.example.com/new-password?token=t0k3n",
		authn.MailPasswordChanged:    "4 May 2026, 03:02 UTC",
		authn.MailEmailChanged:       "new@example.com",
		authn.MailAddressInUse:       "ann",
		authn.MailNewDevice:          "192.0.2.1",
	} {
		out.Reset()
		l := authn.Letter{ID: "id", Kind: kind, To: "ann@example.com", Login: "ann", When: when, ExpiresAt: when, Where: "192.0.2.1", NewEmail: "new@example.com"}
		if strings.Contains(want, "t0k3n") {
			l.Token = "t0k3n"
		}
		if err := m.Deliver(t.Context(), l); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if text := out.String(); !strings.Contains(text, want) || l.Token == "" && strings.Contains(text, "token=") || strings.Contains(text, "REDACTED") {
			t.Errorf("%s: want %s in:\n%s", kind, want, text)
		}
	}
	out.Reset()
	err = m.Deliver(context.Background(), authn.Letter{Kind: authn.MailPasswordChanged, To: "ann@example.com, bob@example.com"})
	if err == nil || out.Len() > 0 {
		t.Errorf("two addresses: got %v and %q, want it refused", err, out.String())
	}
}
