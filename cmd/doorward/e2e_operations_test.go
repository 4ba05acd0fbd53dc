package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func (g *gate) metrics() string {
	g.t.Helper()
	res, err := http.Get(g.ops + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// sample is one line of the Prometheus text format: name, labels, value.
var sample = regexp.MustCompile(`(?m)^(doorward_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$`)

// TestEveryMetric walks the list of promised metrics after a little of
// everything has happened: each is there with exactly its labels, and none is
// there that was not promised.
func TestEveryMetric(t *testing.T) {
	g := start(t, legacyApp("whoami:"))
	alice := g.register("alice")
	g.call("GET", "/x", nil, bearer(alice.Access)...)
	g.call("GET", "/x", nil)
	g.post("/auth/login", map[string]string{"login": "alice", "password": "a wrong password"})
	g.post("/auth/refresh", map[string]string{"refresh_token": alice.Refresh})

	got := map[string][]string{}
	for _, m := range sample.FindAllStringSubmatch(g.metrics(), -1) {
		name, labels := m[1], []string{}
		for _, pair := range strings.Split(m[2], `",`) {
			if label, _, ok := strings.Cut(pair, "="); ok && label != "le" {
				labels = append(labels, label)
			}
		}
		slices.Sort(labels)
		got[name] = labels
	}
	list, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, "{")
		want := []string{}
		if rest = strings.TrimSuffix(rest, "}"); rest != "" {
			want = strings.Split(rest, ",")
		}
		slices.Sort(want)
		labels, ok := got[name]
		if !ok {
			t.Errorf("%s is promised and not there", name)
		} else if !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %v, want %v", name, labels, want)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is there and not promised", name)
	}
}

// TestRequestLine holds the line of a request to the keys that are promised.
func TestRequestLine(t *testing.T) {
	g := start(t, legacyApp("whoami:"))
	alice := g.register("alice")
	g.call("GET", "/a%20b?token=not-for-the-log", nil, append(bearer(alice.Access), "User-Agent", "agent of a \"kind\"")...)
	line := g.log.wait(t, `"msg":"request"`, `"path":"/a%20b"`)
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields("time level msg request_id method host path route status code bytes duration_ms client_ip user session decision upstream upstream_ms user_agent")
	for _, key := range want {
		if _, ok := fields[key]; !ok {
			t.Errorf("the line has no %s: %s", key, line)
		}
		delete(fields, key)
	}
	for key := range fields {
		t.Errorf("the line has %s, which is not promised: %s", key, line)
	}
	if strings.Contains(line, "not-for-the-log") {
		t.Errorf("the query is in the log: %s", line)
	}
}

// TestNothingSecretIsLogged does what carries secrets, at the level that logs
// the most, and looks for them in everything that was printed and measured.
func TestNothingSecretIsLogged(t *testing.T) {
	g := start(t, "log: {level: debug}\ntokens: {refresh_grace: 0s}\n"+legacyApp("whoami:"))
	alice := g.register("alice")
	secrets := []string{goodPassword, alice.Access, alice.Refresh}
	next := g.post("/auth/refresh", map[string]string{"refresh_token": alice.Refresh})
	var renewed pair
	next.json(t, &renewed)
	secrets = append(secrets, renewed.Access, renewed.Refresh)
	g.call("GET", "/x?access_token="+renewed.Access, nil, bearer(renewed.Access)...)
	g.call("GET", "/x", nil, "Authorization", "Bearer "+renewed.Access+"x")
	r := g.post("/auth/login", map[string]string{"login": "alice", "password": goodPassword, "mode": "session_cookie"})
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	_, value, _ := strings.Cut(cookie, "=")
	secrets = append(secrets, value)
	g.call("GET", "/x", nil, "Cookie", cookie)
	g.post("/auth/login", map[string]string{"login": "typed-into-the-wrong-field", "password": "typed-into-the-wrong-field-2"})
	secrets = append(secrets, "typed-into-the-wrong-field")
	g.post("/auth/refresh", map[string]string{"refresh_token": alice.Refresh}) // a replay
	g.call("POST", "/auth/login", strings.NewReader(`{"login": "alice", "password": "broken-json-secret`), "Content-Type", "application/json")
	secrets = append(secrets, "broken-json-secret")

	measured := g.metrics()
	g.cmd.Process.Signal(syscall.SIGTERM) // flushes the log
	<-g.exited
	g.log.wait(t, "stopp")
	for _, s := range secrets {
		if s == "" {
			t.Fatal("a secret is missing: the test is broken")
		}
		if strings.Contains(g.log.String(), s) {
			t.Errorf("the log holds %q", s)
		}
		if strings.Contains(measured, s) {
			t.Errorf("the metrics hold %q", s)
		}
	}
}
