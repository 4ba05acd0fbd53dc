package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// timeout is what the tests named beside one mutant may take, compiling aside.
const timeout = "2m"

// lab is where mutants live: a temporary folder.
type lab struct{ root, dir string }

func newLab(ctx context.Context) (*lab, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mutants")
	return &lab{root, dir}, err
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// fate is what became of a mutant.
type fate string

const (
	killed   fate = "killed"
	survived fate = "SURVIVED"
	broken   fate = "BROKEN" // it proves nothing
)

// verdict is a fate and what shows it.
type verdict struct {
	fate fate
	by   string
}

// healthy sees that every test a mutant counts on is there and passes without
// any: once for each package.
func (l *lab) healthy(ctx context.Context, chosen []mutant) error {
	named := map[string][]string{}
	for _, m := range chosen {
		for _, test := range m.tests {
			if !slices.Contains(named[m.pkg], test) {
				named[m.pkg] = append(named[m.pkg], test)
			}
		}
	}
	for pkg, tests := range named {
		res, err := l.test(ctx, pkg, tests)
		if err != nil {
			return err
		}
		for _, test := range tests {
			if !res.passed[test] {
				return fmt.Errorf("without any mutant %s in %s has to pass, and does not: %s", test, pkg, res.explain())
			}
		}
		fmt.Printf("%d tests of %s pass without any mutant\n", len(tests), pkg)
	}
	return nil
}

// kill runs the tests of one mutant against it.
func (l *lab) kill(ctx context.Context, m mutant) (verdict, error) {
	changed, err := m.apply(l.root)
	if err != nil {
		return verdict{broken, err.Error()}, nil
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range changed {
		copied := filepath.Join(l.dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			return verdict{}, err
		}
		overlay.Replace[filepath.Join(l.root, filepath.FromSlash(file))] = copied
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return verdict{}, err
	}
	file := filepath.Join(l.dir, "overlay.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return verdict{}, err
	}
	res, err := l.test(ctx, m.pkg, m.tests, "-failfast", "-overlay", file)
	if err != nil {
		return verdict{}, err
	}
	return res.verdict(), nil
}

// test runs tests of one package. That some fail is no error.
func (l *lab) test(ctx context.Context, pkg string, tests []string, flags ...string) (*result, error) {
	args := append([]string{"test", "-json", "-count=1", "-vet=off", "-ldflags=-s -w", "-timeout", timeout, "-run", pattern(tests)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	cmd.Dir = l.root
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return nil, err
	}
	res, err := readResult(&out)
	if err != nil {
		return nil, fmt.Errorf("read what go test says: %w", err)
	}
	if complaints.Len() > 0 && len(res.passed)+len(res.failed) == 0 {
		res.died = strings.TrimSpace(complaints.String())
	}
	return res, nil
}

// pattern is the regular expression for -run that matches these tests and
// nothing else.
func pattern(tests []string) string {
	var all []string
	for _, test := range tests {
		parts := strings.Split(test, "/")
		for i, part := range parts {
			parts[i] = "^" + regexp.QuoteMeta(part) + "$"
		}
		all = append(all, strings.Join(parts, "/"))
	}
	return strings.Join(all, "|")
}

// result is what go test said.
type result struct {
	passed map[string]bool
	failed []string          // in the order they ended: a subtest before its test
	said   map[string]string // the first complaint of each
	died   string            // why the tests did not get to their end
}

// event is one line of go test -json.
type event struct{ Action, Test, Output, FailedBuild string }

// complaint is how a failing test begins a line of its own.
var complaint = regexp.MustCompile(`^\s*\w+_test\.go:\d+: `)

func readResult(r io.Reader) (*result, error) {
	res := &result{passed: map[string]bool{}, said: map[string]string{}}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return res, nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		res.note(e)
	}
}

func (res *result) note(e event) {
	switch {
	case e.Action == "build-output" && res.died == "" && !strings.HasPrefix(e.Output, "#"):
		res.died = "does not build: " + strings.TrimSpace(e.Output)
	case e.FailedBuild != "" && res.died == "":
		res.died = "does not build: " + e.FailedBuild
	case e.Action == "output" && strings.HasPrefix(e.Output, "panic: "):
		res.died = strings.TrimSpace(e.Output)
	case e.Action == "output" && res.said[e.Test] == "" && complaint.MatchString(e.Output):
		res.said[e.Test] = strings.TrimSpace(complaint.ReplaceAllString(e.Output, ""))
	case e.Action == "pass" && e.Test != "":
		res.passed[e.Test] = true
	case e.Action == "fail" && e.Test != "":
		res.failed = append(res.failed, e.Test)
	}
}

// verdict says what the result means for a mutant. A test that panics is no
// proof: a mutant that crashes shows only that it was badly made.
func (res *result) verdict() verdict {
	switch {
	case res.died != "":
		return verdict{broken, cut(res.died)}
	case len(res.failed) > 0:
		return verdict{killed, res.explain()}
	case len(res.passed) == 0:
		return verdict{broken, "no test ran"}
	}
	return verdict{survived, "no test noticed"}
}

// explain is the first failing case.
func (res *result) explain() string {
	if res.died != "" {
		return cut(res.died)
	}
	if len(res.failed) == 0 {
		return "it did not run"
	}
	first := res.failed[0]
	for _, test := range res.failed { // the first may have failed by its subtests alone
		if res.said[test] != "" {
			first = test
			break
		}
	}
	return cut(first + ": " + res.said[first])
}

// maxShown bounds what is shown of a failure.
const maxShown = 160

func cut(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return text
}
