package gateway

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestOurCookiesAreCutAndTheRestIsLeftAsItWas(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		want []string
	}{
		{"none of ours", []string{`a=1;b="x y";  c==; ;d`}, []string{`a=1;b="x y";  c==; ;d`}},
		{"first", []string{"doorward_session_8080=s; a=1;b=2 "}, []string{"a=1;b=2 "}},
		{"middle", []string{"a=1; doorward_session_8080=s;b=2"}, []string{"a=1;b=2"}},
		{"last", []string{"a=1;  b=\xff; doorward_refresh_8080=s"}, []string{"a=1;  b=\xff"}},
		{"alone", []string{"doorward_session_8080=s"}, nil},
		{"both, alone", []string{"doorward_session_8080=s; doorward_refresh_8080=t; "}, nil},
		{"over several lines", []string{"doorward_session_8080=s", "a=1", "b=2; doorward_session_8080=s"}, []string{"a=1", "b=2"}},
		{"twice", []string{"doorward_session_8080=s; a=1; doorward_session_8080=t; b=2"}, []string{"a=1; b=2"}},
		{"of another port, and of https", []string{"doorward_session_9=s; __Host-doorward_refresh=t; doorward_session=u; a=1"}, []string{"a=1"}},
		{"with space before the sign", []string{"doorward_session_8080 =s; a=1"}, []string{"a=1"}},
		{"without a value", []string{"doorward_session_8080; a=1"}, []string{"a=1"}},
		{"nameless, in a pair that reads as ours", []string{"=doorward_session_8080=s; a=1; = doorward_refresh_8080=t; ==doorward_session=u;\t=\tdoorward_session"}, []string{"a=1"}},
		{"nameless, not ours", []string{"=a=doorward_session; =doorward_sessions"}, []string{"=a=doorward_session; =doorward_sessions"}},
		{"names that only look like ours", []string{"doorward_sessions=1; xdoorward_session=2; doorward_session_x=3; a=doorward_session"}, []string{"doorward_sessions=1; xdoorward_session=2; doorward_session_x=3; a=doorward_session"}},
	}
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var lines []string
			for _, line := range tt.in {
				lines = append(lines, "Cookie: "+line)
			}
			rawGet(t, g.addr, "/", lines...)
			// Space at the end of a line is no part of a field's value.
			want := slices.Clone(tt.want)
			for i := range want {
				want[i] = strings.TrimRight(want[i], " ")
			}
			if got := up.last(t).fields("Cookie"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestAnUpstreamCannotSetOurCookies(t *testing.T) {
	up := newRecorder(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1; Path=/x\r\nSet-Cookie: doorward_session_8080=evil; Path=/\r\n"+
		"Set-Cookie:  __Host-doorward_session =evil\r\nSet-Cookie: doorward_refresh=evil\r\n"+
		// A browser keeps a cookie without a name, and sends its value alone.
		"Set-Cookie: =doorward_session_8080=evil; Path=/\r\nSet-Cookie: = \tdoorward_session_8080 = evil\r\nSet-Cookie: \t = __Host-doorward_refresh=evil\r\n"+
		"Set-Cookie: ==doorward_session_8080=evil\r\nSet-Cookie: = =\tdoorward_session_8080=evil\r\nSet-Cookie: doorward_ticket_8080\r\n"+
		"Set-Cookie: b=doorward_session\r\nSet-Cookie: =c=doorward_session\r\n\r\n")
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	res, _ := rawGet(t, g.addr, "/")
	if got, want := res.Header["Set-Cookie"], []string{"a=1; Path=/x", "b=doorward_session", "=c=doorward_session"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTwoAuthorizationLinesAreRefused(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, second := range []string{"Basic eDp5", "Bearer x"} {
		res, _ := rawGet(t, g.addr, "/", "Authorization: Basic eDp5", "Authorization: "+second)
		if got, want := res.Header.Get("Doorward"), "INVALID_INPUT"; res.StatusCode != 400 || got != want {
			t.Errorf("got %d %s, want 400 %s", res.StatusCode, got, want)
		}
	}
	if n := len(up.requests()); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestAuthorizationOfAnotherSchemePassesUntouched(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	forwards := to("/forwards/**", anybody)
	forwards.ForwardAuthorization = true
	g := newGateway(t, behind(up.url(), to("/**", anybody), forwards))
	ann := g.person(t, "ann", "user")
	tests := []struct{ path, sent, want string }{
		{"/", "Basic  eDp5", "Basic  eDp5"},
		{"/", "Negotiate abc", "Negotiate abc"},
		{"/", "BearerX abc", "BearerX abc"},
		{"/", "Bearer " + ann.token, ""},
		{"/", "bEARER\t" + ann.token, ""},
		{"/", "Bearer some.other.token", ""},
		{"/", "Bearer", ""},
		{"/forwards/", "Bearer " + ann.token, "Bearer " + ann.token},
	}
	for _, tt := range tests {
		rawGet(t, g.addr, tt.path, "Authorization: "+tt.sent)
		if got := strings.Join(up.last(t).fields("Authorization"), "|"); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.path, tt.sent, got, tt.want)
		}
	}
}

func TestABearerDecidesAloneAndACookieThatVerifiesCounts(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	ann, bob := g.person(t, "ann", "user"), g.person(t, "bob", "user")
	cookie := "Cookie: " + ann.cookie
	junk := strings.Repeat("doorward_session_x=1; ", 3000)
	name := g.live.Load().cookies.session
	tests := []struct {
		name  string
		lines []string
		user  string
		code  string
	}{
		{"cookie", []string{cookie}, "ann", ""},
		{"bearer over cookie", []string{cookie, "Authorization: Bearer " + bob.token}, "bob", ""},
		{"a bad bearer is not rescued by the cookie", []string{cookie, "Authorization: Bearer nonsense"}, "", "TOKEN_INVALID"},
		{"nor an empty one", []string{cookie, "Authorization: Bearer "}, "", "TOKEN_INVALID"},
		{"another scheme leaves it to the cookie", []string{cookie, "Authorization: Basic eDp5"}, "ann", ""},
		{"the one that verifies, among several", []string{"Cookie: a=1; " + name + "=junk", cookie}, "ann", ""},
		{"behind thousands of others", []string{"Cookie: " + junk + ann.cookie}, "ann", ""},
		{"another port's cookie is none", []string{strings.Replace(cookie, name, sessionCookie+"_1", 1)}, "", "AUTHENTICATION_REQUIRED"},
		{"nor is that of https", []string{strings.Replace(cookie, name, "__Host-"+sessionCookie, 1)}, "", "AUTHENTICATION_REQUIRED"},
		{"nor one without a name that reads like it", []string{"Cookie: =" + ann.cookie + "; = " + ann.cookie}, "", "AUTHENTICATION_REQUIRED"},
		{"a token in the query is never read", nil, "", "AUTHENTICATION_REQUIRED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, _ := rawGet(t, g.addr, "/x?access_token="+ann.token, tt.lines...)
			if got := res.Header.Get("Doorward"); got != tt.code {
				t.Fatalf("got %d %q, want code %q", res.StatusCode, got, tt.code)
			}
			if tt.code != "" {
				return
			}
			if got := up.last(t).fields("X-Forwarded-User"); !slices.Equal(got, []string{tt.user}) {
				t.Errorf("got user %q, want %q", got, tt.user)
			}
		})
	}
}

func TestCookieValuesAreBounded(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	for range 3001 {
		r.Header.Add("Cookie", "doorward_session_80=x")
	}
	r.Header.Add("Cookie", "doorward_session_80="+strings.Repeat("y", maxCookieBytes+1))
	if got := len((&Server{}).cookieValues(r, "doorward_session_80")); got != maxCookieValues {
		t.Errorf("got %d values, want %d", got, maxCookieValues)
	}
}

func TestCookieAttributes(t *testing.T) {
	in := authn.SignIn{Cookie: "secret-s", RefreshToken: "secret-r", RefreshExpiresIn: time.Hour, CookieExpiresIn: time.Hour}
	tests := []struct {
		publicURL       string
		session, refesh string
	}{
		{"https://app.example", "__Host-doorward_session=secret-s; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax", "__Host-doorward_refresh=secret-r; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"},
		{"https://app.example:8443", "__Host-doorward_session=secret-s; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax", "__Host-doorward_refresh=secret-r; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"},
		{"http://localhost:8080", "doorward_session_8080=secret-s; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", "doorward_refresh_8080=secret-r; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict"},
		{"http://localhost", "doorward_session_80=secret-s; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", "doorward_refresh_80=secret-r; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict"},
	}
	for _, tt := range tests {
		t.Run(tt.publicURL, func(t *testing.T) {
			s := &Server{}
			s.live.Store(&live{cookies: newCookieNames(tt.publicURL)})
			set, cleared := httptest.NewRecorder(), httptest.NewRecorder()
			s.setSessionCookie(set, in)
			s.setRefreshCookie(set, in)
			s.clearCookies(cleared)
			want := []string{tt.session, tt.refesh}
			if got := set.Header()["Set-Cookie"]; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			for i := range want {
				want[i] = strings.NewReplacer("secret-s", "", "secret-r", "", "Max-Age=3600", "Max-Age=0").Replace(want[i])
			}
			if got := cleared.Header()["Set-Cookie"]; !slices.Equal(got, want) {
				t.Errorf("cleared: got %q, want %q", got, want)
			}
			for _, line := range set.Header()["Set-Cookie"] {
				if c, err := http.ParseSetCookie(line); err != nil || !isOurCookie(c.Name) || len(line) > maxCookieBytes {
					t.Errorf("%q: not a cookie the gateway would know again (%v)", line, err)
				}
			}
		})
	}
}
