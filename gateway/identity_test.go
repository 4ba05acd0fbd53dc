package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

func TestIdentityHeadersNeverComeFromTheClient(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, func(c *Config) {
		behind(up.url(), to("/**", anybody))(c)
		c.Identity.Headers = []IdentityHeader{{Name: "X-WEBAUTH-USER", Value: "login"}}
	})
	spell := []func(string) string{
		func(n string) string { return n },
		strings.ToLower,
		strings.ToUpper,
		func(n string) string { return strings.ReplaceAll(n, "-", "_") },
		func(n string) string { return strings.ReplaceAll(n, "-", ".") },
		func(n string) string { return strings.ReplaceAll(n, "-", "~") },
		func(n string) string { return strings.ReplaceAll(n, "-", "") },
		func(n string) string { return strings.Replace(n, "-", "_", 1) },
		func(n string) string { return "_" + n + "!" },
	}
	for _, name := range identityNames(g.Deps.Config) {
		for i, how := range spell {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				rawGet(t, g.addr, "/", how(name)+": forged-value", how(name)+": forged-twice")
				if head := up.last(t).head; strings.Contains(head, "forged") {
					t.Errorf("the upstream got a header the client made up:\n%s", head)
				}
			})
		}
	}
}

// throughTo is a gateway with one open route to up, whose peer is trusted or not.
func throughTo(t *testing.T, up *recorder, trusted bool) *testGateway {
	t.Helper()
	return newGateway(t, func(c *Config) {
		behind(up.url(), to("/**", anybody))(c)
		if trusted {
			c.Server.TrustedProxies = []string{"127.0.0.0/8"}
		}
	})
}

// gunicorn cuts the value of SCRIPT_NAME off the path, CGI and WSGI turn every
// odd byte of a name into an underscore: no such name is handed on, whoever
// sends it.
func TestNamesWithOddBytesAreDroppedWhoeverSendsThem(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		up := newRecorder(t, plainAnswer)
		g := throughTo(t, up, trusted)
		for _, name := range []string{
			"SCRIPT_NAME", "script_name", "PATH_INFO", "SCRIPT.NAME", "X_Forwarded_For", "X_Forwarded-For", "X-Forwarded_Proto", "X_Real_IP", "X.Real.IP",
			"X_Original_URL", "Content_Length", "Transfer_Encoding", "Content_Type", "X_Request_Id", "Remote_User", "$wsru", "$WSRA", "my_own", "a.b", "a!", "a#", "a%41",
			"a&", "a'", "a*", "a+", "a^", "a`", "a|", "a~", "_", "_X-Forwarded-For",
		} {
			t.Run(fmt.Sprintf("%s trusted %v", name, trusted), func(t *testing.T) {
				rawGet(t, g.addr, "/", name+": steered", "X-Plain-1: plain")
				got := up.last(t)
				if strings.Contains(got.head, "steered") || len(got.fields("X-Plain-1")) != 1 {
					t.Errorf("want the plain one alone, got\n%s", got.head)
				}
			})
		}
	}
}

// A proxy in front hands on what it does not know, so that a trusted peer is no
// proof of who wrote these.
func TestSteeringHeadersAreDroppedWhoeverSendsThem(t *testing.T) {
	names := []string{
		"X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Original-Method", "X-Rewrite-Anything", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override",
		"X-Accel-Redirect", "X-Accel-Buffering", "X-Sendfile", "X-Sendfile-Type", "X-LIGHTTPD-send-file", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Path",
		"X-Forwarded-Access-Token", "X-Auth-Request-Access-Token", "Remote-Addr", "X-Remote-User", "X-WEBAUTH-USER", "WL-Proxy-Client-IP", "Proxy", "Proxy-Client-IP",
		"x-middleware-subrequest", "x-middleware-anything", "Script-Name", "X-Script-Name", "Path-Info", "Path-Translated", "Request-URI", "X-Request-URI",
		"X-Envoy-Original-Path", "SSL-Client-Verify", "X-SSL-Client-Verify", "X-Client-Cert", "X-Tls-Client-Cert", "Client-Cert", "X-Http-Host-Override", "X-Host", "Forwarded",
		"X-Auth-User", "X-User-Id", "X-Email", "X-Authentik-Username", "Cf-Access-Authenticated-User-Email", "Tailscale-User-Login", "Impersonate-User", "X-Pomerium-Claim-Email", "X-Vouch-User",
		"SM-User", "SM-UserDN", "Shib-Session-ID", "Mellon-Name-ID", "Eppn", "X-JWT-Assertion", "X-Endpoint-API-UserInfo", "X-Apigateway-Api-Userinfo",
	}
	for _, trusted := range []bool{false, true} {
		up := newRecorder(t, plainAnswer)
		g := throughTo(t, up, trusted)
		for _, name := range append(names, steering...) {
			name = strings.TrimSuffix(name, "*")
			t.Run(fmt.Sprintf("%s trusted %v", name, trusted), func(t *testing.T) {
				rawGet(t, g.addr, "/", name+": steered")
				if head := up.last(t).head; strings.Contains(head, "steered") {
					t.Errorf("it got through:\n%s", head)
				}
			})
		}
		t.Run(fmt.Sprintf("identity trusted %v", trusted), func(t *testing.T) {
			rawGet(t, g.addr, "/", "X-Forwarded-User: steered", "Remote_User: steered")
			if head := up.last(t).head; strings.Contains(head, "steered") {
				t.Errorf("an identity got through:\n%s", head)
			}
		})
	}
}

