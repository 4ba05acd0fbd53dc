package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// startNode runs the Express application of testdata/backend and returns its
// address.
func startNode(t testing.TB) string {
	t.Helper()
	node := need(t, "node")
	dir := filepath.Join("testdata", "backend")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "express")); err != nil {
		if os.Getenv("DOORWARD_TEST_TOOLS") == "require" {
			t.Fatal("the Node backend's packages are not installed: run make deps")
		}
		t.Skip("the Node backend's packages are not installed: run make deps")
	}
	cmd := exec.Command(node, "server.js")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the Node backend did not start: %v", err)
	}
	return "127.0.0.1:" + strings.TrimSpace(port)
}

// startNginx serves the files of root and returns its address.
func startNginx(t testing.TB, root string) string {
	t.Helper()
	nginx := need(t, "nginx")
	dir := t.TempDir()
	socket := filepath.Join(dir, "nginx.sock")
	conf := fmt.Sprintf(`
daemon off; pid %[1]s/pid; error_log stderr warn; worker_processes 1;
%[4]s
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen unix:%[2]s; root %[3]s; add_header X-Seen-User $http_x_forwarded_user always; }
}`, dir, socket, root, nginxUser())
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", file, "-e", "stderr")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); <-exited }) // it takes its worker along
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return "unix:" + socket
		}
		select {
		case <-exited:
			t.Fatalf("nginx ended: %s", &stderr)
		case <-time.After(10 * time.Millisecond): // polling for the socket of a foreign process
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx did not start: %s", &stderr)
		}
	}
}

// nginxUser keeps nginx's worker able to read a test's folder when run by root.
func nginxUser() string {
	if os.Getuid() == 0 {
		return "user root;"
	}
	return ""
}

// legacyApp is the set-up most people start with: everything needs a sign-in,
// /admin needs the role, /public is for anyone.
func legacyApp(upstream string) string {
	return fmt.Sprintf(`
upstreams: [{name: app, url: %q}]
routes:
  - {path: "/**", upstream: app, allow: authenticated}
  - {path: "/public/**", upstream: app, allow: anyone}
  - {path: "/admin/**", upstream: app, allow: [admin]}
`, upstream)
}

func TestNodeBackendSeesWhoIsCalling(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))

	if r := g.call("GET", "/whoami", nil); r.status != 401 || r.header.Get("Doorward") != "AUTHENTICATION_REQUIRED" {
		t.Fatalf("anonymous: got %d %s, want 401 AUTHENTICATION_REQUIRED", r.status, r.header.Get("Doorward"))
	}
	alice := g.register("alice")
	r := g.call("GET", "/whoami?x=1&y=%zz;z", nil, append(bearer(alice.Access),
		"X-Forwarded-User", "root", "X_Forwarded_User", "root", "X-Forwarded-Groups", "admin")...)
	var got struct {
		User, ID, Email, Groups *string
		Raw                     []string
		URL                     string
	}
	r.json(t, &got)
	if got.User == nil || *got.User != "alice" || got.ID == nil || *got.ID != alice.User.ID || got.Groups == nil || *got.Groups != "user" {
		t.Errorf("the backend saw %s, want alice with her id and the group user", r.body)
	}
	if got.URL != "/whoami?x=1&y=%zz;z" {
		t.Errorf("the backend saw the target %q, want it byte for byte", got.URL)
	}
	for i := 0; i < len(got.Raw); i += 2 {
		name := strings.ToLower(got.Raw[i])
		if name == "authorization" || name == "x_forwarded_user" || got.Raw[i+1] == "root" {
			t.Errorf("the backend saw %s: %s, which is not for it", got.Raw[i], got.Raw[i+1])
		}
	}
}

func TestRolesDecide(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	g.doorward(goodPassword+"\n", "user", "add", "root2", "--role", "admin", "--password-stdin") // there is always one
	alice := g.register("alice")
	if r := g.call("GET", "/admin/panel", nil, bearer(alice.Access)...); r.status != 403 || r.header.Get("Doorward") != "INSUFFICIENT_ROLE" {
		t.Fatalf("without the role: got %d %s, want 403 INSUFFICIENT_ROLE", r.status, r.header.Get("Doorward"))
	}
	g.doorward("", "user", "roles", "alice", "admin,user")
	if r := g.call("GET", "/admin/panel", nil, bearer(alice.Access)...); r.status != 200 {
		t.Fatalf("with the role, same token: got %d %s, want 200", r.status, r.body)
	}
	g.doorward("", "user", "roles", "alice", "user")
	if r := g.call("GET", "/admin/panel", nil, bearer(alice.Access)...); r.status != 403 {
		t.Fatalf("the role taken away again: got %d, want 403", r.status)
	}
	for _, path := range []string{"/public/../admin/panel", "/public/%2e%2e/admin/panel", "/public/..%2fadmin/panel", "//x/admin/panel", "/public/..;/admin/panel", "/ADMIN/panel"} {
		if r := rawCall(t, g, "GET", path, bearer(alice.Access)); r.status < 400 {
			t.Errorf("%s: got %d, want a refusal", path, r.status)
		}
	}
}

