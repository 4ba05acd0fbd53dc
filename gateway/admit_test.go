package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/policy"
)

func TestAdmission(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	verified := to("/verified/**", signedin)
	verified.Verified = true
	posts := to("/posts/**", signedin)
	posts.Methods = []string{"POST"}
	g := newGateway(t, behind(up.url(), to("/open/**", anybody), to("/in/**", signedin), to("/admin/**", roles("admin")),
		to("/shut/**", policy.Allow{Audience: policy.Nobody}), verified, posts))
	ann, root := g.person(t, "ann", "user"), g.person(t, "root", "admin")
	ended := g.person(t, "ended", "user")
	if err := g.Authn.LogoutAll(context.Background(), identityOf(ended, ended.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	deadCookie := "Cookie: " + ended.cookie
	tests := []struct {
		name   string
		line   string
		header string
		status int
		code   string // of the answer; on 200 that of the credential that was ignored
		user   string
	}{
		{"anyone, by nobody", "GET /open/x", "", 200, "", ""},
		{"anyone, by someone", "GET /open/x", ann.bearer, 200, "", "ann"},
		{"anyone, by someone with a cookie", "GET /open/x", "Cookie: " + ann.cookie, 200, "", "ann"},
		{"anyone, with a bad token", "GET /open/x", "Authorization: Bearer x", 200, "TOKEN_INVALID", ""},
		{"anyone, with a revoked token", "GET /open/x", ended.bearer, 200, "TOKEN_REVOKED", ""},
		{"anyone, with a dead cookie", "GET /open/x", deadCookie, 200, "AUTHENTICATION_REQUIRED", ""},
		{"signed in, by nobody", "GET /in/x", "", 401, "AUTHENTICATION_REQUIRED", ""},
		{"signed in, by someone", "GET /in/x", ann.bearer, 200, "", "ann"},
		{"signed in, with a bad token", "GET /in/x", "Authorization: Bearer x", 401, "TOKEN_INVALID", ""},
		{"signed in, with a revoked token", "GET /in/x", ended.bearer, 401, "TOKEN_REVOKED", ""},
		{"signed in, with a dead cookie", "GET /in/x", deadCookie, 401, "AUTHENTICATION_REQUIRED", ""},
		{"a role, by nobody", "GET /admin/x", "", 401, "AUTHENTICATION_REQUIRED", ""},
		{"a role, by another", "GET /admin/x", ann.bearer, 403, "INSUFFICIENT_ROLE", ""},
		{"a role, by its holder", "GET /admin/x", root.bearer, 200, "", "root"},
		{"nobody, by an admin", "GET /shut/x", root.bearer, 403, "INSUFFICIENT_ROLE", ""},
		{"verified, by someone who is not", "GET /verified/x", ann.bearer, 403, "EMAIL_NOT_VERIFIED", ""},
		{"no route", "GET /elsewhere", root.bearer, 404, "NO_ROUTE", ""},
		{"no route, before a bad token", "GET /elsewhere", "Authorization: Bearer x", 404, "NO_ROUTE", ""},
		{"another method", "GET /posts/x", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"a malformed path, before all", "GET /elsewhere%00", "", 400, "BAD_REQUEST", ""},
		{"a path that could be admin's", "GET /in/..%2fadmin/x", ann.bearer, 400, "AMBIGUOUS_PATH", ""},
		{"the same by an admin", "GET /in/..%2fadmin/x", root.bearer, 200, "", "root"},
		{"a path that could be admin's, on an open route", "GET /open/..%2fadmin/x", "", 401, "AUTHENTICATION_REQUIRED", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(up.requests())
			var lines []string
			if tt.header != "" {
				lines = []string{tt.header}
			}
			res, body := rawRequest(t, g.addr, tt.line+" HTTP/1.1", lines...)
			if res.StatusCode != tt.status || res.Header.Get("Doorward") != tt.code {
				t.Fatalf("got %d %q, want %d %q\n%s", res.StatusCode, res.Header.Get("Doorward"), tt.status, tt.code, body)
			}
			if reached := len(up.requests()) > before; reached != (tt.status == 200) {
				t.Fatalf("reached the upstream: %v", reached)
			}
			if tt.status == 200 {
				if got := strings.Join(up.last(t).fields("X-Forwarded-User"), "|"); got != tt.user {
					t.Errorf("got user %q, want %q", got, tt.user)
				}
			}
			if tt.status == 405 && res.Header.Get("Allow") != "POST" {
				t.Errorf("got Allow %q, want POST", res.Header.Get("Allow"))
			}
		})
	}
}

func TestAVerifiedEmailOpensAVerifiedRoute(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	verified := to("/**", signedin)
	verified.Verified = true
	g := newGateway(t, behind(up.url(), verified))
	_, _, err := g.Authn.CreateUser(context.Background(), authn.NewUser{
		Email: "ann@example.org", EmailVerified: true, Password: testPassword, Roles: []string{"user"},
	}, authn.Actor{ID: authn.ActorCLI})
	if err != nil {
		t.Fatal(err)
	}
	token := g.signIn("ann@example.org", authn.ModeToken).AccessToken.Reveal()
	if res := g.get("/", "Authorization: Bearer "+token); res.Status != 200 {
		t.Fatalf("got %d %s, want 200", res.Status, res.Body)
	}
	got := up.last(t)
	for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Email"} {
		if have := strings.Join(got.fields(name), "|"); have != "ann@example.org" {
			t.Errorf("%s: got %q, want ann@example.org", name, have)
		}
	}
}

// The order of the errors decides what a stranger can learn and what a flood
// costs: another site's page first, then the client's budget, then who asks.
func TestTheBudgetComesBeforeTheCredential(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	limited := to("/**", signedin)
	limited.Limit = Rate{1, time.Hour}
	g := newGateway(t, behind(up.url(), limited))
	ann := g.person(t, "ann", "user")
	codes := []struct{ header, want string }{
		{"Accept: a/b", "AUTHENTICATION_REQUIRED"},
		{"Accept: a/b", "RATE_LIMITED"},
		{"Authorization: Bearer x", "RATE_LIMITED"},
		{ann.bearer, ""}, // a budget of their own
		{"Cookie: " + ann.cookie, "RATE_LIMITED"},
	}
	for _, c := range codes {
		res := g.get("/", c.header)
		if res.code() != c.want {
			t.Errorf("%s: got %d %q, want %q", c.header, res.Status, res.code(), c.want)
		}
	}
	foreign := g.do("POST", "/", "", "Cookie: "+ann.cookie, "Sec-Fetch-Site: cross-site")
	if foreign.code() != "CROSS_ORIGIN" {
		t.Errorf("got %q, want CROSS_ORIGIN before RATE_LIMITED", foreign.code())
	}
}

// A store that cannot be asked refuses, on an open route too: nobody may pass as
// nobody because somebody could not be looked up.
func TestAStoreThatFailsRefuses(t *testing.T) {
	up := newRecorder(t, plainAnswer)
	g := newGateway(t, behind(up.url(), to("/**", anybody)))
	ann := g.person(t, "ann", "user")
	if err := g.store.Close(); err != nil {
		t.Fatal(err)
	}
	g.eventually("the cache to be shut", func() bool {
		return g.get("/", "Cookie: "+ann.cookie).Status != 200
	})
	before := len(up.requests())
	if res := g.get("/", "Cookie: "+ann.cookie); res.code() != "INTERNAL" || len(up.requests()) != before {
		t.Errorf("got %d %q and %d requests more; want INTERNAL and none", res.Status, res.code(), len(up.requests())-before)
	}
}