// What only begins like the name of a person's header is a client's own affair.
func TestHeadersOfClientsPass(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := throughTo(t, up, false)
	for _, name := range []string{"X-Auth-Token", "X-User-Agent", "X-Token", "X-Api-Key", "X-Requested-With", "X-Csrf-Token", "X-Emails-Per-Page", "Smart-User", "Upgrade-Insecure-Requests", "X-Azure-Ref", "Cf-Ray"} {
		rawGet(t, g.addr, "/", name+": mine")
		if head := up.last(t).head; !strings.Contains(head, "mine") {
			t.Errorf("%s was dropped:\n%s", name, head)
		}
	}
}

func TestWhatAProxyVouchesForIsBelievedOfATrustedOneInOneSpelling(t *testing.T) {
	written := newNameSet("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto") // by ourselves, from what was said
	for _, trusted := range []bool{false, true} {
		up := newRecorder(t, plainAnswer)
		g := throughTo(t, up, trusted)
		for _, name := range append(vouched, "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Tls-Client-Cert", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "CF-Visitor", "CloudFront-Forwarded-Proto", "Fly-Client-IP", "X-Azure-ClientIP", "Https") {
			if written.has([]byte(foldedName(name))) {
				continue
			}
			t.Run(fmt.Sprintf("%s trusted %v", name, trusted), func(t *testing.T) {
				rawGet(t, g.addr, "/", name+": 203.0.113.7")
				if got := strings.Contains(up.last(t).head, "203.0.113.7"); got != trusted {
					t.Errorf("got it through: %v, want %v\n%s", got, trusted, up.last(t).head)
				}
				rawGet(t, g.addr, "/", strings.ReplaceAll(name, "-", "_")+"_: alias", strings.ReplaceAll(name, "-", "")+"-: alias", strings.Replace(name, "-", "--", 1)+"-: alias")
				if head := up.last(t).head; strings.Contains(head, "alias") {
					t.Errorf("another spelling got through:\n%s", head)
				}
			})
		}
	}
}

func TestKeepHeadersReturnsToTheRouteAndNoOther(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	kept := to("/kept/**", anybody)
	kept.KeepHeaders = []string{"X-HTTP-Method-Override", "my_tenant"}
	g := newGateway(t, behind(up.url(), to("/**", anybody), kept))
	for path, want := range map[string][]string{"/kept/x": {"PATCH"}, "/x": nil} {
		rawGet(t, g.addr, path, "X-HTTP-Method-Override: PATCH", "X-Original-URL: /admin", "X-Forwarded-User: root",
			"X_HTTP_Method_Override: /admin", "XHTTPMethodOverride: /admin", "My_Tenant: PATCH", "My.Tenant: /admin")
		got := up.last(t)
		if have := got.fields("My_tenant"); !slices.Equal(have, want) {
			t.Errorf("%s: my_tenant: got %q, want %q", path, have, want)
		}
		if have := got.fields("X-HTTP-Method-Override"); !slices.Equal(have, want) {
			t.Errorf("%s: got %q, want %q", path, have, want)
		}
		if strings.Contains(got.head, "/admin") || strings.Contains(got.head, "root") {
			t.Errorf("%s: what the route does not keep got through:\n%s", path, got.head)
		}
	}
}

