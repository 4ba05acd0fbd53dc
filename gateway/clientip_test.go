package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestClientBehindProxies(t *testing.T) {
	const (
		client = "203.0.113.9"
		peer   = "10.0.0.1"
	)
	tests := []struct {
		name    string
		trusted string
		lines   []string
		want    string
	}{
		{"nobody is trusted", "", []string{client}, peer},
		{"another network is trusted", "192.0.2.0/24", []string{client}, peer},
		{"no header", "10.0.0.0/8", nil, peer},
		{"empty header", "10.0.0.0/8", []string{""}, peer},
		{"one entry", "10.0.0.0/8", []string{client}, client},
		{"what the client made up is to the left", "10.0.0.0/8", []string{"1.1.1.1, " + client}, client},
		{"a made-up trusted address is to the left too", "10.0.0.0/8", []string{"10.9.9.9, " + client}, client},
		{"over trusted hops", "10.0.0.0/8", []string{"1.1.1.1," + client + ", 10.0.0.3 ,10.0.0.2"}, client},
		{"two lines are one list", "10.0.0.0/8", []string{"1.1.1.1, " + client, "10.0.0.2"}, client},
		{"all are trusted", "10.0.0.0/8", []string{"10.0.0.4, 10.0.0.3"}, "10.0.0.4"},
		{"no address: the hop that sent it", "10.0.0.0/8", []string{"1.1.1.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"no address at the end: the peer", "10.0.0.0/8", []string{client + ", not an address"}, peer},
		{"an empty entry is no address", "10.0.0.0/8", []string{client + ", "}, peer},
		{"an empty entry between", "10.0.0.0/8", []string{client + ",,10.0.0.2"}, "10.0.0.2"},
		{"with a port", "10.0.0.0/8", []string{client + ":4711"}, client},
		{"IPv6", "10.0.0.0/8", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.0/8", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", "10.0.0.0/8", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv6 with a zone", "10.0.0.0/8", []string{"fe80::1%eth0"}, "fe80::1"},
		{"IPv4 in IPv6", "10.0.0.0/8", []string{"::ffff:" + client}, client},
		{"a trusted hop as IPv4 in IPv6", "10.0.0.0/8", []string{client + ", ::ffff:10.0.0.2"}, client},
		{"leading zeros are no address", "10.0.0.0/8", []string{"1.1.1.1, 010.0.0.2"}, peer},
		{"an IPv4 in brackets is no address", "10.0.0.0/8", []string{"1.1.1.1, [" + client + "]"}, peer},
		{"private", "private", []string{"1.1.1.1, " + client + ", 192.168.1.1, 127.0.0.1, fd00::1, ::1"}, client},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var entries []string
			if tt.trusted != "" {
				entries = []string{tt.trusted}
			}
			trusted, err := parseProxies(entries)
			if err != nil {
				t.Fatal(err)
			}
			if got := trusted.client(netip.MustParseAddr(peer), tt.lines); got.String() != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPeerOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[2001:db8::1]:1": "2001:db8::1", "[fe80::1%eth0]:1": "fe80::1",
		"[::ffff:192.0.2.1]:1": "192.0.2.1", "@": "invalid IP", "": "invalid IP", "/run/x.sock": "invalid IP",
	} {
		if got := peerOf(remote).String(); got != want {
			t.Errorf("%q: got %s, want %s", remote, got, want)
		}
	}
	everyone := proxies{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if everyone.contains(peerOf("@")) {
		t.Error("a peer without an address is trusted")
	}
}

// Whatever stands in the header, the answer is the peer, if nobody is trusted,
// or an address that stands in the header, reached over trusted hops alone.
func FuzzClientIP(f *testing.F) {
	for _, line := range []string{
		"", ",", "1.1.1.1", "1.1.1.1, 10.0.0.2", "[::1]:80, fe80::1%x,::ffff:10.1.1.1", "a,b,c", "10.0.0.1:99999", "[", "[]", "[[::1]]",
		strings.Repeat("10.0.0.1,", 100), "\x00", "1.1.1.1 , \t10.0.0.2",
	} {
		f.Add(line, line)
	}
	trusted, err := parseProxies([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		f.Fatal(err)
	}
	peer := netip.MustParseAddr("10.0.0.1")
	stranger := netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, one, two string) {
		if got := trusted.client(stranger, []string{one, two}); got != stranger {
			t.Fatalf("an untrusted peer is believed: %v", got)
		}
		got := trusted.client(peer, []string{one, two})
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("got %v, which is not in its one spelling", got)
		}
		// Joined by a comma is the same list.
		if joined := trusted.client(peer, []string{one + "," + two}); joined != got {
			t.Fatalf("two lines: %v, one line: %v", got, joined)
		}
		// More to the left of the client changes nothing.
		if !trusted.contains(got) {
			if longer := trusted.client(peer, []string{"198.51.100.1," + one, two}); longer != got {
				t.Fatalf("an entry to the left moved %v to %v", got, longer)
			}
		}
	})
}

func TestForwardedHeadersOfStrangers(t *testing.T) {
	forged := []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example"}
	type seen struct {
		Headers map[string][]string `json:"headers"`
	}
	g := newGateway(t, nil)
	var got seen
	g.get("/public/x", forged...).json(t, &got)
	for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": g.addr} {
		if v := got.Headers[name]; len(v) != 1 || v[0] != want {
			t.Errorf("untrusted peer: %s is %q, want %q", name, v, want)
		}
	}
	g = newGateway(t, func(c *Config) { c.Server.TrustedProxies = []string{"127.0.0.0/8"} })
	got = seen{}
	a := g.get("/public/x", forged...)
	a.json(t, &got)
	for name, want := range map[string]string{"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"} {
		if v := got.Headers[name]; len(v) != 1 || v[0] != want {
			t.Errorf("trusted peer: %s is %q, want %q", name, v, want)
		}
	}
	if ip := g.requestLine(a.Header.Get("X-Request-Id"))["client_ip"]; ip != "203.0.113.9" {
		t.Errorf("client_ip in the log is %v, want 203.0.113.9", ip)
	}
}

// A trusted proxy hands on what it was sent: what is no host is not said to the
// backend, which may write it into its pages.
func TestForwardedHostIsAHost(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, func(c *Config) {
		behind(up.url(), to("/**", anybody))(c)
		c.Server.TrustedProxies = []string{"127.0.0.0/8"}
	})
	for host, want := range map[string]string{
		"app.example": "app.example", "app.example:8080": "app.example:8080", "[::1]:80": "[::1]:80", "a.example, b.example": "a.example",
		"": g.addr, `"><script>`: g.addr, "a.example/x": g.addr, "user@a.example": g.addr, "a b": g.addr, "a\tb": g.addr, "caf\xc3\xa9": g.addr, strings.Repeat("a", 256): g.addr,
	} {
		rawGet(t, g.addr, "/x", "X-Forwarded-Host: "+host)
		if got := up.last(t).fields("X-Forwarded-Host"); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: the backend was told %q, want %q", host, got, want)
		}
	}
}

func TestUntrustedNeighbourIsWarnedAboutOnce(t *testing.T) {
	g := newGateway(t, nil)
	for range 3 {
		g.get("/public/x", "X-Forwarded-For: 203.0.113.9")
	}
	n := 0
	for _, line := range g.logs.lines() {
		if line["line"] == `server.trusted_proxies: ["127.0.0.1"]` {
			n++
		}
	}
	if n != 1 {
		t.Errorf("warned %d times, want once with the line to add; log:\n%s", n, g.logs)
	}
}
