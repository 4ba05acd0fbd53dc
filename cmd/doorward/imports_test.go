package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/doorward/doorward"

// allowed is which packages of ours a package may import: what a package does
// not know, it cannot get around. authn defines what it needs of others (Store,
// Observe); nothing but the command sees both the gateway and the store, so no
// handler can change a record around authn's rules.
var allowed = map[string][]string{
	"policy":          {},
	"mail":            {},
	"mail/smtptest":   {},
	"authn":           {},
	"store/bolt":      {"authn"},
	"store/storetest": {"authn"},
	"store":           {"authn", "store/bolt"},
	"gateway":         {"authn", "policy"},
	"cmd/doorward":    {"authn", "gateway", "mail", "policy", "store"},
	"bench":           {"authn", "store"}, // the gateway it meets as a stranger would
	"bench/bare":      {},
	"bench/backend":   {},
	"mutants":         {}, // our source is text to it
}

// imported is one import of one file.
type imported struct{ file, dir, path string }

// imports lists every import of every Go file of ours.
func imports(t *testing.T) []imported {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []imported
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || entry.Name() == ".git"):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(file) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{filepath.ToSlash(rel), path.Dir(filepath.ToSlash(rel)), name})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range imports(t) {
		ours, ok := strings.CutPrefix(i.path, module+"/")
		may, known := allowed[i.dir]
		if !known && !seen[i.dir] {
			t.Errorf("package %s is not in the table of who may import what", i.dir)
		}
		seen[i.dir] = true
		// A test may also use a real neighbour, and its own package from outside.
		if !ok || slices.Contains(may, ours) || strings.HasSuffix(i.file, "_test.go") {
			continue
		}
		t.Errorf("%s imports %s; %s may import only %q of ours", i.file, ours, i.dir, may)
	}
	if len(seen) < 6 {
		t.Errorf("looked at %d packages only", len(seen))
	}
}

// viper has traps enough that one file should know it.
func TestOneFileKnowsViper(t *testing.T) {
	for _, i := range imports(t) {
		if strings.Contains(i.path, "spf13/viper") && i.file != "cmd/doorward/config.go" {
			t.Errorf("%s imports viper", i.file)
		}
	}
}

// Every module we name ourselves has a line on what it is for, and no line is
// about one we no longer use.
func TestDependenciesAreExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{} // to whether it is used
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z.]+/[^ ]+) \| [^|]+ \| [^|]+ \|$`).FindAllStringSubmatch(string(text), -1) {
		explained[row[1]] = false
	}
	for _, i := range imports(t) {
		if first, _, _ := strings.Cut(i.path, "/"); !strings.Contains(first, ".") || strings.HasPrefix(i.path, module) {
			continue
		}
		found := false
		for name := range explained {
			if i.path == name || strings.HasPrefix(i.path, name+"/") {
				found, explained[name] = true, true
			}
		}
		if !found {
			t.Errorf("%s imports %s, which docs/dependencies.md does not explain", i.file, i.path)
		}
	}
	for name, used := range explained {
		if !used {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", name)
		}
	}
}