func TestIdentityIsSetWhereConnectionCannotRemoveIt(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", signedin)))
	ann := g.person(t, "ann", "user", "editor")
	for _, connection := range []string{
		"X-Forwarded-User", "x-forwarded-user, X-Forwarded-User-Id", "close, X-Forwarded-Groups, X-Forwarded-For, X-Request-Id",
		"X-Forwarded-Host, X-Forwarded-Proto, Authorization, Host, Content-Length",
	} {
		t.Run(connection, func(t *testing.T) {
			res, body := rawGet(t, g.addr, "/x", "Connection: "+connection, "Keep-Alive: X-Forwarded-User", "Authorization: Bearer "+ann.token)
			if res.StatusCode != 200 {
				t.Fatalf("got %d %s", res.StatusCode, body)
			}
			got := up.last(t)
			for name, want := range map[string]string{
				"X-Forwarded-User": "ann", "X-Forwarded-User-Id": ann.id, "X-Forwarded-Groups": "editor,user",
				"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": g.addr, "X-Forwarded-Proto": "http", "Host": g.addr,
				"X-Request-Id": res.Header.Get("X-Request-Id"),
			} {
				if have := got.fields(name); !slices.Equal(have, []string{want}) {
					t.Errorf("%s: got %q, want %q", name, have, want)
				}
			}
			if strings.Contains(got.head, "Authorization") {
				t.Errorf("our token reached the upstream:\n%s", got.head)
			}
		})
	}
}

func TestEveryPresetSendsItsOwnNamesAndNoOthers(t *testing.T) {
	for name, preset := range presets {
		t.Run(name, func(t *testing.T) {
			up := newRecorder(t, plainAnswer)
			g := newGateway(t, func(c *Config) {
				behind(up.url(), to("/**", signedin))(c)
				c.Identity.Preset = name
			})
			ann := g.person(t, "ann", "user")
			rawGet(t, g.addr, "/x", "Authorization: Bearer "+ann.token)
			got := up.last(t)
			for _, all := range presets {
				for _, h := range all {
					want := h.Value == "login" && slices.Contains(preset, h)
					if have := len(got.fields(h.Name)) == 1; h.Value == "login" && have != want {
						t.Errorf("%s sent: %v, want %v", h.Name, have, want)
					}
				}
			}
		})
	}
}

func TestNobodyHasNoIdentityHeaders(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	rawGet(t, g.addr, "/")
	for _, name := range identityNames(g.Deps.Config) {
		if have := up.last(t).fields(name); have != nil {
			t.Errorf("%s: got %q, want none", name, have)
		}
	}
}

func TestIdentityValues(t *testing.T) {
	user := authn.User{ID: "id1", Username: "ann", Email: "ann@example.org", Name: "Ann", Roles: []string{"b", "a"}}
	change := func(f func(*authn.User)) *authn.Identity {
		u := user
		f(&u)
		return &authn.Identity{User: &u, Session: "sid1"}
	}
	noName := func(u *authn.User) { u.Username = "" }
	tests := []struct {
		name   string
		id     *authn.Identity
		emails bool
		value  string
		want   string
	}{
		{"the login is the username", change(func(*authn.User) {}), false, "login", "ann"},
		{"an email nobody proved is no login", change(noName), false, "login", "id1"},
		{"a verified email is", change(func(u *authn.User) { u.Username, u.EmailVerified = "", true }), false, "login", "ann@example.org"},
		{"with verification off any is", change(noName), true, "login", "ann@example.org"},
		{"an email nobody proved is not sent", change(func(*authn.User) {}), false, "email", ""},
		{"a verified one is", change(func(u *authn.User) { u.EmailVerified = true }), false, "email", "ann@example.org"},
		{"roles are sorted", change(func(*authn.User) {}), false, "roles", "a,b"},
		{"the session is its id", change(func(*authn.User) {}), false, "session", "sid1"},
		{"what is not ASCII is percent-encoded", change(func(u *authn.User) { u.Name = "José 日" }), false, "name", "Jos%C3%A9 %E6%97%A5"},
		{"and cannot be written by hand", change(func(u *authn.User) { u.Name = "Jos%C3%A9" }), false, "name", "Jos%25C3%25A9"},
		{"no value starts a second line", change(func(u *authn.User) { u.Name = "a\r\nX-Forwarded-User: root\x00\t" }), false, "name", "a%0D%0AX-Forwarded-User: root%00%09"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := newIdentitySet(Config{Identity: IdentityConfig{Preset: "none", Headers: []IdentityHeader{{"X-It", tt.value}}}})
			if err != nil {
				t.Fatal(err)
			}
			set.emails = tt.emails
			h := http.Header{}
			set.say(nil, tt.id).put(h)
			if got := h.Get("X-It"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := h.Values("X-It"); tt.want == "" && got != nil {
				t.Errorf("got %q, want no header", got)
			}
		})
	}
}

