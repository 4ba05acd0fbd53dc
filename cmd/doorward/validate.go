package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/doorward/doorward/store"
)

// validate asks every section what is wrong with it, and then what is wrong
// between sections. What has been reported for a key already is not reported
// again.
func (l *loaded) validate(known []problem) []problem {
	var all []problem
	add := func(path, message string) {
		if !slices.ContainsFunc(known, func(p problem) bool { return p.path != "" && covers(p.path, path) }) {
			all = append(all, problem{path, l.withPlaces(message), l.origins.of(path)})
		}
	}
	for _, p := range l.authn().Validate() {
		add(p.Path, p.Message)
	}
	for _, p := range l.gateway().Validate() {
		add(p.Path, p.Message)
	}
	if message := l.Store.wrong(); message != "" {
		add("store.url", message)
	}
	l.Mail.validate(l.Server.PublicURL, add)
	l.readCertificates(add)
	l.emptyHosts(add)
	return all
}

// emptyHosts refuses a route's host that is written and empty: a value that did
// not arrive would make a route for one host one for all.
func (l *loaded) emptyHosts(add func(path, message string)) {
	for i, r := range l.Routes {
		path := fmt.Sprintf("routes[%d].host", i)
		if _, written := l.origins[path]; written && r.Host == "" {
			add(path, "is empty: write a host, such as app.example.com or *.example.com, or remove the key for a route on every host")
		}
	}
}

// otherRule finds where a message speaks of another rule of the table.
var otherRule = regexp.MustCompile(`\(rule ([0-9]+)\)`)

// withPlaces says where the other rules are that a message speaks of.
func (l *loaded) withPlaces(message string) string {
	return otherRule.ReplaceAllStringFunc(message, func(found string) string {
		path := "routes[" + otherRule.FindStringSubmatch(found)[1] + "]"
		return fmt.Sprintf("(%s, %s)", path, l.place(path))
	})
}

// readCertificates reports certificate files that cannot be used: a file that is
// there at the check is a server that starts.
func (l *loaded) readCertificates(add func(path, message string)) {
	if t := l.Server.TLS; t.Cert != "" && t.Key != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			add("server.tls.cert", fmt.Sprintf("with its key cannot be used: %v", err))
		}
	}
	for i, u := range l.Upstreams {
		if u.TLS.CA == "" {
			continue
		}
		path := fmt.Sprintf("upstreams[%d].tls.ca", i)
		if pem, err := os.ReadFile(u.TLS.CA); err != nil {
			add(path, fmt.Sprintf("%q cannot be read: %v", u.TLS.CA, cause(err)))
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			add(path, fmt.Sprintf("%q holds no PEM certificate", u.TLS.CA))
		}
	}
}

// doubts are what is valid and probably not meant.
func (l *loaded) doubts() []string {
	return slices.DeleteFunc([]string{l.portsApart(), l.neverHTTPS(), l.fromNowhere()}, func(text string) bool { return text == "" })
}

// fromNowhere warns of mails that say they are from localhost and are handed to
// a server elsewhere, which most refuse or throw away; "" if there are none.
func (l *loaded) fromNowhere() string {
	domain := strings.Trim(l.Mail.From[strings.LastIndexByte(l.Mail.From, '@')+1:], "> ")
	smtp := l.Mail.way() == "smtp" || l.Mail.way() == "smtps"
	if !smtp || loopback(l.Mail.URL) || !loopback("http://"+domain) {
		return ""
	}
	return fmt.Sprintf("mail.from (%s) is an address at %s, which most mail servers refuse: write one of a domain whose mails yours may send, and try it with doorward mail test ADDRESS",
		l.place("mail.from"), domain)
}

// portsApart warns that people on this machine are sent to a port at which the
// server does not listen; "" if they are not. It may be meant: a container's
// port has another number outside.
func (l *loaded) portsApart() string {
	u, err := url.Parse(l.Server.PublicURL)
	_, listen, bad := net.SplitHostPort(l.Server.Listen)
	if err != nil || bad != nil || listen == "0" || !loopback(l.Server.PublicURL) {
		return ""
	}
	public := u.Port()
	if public == "" {
		public = u.Scheme // a service name, as in listen
	}
	a, _ := net.LookupPort("tcp", public)
	b, _ := net.LookupPort("tcp", listen)
	if a == b {
		return ""
	}
	return fmt.Sprintf("server.public_url (%s) leads to port %d of this machine and server.listen (%s) is port %d: links, redirects and cookies are for the first; change one of them, unless something passes that port on",
		l.place("server.public_url"), a, l.place("server.listen"), b)
}

// neverHTTPS warns that people are sent to https and no request can be known to
// have come that way: each would be sent there again, for ever. "" if one can.
func (l *loaded) neverHTTPS() string {
	if !strings.HasPrefix(l.Server.PublicURL, "https://") || l.Server.TLS.Cert != "" || len(l.Server.TrustedProxies) > 0 {
		return ""
	}
	return fmt.Sprintf("server.public_url (%s) is https, and nothing says that a request came by it, so each is sent there again: name the proxy in front in server.trusted_proxies (%s), or a certificate in server.tls",
		l.place("server.public_url"), l.place("server.trusted_proxies"))
}

// wrong says what is wrong with the store's URL, "" if nothing is.
func (c StoreConfig) wrong() string {
	if _, err := store.Path(c.URL); err != nil {
		return strings.TrimPrefix(err.Error(), "store.url: ")
	}
	return ""
}

// validate reports what is wrong with the section mail.
func (c MailConfig) validate(publicURL string, add func(path, message string)) {
	wrong := c.sending().Validate()
	if info, err := os.Stat(c.Templates); c.Templates != "" && (err != nil || !info.IsDir()) {
		wrong["mail.templates"] = fmt.Sprintf(`%q is not a folder that can be read: write one, or "" for the built-in templates`, c.Templates)
	}
	for _, path := range slices.Sorted(maps.Keys(wrong)) {
		add(path, strings.TrimLeft(strings.TrimPrefix(wrong[path], path), ": "))
	}
	if wrong["mail.url"] == "" && c.way() == "log" && !loopback(publicURL) {
		add("mail.url", `"log:" writes secrets to the log, so it is for trying things out only: server.public_url must be on localhost`)
	}
	for _, link := range []struct{ path, url string }{
		{"mail.links.verify_email", c.Links.VerifyEmail}, {"mail.links.reset_password", c.Links.ResetPassword},
	} {
		// Where the token goes does not matter to what kind of URL it is.
		u, err := url.Parse(strings.ReplaceAll(link.url, tokenPlace, "t"))
		if link.url != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			add(link.path, `is not an http or https URL: write one, or "" for our own page`)
		}
		if before, _, _ := strings.Cut(link.url, "?"); strings.Contains(strings.Split(before, "#")[0], tokenPlace) {
			add(link.path, "has {token} in its path, which servers write to their logs: put it behind a ? or, better, a #")
		}
	}
}

// way names how mails leave, for the ready line.
func (c MailConfig) way() string {
	scheme, _, _ := strings.Cut(c.URL, ":")
	if scheme == "" {
		return "none"
	}
	return scheme
}

// loopback reports whether a URL leads to this machine only.
func loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
