package gateway

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// returnPieces are what redirects out of other gateways were made of.
var returnPieces = []string{
	"/", "/", "/", "//", "\\", "\\/", "%09", "%0a", "%0D%0A", "%5c", "%2f", "%2F", "%252f", "%00", "%20", "\t", "\n", "\r\n", "\x0b", " ", "\x00",
	".", "..", "./", "../", "%2e", "%2e%2e", "%2e/", ";", "..;/", "?", "#", "@", ":", "*", "&", "%", "%zz",
	"evil.example", "gate.example", "gate.example@evil.example", "evil.example#gate.example", "[::1]", "2130706433", "user:pass@",
	"http:", "https:", "HTTPS:", "https:/", "https://", "https:\\\\", "ftp:", "file:", "javascript:alert(1)", "java\tscript:", "data:text/html,x", "blob:", "mailto:", "ws:",
	"\u00a0", "\u3000", "\ufeff", "\u2028", "\u3002", "\uff0f", "\uff3c", "\u2215", "\u2044", "\u00ad", "\u0130", "\xff", "\xc0\xaf",
	"a", "b", "auth", "login", "logout", "x=y", "~", "+", "|", "^", "`", "<", ">", "\"", "'", "{", "}", "[", "]",
}

// returnTargets are the tables' targets and generated ones, the same on every run.
func returnTargets(generated int) []string {
	r := rand.New(rand.NewPCG(25, 3))
	all := append(append([]string{}, kept...), dropped...)
	for range generated {
		var b strings.Builder
		if r.IntN(3) > 0 {
			b.WriteByte('/')
		}
		for range 1 + r.IntN(6) {
			b.WriteString(returnPieces[r.IntN(len(returnPieces))])
		}
		all = append(all, b.String())
	}
	return all
}

// whatwg reads as browsers do, by the URL standard. Node implements it.
const whatwg = `
const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map(JSON.parse);
for (const bytes of lines) {
  const text = Buffer.from(bytes, 'base64').toString('utf8');
  let origin = 'none', path = '';
  try { const u = new URL(text, 'https://gate.example/auth/login'); origin = u.origin; path = u.pathname } catch {}
  console.log(JSON.stringify({origin, path}));
}`

// landing is where a browser goes.
type landing struct{ Origin, Path string }

// browse has a browser's parser read every address, from the sign-in page of
// https://gate.example.
func browse(t *testing.T, addresses []string) []landing {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("DOORWARD_TEST_TOOLS") == "require" {
			t.Fatal("node is not installed, and DOORWARD_TEST_TOOLS=require")
		}
		t.Skip("node is not installed: install it to have it judge where we send people")
	}
	var in, out, bad bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, a := range addresses {
		if err := enc.Encode([]byte(a)); err != nil { // base64: not all of it is text
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", whatwg)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &bad
	if err := cmd.Run(); err != nil {
		t.Fatalf("node: %v\n%s", err, &bad)
	}
	all := make([]landing, len(addresses))
	dec := json.NewDecoder(&out)
	for i := range all {
		if err := dec.Decode(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// leads reports whether a browser that lands there has been led out of the host,
// or into a page that would send it around again.
func (l landing) leads() bool {
	return l.Origin != "https://gate.example" || strings.HasPrefix(l.Path, "//") || l.Path == "/auth/logout" || l.Path == "/auth/login"
}

// TestBrowserStaysWhateverReturnToSays asks a parser that is not ours: whatever
// we keep of an attacker's address stays on our host, and what we do not keep is /.
func TestBrowserStaysWhateverReturnToSays(t *testing.T) {
	targets := returnTargets(20000)
	answers := make([]string, len(targets))
	for i, target := range targets {
		answers[i] = returnTo("/auth", target)
	}
	raw, got := browse(t, targets), browse(t, answers)
	keptCount, astray := 0, 0
	for i, target := range targets {
		if got[i].leads() {
			t.Errorf("%q: sent to %q, which a browser reads as %+v", target, answers[i], got[i])
		}
		if answers[i] != "/" {
			keptCount++
		}
		if strings.HasPrefix(target, "/") && raw[i].leads() {
			astray++
		}
	}
	// Neither refusing everything nor a judge that sees nothing would do.
	if keptCount < 500 || astray < 500 {
		t.Errorf("%d kept and %d that begin with / and lead astray, want hundreds of both", keptCount, astray)
	}
	t.Logf("%d targets, %d kept, %d begin with / and lead a browser astray", len(targets), keptCount, astray)
}

// TestBrowserStaysAfterSigningIn is the same through the form: what counts is
// the Location that leaves.
func TestBrowserStaysAfterSigningIn(t *testing.T) {
	g := newGateway(t, nil)
	g.addUser("ann")
	targets := returnTargets(200)
	locations := make([]string, len(targets))
	for i, target := range targets {
		a := g.do("POST", "/auth/login", formOf("login", "ann", "password", testPassword, "return_to", target), "Content-Type: application/x-www-form-urlencoded")
		locations[i] = a.Header.Get("Location")
		if notText := !utf8.ValidString(target); (a.Status == 303) == notText || (locations[i] == "") != notText {
			t.Fatalf("%q: got %d to %q, want 303 to somewhere, or a refusal of what is no text", target, a.Status, locations[i])
		}
	}
	for i, l := range browse(t, locations) {
		if locations[i] != "" && l.leads() {
			t.Errorf("%q: sent to %q, which a browser reads as %+v", targets[i], locations[i], l)
		}
		if i < len(kept) && locations[i] != kept[i] {
			t.Errorf("%q: sent to %q, want what was asked for", kept[i], locations[i])
		}
	}
}
