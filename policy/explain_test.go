package policy

import (
	"strings"
	"testing"
)

// consistent holds Explain to Decide: the same decision, and readings from
// which the decision follows.
func consistent(t testing.TB, p *Policy, r Request, c Caller) {
	t.Helper()
	d, e := p.Decide(r, c), p.Explain(r, c)
	if e.Decision != d {
		t.Errorf("%q: explained %+v, decided %+v", r.Target, e.Decision, d)
	}
	if e.Because == "" {
		t.Errorf("%q: no reason given", r.Target)
	}
	if d.Code == Malformed {
		if len(e.Readings) != 0 {
			t.Errorf("%q: malformed, and yet %d readings", r.Target, len(e.Readings))
		}
		return
	}
	if got, want := follows(e.Readings), d.Code; got != want {
		t.Errorf("%q: readings %+v lead to %q, decided %q", r.Target, e.Readings, got, want)
	}
}

// follows decides from readings alone.
func follows(all []Reading) Code {
	primary := 0
	for i, r := range all {
		if r.Primary {
			primary++
			if i != 0 {
				return "primary is not first"
			}
		}
	}
	if primary != 1 {
		return "not one primary"
	}
	if all[0].Code != Allowed {
		return all[0].Code
	}
	code := Allowed
	for _, r := range all {
		switch r.Code {
		case Allowed:
		case AuthenticationRequired:
			if code == Allowed {
				code = r.Code
			}
		default:
			code = Ambiguous
		}
	}
	return code
}

func TestExplainSays(t *testing.T) {
	p := compile(t, []Rule{
		{Path: "/**", Upstream: "app", Allow: Allow{Audience: Anyone}},
		{Path: "/admin/**", Upstream: "app", Allow: Allow{Audience: Roles, Roles: []string{"admin"}}},
		{Path: "/api/**", Upstream: "api", Methods: []string{"GET"}, Allow: Allow{Audience: Authenticated}, Verified: true},
		{Path: "/off/**", Upstream: "app", Allow: Allow{Audience: Nobody}},
		{Path: "/open/**", Upstream: "other", Allow: Allow{Audience: Anyone}},
		{Path: "/deep/*", Host: "only.example.com", Upstream: "app", Allow: Allow{Audience: Anyone}},
	}, Options{Prefix: "/auth"})
	deny := compile(t, nil, Options{})
	tests := []struct {
		name           string
		policy         *Policy
		method, target string
		caller         string
		want           string
	}{
		{"allowed", p, "GET", "/x", "anonymous", "rule 0 (/**) allows anyone"},
		{"not signed in", p, "GET", "/admin", "anonymous", "rule 1 (/admin/**) allows [admin], and the caller is not signed in"},
		{"wrong role", p, "GET", "/admin", "user", "rule 1 (/admin/**) allows [admin], and the caller has [user]"},
		{"nobody", p, "GET", "/off", "admin", "rule 3 (/off/**) allows nobody"},
		{"unverified", p, "GET", "/api/x", "new", "rule 2 (/api/**) allows authenticated with a verified email, and the caller's is not"},
		{"method", p, "POST", "/api/x", "user", "the narrowest pattern is /api/**, which has rules for GET, HEAD and none for this method"},
		{"no rule", deny, "GET", "/x", "user", "no rule covers app.example.com/x, and there is no default"},
		{"other reading", p, "GET", "/x/..%2fadmin", "user", "/x/..%2fadmin would be allowed, but some servers read the path as /admin, and there rule 1 (/admin/**) allows [admin], and the caller has [user]"},
		{"other reading, sign in", p, "GET", "/x/..%2fadmin", "anonymous", "and there rule 1 (/admin/**) allows [admin], and the caller is not signed in"},
		{"other case", p, "GET", "/Admin", "user", "/Admin would be allowed, but some servers read the path without regard to case as /admin, and there"},
		{"script", p, "GET", "/index.php/admin/x", "user", "/index.php/admin/x would be allowed, but some servers read the path as /admin/x, and there rule 1 (/admin/**) allows [admin]"},
		{"stream", p, "GET", "/admin::$INDEX_ALLOCATION/x", "user", "some servers read the path as /admin/x, and there rule 1"},
		{"other upstream", p, "GET", "/open;x", "user", "rule 4 (/open/**) leads to another upstream"},
		{"our prefix", p, "GET", "/x/..%2fauth/login", "admin", "/auth is kept for Doorward's own endpoints"},
		{"climbs", p, "GET", "/x%2f..%2f../..", "admin", "climbs above the root"},
		{"bad byte", p, "GET", "/x\\y", "admin", "a byte or a broken escape"},
		{"too long", p, "GET", "/" + strings.Repeat("a", maxPath), "admin", "longer than 8192 bytes"},
		{"lower-case method", p, "pOST", "/api/x", "user", `the method "pOST" has a lower-case letter: some servers take it for POST`},
		{"no path", p, "GET", "x:admin", "admin", "neither a path that starts with / nor"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Method: tt.method, Host: "app.example.com", Target: tt.target}
			e := tt.policy.Explain(r, callers[tt.caller])
			if !strings.Contains(e.Because, tt.want) {
				t.Errorf("got  %s\nwant %s", e.Because, tt.want)
			}
			consistent(t, tt.policy, r, callers[tt.caller])
		})
	}
	bad := Request{Method: "GET", Host: "a@b", Target: "/"}
	if got, want := p.Explain(bad, Caller{}).Because, "the host is not a host name"; got != want {
		t.Errorf("bad host: got %q, want %q", got, want)
	}
}
