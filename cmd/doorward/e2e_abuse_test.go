package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const whoamiForAll = `
upstreams: [{name: app, url: "whoami:"}]
routes: [{path: "/**", upstream: app, allow: authenticated}]
`

func TestHundredRefreshesHaveOneSuccessor(t *testing.T) {
	g := start(t, whoamiForAll)
	first := g.register("alice")
	answers := make([]pair, 100)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			var ok bool
			if answers[i], ok = tryPost(g, "/auth/refresh", map[string]string{"refresh_token": first.Refresh}, 200); !ok {
				t.Errorf("refresh %d failed", i)
			}
		})
	}
	all.Wait()
	for i, a := range answers {
		if a.Refresh != answers[0].Refresh || a.Refresh == first.Refresh || a.Refresh == "" {
			t.Fatalf("refresh %d: another successor than the first answer's", i)
		}
		if r := g.call("GET", "/x", nil, bearer(a.Access)...); r.status != 200 {
			t.Fatalf("refresh %d: its access token is answered %d", i, r.status)
		}
	}
	if r := g.post("/auth/refresh", map[string]string{"refresh_token": answers[0].Refresh}); r.status != 200 {
		t.Errorf("the one successor: got %d %s, want 200", r.status, r.body)
	}
}

func TestReplayAfterTheGraceEndsTheSession(t *testing.T) {
	g := start(t, "tokens: {refresh_grace: 0s}\n"+whoamiForAll)
	stolen := g.register("alice")
	renewed, ok := tryPost(g, "/auth/refresh", map[string]string{"refresh_token": stolen.Refresh}, 200)
	if !ok {
		t.FailNow()
	}
	r := g.post("/auth/refresh", map[string]string{"refresh_token": stolen.Refresh})
	if r.status != 401 || r.header.Get("Doorward") != "REFRESH_TOKEN_REUSED" {
		t.Fatalf("the replay: got %d %s, want 401 REFRESH_TOKEN_REUSED", r.status, r.header.Get("Doorward"))
	}
	for name, token := range map[string]string{"stolen": stolen.Refresh, "renewed": renewed.Refresh} {
		r := g.post("/auth/refresh", map[string]string{"refresh_token": token})
		if r.status != 401 || r.header.Get("Doorward") != "REFRESH_TOKEN_INVALID" {
			t.Errorf("the %s token afterwards: got %d %s, want 401 REFRESH_TOKEN_INVALID", name, r.status, r.header.Get("Doorward"))
		}
	}
	if r := g.call("GET", "/x", nil, bearer(renewed.Access)...); r.status != 401 || r.header.Get("Doorward") != "TOKEN_REVOKED" {
		t.Errorf("the access token afterwards: got %d %s, want 401 TOKEN_REVOKED", r.status, r.header.Get("Doorward"))
	}
	again := g.login("alice", goodPassword)
	r = g.call("GET", "/auth/events", nil, bearer(again.Access)...)
	if !strings.Contains(string(r.body), `"refresh.reused"`) {
		t.Errorf("no event tells the owner of the replay: %s", r.body)
	}
}

func TestStrangersRefreshTokenChangesNothing(t *testing.T) {
	g := start(t, whoamiForAll)
	alice := g.register("alice")
	for i := range alice.Refresh {
		forged := []byte(alice.Refresh)
		forged[i] = 'A' + (forged[i]-'A'+1)%26
		if string(forged) == alice.Refresh {
			continue
		}
		r := g.post("/auth/refresh", map[string]string{"refresh_token": string(forged)})
		if r.status != 401 || r.header.Get("Doorward") != "REFRESH_TOKEN_INVALID" {
			t.Fatalf("forged at %d: got %d %s, want 401 REFRESH_TOKEN_INVALID", i, r.status, r.header.Get("Doorward"))
		}
	}
	if r := g.post("/auth/refresh", map[string]string{"refresh_token": alice.Refresh}); r.status != 200 {
		t.Errorf("the real one afterwards: got %d %s, want 200", r.status, r.body)
	}
}

func TestTokenOfAnotherInstance(t *testing.T) {
	ours, theirs := start(t, whoamiForAll), start(t, whoamiForAll)
	ours.register("alice")
	stranger := theirs.register("alice")
	r := ours.call("GET", "/x", nil, bearer(stranger.Access)...)
	if r.status != 401 || r.header.Get("Doorward") != "TOKEN_INVALID" || !strings.Contains(r.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("got %d %s (%s), want 401 TOKEN_INVALID", r.status, r.header.Get("Doorward"), r.header.Get("WWW-Authenticate"))
	}
}

