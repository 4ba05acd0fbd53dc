package gateway

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
)

// The tables are samples; these make thousands more of each class, the same on
// every run. Each case goes to one configuration and one caller, drawn by lot.

// generators is how a class makes one more case.
var generators = map[string]func(r *rand.Rand) attack{
	"paths": anyPath, "names": anyName, "hopbyhop": anyConnection, "framing": anyFraming, "hosts": anyHost, "methods": anyMethod, "cookies": anyCookies,
}

func TestGeneratedAttacks(t *testing.T) {
	each := 200
	if testing.Short() {
		each = 30
	}
	everyWorld(t, func(t *testing.T, w *world) {
		for class, make := range generators {
			n := each
			if class == "paths" {
				n *= 4
			}
			t.Run(class, func(t *testing.T) {
				r := lot(w.name + class)
				before, reached := w.n, w.reached
				for i := range n {
					a := make(r)
					a.class, a.name = class, fmt.Sprint("generated ", i)
					w.strike(t, a, w.callers[r.IntN(len(w.callers))])
				}
				if w.reached == reached {
					t.Error("none reached the backend: what refuses everything proves nothing")
				}
				t.Logf("%d attacks, %d requests reached the backend", w.n-before, w.reached-reached)
			})
		}
	})
}

// lot draws the same for the same name.
func lot(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// often is text, but now and then another.
func often(r *rand.Rand, text string, others ...string) string {
	if r.IntN(3) > 0 {
		return text
	}
	return pick(r, others...)
}

var (
	separators = []string{"//", "///", "%2f", "%2F", "%252f", "%25252F", "%5c", "%5C", "%255c", `\`, "/./", "/;/", "/;x=1/", "/%2e/", "%2f%2f", "/%2f", "%ef%bc%8f", "%e2%88%95", "%e2%81%84",
		"%ef%bc%bc", "%c0%af", "/.;/", "/%20/", "/+/", "/(S(x))/"}
	ups = []string{"%2e%2e", "%2E%2e", ".%2e", "%2e.", "%252e%252e", ".%252e", "%25252e.", "..;", "..;a=b", "%2e%2e;", "..%3b", "..%253b", "..%20", "..+", "..%c2%a0", "%e2%80%a5", "%ef%bc%8e.",
		"%e2%80%a4%e2%80%a4", "%c0%ae%c0%ae", "..%00", "...", "....", "%2e%2e%2e", ". .", "..:x", "%u002e%u002e", "%25%32%65%25%32%65", "..%e2%80%8b", "..%ef%bc%9b"}
	places = []string{"admin", "admin", "admin", "public", "public", "app", "x", "public/secret", "items", "auth", "a", ""}
)

// anyPath is a path to somewhere by way of elsewhere, some of it spelled oddly.
func anyPath(r *rand.Rand) attack {
	var b strings.Builder
	b.WriteString(often(r, "/", "//", "///", "//evil/", "//u@evil:80/", "/./", "/;/", "/%2f", "/%5c", "/.//", "/index.php/", "/(S(x))/", "/%20/", "http://app.test/", "http://public.test//"))
	odd := r.IntN(2) == 0
	for i := range 1 + r.IntN(5) {
		if i > 0 {
			b.WriteString(often(r, "/", separators...))
		}
		switch r.IntN(5) {
		case 0, 1:
			b.WriteString(often(r, "..", ups...))
		case 2:
			if odd {
				b.WriteString(spelled(r, places[r.IntN(len(places))]))
				continue
			}
			fallthrough
		default:
			b.WriteString(places[r.IntN(len(places))])
		}
	}
	if r.IntN(4) == 0 {
		b.WriteString(pick(r, "/", "?x", "?/../admin", "%3fx", "%23x", ".", "%20", ";", ";x=1", "/.", "/..", "|", "%00", "%", "#x", "..", "%2e", ":x", "::$DATA", "%c2%a0", "+"))
	}
	a := ofTarget(b.String())[0]
	a.want, a.requests = "any", 1
	return a
}

// spelled is a word in one of its many spellings.
func spelled(r *rand.Rand, word string) string {
	var b strings.Builder
	for _, c := range []byte(word) {
		switch r.IntN(8) {
		case 0:
			fmt.Fprintf(&b, "%%%02x", c)
		case 1:
			fmt.Fprintf(&b, "%%%02X", c)
		case 2:
			fmt.Fprintf(&b, "%%25%02x", c)
		case 3:
			b.WriteString(strings.ToUpper(string(c)))
		case 4:
			if wide := string(rune(c) + 0xfee0); c != '/' && r.IntN(2) == 0 {
				for _, u := range []byte(wide) {
					fmt.Fprintf(&b, "%%%02x", u)
				}
				continue
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString(pick(r, "", "", "", ".", "%20", ";x", ";", "%2e", "%3b", "..", "%e2%80%8b", ":x", "+", "%00", "%3f", "%23", "%5c", "%2f"))
	return b.String()
}

// claims is what an attacker would like to say, by the names that say it.
var claims = []string{
	"X-Auth-User: root", "X-Forwarded-User: root", "X-Forwarded-User-Id: 1", "X-Forwarded-Email: root@x.test", "X-Forwarded-Groups: admin", "X-Forwarded-Preferred-Username: root",
	"Remote-User: root", "Remote-User-Id: 1", "Remote-Email: root@x.test", "Remote-Groups: admin", "Remote-Name: root", "X-Auth-Request-User: root", "X-Auth-Request-User-Id: 1",
	"X-Auth-Request-Email: root@x.test", "X-Auth-Request-Groups: admin", "X-Auth-Request-Preferred-Username: root", "X-Original-URL: /admin/x", "X-Rewrite-URL: /admin/x",
	"X-Original-URI: /admin", "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: PUT", "X-Method-Override: PUT", "X-Accel-Redirect: /admin", "Proxy: http://evil", "X-Middleware-Subrequest: middleware",
	"X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: admin.test", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /admin", "X-Forwarded-Uri: /admin", "X-Forwarded-Method: PUT",
	"X-Forwarded-Server: admin.test", "X-Forwarded-Scheme: https", "X-Forwarded-Ssl: on", "X-Forwarded-Tls-Client-Cert: x", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1", "True-Client-IP: 10.0.0.1",
	"CF-Connecting-IP: 10.0.0.1", "X-Client-IP: 10.0.0.1", "X-Request-Id: forged", "Content-Length: 5", "Transfer-Encoding: chunked", "Host: admin.test",
}

// respelled is a name that some backend takes for the same.
func respelled(r *rand.Rand, name string) string {
	const odd = "-_.!#$%&'*+^`|~"
	var b strings.Builder
	if r.IntN(8) == 0 {
		b.WriteByte(odd[r.IntN(len(odd))])
	}
	for _, c := range []byte(name) {
		switch {
		case c == '-' && r.IntN(8) == 0:
		case c == '-' && r.IntN(2) == 0:
			b.WriteByte(odd[r.IntN(len(odd))])
		case r.IntN(3) == 0:
			b.WriteString(strings.ToUpper(string(c)))
		case r.IntN(3) == 0:
			b.WriteString(strings.ToLower(string(c)))
		default:
			b.WriteByte(c)
		}
		if r.IntN(40) == 0 {
			b.WriteByte(odd[r.IntN(len(odd))])
		}
	}
	return b.String()
}

func anyName(r *rand.Rand) attack {
	var lines []string
	for range 1 + r.IntN(4) {
		name, value, _ := strings.Cut(claims[r.IntN(len(claims)-3)], ": ") // framing is another class
		if r.IntN(6) > 0 {
			name = respelled(r, name)
		}
		lines = append(lines, name+often(r, ": ", ":", ":\t", ":  ", " : ")+often(r, value, value+", "+value, "", value+"\r\n "+value, value+"\t"))
	}
	return headers(r, lines...)
}

// headers is a request with these lines, to one of the places that matter.
func headers(r *rand.Rand, lines ...string) attack {
	target := pick(r, "{home}", "{home}", "/admin/x")
	return attack{method: "GET", raw: "GET " + target + " HTTP/1.1\r\nHost: {host}\r\n{auth}" + strings.Join(lines, "\r\n") + "\r\n\r\n", want: "any", requests: 1}
}

func anyConnection(r *rand.Rand) attack {
	var lines []string
	for range 1 + r.IntN(3) {
		var names []string
		for range 1 + r.IntN(5) {
			name, _, _ := strings.Cut(claims[r.IntN(len(claims))], ":")
			if r.IntN(3) == 0 {
				name = respelled(r, name)
			}
			names = append(names, often(r, name, "close", "keep-alive", "Upgrade", "TE", "Cookie", "Authorization", "Connection", "", "HTTP2-Settings", "X-Forwarded-User-Id", `"x"`))
		}
		lines = append(lines, often(r, "Connection", "connection", "CONNECTION", "Proxy-Connection", "Keep-Alive", "Trailer", "TE")+": "+strings.Join(names, often(r, ", ", ",", " , ", ",,", "\t,\t")))
	}
	for range r.IntN(3) {
		lines = append(lines, pick(r, "Upgrade: h2c", "Upgrade: websocket", "HTTP2-Settings: AAMAAABkAAQAAP__", "TE: trailers", "X-Forwarded-User: root", "x_forwarded_groups: admin", "Keep-Alive: timeout=1"))
	}
	return headers(r, lines...)
}

// anyFraming is a body announced in one or more ways, and a second request
// behind or in it.
func anyFraming(r *rand.Rand) attack {
	hidden := pick(r, "GET /admin/x HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-User: root\r\nX-Forwarded-Groups: admin\r\n\r\n", "GET /public/y HTTP/1.1\r\nHost: admin.test\r\n\r\n", "X\r\n\r\n", "")
	size := fmt.Sprintf("%x", 3)
	chunks := often(r, size, "3;a=b", "03", "3 ", "+3", "0x3", "3\t", "3;\"\r\n\"", "-3", "") + often(r, "\r\n", "\n", "\r", "\r\n\r\n") + "xyz" + often(r, "\r\n", "\n", "", "X\r\n") +
		"0" + often(r, "\r\n", "\n") + often(r, "", "X-Forwarded-User: root\r\n", "Content-Length: 9\r\n") + often(r, "\r\n", "\n")
	length := fmt.Sprint(len(chunks))
	lines := []string{}
	for range 1 + r.IntN(2) {
		switch r.IntN(3) {
		case 0:
			lines = append(lines, often(r, "Content-Length: ", "content-length:", "Content-Length : ", "Content_Length: ", "Content-Length:\t")+often(r, length, "3", "0", "+3", "3,3", "3, 3", "0x3", "-1", "3abc", "", "18446744073709551617", "00", "3\x0b"))
		default:
			lines = append(lines, often(r, "Transfer-Encoding: ", "transfer-encoding:", "Transfer-Encoding : ", "Transfer_Encoding: ", "Transfer-Encoding:\t", "Transfer-Encoding:\r\n ", "X: y\nTransfer-Encoding: ")+
				often(r, "chunked", "CHUNKED", "xchunked", "chunked, identity", "identity, chunked", `"chunked"`, "\x0bchunked", "chunked\x00", "gzip, chunked", "", "identity", "chunked;x", "chunked,"))
		}
	}
	if r.IntN(5) == 0 {
		lines = append(lines, pick(r, "Expect: 200-ok", "Trailer: X-Forwarded-User", "TE: trailers", "Connection: Content-Length", "Connection: Transfer-Encoding", "Connection: keep-alive"))
	}
	method := pick(r, "POST", "POST", "GET", "DELETE", "HEAD", "OPTIONS")
	return attack{
		method: method, want: "any", requests: 3,
		raw: method + " {home} HTTP/1." + often(r, "1", "0") + "\r\nHost: {host}\r\n{auth}" + strings.Join(lines, "\r\n") + "\r\n\r\n" + chunks + hidden,
	}
}

func anyHost(r *rand.Rand) attack {
	name := func() string {
		if r.IntN(3) == 0 {
			return pick(r, "app.test", "public.test", "admin.test", "PUBLIC.test.", "public.test:80")
		}
		return pick(r, "", "", "", "x.", "u@", "[", ".") + pick(r, "app.test", "public.test", "admin.test", "ADMIN.test", "Admin.Test", "admin%2etest", "127.0.0.1", "::1", "xn--dmin-moa0i.test", "evil.test") +
			pick(r, "", "", "", ".", "..", ":80", ":", ":x", ".:443", "]", "@public.test", ",public.test", "/x", "#", "?", " public.test", "\tx", "\x00", "\\x", "%00", "\xe3\x80\x82")
	}
	target := pick(r, "/public/x", "/x", "/admin/x", "/public/x", "http://"+name()+"/x", "http://"+name(), "//"+name()+"/admin/x")
	raw := "GET " + target + " HTTP/1." + often(r, "1", "0") + "\r\n" + often(r, "Host: "+name()+"\r\n", "", "Host: "+name()+"\r\nHost: "+name()+"\r\n", "host:"+name()+"\r\n", "Host : "+name()+"\r\n", "Host: a\r\n "+name()+"\r\n") +
		"X-A: b\r\n{auth}\r\n"
	return attack{method: "GET", raw: raw, want: "any", requests: 1}
}

func anyMethod(r *rand.Rand) attack {
	method := pick(r, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO", "PRI", "M-SEARCH", "QUERY")
	switch r.IntN(6) {
	case 0:
		method = strings.ToLower(method)
	case 1:
		method = method[:1] + strings.ToLower(method[1:])
	case 2:
		method += pick(r, "-", "_", "!", ".", "~", "\x00", "\t", "/", ":", "é", "(")
	}
	target := pick(r, "{home}", "/items/1", "/items/1", "/forms/1", "/forms/1", "/admin/x", "/app/x", "/public/x", "*", "app.test:80", "http://app.test/forms/1")
	raw := method + " " + target + " HTTP/1.1\r\nHost: {host}\r\n{auth}" + often(r, "", "X-HTTP-Method-Override: POST\r\n", "Origin: http://evil.test\r\nAccess-Control-Request-Method: GET\r\n", "Content-Length: 0\r\n",
		"Max-Forwards: 0\r\n", "X_Method_Override: GET\r\n") + "\r\n"
	foreign := strings.Contains(raw, "Origin:") // a cookie counts for nothing then
	return attack{method: method, raw: raw, want: "any", requests: 1, nobody: foreign}
}

// anyCookies puts the caller's cookie among others, whole or not: it is theirs
// or nobody's.
func anyCookies(r *rand.Rand) attack {
	var lines []string
	for range 1 + r.IntN(3) {
		var pairs []string
		for range 1 + r.IntN(4) {
			pairs = append(pairs, pick(r, "a=1", "b", "=c", "", "{cookie}", "{cookie}", "{session}=junk", "{session}", " {cookie} ", "\t{cookie}", `q="x`, `y"`, "doorward_refresh={token}", "__Host-doorward_session={token}", "doorward_session={token}",
				"__Secure-doorward_ticket={token}", "doorward_session_1={token}", "d=e=f", "Path=/", "$Version=1", "a=\xff", "={cookie}"))
		}
		lines = append(lines, pick(r, "Cookie: ", "cookie:", "COOKIE:  ")+strings.Join(pairs, pick(r, "; ", ";", " ; ", ";;", ";\t")))
	}
	if r.IntN(3) == 0 {
		lines = append(lines, pick(r, "Authorization: Bearer {token}", "authorization:bearer\t{token}", "Connection: Cookie"))
	}
	a := headers(r, lines...)
	a.raw, a.nobody = strings.Replace(a.raw, "{auth}", "", 1), true
	return a
}
