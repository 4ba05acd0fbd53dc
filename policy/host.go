package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// zone holds the rules of one host pattern. A request starts in the narrowest
// zone that covers its host and goes on to the next wider one only if no
// pattern here covers the path.
type zone struct {
	host     string // "" for rules without a host
	exact    *node
	folded   *node // the same node as exact if every literal is its own fold
	wider    *zone
	patterns []*pattern
}

// zone finds the narrowest zone for a canonical host.
func (p *Policy) zone(host string) *zone {
	if len(p.names) > 0 {
		if z := p.names[host]; z != nil {
			return z
		}
	}
	if len(p.below) > 0 {
		return p.covering(host)
	}
	return p.any
}

// covering finds the longest *.name that covers host, else the rules without a
// host.
func (p *Policy) covering(host string) *zone {
	for {
		dot := strings.IndexByte(host, '.')
		if dot < 0 {
			return p.any
		}
		host = host[dot+1:]
		if z := p.below[host]; z != nil {
			return z
		}
	}
}

func (z *zone) find(path string, how compare) *pattern {
	for ; z != nil; z = z.wider {
		tree := z.exact
		if how != exact {
			tree = z.folded
		}
		if found := tree.find(path[1:], how); found != nil {
			return found
		}
	}
	return nil
}

// split makes host and target canonical. An absolute-form target is judged by
// its own host (RFC 9112, 3.2.2) and goes on as origin-form; anything else that
// does not start with a slash is refused: `x:admin/secret` is no path.
func split(host, target string) (string, string, bool) {
	if len(target) == 0 || target[0] != '/' {
		var ok bool
		if host, target, ok = splitAbsolute(target); !ok || host == "" {
			return "", "", false
		}
	}
	host, ok := canonicalHost(host)
	return host, target, ok
}

func splitAbsolute(target string) (host, rest string, ok bool) {
	scheme, after, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", "", false
	}
	end := strings.IndexAny(after, "/?")
	switch {
	case end < 0:
		return after, "/", true
	case after[end] == '?':
		return after[:end], "/" + after[end:], true
	}
	return after[:end], after[end:], true
}

// canonicalHost lower-cases a Host header and drops its port and one trailing
// dot. An absent host (HTTP/1.0) is the empty host, which only rules without a
// host cover. User names, lists, escapes and empty labels are refused.
func canonicalHost(host string) (string, bool) {
	if strings.HasPrefix(host, "[") {
		return canonicalAddr(host)
	}
	name, port, found := strings.Cut(host, ":")
	if found && !validPort(port) {
		return "", false
	}
	if name == "" {
		return "", host == ""
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) == 0 || len(name) > 253 {
		return "", false
	}
	upper, prev := false, byte('.')
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		case c == '.' && prev != '.':
		default:
			return "", false
		}
		prev = c
	}
	if prev == '.' {
		return "", false
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, true
}

// canonicalAddr gives an IPv6 literal its one spelling, in brackets.
func canonicalAddr(host string) (string, bool) {
	text, port, ok := strings.Cut(host[1:], "]")
	if !ok || port != "" && (port[0] != ':' || !validPort(port[1:])) {
		return "", false
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	return "[" + addr.String() + "]", true
}

func validPort(port string) bool {
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	return len(port) <= 5
}

// parseHost reads a rule's host: a name, or *. and a name for every name below
// it, at any depth.
func parseHost(written string) (host string, wild bool, err error) {
	name, wild := strings.CutPrefix(written, "*.")
	switch {
	case written == "*":
		return "", false, fmt.Errorf("host %q covers everything; leave host out", written)
	case strings.Contains(name, "*"):
		return "", false, fmt.Errorf("host %q: a * stands only at the beginning, as in *.example.com", written)
	case strings.Contains(written, "://") || strings.Contains(written, "/"):
		return "", false, fmt.Errorf("host %q: write the name alone, without scheme or path", written)
	case strings.Contains(name, ":") && !strings.HasPrefix(name, "[") || strings.Contains(name, "]:"):
		return "", false, fmt.Errorf("host %q: write it without the port", written)
	case strings.IndexFunc(name, func(r rune) bool { return r > 0x7e }) >= 0:
		return "", false, fmt.Errorf("host %q: write its ASCII form, which begins with xn--", written)
	case wild && strings.HasPrefix(name, "["):
		return "", false, fmt.Errorf("host %q: an address has nothing below it", written)
	}
	host, ok := canonicalHost(name)
	if !ok || host == "" {
		return "", false, fmt.Errorf("host %q is not a host name; write it like app.example.com or *.example.com", written)
	}
	return host, wild, nil
}
