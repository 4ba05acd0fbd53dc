package policy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The referees are readers nobody here wrote. For thousands of targets made of
// attacks: wherever one of them ends up, the caller we let through may go.

// courts are the tables judged, each for a caller who may not go everywhere.
// Where two patterns cover a path the longer one is the narrower.
var courts = []struct {
	name   string
	caller Caller
	rules  []Rule
}{
	{"anyone at root", callers["anonymous"], []Rule{
		open("/**"), guarded("/admin/**")}},
	{"deny by default", callers["anonymous"], []Rule{
		open("/public/**"), open("/x/**"), guarded("/admin/**")}},
	{"signed in at root", callers["user"], []Rule{
		{Path: "/**", Upstream: "app", Allow: Allow{Audience: Authenticated}}, guarded("/admin/**"), open("/public/**")}},
	{"corner within a corner", callers["anonymous"], []Rule{
		guarded("/**"), open("/public/**"), guarded("/public/admin/**"), open("/public/admin/public/**"), open("/a/**"), open("/admin/x/**")}},
	{"deep corners", callers["anonymous"], []Rule{
		open("/**"), guarded("/x/admin/**"), guarded("/public/x/admin/**"), guarded("/a/b/admin/**"), guarded("/a/admin/**")}},
}

func guarded(path string) Rule {
	return Rule{Path: path, Upstream: "app", Allow: Allow{Audience: Roles, Roles: []string{"admin"}}}
}

// admits says whether a caller may go where some referee arrived.
func admits(rules []Rule, path string, c Caller) bool {
	best := Rule{Allow: Allow{Audience: Nobody}}
	for _, r := range rules {
		if covers(r.Path, path) && len(r.Path) > len(best.Path) {
			best = r
		}
	}
	return naiveAdmit(best, c) == Allowed
}

// docket is what the referees get to read: the tables' targets and generated
// ones, the same on every run. What cannot travel in a request line is left
// out.
func docket(t *testing.T) []string {
	r := rand.New(rand.NewPCG(7, 8))
	all := targets(t)
	for range 6000 {
		all = append(all, attack(r))
	}
	for i := range 120 { // few, as each starts a program
		all = append(all, []string{"/index.cgi", "/public/index.cgi", "/x/index.cgi"}[i%3]+attack(r))
	}
	all = slices.DeleteFunc(all, func(s string) bool {
		return s == "" || s[0] != '/' || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// judge compares where a referee arrives with what was decided. It also counts
// the visits that deciding by a plain look at the target would have let into a
// place not allowed, so that a referee that sees nothing is noticed.
func judge(t *testing.T, name string, all []string, arrive func(target string) []string) {
	t.Helper()
	policies := make([]*Policy, len(courts))
	for i, c := range courts {
		policies[i] = compile(t, c.rules, Options{})
	}
	caught := 0
	for _, target := range all {
		paths := arrive(target)
		for i, c := range courts {
			d := policies[i].Decide(Request{Method: "GET", Host: "app.example.com", Target: target}, c.caller)
			for _, at := range paths {
				if !strings.HasPrefix(at, "/") || admits(c.rules, at, c.caller) {
					continue
				}
				if d.OK() {
					t.Errorf("%s, %s: %s was allowed, and leads to %s", name, c.name, target, at)
				}
				if literal, _, _ := strings.Cut(target, "?"); admits(c.rules, literal, c.caller) {
					caught++
				}
			}
		}
	}
	if caught < 20 {
		t.Errorf("%s: only %d targets led astray; is it reading at all?", name, caught)
	}
	t.Logf("%s: %d targets, %d led astray and were refused", name, len(all), caught)
}

// tool finds a program, or skips the test unless the tools are required.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, dir := range []string{"", "/usr/sbin/"} {
			if found, err := exec.LookPath(dir + name); err == nil {
				return found
			}
		}
	}
	if os.Getenv("DOORWARD_TEST_TOOLS") == "require" {
		t.Fatalf("%s is not installed, and DOORWARD_TEST_TOOLS=require", names[0])
	}
	t.Skipf("%s is not installed: install it to have it judge our readings", names[0])
	return ""
}

func TestRefereeGo(t *testing.T) {
	judge(t, "Go", docket(t), func(target string) []string {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return nil
		}
		return []string{u.Path, path.Clean(u.Path)}
	})
}

