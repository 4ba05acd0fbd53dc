package gateway

import (
	"fmt"
	"strings"
	"testing"
)

// TestAHostNobodyNamedHasNothing: where every route has a host, any other host is
// refused whoever asks for it, by whatever name it resembles one of them.
func TestAHostNobodyNamedHasNothing(t *testing.T) {
	for _, frames := range []bool{false, true} {
		w := newWorld(t, "hosts", speakHTTP2)
		w.http2 = frames
		for i, host := range []string{
			"other.test", "test", "localhost", "127.0.0.1", "127.0.0.1:80", "[::1]", "0", "app", "app.test.evil.test", "xapp.test", "x.app.test", "*.app.test", "*", "*.test", "app-test",
			"app.tes", "app.testt", "app_test", "app.test.test", "public.test.admin.test", "www.public.test", "publi\xc4\x8b.test", "xn--publi-kua.test", "app.test:x", "app.test:80:80",
			"app%2etest", "admin.test,public.test", "public.test@x", "x@public.test", "public.test#", "public.test?", "public.test/", "", ".", "..", ".public.test", strings.Repeat("a", 300) + ".test",
		} {
			for _, path := range []string{"/x", "/public/x", "/admin/x"} {
				a := attack{class: "hosts", name: fmt.Sprint("unnamed ", i), method: "GET", want: "no", requests: 1, raw: "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n{auth}\r\n"}
				w.strike(t, a, w.callers[(i+len(path))%len(w.callers)])
			}
		}
	}
}

// TestAttacksOnNamedAndOtherHosts: some hosts have routes of their own, some
// share theirs by a wildcard, and the rest have those without a host.
func TestAttacksOnNamedAndOtherHosts(t *testing.T) {
	for _, frames := range []bool{false, true} {
		w := newWorld(t, "mixed", speakHTTP2)
		w.http2 = frames
		r := lot(fmt.Sprint("mixed", frames))
		for _, class := range []string{"hosts", "targets"} {
			for _, a := range table(t, class) {
				w.strike(t, a, w.callers[r.IntN(len(w.callers))])
			}
		}
		for _, host := range []string{"public.test", "a.public.test", "a.b.public.test", "secret.public.test", "a.secret.public.test", "a.admin.test", "admin.test", "other.test"} {
			for _, a := range table(t, "paths") {
				a.raw, a.want = strings.ReplaceAll(a.raw, "{host}", host), "any"
				if r.IntN(10) == 0 {
					w.strike(t, a, w.callers[r.IntN(len(w.callers))])
				}
			}
		}
		for i := range 100 {
			a := ofRequest(strings.NewReplacer("app.test", "secret.public.test", "evil.test", "a.public.test").Replace(anyHost(r).raw))[0]
			a.class, a.name, a.want, a.requests = "hosts", fmt.Sprint("generated ", i), "any", 1
			w.strike(t, a, w.callers[r.IntN(len(w.callers))])
		}
	}
}
