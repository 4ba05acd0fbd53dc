package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is printed into testdata")

// runProgram runs the program in this process and returns what came of it.
func runProgram(env []string, args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &log, env)
	return code, out.String(), log.String()
}

// Every file in testdata/badconfig is wrong in its own way; the file beside it,
// .want, is all that must be said of it, and in what order.
func TestBrokenFiles(t *testing.T) {
	t.Chdir(filepath.Join("testdata", "badconfig"))
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d broken files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			code, got, _ := runProgram(nil, "check", "--config", file)
			if code != exitUsage {
				t.Errorf("exit code: got %d, want %d", code, exitUsage)
			}
			wanted := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(wanted, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wanted)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.Contains(got, "do-not-print-me") || strings.Contains(got, "1234567890") {
				t.Error("a secret is printed")
			}
		})
	}
}

// A server says the same of a broken file as check does, and starts nothing.
func TestBrokenFileStartsNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("config.yaml", []byte("accounts: {registration: maybe}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, want, _ := runProgram(nil, "check")
	for _, args := range [][]string{{}, {"serve"}, {"user", "list"}, {"reload"}, {"healthcheck"}, {"explain", "GET", "/"}} {
		code, stdout, stderr := runProgram(nil, args...)
		if code != exitUsage || stdout != "" || stderr != want {
			t.Errorf("%q: got code %d, %q on stdout, and\n%s\nwant code %d, nothing, and\n%s", args, code, stdout, stderr, exitUsage, want)
		}
	}
	left, _ := filepath.Glob("*")
	if len(left) != 1 {
		t.Errorf("files: got %q, want config.yaml alone", left)
	}
}
