package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The end-to-end suite starts the real binary with a real configuration file,
// in front of backends that were written for no gateway in particular, and
// speaks to it over sockets only.

// patience is how long anything may take before a test gives up: long enough
// for a slow and busy machine, since nothing here measures time.
const patience = 60 * time.Second

// binary builds the program once, with the race detector if the tests have it;
// quickBinary builds it without, for a test that is about something else and
// would spend its time in slowed-down hashing.
var (
	binary      = sync.OnceValues(func() (string, error) { return build(raceEnabled) })
	quickBinary = sync.OnceValues(func() (string, error) { return build(false) })
)

func build(race bool) (string, error) {
	dir, err := os.MkdirTemp("", "doorward-e2e")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "doorward")
	args := []string{"build", "-o", bin}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// gate is one running Doorward.
type gate struct {
	t      testing.TB
	dir    string   // holds config.yaml and doorward.db
	url    string   // of the public listener
	ops    string   // of the operations listener
	env    []string // more of the program's environment
	quick  bool     // run quickBinary
	cmd    *exec.Cmd
	log    *logbook
	exited chan struct{}
}

// logbook keeps what the program wrote to stderr and lets a test wait for a line.
type logbook struct {
	mu    sync.Mutex
	cond  *sync.Cond
	lines []string
	done  bool
}

func newLogbook(r io.Reader) *logbook {
	l := &logbook{}
	l.cond = sync.NewCond(&l.mu)
	go func() {
		in := bufio.NewScanner(r)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			l.mu.Lock()
			l.lines = append(l.lines, in.Text())
			l.mu.Unlock()
			l.cond.Broadcast()
		}
		l.mu.Lock()
		l.done = true
		l.mu.Unlock()
		l.cond.Broadcast()
	}()
	return l
}

// wait returns the first line that contains all parts; it fails the test when
// the program ends or patience does.
func (l *logbook) wait(t testing.TB, parts ...string) string {
	t.Helper()
	deadline := time.Now().Add(patience)
	stop := time.AfterFunc(patience, l.cond.Broadcast)
	defer stop.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for _, line := range l.lines {
			if containsAll(line, parts) {
				return line
			}
		}
		if l.done || time.Now().After(deadline) {
			t.Fatalf("no log line with %q; the log is:\n%s", parts, strings.Join(l.lines, "\n"))
		}
		l.cond.Wait()
	}
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func containsAll(line string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(line, p) {
			return false
		}
	}
	return true
}

// baseConfig is what every end-to-end configuration has: ports of the system's
// choosing, cheap hashing, and nothing that waits.
const baseConfig = `
server: {listen: "127.0.0.1:0", ops_listen: "127.0.0.1:0"}
accounts: {registration: open, password: {bcrypt_cost: 10}}
limits: {register: "", login_failures: "", refresh: ""}
`

// start runs the program on config (appended to baseConfig), with env added to
// its environment, and waits until it is ready.
func start(t testing.TB, config string, env ...string) *gate {
	t.Helper()
	g := &gate{t: t, dir: t.TempDir(), env: env}
	g.writeConfig(config)
	g.run()
	return g
}

func (g *gate) writeConfig(config string) {
	g.t.Helper()
	if err := os.WriteFile(g.configFile(), []byte(baseConfig+config), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) configFile() string { return filepath.Join(g.dir, "config.yaml") }

// run starts the program in its folder; it may have run there before.
func (g *gate) run() {
	g.t.Helper()
	build := binary
	if g.quick {
		build = quickBinary
	}
	bin, err := build()
	if err != nil {
		g.t.Fatal(err)
	}
	g.cmd = exec.Command(bin, "serve", "--config", g.configFile())
	g.cmd.Dir = g.dir
	g.cmd.Env = append(os.Environ(), g.env...)
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.log = newLogbook(stderr)
	g.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait()
		close(exited)
	}(g.cmd, g.exited)
	g.t.Cleanup(g.stop)

	var ready struct {
		Listen    string `json:"listen"`
		OpsListen string `json:"ops_listen"`
	}
	line := g.log.wait(g.t, `"msg":"ready"`)
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		g.t.Fatalf("the ready line is not JSON: %v\n%s", err, line)
	}
	g.url, g.ops = "http://"+ready.Listen, "http://"+ready.OpsListen
}

// stop asks the program to end and waits for it; it is killed if it does not.
func (g *gate) stop() {
	select {
	case <-g.exited:
		return
	default:
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(patience):
		g.cmd.Process.Kill()
		<-g.exited
		g.t.Errorf("the program did not stop when asked; its log is:\n%s", g.log)
	}
	if strings.Contains(g.log.String(), "DATA RACE") {
		g.t.Errorf("the race detector spoke:\n%s", g.log)
	}
}

// kill ends the program as a power cut would.
func (g *gate) kill() {
	g.cmd.Process.Kill()
	<-g.exited
}

// doorward runs another command of the program in the same folder and returns
// its standard output.
func (g *gate) doorward(stdin string, args ...string) string {
	g.t.Helper()
	bin, err := binary()
	if err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.Command(bin, append(args, "--config", g.configFile())...)
	cmd.Dir = g.dir
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		g.t.Fatalf("doorward %v: %v\n%s%s", args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// reply is one answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("the answer is not JSON: %v\n%d %s", err, r.status, r.body)
	}
}

// plain is a client that follows no redirect and keeps no cookie.
var plain = &http.Client{
	Timeout:       patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// call sends one request; headers are name, value, name, value.
func (g *gate) call(method, path string, body io.Reader, headers ...string) reply {
	g.t.Helper()
	r, err := g.try(method, path, body, headers...)
	if err != nil {
		g.t.Fatalf("%s %s: %v\nlog:\n%s", method, path, err, g.log)
	}
	return r
}

func (g *gate) try(method, path string, body io.Reader, headers ...string) (reply, error) {
	req, err := http.NewRequest(method, g.url+path, body)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := plain.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, data}, err
}

// post sends v as JSON.
func (g *gate) post(path string, v any, headers ...string) reply {
	g.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.call("POST", path, bytes.NewReader(data), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// pair is what signing in answers.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	User    struct {
		ID       string   `json:"id"`
		Username string   `json:"username"`
		Email    string   `json:"email"`
		Roles    []string `json:"roles"`
	} `json:"user"`
}

// goodPassword is one that every default accepts.
const goodPassword = "correct horse battery staple"

// register signs a person up, and so in.
func (g *gate) register(username string) pair {
	g.t.Helper()
	r := g.post("/auth/register", map[string]string{"username": username, "password": goodPassword})
	if r.status != 201 {
		g.t.Fatalf("register %s: %d %s", username, r.status, r.body)
	}
	var p pair
	r.json(g.t, &p)
	return p
}

// login signs a person in.
func (g *gate) login(username, password string) pair {
	g.t.Helper()
	r := g.post("/auth/login", map[string]string{"login": username, "password": password})
	if r.status != 200 {
		g.t.Fatalf("login %s: %d %s", username, r.status, r.body)
	}
	var p pair
	r.json(g.t, &p)
	return p
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// need finds a tool the test cannot do without. `make test` installs them all
// and insists; a bare `go test` skips what is missing.
func need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		return path
	}
	if os.Getenv("DOORWARD_TEST_TOOLS") == "require" {
		t.Fatalf("%s is not installed: run make deps", tool)
	}
	t.Skipf("%s is not installed: run make deps", tool)
	return ""
}