// rawCall sends a target byte for byte, as http.Client would not.
func rawCall(t testing.TB, g *gate, method, target string, headers []string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, target)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return reply{res.StatusCode, res.Header, body}
}

func TestUploadOf64MiB(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	alice := g.register("alice")
	const size = 64 << 20
	hash := sha256.New()
	body := io.TeeReader(io.LimitReader(pattern{}, size), hash)
	r := g.call("PUT", "/upload", body, bearer(alice.Access)...)
	var got struct {
		Bytes  int64
		SHA256 string
	}
	r.json(t, &got)
	if want := hex.EncodeToString(hash.Sum(nil)); got.Bytes != size || got.SHA256 != want {
		t.Errorf("the backend received %d bytes with hash %s, want %d with %s", got.Bytes, got.SHA256, size, want)
	}
}

// pattern is an endless reader of bytes that are not all the same.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return len(p), nil
}

func TestDownload(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	alice := g.register("alice")
	r := g.call("GET", "/download/33554432", nil, bearer(alice.Access)...)
	if r.status != 200 || len(r.body) != 33554432 {
		t.Errorf("got %d with %d bytes, want 200 with 33554432", r.status, len(r.body))
	}
}

func TestEarlyAnswerToAnUploadArrives(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	alice := g.register("alice")
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	// A body is announced of which only the beginning is ever sent: the answer
	// can only be an early one.
	fmt.Fprintf(conn, "PUT /too-large HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000000\r\n\r\nbeginning", alice.Access)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no early answer: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != 413 || res.Header.Get("Doorward") != "" {
		t.Errorf("got %d (Doorward %q), want the backend's own 413", res.StatusCode, res.Header.Get("Doorward"))
	}
}

func TestWebSocketEchoes(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	alice := g.register("alice")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, res, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(g.url, "http")+"/ws", nil); err == nil || res == nil || res.StatusCode != 401 {
		t.Fatalf("a handshake without a token: got %v, want 401", err)
	}
	ws := openSocket(t, ctx, g, alice.Access)
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
		t.Fatal(err)
	}
	_, got, err := ws.Read(ctx)
	if err != nil || string(got) != "ping" {
		t.Errorf("echo: got %q, %v", got, err)
	}
}

// openSocket opens the backend's WebSocket and checks whom it greets.
func openSocket(t testing.TB, ctx context.Context, g *gate, token string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(g.url, "http")+"/ws",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		t.Fatalf("handshake: %v\n%s", err, g.log)
	}
	_, greeting, err := ws.Read(ctx)
	if err != nil || string(greeting) != "hello alice" {
		t.Fatalf("greeting: got %q, %v", greeting, err)
	}
	return ws
}

// openEvents opens the backend's event stream and reads its first event.
func openEvents(t testing.TB, ctx context.Context, g *gate, token string) io.ReadCloser {
	t.Helper()
	req, _ := http.NewRequestWithContext(ctx, "GET", g.url+"/events", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("data: open alice\n\n"))
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "data: open alice\n\n" {
		t.Fatalf("first event: got %q, %v", first, err)
	}
	return res.Body
}

// TestRevocationEndsWhatIsOpen opens a WebSocket and an event stream, revokes
// in each of the ways there are, and waits for both to end. The second the
// contract allows is not timed here: a stream that is never cut fails by the
// context's end.
func TestRevocationEndsWhatIsOpen(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	g.register("alice")
	password := goodPassword
	ways := []struct {
		name   string
		revoke func(p pair)
		after  func()
	}{
		{"logout", func(p pair) { g.call("POST", "/auth/logout", nil, bearer(p.Access)...) }, nil},
		{"logout-all", func(p pair) { g.call("POST", "/auth/logout-all", nil, bearer(p.Access)...) }, nil},
		{"change-password", func(p pair) {
			next := password + " again"
			r := g.post("/auth/change-password", map[string]string{"current_password": password, "new_password": next}, bearer(p.Access)...)
			if r.status != 204 {
				t.Fatalf("change-password: %d %s", r.status, r.body)
			}
			password = next
		}, nil},
		{"disable", func(pair) { g.doorward("", "user", "disable", "alice") }, func() { g.doorward("", "user", "enable", "alice") }},
		{"delete", func(pair) { g.doorward("", "user", "delete", "alice") }, nil},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			p := g.login("alice", password)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ws := openSocket(t, ctx, g, p.Access)
			defer ws.CloseNow()
			events := openEvents(t, ctx, g, p.Access)
			defer events.Close()
			way.revoke(p)
			if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("the WebSocket goes on: %v", err)
			}
			if _, err := io.Copy(io.Discard, events); ctx.Err() != nil {
				t.Errorf("the event stream goes on: %v", err)
			}
			if r := g.call("GET", "/whoami", nil, bearer(p.Access)...); r.status != 401 || r.header.Get("Doorward") != "TOKEN_REVOKED" {
				t.Errorf("the token afterwards: got %d %s, want 401 TOKEN_REVOKED", r.status, r.header.Get("Doorward"))
			}
			if way.after != nil {
				way.after()
			}
		})
	}
}

