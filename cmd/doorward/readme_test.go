package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// between is the shell between two comments of the README.
func between(t *testing.T, readme, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readme, "<!-- "+from+" -->")
	text, _, ended := strings.Cut(rest, "<!-- "+to+" -->")
	if !ok || !ended {
		t.Fatalf("the README has nothing from %q to %q", from, to)
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "```") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Every line of the README that a newcomer is told to type works as it stands:
// nothing is changed but the port.
func TestReadmeLines(t *testing.T) {
	need(t, "curl")
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := os.ReadFile(filepath.Join("..", "..", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOORWARD_SERVER_LISTEN", "127.0.0.1:0")
	t.Setenv("DOORWARD_SERVER_OPS_LISTEN", "127.0.0.1:0")
	g := &gate{t: t, dir: t.TempDir()}
	if err := os.WriteFile(g.configFile(), shipped, 0o600); err != nil {
		t.Fatal(err)
	}
	g.run()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(g.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bin, filepath.Join(g.dir, "bin", "doorward")); err != nil {
		t.Fatal(err)
	}

	script := between(t, string(readme), "try", "tried")
	got := shell(t, g, script)
	steps := []string{
		`"access_token":`,                  // signed up
		`"code":"AUTHENTICATION_REQUIRED"`, // called as nobody
		`"X-Forwarded-User":["alice"]`,     // called as alice
		`"code":"INSUFFICIENT_ROLE"`,       // where only admins go
		`"refresh_token":`,                 // refreshed
		`"code":"TOKEN_REVOKED"`,           // signed out
	}
	rest := regexp.MustCompile(`\s+`).ReplaceAllString(got, "")
	for _, step := range steps {
		_, after, ok := strings.Cut(rest, step)
		if !ok {
			t.Fatalf("no %s where it belongs in what the lines print:\n%s", step, got)
		}
		rest = after
	}

	shell(t, g, between(t, string(readme), "admin", "/admin"))
	p := g.login("alice", goodPassword)
	if r := g.call("GET", "/admin/", nil, bearer(p.Access)...); r.status != 200 {
		t.Errorf("alice as admin: got %d %s, want 200", r.status, r.body)
	}
}

// shell runs lines where the server runs.
func shell(t *testing.T, g *gate, lines string) string {
	t.Helper()
	cmd := exec.Command("sh", "-e", "-c", strings.ReplaceAll(lines, "http://localhost:8080", g.url))
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "no_proxy=*")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
