package gateway

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// FuzzTarget sends a target through a whole gateway, in every configuration and
// for every caller.
func FuzzTarget(f *testing.F) {
	for _, class := range []string{"paths", "targets", "controls"} {
		for i, a := range table(f, class) {
			if i%7 != 0 { // the rest are tests already
				continue
			}
			f.Add(strings.TrimSuffix(strings.TrimPrefix(strings.SplitN(a.raw, "\r\n", 2)[0], "GET "), " HTTP/1.1"))
		}
	}
	var worlds []*world
	for _, name := range everywhere {
		worlds = append(worlds, newWorld(f, name))
	}
	f.Fuzz(func(t *testing.T, target string) {
		if strings.ContainsAny(target, "\n") || len(target) > 9000 {
			t.Skip("a request line of its own")
		}
		a := ofTarget(target)[0]
		a.class, a.name, a.want, a.requests = "fuzz", "target", "any", 1
		for _, w := range worlds {
			w.failures = 0
			for _, c := range w.callers {
				w.strike(t, a, c)
			}
		}
	})
}

// FuzzHeader does the same with a header's name and value.
func FuzzHeader(f *testing.F) {
	for _, claim := range claims {
		name, value, _ := strings.Cut(claim, ": ")
		f.Add(name, value)
	}
	f.Add("X_Forwarded.User", "root")
	f.Add("Connection", "X-Forwarded-User, close")
	f.Add("Cookie", "a=1; b")
	w := newWorld(f, "open")
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.ContainsAny(name+value, "\r\n{}") || len(name)+len(value) > 9000 || strings.HasPrefix(name, " ") || strings.HasPrefix(name, "\t") ||
			strings.Trim(name, " \t") == "" || slices.Contains([]string{"contentlength", "transferencoding", "expect"}, folded(name)) {
			t.Skip("framing")
		}
		foreign := slices.Contains([]string{"authorization", "cookie", "origin", "secfetchsite", "upgrade"}, folded(name))
		w.failures = 0
		for _, target := range []string{"/public/x", "/admin/x"} {
			for _, c := range w.callers {
				w.strike(t, attack{class: "fuzz", name: "header", method: "GET", want: "any", requests: 1, nobody: foreign,
					raw: "GET " + target + " HTTP/1.1\r\nHost: {host}\r\n{auth}" + name + ": " + value + "\r\n\r\n"}, c)
			}
		}
	})
}

// ours is the name of every cookie the gateway ever set.
var ours = regexp.MustCompile(`^(__Host-)?(__Secure-)?doorward_(session|refresh|ticket)(_[0-9]*)?$`)

// pairs is what a line of cookies says, one pair after the other, without the
// space around them.
func pairs(line string) (theirs []string, mine int) {
	for _, pair := range strings.Split(line, ";") {
		pair = strings.Trim(pair, " \t\r\n")
		name := strings.Trim(strings.SplitN(pair, "=", 2)[0], " \t\r\n")
		if name == "" { // a browser reads =name=value back as name=value
			name = strings.Trim(strings.SplitN(strings.TrimLeft(pair, "= \t\r\n"), "=", 2)[0], " \t\r\n")
		}
		switch {
		case ours.MatchString(name):
			mine++
		case pair != "":
			theirs = append(theirs, pair)
		}
	}
	return theirs, mine
}