func TestStrippingCostsNoMemory(t *testing.T) {
	set, err := newIdentitySet(Default())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	h := http.Header{"Accept": {"*/*"}, "User-Agent": {"x"}, "X-Custom-Header": {"y"}, "Accept-Encoding": {"gzip"}, "Cookie": {"a=b"}}
	x := &exchange{live: &live{identity: set}}
	if got := testing.AllocsPerRun(100, func() { s.stripInbound(h, x) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// TestNobodySaysWhoTheyAreOrHowTheyCame walks what gateways, clouds and
// frameworks were found to trust, written out here once more: what is left off
// the lists of the gateway would pass.
func TestNobodySaysWhoTheyAreOrHowTheyCame(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	for _, name := range strings.Fields(`
		X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Protocol X-Forwarded-Port X-Forwarded-Prefix X-Forwarded-Server X-Forwarded-By X-Forwarded-Scheme
		X-Forwarded-Ssl X-Forwarded-Tls-Client-Cert X-Forwarded-Client-Cert X-Forwarded Forwarded Forwarded-For Forwarded-Proto X-Real-Ip X-Client-Ip Client-Ip True-Client-Ip
		X-True-Client-Ip Cf-Connecting-Ip Cf-Connecting-Ipv6 Fastly-Client-Ip X-Cluster-Client-Ip X-Originating-Ip X-Proxyuser-Ip X-Envoy-External-Address X-Scheme X-Url-Scheme
		Front-End-Https X-Original-Url X-Original-Uri X-Rewrite-Url X-Forwarded-Uri X-Forwarded-Method X-Http-Method X-Http-Method-Override X-Method-Override X-Http-Host-Override
		X-Http-Path-Override X-Host Script-Name Path-Info Request-Uri X-Waws-Unencoded-Url Remote-User Remote-Groups X-Remote-User X-Remote-Extra-Scopes X-Webauth-User
		X-Goog-Iap-Jwt-Assertion X-Goog-Authenticated-User-Email X-Ms-Client-Principal X-Ms-Client-Principal-Name X-Amzn-Oidc-Identity X-Amzn-Oidc-Data X-Appengine-User-Email
		X-User X-User-Id X-User-Email X-Username X-Userinfo X-Email X-Auth-User X-Auth-Email X-Auth-Roles X-Authenticated-User X-Authenticated-Userid X-Authentik-Username
		Cf-Access-Authenticated-User-Email Oidc-Claim-Sub Oidc-Access-Token X-Oidc-User Tailscale-User-Login Impersonate-User Impersonate-Group X-Consumer-Username X-Consumer-Id
		X-Credential-Identifier X-Pomerium-Claim-Email X-Pomerium-Jwt-Assertion X-Vouch-User X-Token-Subject X-Client-Verify X-Client-Dn Ssl-Client-Verify Ssl-Client-S-Dn
		X-Ssl-Client-Cert X-Arr-Clientcert X-Arr-Ssl Client-Cert X-Client-Cert X-Tls-Client-Cert X-Accel-Redirect X-Sendfile X-Lighttpd-Send-File X-Middleware-Subrequest
		X-Envoy-Original-Path Wl-Proxy-Client-Ip Wl-Proxy-Ssl Proxy`) {
		rawGet(t, g.addr, "/x", name+": forged")
		if head := up.last(t).head; strings.Contains(head, "forged") {
			t.Errorf("%s reached the backend:\n%s", name, head)
		}
	}
}
