package gateway

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// authnErrors is the name of every exported error variable of authn, read from
// its source, so that a new one cannot be forgotten here.
func authnErrors(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../authn/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			names = append(names, errorsIn(decl)...)
		}
	}
	if len(names) < 10 {
		t.Fatalf("got %d errors in %d files, want all of authn's", len(names), len(files))
	}
	return names
}

func errorsIn(decl ast.Decl) (names []string) {
	vars, ok := decl.(*ast.GenDecl)
	if !ok || vars.Tok != token.VAR {
		return nil
	}
	for _, spec := range vars.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if strings.HasPrefix(name.Name, "Err") {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func TestEveryErrorOfAuthnHasACode(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range authnErrors(t) {
		if !strings.Contains(string(source), "{authn."+name+", ") {
			t.Errorf("authn.%s has no row in causes", name)
		}
	}
	for _, c := range causes {
		if got := problemOf(c.code).code; got != c.code {
			t.Errorf("the code %s of %v has no row in problems", c.code, c.err)
		}
		if got := codeOf(fmt.Errorf("a layer: %w", &authn.RetryError{Err: c.err})); got != c.code {
			t.Errorf("%v wrapped: got %s, want %s", c.err, got, c.code)
		}
	}
}

func TestProblemsAreThePublishedCodes(t *testing.T) {
	want := publishedCodes(t)
	seen := map[Code]bool{}
	for _, p := range problems {
		if status, ok := want[p.code]; !ok || status != p.status {
			t.Errorf("%s: got status %d, want %d", p.code, p.status, status)
		}
		if seen[p.code] {
			t.Errorf("%s has two rows", p.code)
		}
		if p.title == "" || p.detail == "" {
			t.Errorf("%s has no words for a person", p.code)
		}
		seen[p.code] = true
	}
	for code := range want {
		if !seen[code] {
			t.Errorf("%s has no row in problems", code)
		}
	}
}

// publishedCodes reads testdata/codes.txt.
func publishedCodes(t *testing.T) map[Code]int {
	t.Helper()
	data, err := os.ReadFile("testdata/codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[Code]int{}
	for line := range strings.Lines(string(data)) {
		var status int
		var code Code
		if n, _ := fmt.Sscanf(line, "%d %s", &status, &code); n == 2 {
			codes[code] = status
		}
	}
	return codes
}

func TestUnknownErrorIsInternal(t *testing.T) {
	if got, want := codeOf(errors.New("the disk is full")), Code("INTERNAL"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := problemOf("NO_SUCH_CODE").code, Code("INTERNAL"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