// FuzzCookies: the other cookies are forwarded byte for byte and in order, ours
// are gone, and what is read as a credential is among what was sent.
func FuzzCookies(f *testing.F) {
	for _, line := range []string{
		"", "a=1", "a=1; b=2", "doorward_session_80=x", "a=1; doorward_session_80=x; b=2", "doorward_session_80=x;a=1", "a=1;doorward_session_80=x", ";;doorward_session_80=x;;",
		"__Host-doorward_session=x; a", "__Secure-doorward_ticket=x", "doorward_refresh=x; doorward_refresh_1=y", "doorward_session", "doorward_session_80", "=doorward_session_80=x", "==doorward_session_80=x",
		`q="a; doorward_session_80=x"; b`, "xdoorward_session_80=1; doorward_sessions=2; Doorward_Session_80=3", "doorward_session_80 = x", "\tdoorward_session_80\t=x ; a=1", "a=doorward_session_80", "a=1; a=2",
		"__Host-__Host-doorward_session=x", "__Host-__Secure-doorward_session=x", "doorward_session_80x=1", "doorward_session_=1", "a=\xff; b=\x00", "$Version=1; a=1; $Path=/", " = doorward_session_80=x", "a=1 ; b=2 ;c",
	} {
		f.Add(line, "b=2; doorward_session_80=second")
		f.Add(line, "")
	}
	s := &Server{}
	f.Fuzz(func(t *testing.T, one, two string) {
		if strings.ContainsFunc(one+two, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			t.Skip("no header has it")
		}
		h := http.Header{"Cookie": {one, two}}
		values := s.cookieValues(&http.Request{Header: h.Clone()}, "doorward_session_80")
		for _, v := range values {
			if !strings.Contains(one+"\n"+two, v.Reveal()) || v.Reveal() == "" {
				t.Fatalf("%q %q: read %q, which was not sent", one, two, v.Reveal())
			}
		}
		var want []string
		mine := 0
		for _, line := range []string{one, two} {
			theirs, n := pairs(line)
			want, mine = append(want, theirs...), mine+n
		}
		if len(values) > mine {
			t.Fatalf("%q %q: %d values read of %d cookies of ours", one, two, len(values), mine)
		}
		withoutOurCookies(h)
		var got []string
		for _, line := range h["Cookie"] {
			theirs, n := pairs(line)
			if n > 0 {
				t.Fatalf("%q %q: ours is still in %q", one, two, line)
			}
			if !strings.Contains(one, line) && !strings.Contains(two, line) && mine == 0 {
				t.Fatalf("%q %q: became %q, with none of ours in it", one, two, line)
			}
			got = append(got, theirs...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q %q: got %q, want %q", one, two, got, want)
		}
		for _, c := range (&http.Request{Header: h}).Cookies() {
			if ours.MatchString(c.Name) {
				t.Fatalf("%q %q: net/http still reads %q", one, two, c)
			}
		}
	})
}

// FuzzField does the same with a field of HTTP/2, whose name and value nobody has
// parsed yet.
func FuzzField(f *testing.F) {
	for _, claim := range claims {
		name, value, _ := strings.Cut(claim, ": ")
		f.Add(strings.ToLower(name), value)
	}
	for _, field := range [][2]string{
		{":path", "/admin/x"}, {":authority", "admin.test"}, {":method", "GET /admin"}, {":protocol", "websocket"}, {"x-a", "b\r\nX-Forwarded-User: root"}, {"x-a\r\nx-forwarded-user", "root"},
		{"content-length", "5"}, {"te", "trailers"}, {"trailer", "x-forwarded-user"}, {"connection", "x-forwarded-user"}, {"x_forwarded.user", "root"}, {"authorization", " Bearer x"}, {"cookie", "a=1; b"},
	} {
		f.Add(field[0], field[1])
	}
	w := newWorld(f, "open", speakHTTP2)
	w.http2 = true
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.ContainsAny(name+value, "{}") || len(name)+len(value) > 9000 || slices.Contains([]string{"expect", "xcase"}, folded(name)) {
			t.Skip("a wait, or words of the tables")
		}
		w.failures = 0
		for _, path := range []string{"{home}", "/admin/x"} {
			for _, c := range w.callers {
				fields := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "{host}"}, {":path", path}, {"{auth}", ""}, {name, value}}
				w.strike(t, attack{class: "fuzz", name: "field", want: "any", requests: 1, nobody: true, message: message{fields: fields}}, c)
			}
		}
	})
}
