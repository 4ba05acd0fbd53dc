package gateway

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawHTTP2 sends one GET with these pseudo-headers over the connection, legal or
// not, and returns the answer's header. A refusal of the protocol itself, such as
// a reset stream, has no status.
func rawHTTP2(t testing.TB, c net.Conn, scheme, authority, path string) map[string]string {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	frames := http2.NewFramer(c, c)
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", scheme}, {":authority", authority}, {":path", path}} {
		encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	frames.WriteSettings()
	frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			t.Fatalf("read the answer: %v", err)
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			answer := map[string]string{}
			for _, field := range f.Fields {
				answer[field.Name] = field.Value
			}
			return answer
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return nil
		}
	}
}

// An absolute URI in :path would be judged by its own host and sent to the
// backend under another: :authority.
func TestHTTP2CannotBeJudgedByOneHostAndSentToAnother(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	routes := func(c *Config) {
		open, closed := to("/**", anybody), to("/**", roles("admin"))
		open.Host, closed.Host = "pub.test", "secret.test"
		behind(up.url(), open, closed)(c)
	}
	clear := run(t, func(c *Config) { routes(c); c.Server.H2C = true })
	secure := run(t, func(c *Config) {
		routes(c)
		c.Server.PublicURL, c.Server.TLS = "https://pub.test", newTestCert(t, "pub.test")
	})
	for scheme, connect := range map[string]func() (net.Conn, error){
		"http": func() (net.Conn, error) { return net.Dial("tcp", clear.public) },
		"https": func() (net.Conn, error) {
			return tls.Dial("tcp", secure.public, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		},
	} {
		for path, code := range map[string]string{
			"/x": "AUTHENTICATION_REQUIRED", "http://pub.test/x": "BAD_REQUEST", "https://pub.test/x": "BAD_REQUEST",
			"http://pub.test/auth/jwks.json": "BAD_REQUEST", "http://secret.test/x": "BAD_REQUEST", "x:y": "BAD_REQUEST",
		} {
			t.Run(scheme+" "+path, func(t *testing.T) {
				c, err := connect()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				got := rawHTTP2(t, c, scheme, "secret.test", path)
				if got[":status"] == "200" || got["doorward"] != code {
					t.Errorf("got %s %q, want %s", got[":status"], got["doorward"], code)
				}
			})
		}
	}
	if got := up.requests(); len(got) != 0 {
		t.Errorf("reached the upstream:\n%s", got[0].head)
	}
}

// Whatever a protocol lets the two differ in: the host that is sent is the one
// that was judged.
func TestTheHostJudgedIsTheHostSent(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, tt := range []struct {
		target, host, code string
	}{
		{"http://pub.test/x", "pub.test", ""}, {"http://PUB.test:80/x", "pub.test.", ""}, {"http://pub.test?x", "pub.test", ""},
		{"http://pub.test/x", "secret.test", "BAD_REQUEST"}, {"http://pub.test/x", "", "BAD_REQUEST"}, {"http://pub.test/x", "a b", "BAD_REQUEST"},
	} {
		r := httptest.NewRequest("GET", tt.target, nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		g.Public().ServeHTTP(w, r)
		if got := w.Header().Get("Doorward"); got != tt.code {
			t.Errorf("%s with Host %q: got %d %q, want %q", tt.target, tt.host, w.Code, got, tt.code)
		} else if sent := up.requests(); tt.code == "" && !slices.Equal(sent[len(sent)-1].fields("Host"), []string{tt.host}) {
			t.Errorf("%s: sent with Host %q, want %q", tt.target, sent[len(sent)-1].fields("Host"), tt.host)
		}
	}
}
