package main

import (
	"bytes"
	"errors"
	"log"
	"strings"
	"sync"
	"testing"

	"github.com/doorward/doorward/gateway"
)

// page is where a log is written to.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// messages are the last words of the lines written so far.
func (p *page) messages() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for line := range strings.Lines(p.text.String()) {
		all = append(all, strings.TrimSpace(line[strings.LastIndex(line, "n=")+2:]))
	}
	return strings.Join(all, " ")
}

// Access lines wait for each other; anything else goes out at once, and what
// waited before it.
func TestLogKeepsOrder(t *testing.T) {
	var to page
	b := openLog(&to, gateway.LogConfig{Level: "info", Format: "text"})
	b.Info(accessLine, "n", "1")
	b.With("a", "b").Warn("careful", "n", "2")
	if got, want := to.messages(), "1 2"; got != want {
		t.Errorf("after a warning: got %q, want %q", got, want)
	}
	b.Info("loaded", "n", "3")
	if got, want := to.messages(), "1 2 3"; got != want {
		t.Errorf("after a notice: got %q, want %q", got, want)
	}
	b.Debug("detail", "n", "4")
	b.Info(accessLine, "n", "5")
	b.Close()
	if got, want := to.messages(), "1 2 3 5"; got != want {
		t.Errorf("after the end: got %q, want %q", got, want)
	}
}

func TestLogLevelChanges(t *testing.T) {
	var to page
	b := openLog(&to, gateway.LogConfig{Level: "error", Format: "text"})
	defer b.Close()
	b.Warn("w", "n", "1")
	b.setLevel("debug")
	b.Debug("d", "n", "2")
	if got, want := to.messages(), "2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A long silence must not keep a line back.
func TestAccessLinesDoNotWaitForever(t *testing.T) {
	written := make(chan struct{}, 1)
	b := openLog(writerFunc(func(p []byte) (int, error) {
		select {
		case written <- struct{}{}:
		default:
		}
		return len(p), nil
	}), gateway.LogConfig{Level: "info", Format: "json"})
	defer b.Close()
	b.Info(accessLine)
	<-written // or the test's own deadline
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What net/http prints by the standard logger may hold what a backend sent.
func TestHushed(t *testing.T) {
	for level, want := range map[string]int{"info": 0, "debug": 1} {
		var to page
		b := openLog(&to, gateway.LogConfig{Level: level, Format: "text"})
		log.New(hushed{b.Logger}, "", 0).Print("Unsolicited response: do-not-print-me")
		b.Close()
		if text := to.text.String(); strings.Count(text, "\n") != want || strings.Contains(text, "do-not-print-me") {
			t.Errorf("level %s: got %q, want %d lines without what was printed", level, text, want)
		}
	}
}

// failsOnce is a disk that was full for a moment.
type failsOnce struct {
	page
	failed bool
}

func (f *failsOnce) Write(b []byte) (int, error) {
	if !f.failed {
		f.failed = true
		return 0, errors.New("no space left on device")
	}
	return f.page.Write(b)
}

func TestLogOutlivesAFullDisk(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		to := &failsOnce{}
		b := openLog(to, gateway.LogConfig{Level: "info", Format: format})
		b.Warn("lost", "n", "1")
		b.Warn("written", "n", "2")
		b.Close()
		if text := to.text.String(); !strings.Contains(text, "written") {
			t.Errorf("%s: nothing was written after one failure: %q", format, text)
		}
	}
}

// stuck is a pipe that nobody reads: a write to it never comes back.
type stuck struct{}

func (stuck) Write([]byte) (int, error) { select {} }

// TestTheEndWaitsForNoLog: a second signal ends the program also where a line of
// the log is under way to nobody.
func TestTheEndWaitsForNoLog(t *testing.T) {
	log := openLog(stuck{}, gateway.Default().Log)
	held := make(chan struct{})
	go func() {
		log.lines.mu.Lock() // as the line under way holds it
		close(held)
		log.lines.w.WriteString("x")
		log.lines.w.Flush()
	}()
	<-held
	log.Close()
	p := &program{stderr: stuck{}, started: true}
	if code := p.exit(p.command(), errHurried); code != exitNot {
		t.Errorf("exit code: got %d, want %d", code, exitNot)
	}
}