// TestFullHashingQueue asks for many more hashes at once than fit in the wait
// that is allowed: the rest is refused at once, and proxied traffic goes on.
func TestFullHashingQueue(t *testing.T) {
	g := start(t, whoamiForAll, "DOORWARD_ACCOUNTS_PASSWORD_BCRYPT_COST=13")
	alice := g.register("alice")
	var mu sync.Mutex
	answers := map[string]int{}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			body, _ := json.Marshal(map[string]string{"login": fmt.Sprintf("nobody%d", i), "password": goodPassword})
			r, err := g.try("POST", "/auth/login", bytes.NewReader(body), "Content-Type", "application/json")
			if err != nil {
				t.Errorf("sign-in %d: %v", i, err)
				return
			}
			code := r.header.Get("Doorward")
			if code == "OVERLOADED" && (r.status != 503 || r.header.Get("Retry-After") == "") {
				t.Errorf("OVERLOADED: got %d with Retry-After %q", r.status, r.header.Get("Retry-After"))
			}
			mu.Lock()
			answers[code]++
			mu.Unlock()
		})
	}
	for range 20 {
		if r := g.call("GET", "/x", nil, bearer(alice.Access)...); r.status != 200 {
			t.Errorf("a proxied request in the storm: got %d, want 200", r.status)
		}
	}
	all.Wait()
	if answers["OVERLOADED"] == 0 || answers["INVALID_CREDENTIALS"] == 0 || answers["OVERLOADED"]+answers["INVALID_CREDENTIALS"] != 60 {
		t.Errorf("answers: %v, want some OVERLOADED, some INVALID_CREDENTIALS and nothing else", answers)
	}
}

// TestNoDiskSpace fills the file system under the store: what cannot be kept is
// refused, what was kept stays, reading goes on, and so does writing once there
// is room again.
func TestNoDiskSpace(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("cannot mount a small file system (it takes root): %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	g := &gate{t: t, dir: dir}
	g.writeConfig(whoamiForAll)
	g.run()
	alice := g.register("alice")

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	var refused reply
	for i := range 2000 { // the store grows in steps, so the first writes still fit
		body, _ := json.Marshal(map[string]string{"refresh_token": alice.Refresh})
		r := g.call("POST", "/auth/refresh", bytes.NewReader(body), "Content-Type", "application/json")
		if r.status == 200 {
			var next pair
			r.json(t, &next)
			alice = next
			continue
		}
		if r.status == 429 {
			t.Fatalf("limited after %d refreshes, before the disk was full", i)
		}
		refused = r
		break
	}
	if refused.status != 500 || refused.header.Get("Doorward") != "INTERNAL" {
		t.Fatalf("with a full disk: got %d %s, want 500 INTERNAL\nlog:\n%s", refused.status, refused.body, g.log)
	}
	if strings.Contains(string(refused.body), "space") {
		t.Errorf("the answer tells what is inside: %s", refused.body)
	}
	g.log.wait(t, "no space left")
	if r := g.call("GET", "/x", nil, bearer(alice.Access)...); r.status != 200 {
		t.Errorf("a proxied request beside it: got %d, want 200", r.status)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if r := g.post("/auth/refresh", map[string]string{"refresh_token": alice.Refresh}); r.status != 200 {
		t.Errorf("with room again: got %d %s, want 200", r.status, r.body)
	}
	g.kill()
	g.run()
	if r := g.call("GET", "/x", nil, bearer(alice.Access)...); r.status != 200 {
		t.Errorf("after a restart: got %d, want 200", r.status)
	}
}

// fill writes a file until nothing more fits.
func fill(t testing.TB, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for range 1 << 20 {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
	t.Fatal("the small file system never filled up")
}

// TestSecondInstanceOnTheSameStore is the mistake of two replicas.
func TestSecondInstanceOnTheSameStore(t *testing.T) {
	g := start(t, whoamiForAll)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", "--config", g.configFile())
	cmd.Dir = g.dir
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "store is locked") {
		t.Errorf("got exit %d and %s, want exit 1 and a word about the lock", cmd.ProcessState.ExitCode(), out)
	}
	if r := g.call("GET", "/x", nil); r.status != 401 {
		t.Errorf("the first instance: got %d, want it to go on", r.status)
	}
}

// TestGracefulStop asks a server to end while a request is under way.
func TestGracefulStop(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "finished")
	}))
	defer backend.Close()
	g := start(t, legacyApp(backend.URL))
	type outcome struct {
		reply reply
		err   error
	}
	answered := make(chan outcome, 1)
	go func() {
		r, err := g.try("GET", "/public/slow", nil)
		answered <- outcome{r, err}
	}()
	<-arrived
	g.cmd.Process.Signal(syscall.SIGTERM)
	g.log.wait(t, "stopping")
	close(release)
	got := <-answered
	if got.err != nil || got.reply.status != 200 || string(got.reply.body) != "finished" {
		t.Errorf("the request under way: got %d %q, %v", got.reply.status, got.reply.body, got.err)
	}
	<-g.exited
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d, want 0\n%s", code, g.log)
	}
}
