package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"doorward": main})
}

// TestScripts runs the transcripts in testdata/script. Beside testscript's own
// commands they have
//
//	serve          start the server and wait until it is ready; $URL is where,
//	               and $LISTEN and $OPS what it listens on
//	stop           send SIGTERM, wait for its end, and print its log
//	! stop         the same, with a second signal once it is stopping
//	wait-log TEXT  wait for a line of its log with the text
//	hup            send SIGHUP
//	post PATH BODY, get PATH [TOKEN]   print status and body of an answer
//	occupy         listen on a port; $PORT is which
//	mode MODE FILE   check a file's permissions
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe, "stop": scriptStop, "hup": scriptHup, "wait-log": scriptWait,
			"post": scriptPost, "get": scriptGet, "occupy": scriptOccupy, "mode": scriptMode,
		},
		Setup: func(env *testscript.Env) error {
			env.Values[serverKey{}] = &scriptServer{}
			return os.WriteFile(env.WorkDir+"/config.yaml", []byte(scriptConfig), 0o600)
		},
	})
}

// scriptConfig is what a script has if it brings no file of its own.
const scriptConfig = `
server: {listen: "127.0.0.1:0", ops_listen: "127.0.0.1:0"}
accounts: {registration: open, password: {bcrypt_cost: 10}}
upstreams: [{name: app, url: "whoami:"}]
routes:
  - {path: "/**", upstream: app, allow: authenticated}
  - {path: "/admin/**", upstream: app, allow: [admin]}
`

const scriptPatience = time.Minute

type serverKey struct{}

// scriptServer is the server a script runs.
type scriptServer struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	log  strings.Builder
	line chan struct{} // a token for each line
	done chan struct{}
}

func (s *scriptServer) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// await waits for a line of the log; false if the server ended without one.
func (s *scriptServer) await(text string) bool {
	limit := time.After(scriptPatience)
	for {
		if strings.Contains(s.text(), text) {
			return true
		}
		select {
		case <-s.line:
		case <-s.done:
			return strings.Contains(s.text(), text)
		case <-limit:
			return false
		}
	}
}

func server(ts *testscript.TestScript) *scriptServer {
	return ts.Value(serverKey{}).(*scriptServer)
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	s := server(ts)
	s.cmd = exec.Command("doorward", append([]string{"serve"}, args...)...)
	s.cmd.Dir = ts.MkAbs(".")
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	s.line, s.done = make(chan struct{}, 1), make(chan struct{})
	s.log.Reset()
	ts.Check(s.cmd.Start())
	go s.read(stderr)
	ts.Defer(func() {
		s.cmd.Process.Kill()
		<-s.done
	})
	if !s.await(`"msg":"ready"`) {
		ts.Fatalf("the server is not ready; its log is:\n%s", s.text())
	}
	var ready struct {
		Listen string `json:"listen"`
		Ops    string `json:"ops_listen"`
	}
	first, _, _ := strings.Cut(s.text(), "\n")
	ts.Check(json.Unmarshal([]byte(first), &ready))
	ts.Setenv("URL", "http://"+ready.Listen)
	ts.Setenv("LISTEN", ready.Listen)
	ts.Setenv("OPS", ready.Ops)
}

func (s *scriptServer) read(stderr io.Reader) {
	in := bufio.NewScanner(stderr)
	for in.Scan() {
		s.mu.Lock()
		s.log.WriteString(in.Text() + "\n")
		s.mu.Unlock()
		select {
		case s.line <- struct{}{}:
		default:
		}
	}
	s.cmd.Wait()
	close(s.done)
}

func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	s := server(ts)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	if neg {
		if !s.await(`"msg":"stopping"`) {
			ts.Fatalf("the server does not say that it stops; its log is:\n%s", s.text())
		}
		ts.Check(s.cmd.Process.Signal(syscall.SIGINT))
	}
	select {
	case <-s.done:
	case <-time.After(scriptPatience):
		ts.Fatalf("the server does not stop; its log is:\n%s", s.text())
	}
	ts.Stdout().Write([]byte(s.text()))
	want := exitDone
	if neg {
		want = exitNot
	}
	if code := s.cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("exit code: got %d, want %d; the log is:\n%s", code, want, s.text())
	}
}

func scriptHup(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(server(ts).cmd.Process.Signal(syscall.SIGHUP))
}

func scriptWait(ts *testscript.TestScript, neg bool, args []string) {
	if !server(ts).await(args[0]) {
		ts.Fatalf("no %q in the log:\n%s", args[0], server(ts).text())
	}
}

func scriptPost(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequest("POST", ts.Getenv("URL")+args[0], strings.NewReader(args[1]))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	scriptDo(ts, req)
}

func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequest("GET", ts.Getenv("URL")+args[0], nil)
	ts.Check(err)
	if len(args) > 1 {
		req.Header.Set("Authorization", "Bearer "+args[1])
	}
	scriptDo(ts, req)
}

func scriptDo(ts *testscript.TestScript, req *http.Request) {
	client := &http.Client{Timeout: scriptPatience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	var tokens struct {
		Access string `json:"access_token"`
	}
	if json.Unmarshal(body, &tokens) == nil && tokens.Access != "" {
		ts.Setenv("TOKEN", tokens.Access)
	}
	ts.Stdout().Write([]byte(resp.Status + "\n" + string(body) + "\n"))
}

func scriptOccupy(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Setenv("PORT", port)
}

func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().String(); got != args[0] {
		ts.Fatalf("%s: got mode %s, want %s", args[1], got, args[0])
	}
}
