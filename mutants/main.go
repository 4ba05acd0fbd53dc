// Mutants shows that the tests bite. Every class of attack on gateways of this
// kind has a deliberately broken gateway here, and a test that must notice it:
// each mutant replaces a few words of the source by those of a real mistake,
// mostly one that was made elsewhere and led to an advisory.
//
// The mutants are text, one file a class, *.txt beside this one; mutant.go says
// how they are written. A mutant never exists as source of ours: its files are
// copies in a temporary folder that `go test -overlay` compiles in the place of
// the real ones, so that there is no switch for it in any binary, and the
// working tree is not touched.
//
// A mutant is killed if it builds and a test named beside it fails. One that does
// not build, hangs, crashes the test or meets no test at all is broken, which is
// no better than one that survived: both end in an exit code of 1. First the same
// tests have to pass without it. See run.go.
//
//	go run ./mutants             every mutant, one after the other: minutes
//	go run ./mutants -only paths those whose class or name matches
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "a regular expression; run the mutants whose class/name it matches")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := embedded()
	if err != nil {
		return err
	}
	var chosen []mutant
	for _, m := range all {
		if wanted.MatchString(m.class + "/" + m.name) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no mutant matches %q", only)
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.healthy(ctx, chosen); err != nil {
		return err
	}
	return l.examine(ctx, chosen)
}

// examine runs the mutants and prints what became of each.
func (l *lab) examine(ctx context.Context, chosen []mutant) error {
	begun, class := time.Now(), ""
	count := map[fate]int{}
	for _, m := range chosen {
		if m.class != class {
			class = m.class
			fmt.Printf("\n%s: %s\n", class, m.title)
		}
		v, err := l.kill(ctx, m)
		if err != nil {
			return err
		}
		count[v.fate]++
		fmt.Printf("  %-8s  %-*s  %s\n", v.fate, nameWidth, m.name, v.by)
	}
	fmt.Printf("\n%d mutants: %d killed, %d survived, %d broken; %s\n", len(chosen), count[killed], count[survived], count[broken], time.Since(begun).Round(time.Second))
	if count[killed] != len(chosen) {
		return fmt.Errorf("%d mutants were not killed", len(chosen)-count[killed])
	}
	return nil
}

// moduleRoot is the folder the paths in the lists start from.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", fmt.Errorf("not inside the module")
	}
	return filepath.Dir(file), nil
}
