//go:build scale

package bolt_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startWithin = 2 * time.Second
	memoryOf    = 200 << 20
)

// measureProcess starts the program on the town's store, whose pages have been
// dropped from memory, and waits until it says that it is ready.
func measureProcess(t *testing.T, w *town) {
	t.Helper()
	bin, dir := build(t), t.TempDir()
	ops, config := freeAddress(t), filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("upstreams: [{name: app, url: \"whoami:\"}]\nroutes: [{path: \"/**\", upstream: app, allow: authenticated}]\n"+
		"server: {listen: %q, ops_listen: %q}\nstore: {url: %q}\n", freeAddress(t), ops, "bolt:"+w.file)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	forget(t, w.file)
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), bin, "serve", "--config", config)
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }()
	for !ready("http://" + ops + "/readyz") {
		if time.Since(start) > time.Minute {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the server is not ready: %s", said.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
	up := time.Since(start)
	w.note("start until ready, nothing cached", took(up))
	if up > startWithin {
		t.Errorf("start with %d people: got %v, want under %v", w.n, up, startWithin)
	}
	rss, own := resident(t, cmd.Process.Pid)
	w.note("resident memory after the start", figure{float64(rss), "bytes"})
	w.note("of it the process's own", figure{float64(own), "bytes"})
	if rss > memoryOf {
		t.Errorf("memory with %d people: got %d MiB, want under %d", w.n, rss>>20, memoryOf>>20)
	}
}

// resident is what a process has in memory, and how much of it is its own
// rather than pages of the file, which the system may take back.
func resident(t *testing.T, pid int) (all, own int64) {
	t.Helper()
	kib := numbers(t, fmt.Sprintf("/proc/%d/status", pid))
	return kib["VmRSS"] << 10, kib["RssAnon"] << 10
}

// written is how many bytes this process has handed to the system so far.
func written(t *testing.T) int64 { return numbers(t, "/proc/self/io")["wchar"] }

// numbers reads lines of a name, a colon and a number.
func numbers(t *testing.T, file string) map[string]int64 {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		var n int64
		if name, rest, _ := strings.Cut(line, ":"); rest != "" {
			fmt.Sscan(rest, &n)
			got[name] = n
		}
	}
	return got
}

func ready(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "doorward")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/doorward").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// warm reads the file, as a server that has run for a while has done.
func warm(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
}

// forget has the system drop the file from its cache.
func forget(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const dontNeed = 4
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		t.Logf("the cache could not be dropped: %v", errno)
	}
}
