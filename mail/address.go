package mail

import (
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
)

// from is who mails come from.
type from struct {
	name    string
	address string
}

func (f from) String() string { return (&netmail.Address{Name: f.name, Address: f.address}).String() }

// parseFrom reads one mailbox, with or without a display name.
func parseFrom(s string) (from, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return from{}, fmt.Errorf(`mail.from: %q is not one address: write "Name <name@example.com>"`, s)
	}
	return from{a.Name, a.Address}, nil
}

// errRecipient says no more than that: an address somebody typed belongs in no
// message and no log.
var errRecipient = errors.New("the recipient is not one plain address")

// checkRecipient accepts exactly one addr-spec. What net/mail reads is wider:
// a display name, a comment, a quoted local part, a route or a group would each
// let one field reach somebody else, and a line break would let it write
// headers. Whoever keeps addresses has refused all these before; this is the
// last place that can.
func checkRecipient(s string) error {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`,;:<>()[]"\`, r) {
			return errRecipient
		}
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") || len(s) > 254 {
		return errRecipient
	}
	if a, err := netmail.ParseAddress(s); err != nil || a.Address != s || a.Name != "" {
		return errRecipient
	}
	return nil
}
