package gateway

import (
	"testing"
	"time"
)

// What has ended reaches no backend, and not a moment later: each credential has
// just been used, so that everything that can be remembered of it is.
func TestWhatHasEndedReachesNoBackend(t *testing.T) {
	for name, c := range map[string]struct {
		end        func(g *testGateway, p person)
		token, web string // the codes of what has ended; "" for what goes on
	}{
		"signed out with the token":     {func(g *testGateway, p person) { g.post("/auth/logout", "", p.bearer) }, "TOKEN_REVOKED", ""},
		"signed out in the browser":     {func(g *testGateway, p person) { g.post("/auth/logout", "", "Cookie: "+p.cookie) }, "", "AUTHENTICATION_REQUIRED"},
		"signed out everywhere":         {func(g *testGateway, p person) { g.post("/auth/logout-all", "", p.bearer) }, "TOKEN_REVOKED", "AUTHENTICATION_REQUIRED"},
		"the clock was set back by 1 h": {func(g *testGateway, p person) { g.clock.advance(-time.Hour) }, "TOKEN_INVALID", "AUTHENTICATION_REQUIRED"},
	} {
		t.Run(name, func(t *testing.T) {
			up := newRecorder(t, plainAnswer)
			g := newGateway(t, behind(up.url(), to("/**", signedin)))
			p := g.person(t, "ann", "user")
			ask := func(when, header, want string) {
				t.Helper()
				reached := len(up.requests())
				if a := g.get("/x", header); a.code() != want || len(up.requests())-reached != map[bool]int{true: 1}[want == ""] {
					t.Errorf("%s: got %d %q and %d requests at the backend, want %q", when, a.Status, a.code(), len(up.requests())-reached, want)
				}
			}
			for range 2 {
				ask("token before", p.bearer, "")
				ask("cookie before", "Cookie: "+p.cookie, "")
			}
			c.end(g, p)
			ask("token", p.bearer, c.token)
			ask("cookie", "Cookie: "+p.cookie, c.web)
		})
	}
}