// nodeReader reads as Node's servers do: the WHATWG parser, the older
// url.parse, and either of them decoded and normalised for the file system.
const nodeReader = `
const url = require('url'), path = require('path');
const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map(JSON.parse);
for (const target of lines) {
  const found = new Set();
  const add = f => { try { found.add(f()) } catch {} };
  for (const read of [() => new URL(target, 'http://app.example.com').pathname, () => url.parse(target).pathname,
                      () => url.parse(target, false, true).pathname, () => target.split('?')[0]]) {
    add(() => decodeURIComponent(read()));
    add(() => decodeURI(read()));
    add(() => path.posix.normalize(decodeURIComponent(read())));
    add(() => new URL(decodeURIComponent(read()), 'http://app.example.com').pathname);
    add(() => path.win32.normalize(decodeURIComponent(read())).replaceAll('\\', '/'));
  }
  console.log(JSON.stringify([...found]));
}`

// pythonReader reads as Python's do: urllib, posixpath and http.server itself.
const pythonReader = `
import sys, json, posixpath
from urllib.parse import urlparse, urlsplit, unquote
from http.server import SimpleHTTPRequestHandler
class Handler(SimpleHTTPRequestHandler):
    def __init__(self): self.directory = '/root'
for line in sys.stdin:
    target = json.loads(line)
    found = set()
    def add(f):
        try: found.add(f())
        except ValueError: pass
    for read in (lambda: urlparse(target).path, lambda: urlsplit(target).path, lambda: target.split('?')[0]):
        add(lambda: unquote(read()))
        add(lambda: posixpath.normpath(unquote(read())))
        add(lambda: unquote(posixpath.normpath(read())))
        add(lambda: urlparse(unquote(read())).path)
    add(lambda: Handler().translate_path(target)[len('/root'):] or '/')
    print(json.dumps([p for p in found]))
`

func TestRefereeNode(t *testing.T) {
	refereeScript(t, "Node", tool(t, "node", "nodejs"), "-e", nodeReader)
}

func TestRefereePython(t *testing.T) {
	refereeScript(t, "Python", tool(t, "python3"), "-c", pythonReader)
}

// refereeScript runs a reader once over the whole docket: a line in, the places
// it arrives at out.
func refereeScript(t *testing.T, name, program string, args ...string) {
	all := docket(t)
	var in, out, bad bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, target := range all {
		if err := enc.Encode(target); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &bad
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &bad)
	}
	dec := json.NewDecoder(&out)
	judge(t, name, all, func(string) []string {
		var paths []string
		if err := dec.Decode(&paths); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return paths
	})
}