func TestRoleTakenAwayEndsTheStreamItAdmitted(t *testing.T) {
	g := start(t, fmt.Sprintf(`
upstreams: [{name: app, url: "http://%s"}]
routes: [{path: "/**", upstream: app, allow: [staff]}]
`, startNode(t)))
	g.register("alice")
	g.doorward("", "user", "roles", "alice", "staff")
	p := g.login("alice", goodPassword)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws := openSocket(t, ctx, g, p.Access)
	defer ws.CloseNow()
	g.doorward("", "user", "roles", "alice", "staff,user") // still admitted
	if err := ws.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := ws.Read(ctx); err != nil || string(got) != "still here" {
		t.Fatalf("a harmless change ended the stream: %q, %v", got, err)
	}
	g.doorward("", "user", "roles", "alice", "user")
	if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the WebSocket goes on without the role: %v", err)
	}
}

func TestNginxServesFiles(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{"index.html": "<title>files</title>", "public/open.txt": "open", "admin/secret.txt": "secret", "a b/ü.txt": "odd name"}
	for name, content := range files {
		file := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := start(t, legacyApp(startNginx(t, root)))
	alice := g.register("alice")

	if r := g.call("GET", "/public/open.txt", nil); r.status != 200 || string(r.body) != "open" {
		t.Errorf("a public file: got %d %q", r.status, r.body)
	}
	if r := g.call("GET", "/index.html", nil, bearer(alice.Access)...); r.status != 200 || r.header.Get("X-Seen-User") != "alice" {
		t.Errorf("a file: got %d for %q, want 200 for alice", r.status, r.header.Get("X-Seen-User"))
	}
	if r := g.call("GET", "/"+url.PathEscape("a b")+"/"+url.PathEscape("ü.txt"), nil, bearer(alice.Access)...); r.status != 200 || string(r.body) != "odd name" {
		t.Errorf("an odd name: got %d %q", r.status, r.body)
	}
	r := g.call("GET", "/index.html", nil, append(bearer(alice.Access), "Range", "bytes=1-5")...)
	if r.status != 206 || string(r.body) != "title" {
		t.Errorf("a range: got %d %q, want 206 \"title\"", r.status, r.body)
	}
	for _, target := range []string{"/admin/secret.txt", "/public/../admin/secret.txt", "/public/%2e%2e/admin/secret.txt", "/public/..%2fadmin/secret.txt", "/public//../admin/secret.txt"} {
		if r := rawCall(t, g, "GET", target, bearer(alice.Access)); strings.Contains(string(r.body), "secret") && r.status == 200 {
			t.Errorf("%s: a user without the role read the secret", target)
		}
	}
}

func TestUpstreamThatHangs(t *testing.T) {
	g := start(t, fmt.Sprintf(`
upstreams: [{name: app, url: "http://%s", timeouts: {response: 200ms}}]
routes: [{path: "/**", upstream: app, allow: anyone}]
`, startNode(t)))
	r := g.call("GET", "/hang", nil)
	if r.status != 504 || r.header.Get("Doorward") != "UPSTREAM_TIMEOUT" {
		t.Errorf("got %d %s, want 504 UPSTREAM_TIMEOUT", r.status, r.header.Get("Doorward"))
	}
	if r := g.call("GET", "/whoami", nil); r.status != 200 {
		t.Errorf("beside it: got %d, want 200", r.status)
	}
}

func TestUpstreamThatIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	g := start(t, legacyApp("http://"+address))
	r := g.call("GET", "/public/x", nil)
	if r.status != 502 || r.header.Get("Doorward") != "UPSTREAM_UNREACHABLE" {
		t.Errorf("got %d %s, want 502 UPSTREAM_UNREACHABLE", r.status, r.header.Get("Doorward"))
	}
	if strings.Contains(string(r.body), address) {
		t.Errorf("the answer names the backend: %s", r.body)
	}
	var problem struct{ Code, RequestID string }
	if err := json.Unmarshal(r.body, &problem); err != nil || problem.Code != "UPSTREAM_UNREACHABLE" {
		t.Errorf("the answer is not a problem document: %s", r.body)
	}
	res, err := http.Get(g.ops + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("readyz: got %d; a backend that is down does not make the gateway unready", res.StatusCode)
	}
}

// TestUpstreamThatClosesIdleConnections has a backend that closes every
// connection after its answer without having said so. A POST that comes after
// that finds a closed connection in the pool, and goes out on a new one.
func TestUpstreamThatClosesIdleConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { conn.Close(); closed <- struct{}{} }()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				body, _ := io.ReadAll(req.Body)
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}()
		}
	}()
	g := start(t, legacyApp("http://"+l.Addr().String()))
	for i := range 50 {
		want := fmt.Sprintf("order %d", i)
		if r := g.call("POST", "/public/orders", strings.NewReader(want)); r.status != 200 || string(r.body) != want {
			t.Fatalf("POST %d: got %d %q", i, r.status, r.body)
		}
		<-closed
		if r := g.call("DELETE", "/public/orders", nil); r.status != 200 {
			t.Fatalf("DELETE %d, which has no body: got %d", i, r.status)
		}
		<-closed
	}
}
