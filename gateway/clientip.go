package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// proxies is who may say where a request comes from: server.trusted_proxies.
type proxies []netip.Prefix

// privateNetworks is what the word "private" stands for: RFC 1918, unique local
// IPv6, and this machine.
var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"),
}

// parseProxies reads the list; the first entry that is wrong is the error.
func parseProxies(entries []string) (proxies, error) {
	var all proxies
	for _, e := range entries {
		some, err := parseProxy(e)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// parseProxy reads one entry: an address, a network, or the word "private".
func parseProxy(entry string) (proxies, error) {
	if entry == "private" {
		return privateNetworks, nil
	}
	if ip, err := netip.ParseAddr(entry); err == nil {
		ip = plainAddr(ip)
		return proxies{netip.PrefixFrom(ip, ip.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(entry)
	switch {
	case err != nil:
		return nil, fmt.Errorf(`%q is neither a network nor an address: write 10.0.0.0/8, 192.0.2.7 or private`, entry)
	case p.Bits() == 0:
		return nil, fmt.Errorf("%q would let every client say where it comes from: name the networks your proxies are in", entry)
	case p.Addr().Is4In6():
		return nil, fmt.Errorf("%q is an IPv4 network written as IPv6: write it as IPv4", entry)
	case tooWide(p):
		return nil, fmt.Errorf("%q is wider than a network of yours can be, and few such entries are everybody: name the networks your proxies are in, each an IPv4 /8 or an IPv6 /16 at most, such as 10.0.0.0/8", entry)
	case p != p.Masked():
		return nil, fmt.Errorf("%q has bits set below its mask: write %s for the network, or %s for the one address", entry, p.Masked(), p.Addr())
	}
	return proxies{p}, nil
}

// tooWide reports whether a network is more than anybody's own: beyond IPv4 /8 and
// IPv6 /16, and not private.
func tooWide(p netip.Prefix) bool {
	for _, private := range privateNetworks {
		if p.Bits() >= private.Bits() && private.Contains(p.Addr()) {
			return false
		}
	}
	return p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16
}

// contains reports whether the address is one of a trusted proxy. One that
// could not be established never is.
func (ps proxies) contains(ip netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// client walks X-Forwarded-For from the right, from the peer outwards, for as
// long as the hop that vouches for the next entry is trusted. The first
// address nobody trusts is the client. An entry that is no address ends the
// walk at the hop that sent it: its left is no better than what it vouches for.
func (ps proxies) client(peer netip.Addr, lines []string) netip.Addr {
	hop := peer
	for i := len(lines) - 1; i >= 0; i-- {
		for line, more := lines[i], true; more; {
			if !ps.contains(hop) {
				return hop
			}
			entry := line
			if comma := strings.LastIndexByte(line, ','); comma >= 0 {
				line, entry = line[:comma], line[comma+1:]
			} else {
				more = false
			}
			next, ok := parseHop(entry)
			if !ok {
				return hop
			}
			hop = next
		}
	}
	return hop
}

// parseHop reads an address as proxies write it: bare, with a port, in brackets
// or both.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t")
	if ip, err := netip.ParseAddr(text); err == nil {
		return plainAddr(ip), true
	}
	if at, err := netip.ParseAddrPort(text); err == nil {
		return plainAddr(at.Addr()), true
	}
	if len(text) > 2 && text[0] == '[' && text[len(text)-1] == ']' {
		if ip, err := netip.ParseAddr(text[1 : len(text)-1]); err == nil && ip.Is6() {
			return plainAddr(ip), true
		}
	}
	return netip.Addr{}, false
}

// plainAddr is the one spelling of an address: IPv4-mapped as IPv4, no zone.
func plainAddr(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// peerOf is who is connected. A unix socket's peer has no address: it is the
// zero Addr, which is trusted by nobody and limited as one client.
func peerOf(remoteAddr string) netip.Addr {
	if at, err := netip.ParseAddrPort(remoteAddr); err == nil { // as net/http writes it
		return plainAddr(at.Addr())
	}
	ip, _ := parseHop(remoteAddr)
	return ip
}

// locate establishes where a request comes from and how the client's side
// speaks. Only a trusted proxy is believed; everyone else is who is connected.
func (s *Server) locate(_ *answer, r *http.Request, x *exchange) error {
	x.peer = peerOf(r.RemoteAddr)
	x.clientIP = x.peer
	x.secure = r.TLS != nil
	x.forwardedHost = r.Host
	lines := r.Header["X-Forwarded-For"]
	if !s.proxies.contains(x.peer) {
		if lines != nil {
			s.warnForwarded(x.peer)
		}
		return nil
	}
	x.trusted = true
	x.clientIP = s.proxies.client(x.peer, lines)
	x.forwardedFor = strings.Join(lines, ", ")
	switch firstOf(r.Header["X-Forwarded-Proto"]) {
	case "https", "wss":
		x.secure = true
	case "http", "ws":
		x.secure = false
	}
	if host := firstOf(r.Header["X-Forwarded-Host"]); isHostPort(host) {
		x.forwardedHost = host
	}
	return nil
}

// firstOf is the first entry of a list header: what the outermost proxy said.
func firstOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(lines[0], ",")
	return strings.Trim(first, " \t")
}

// isHostPort reports whether text has only the bytes of a host and a port.
func isHostPort(text string) bool {
	if text == "" || len(text) > 255 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._:[]", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// maxWarnedPeers bounds what the warnings remember.
const maxWarnedPeers = 64

// warnedPeers is whom the log has been told about.
type warnedPeers struct {
	mu   sync.Mutex
	seen map[netip.Addr]bool
}

// first reports whether this peer is new, and there is room to remember it.
func (p *warnedPeers) first(ip netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[ip] || len(p.seen) >= maxWarnedPeers {
		return false
	}
	if p.seen == nil {
		p.seen = map[netip.Addr]bool{}
	}
	p.seen[ip] = true
	return true
}

// warnForwarded says once that a neighbour who looks like a proxy is not
// believed, and which line would change that. Strangers from outside send the
// header too; nothing about them needs mending.
func (s *Server) warnForwarded(peer netip.Addr) {
	if !peer.IsPrivate() && !peer.IsLoopback() || !s.warned.first(peer) {
		return
	}
	s.Log.Warn("X-Forwarded-For ignored: its sender is not a trusted proxy. If it is a proxy of yours, add the line",
		"peer", peer.String(), "line", fmt.Sprintf("server.trusted_proxies: [%q]", peer))
}