// site is a folder of files, those of the corners marked.
func site(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // a server run by root gives root up
		t.Fatal(err)
	}
	for _, dir := range []string{"public", "public/admin", "public/admin/public", "x", "a", "b", "x/admin", "a/b/admin", "evil", "admin", "admin/x", "admin/public"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "file"), []byte("/"+dir+"/file"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"", "public", "x"} {
		if err := os.WriteFile(filepath.Join(root, dir, "index.cgi"), []byte(frontController), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// frontController says, where a server runs it, what path it was handed.
const frontController = `#!/bin/sh
printf 'Content-Type: text/plain\n\n%s' "$PATH_INFO"
`

// ports are loopback ports that were free a moment ago.
func ports(t *testing.T, n int) []int {
	t.Helper()
	found := make([]int, n)
	for i := range found {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		found[i] = l.Addr().(*net.TCPAddr).Port
	}
	return found
}

const nginxConfig = `
daemon off; master_process off; worker_processes 1; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
%[5]s
events { worker_connections 64; }
http {
  access_log off; keepalive_requests 100000; index none;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  add_header X-Reading $uri always;
  server { listen 127.0.0.1:%[3]d; root %[2]s; }
  server { listen 127.0.0.1:%[4]d; root %[2]s; merge_slashes off; }
}
`

func TestRefereeNginx(t *testing.T) {
	program := tool(t, "nginx")
	dir, root, p := t.TempDir(), site(t), ports(t, 2)
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, dir, root, p[0], p[1], user)
	serve(t, conf, text, p, exec.Command(program, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")))
	refereeServer(t, "nginx", p[0])
	refereeServer(t, "nginx with merge_slashes off", p[1])
}

const apacheConfig = `
ServerRoot %[1]s
PidFile %[1]s/apache.pid
ErrorLog %[1]s/error.log
DefaultRuntimeDir %[1]s
ServerName app.example.com
%[6]s
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
LoadModule mpm_event_module %[7]s/mod_mpm_event.so
LoadModule authz_core_module %[7]s/mod_authz_core.so
LoadModule headers_module %[7]s/mod_headers.so
Header always set X-Reading "expr=%%{REQUEST_URI}"
<IfFile %[7]s/mod_cgi.so>
  LoadModule cgi_module %[7]s/mod_cgi.so
</IfFile>
<FilesMatch "\.cgi$">
  SetHandler cgi-script
  Options +ExecCGI
</FilesMatch>
DocumentRoot %[2]s
<Directory />
  Require all granted
</Directory>
Listen 127.0.0.1:%[3]d
Listen 127.0.0.1:%[4]d
Listen 127.0.0.1:%[5]d
<VirtualHost 127.0.0.1:%[3]d>
  DocumentRoot %[2]s
  AllowEncodedSlashes NoDecode
</VirtualHost>
<VirtualHost 127.0.0.1:%[4]d>
  DocumentRoot %[2]s
  AllowEncodedSlashes On
</VirtualHost>
<VirtualHost 127.0.0.1:%[5]d>
  DocumentRoot %[2]s
  AllowEncodedSlashes On
  MergeSlashes Off
</VirtualHost>
`

func TestRefereeApache(t *testing.T) {
	program := tool(t, "apache2", "httpd")
	modules := apacheModules(t)
	dir, root, p := t.TempDir(), site(t), ports(t, 3)
	user := ""
	if os.Getuid() == 0 {
		user = "User www-data\nGroup www-data"
	}
	conf := filepath.Join(dir, "apache.conf")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if user != "" {
		user = "<IfModule !mod_unixd.c>\nLoadModule unixd_module " + modules + "/mod_unixd.so\n</IfModule>\n" + user
	}
	text := fmt.Sprintf(apacheConfig, dir, root, p[0], p[1], p[2], user, modules)
	serve(t, conf, text, p, exec.Command(program, "-X", "-f", conf))
	refereeServer(t, "Apache, AllowEncodedSlashes NoDecode", p[0])
	refereeServer(t, "Apache, AllowEncodedSlashes On", p[1])
	refereeServer(t, "Apache, AllowEncodedSlashes On, MergeSlashes Off", p[2])
}

// apacheModules finds the folder of modules, which moves between systems.
func apacheModules(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules"} {
		if _, err := os.Stat(filepath.Join(dir, "mod_headers.so")); err == nil {
			return dir
		}
	}
	return filepath.Dir(tool(t, "apache2 with mod_headers"))
}

// serve starts a server in the foreground, waits for its ports and ends it with
// the test.
func serve(t *testing.T, conf, text string, ports []int, cmd *exec.Cmd) {
	t.Helper()
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { cmd.Wait(); close(gone) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-gone
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for _, port := range ports {
		for !answers(port) {
			select {
			case <-tick.C:
			case <-gone:
				t.Fatalf("%s did not start: %s%s", cmd.Path, &output, errorLog(conf))
			case <-deadline:
				t.Fatalf("%s does not answer on port %d", cmd.Path, port)
			}
		}
	}
}

func errorLog(conf string) string {
	text, _ := os.ReadFile(filepath.Join(filepath.Dir(conf), "error.log"))
	return string(text)
}

func answers(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// control is an escape whose meaning no header can carry; such a target is
// refused in any case.
var control = regexp.MustCompile(`%(?:25)*(?:[01][0-9a-fA-F]|7[fF])`)

// refereeServer asks a server for every target: where it says it arrived, and
// the file it served if it did.
func refereeServer(t *testing.T, name string, port int) {
	w := wire{t: t, address: fmt.Sprintf("127.0.0.1:%d", port)}
	defer w.close()
	files := 0
	all := slices.DeleteFunc(docket(t), control.MatchString)
	judge(t, name, all, func(target string) []string {
		answer, body := w.get(target)
		if answer.StatusCode == http.StatusBadRequest {
			return nil
		}
		paths := []string{answer.Header.Get("X-Reading")}
		if answer.StatusCode == http.StatusOK {
			files++
			paths = append(paths, body)
		}
		return paths
	})
	if files == 0 {
		t.Errorf("%s served no file at all", name)
	}
}

// wire is one connection kept alive, on which a target goes out as it is.
type wire struct {
	t       *testing.T
	address string
	conn    net.Conn
	in      *bufio.Reader
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

func (w *wire) get(target string) (*http.Response, string) {
	w.t.Helper()
	var err error
	for range 3 {
		if w.conn == nil {
			if w.conn, err = net.Dial("tcp", w.address); err != nil {
				w.t.Fatal(err)
			}
			w.in = bufio.NewReader(w.conn)
		}
		w.conn.SetDeadline(time.Now().Add(time.Minute))
		var answer *http.Response
		if _, err = fmt.Fprintf(w.conn, "GET %s HTTP/1.1\r\nHost: app.example.com\r\n\r\n", target); err == nil {
			if answer, err = http.ReadResponse(w.in, nil); err == nil {
				var body []byte
				if body, err = io.ReadAll(answer.Body); err == nil {
					if answer.Close {
						w.close()
					}
					return answer, string(body)
				}
			}
		}
		w.close()
	}
	w.t.Fatalf("%s: %v", target, err)
	return nil, ""
}
