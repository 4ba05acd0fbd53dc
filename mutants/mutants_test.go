package main

import (
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whether a mutant is killed takes minutes to say; that it still means something
// does not. Each must change the source as it is now into source, and name tests
// that are there.
func TestMutantsApply(t *testing.T) {
	all, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Errorf("only %d mutants: the lists or their reader are broken", len(all))
	}
	declared := map[string]map[string]bool{}
	for _, m := range all {
		t.Run(m.class+"/"+m.name, func(t *testing.T) {
			changed, err := m.apply("..")
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range changed {
				if strings.HasSuffix(file, "_test.go") {
					t.Errorf("%s: it changes a test, not the gateway", file)
				}
				if _, err := format.Source([]byte(text)); err != nil {
					t.Errorf("%s is no longer Go: %v", file, err)
				}
			}
			if declared[m.pkg] == nil {
				declared[m.pkg] = testsOf(t, m.pkg)
			}
			for _, test := range m.tests {
				if name, _, _ := strings.Cut(test, "/"); !declared[m.pkg][name] {
					t.Errorf("package %s has no %s", m.pkg, name)
				}
			}
		})
	}
}

// testsOf are the tests a package declares.
func testsOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range declaration.FindAllStringSubmatch(string(source), -1) {
			names[found[1]] = true
		}
	}
	return names
}

var declaration = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

func TestRead(t *testing.T) {
	got, err := read("class", "# title\n\n# a remark\n== one\nwhy: because\nkill: a TestA TestB/c\nin: a/x.go\n-old\n-\n-more\n+new\nin: a/x.go\n-gone\n\n== two\nwhy: so\nkill: b TestC\nin: b/y.go\n- == 1\n+ == 2\n")
	if err != nil || len(got) != 2 {
		t.Fatalf("got %d mutants, error %v", len(got), err)
	}
	m := got[0]
	if m.class != "class" || m.title != "title" || m.name != "one" || m.why != "because" || m.pkg != "a" || strings.Join(m.tests, " ") != "TestA TestB/c" {
		t.Errorf("got %+v", m)
	}
	want := []edit{{"a/x.go", "old\n\nmore", "new"}, {"a/x.go", "gone", ""}}
	if len(m.edits) != 2 || m.edits[0] != want[0] || m.edits[1] != want[1] {
		t.Errorf("got %+v, want %+v", m.edits, want)
	}
	if e := got[1].edits[0]; e != (edit{"b/y.go", " == 1", " == 2"}) {
		t.Errorf("got %+v", e)
	}
	for name, text := range map[string]string{
		"no title":          "== one\nwhy: w\nkill: a TestA\nin: x\n-a\n",
		"no reason":         "# t\n== one\nkill: a TestA\nin: x\n-a\n",
		"no test":           "# t\n== one\nwhy: w\nkill: a\nin: x\n-a\n",
		"no place":          "# t\n== one\nwhy: w\nkill: a TestA\n",
		"nothing replaced":  "# t\n== one\nwhy: w\nkill: a TestA\nin: x\n+a\n",
		"nothing changed":   "# t\n== one\nwhy: w\nkill: a TestA\nin: x\n-a\n+a\n",
		"old text twice":    "# t\n== one\nwhy: w\nkill: a TestA\nin: x\n-a\n+b\n-c\n",
		"a line of no sort": "# t\n== one\nwhy: w\nkill: a TestA\nin: x\n-a\nb\n",
		"text before":       "# t\nb\n== one\nwhy: w\nkill: a TestA\nin: x\n-a\n",
	} {
		if all, err := read("class", text); err == nil {
			t.Errorf("%s: read as %+v", name, all)
		}
	}
}

func TestApplyWantsTheTextOnce(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "x.go"), []byte("one two two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, ok := range map[string]bool{"one": true, "two": false, "three": false} {
		changed, err := mutant{edits: []edit{{"x.go", old, "1"}}}.apply(root)
		if (err == nil) != ok || ok && changed["x.go"] != "1 two two\n" {
			t.Errorf("%s: got %q, error %v", old, changed, err)
		}
	}
	if _, err := (mutant{edits: []edit{{"y.go", "a", "b"}}}).apply(root); err == nil {
		t.Error("a file that is not there: no error")
	}
}

// What go test prints, as it came, and what it means for a mutant.
func TestVerdict(t *testing.T) {
	tests := []struct {
		name, output string
		want         verdict
	}{
		{"a test fails", `{"Action":"start"}
{"Action":"run","Test":"TestA"}
{"Action":"run","Test":"TestA/b"}
{"Action":"output","Test":"TestA/b","Output":"    a_test.go:9: got 1, want 2\n"}
{"Action":"output","Test":"TestA/b","Output":"    a_test.go:9: and more\n"}
{"Action":"fail","Test":"TestA/b"}
{"Action":"fail","Test":"TestA"}
{"Action":"fail"}`, verdict{killed, "TestA/b: got 1, want 2"}},
		{"all pass", `{"Action":"pass","Test":"TestA"}
{"Action":"pass"}`, verdict{survived, "no test noticed"}},
		{"none runs", `{"Action":"output","Output":"testing: warning: no tests to run\n"}
{"Action":"pass"}`, verdict{broken, "no test ran"}},
		{"all are skipped", `{"Action":"skip","Test":"TestA"}
{"Action":"pass"}`, verdict{broken, "no test ran"}},
		{"it does not build", `{"ImportPath":"a [a.test]","Action":"build-output","Output":"# a [a.test]\n"}
{"ImportPath":"a [a.test]","Action":"build-output","Output":"a/x.go:9:2: undefined: y\n"}
{"ImportPath":"a [a.test]","Action":"build-fail"}
{"Action":"output","Output":"FAIL\ta [build failed]\n"}
{"Action":"fail","FailedBuild":"a [a.test]"}`, verdict{broken, "does not build: a/x.go:9:2: undefined: y"}},
		{"it hangs", `{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"panic: test timed out after 3m0s\n"}
{"Action":"fail","Test":"TestA"}
{"Action":"fail"}`, verdict{broken, "panic: test timed out after 3m0s"}},
	}
	for _, tt := range tests {
		res, err := readResult(strings.NewReader(tt.output))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := res.verdict(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPattern(t *testing.T) {
	if got, want := pattern([]string{"TestA/b.c", "TestD"}), `^TestA$/^b\.c$|^TestD$`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
