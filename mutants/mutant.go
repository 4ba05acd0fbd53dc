package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The lists, one a class. The first line of a file is its title behind a #.
// Then, for each mutant:
//
//	== its name, which is unlike any other
//	why: what an attacker gets by it
//	kill: gateway TestAttacks/deny/paths TestOther
//	in: policy/policy.go
//	-old text, which stands in that file exactly once
//	+new text, any number of lines or none
//
// kill names a package and the tests of it that must notice. A mutant may change
// several places, each under an `in:` of its own. Old and new are text, not
// lines: a few words of a line will do, and the fewer there are the longer they
// stay true. Lines that begin with # say something to the reader.
//
//go:embed *.txt
var lists embed.FS

// nameWidth bounds a name, so that the table is one.
const nameWidth = 44

// mutant is one broken gateway.
type mutant struct {
	class, title string // of its list
	name, why    string
	edits        []edit
	pkg          string   // of the tests
	tests        []string // that must notice, subtests by their full name
}

// edit is one place of a mutant.
type edit struct{ file, old, new string }

// embedded is every mutant there is.
func embedded() ([]mutant, error) {
	files, err := fs.Glob(lists, "*.txt")
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, file := range files {
		text, err := fs.ReadFile(lists, file)
		if err != nil {
			return nil, err
		}
		of, err := read(strings.TrimSuffix(file, ".txt"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, of...)
	}
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.name] {
			return nil, fmt.Errorf("two mutants are called %q", m.name)
		}
		seen[m.name] = true
	}
	return all, nil
}

// read reads one list.
func read(class, text string) ([]mutant, error) {
	title, rest, _ := strings.Cut(text, "\n")
	title, ok := strings.CutPrefix(title, "# ")
	if !ok {
		return nil, fmt.Errorf("the first line is no title")
	}
	var all []mutant
	for block := range strings.SplitSeq("\n"+rest, "\n== ") {
		if len(all) == 0 && strings.Trim(comment.ReplaceAllString(block, ""), "\n") == "" {
			continue // what stands before the first
		}
		m, err := readMutant(block)
		if err != nil {
			return nil, err
		}
		m.class, m.title = class, title
		all = append(all, m)
	}
	return all, nil
}

var comment = regexp.MustCompile(`(?m)^#.*$`)

// readMutant reads what stands behind one ==.
func readMutant(block string) (m mutant, err error) {
	lines := strings.Split(block, "\n")
	m.name = lines[0]
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ": ")
		last := len(m.edits) - 1
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '-' && last >= 0 && m.edits[last].new == "":
			m.edits[last].old += line[1:] + "\n"
		case line[0] == '+' && last >= 0:
			m.edits[last].new += line[1:] + "\n"
		case key == "in":
			m.edits = append(m.edits, edit{file: value})
		case key == "why":
			m.why = value
		case key == "kill":
			words := strings.Fields(value)
			m.pkg, m.tests = words[0], words[1:]
		default:
			return m, fmt.Errorf("%s: %q is no line of a mutant", m.name, line)
		}
	}
	for i := range m.edits {
		m.edits[i].old = strings.TrimSuffix(m.edits[i].old, "\n")
		m.edits[i].new = strings.TrimSuffix(m.edits[i].new, "\n")
	}
	return m, m.whole()
}

// whole says what a mutant lacks.
func (m mutant) whole() error {
	missing := ""
	switch {
	case m.name == "" || len(m.name) > nameWidth:
		missing = fmt.Sprintf("a name of at most %d bytes", nameWidth)
	case m.why == "":
		missing = "why:"
	case len(m.tests) == 0:
		missing = "kill: with a package and a test"
	case len(m.edits) == 0:
		missing = "in:"
	}
	for _, e := range m.edits {
		if e.old == "" || e.old == e.new {
			missing = "an old text, and a new one unlike it"
		}
	}
	if missing != "" {
		return fmt.Errorf("%q lacks %s", m.name, missing)
	}
	return nil
}

// apply returns the files of the mutant as they would be, by their path below
// root. Nothing is written.
func (m mutant) apply(root string) (map[string]string, error) {
	changed := map[string]string{}
	for _, e := range m.edits {
		text, ok := changed[e.file]
		if !ok {
			data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				return nil, err
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s: %q stands in %s %d times, not once", m.name, e.old, e.file, n)
		}
		changed[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return changed, nil
}
