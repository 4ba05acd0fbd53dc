package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// entryKeys are the keys of the entries of each list, written out: the shipped
// file shows only some of them.
var entryKeys = map[string]string{
	"upstreams":        "name url host timeouts tls",
	"routes":           "host path methods allow verified upstream limit cors login keep_headers forward_authorization upgrades",
	"identity.headers": "name value",
}

// FuzzConfig reads anything as a configuration file. What is taken is checked by
// a second reader that knows nothing of the first, and what is refused must say
// where to look.
func FuzzConfig(f *testing.F) {
	shipped := filepath.Join("..", "..", "config.yaml")
	seeds, err := filepath.Glob(filepath.Join("testdata", "badconfig", "*.yaml"))
	if err != nil || len(seeds) < 20 {
		f.Fatalf("%d seeds, error %v", len(seeds), err)
	}
	for _, name := range append(seeds, shipped) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range oddFiles() {
		f.Add([]byte(text))
	}
	known := shippedKeys(f, shipped)
	file := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<20 {
			t.Skip("larger than any file a person writes")
		}
		if bytes.Contains(text, []byte("/dev/")) || bytes.Contains(text, []byte("/proc/")) {
			t.Skip("would read what has no end")
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems, err := assemble(file, nil)
		if err != nil {
			t.Fatalf("no verdict: %v", err)
		}
		if _, err := load(file, nil); (err == nil) != (len(problems) == 0) {
			t.Fatalf("%d problems, and load says %v", len(problems), err)
		}
		if wrong := secondLook(text, known); wrong != "" && len(problems) == 0 {
			t.Errorf("taken, though it holds %s:\n%s", wrong, text)
		}
		for _, p := range problems {
			if p.message == "" || p.path == "" && p.origin.line == 0 && !wholeFile(p.message) {
				t.Errorf("says %+v, want what is wrong and the key or the line:\n%s", p, text)
			}
			if line := p.in("config.yaml"); strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%q would write over a terminal", line)
			}
		}
	})
}

// wholeFile are the messages about a file that are about no line of it.
func wholeFile(message string) bool {
	return strings.HasPrefix(message, "is not YAML") || strings.HasPrefix(message, "is empty")
}

// oddFiles are seeds beside the broken files: what YAML allows, and nobody needs.
func oddFiles() []string {
	bomb := "a0: &a0 [x, x]\n"
	for i := 1; i < 60; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	return []string{
		minimal, minimal + "---\n", minimal + "...\n", minimal + "server: &s {}\n", minimal + "server:\n", "", "\x00", "---", "- a", "a", "~", "{}", "[]",
		minimal + bomb, minimal + "cors: {origins: *nobody}\n", minimal + "routes: &r [*r]\n", minimal + "server: {<<: {listen: \":1\"}}\n",
		minimal + "\"server\": {h2c: true}\n'server': {h2c: false}\n", minimal + "Server: {}\n", minimal + "? [server]\n: {}\n", minimal + "? {a: b}\n: {}\n",
		minimal + "\"ser\\nver\": {}\n", minimal + "\"\\e[2J\": {}\n", minimal + "\"\": {}\n", minimal + "server: {\"\": 1}\n", minimal + "server.listen: \":1\"\n",
		minimal + "tokens: {algorithm: \"\\e[31m\"}\n", minimal + "store: {url: \"\\r\\n\"}\n", minimal + "server: {public_url: \"\\e]0;x\\a\"}\n",
		minimal + "server: !!map {listen: !!str 1}\n", minimal + "server: {h2c: yes}\n", minimal + "server: {listen: 0o17}\n", "\ufeff" + minimal,
		"\"\"0", strings.Repeat("[", 9000), strings.Repeat("{a: ", 9000), strings.Repeat("- ", 9000), "server: " + strings.Repeat("{server: ", 90) + strings.Repeat("}", 90),
	}
}

// shippedKeys is every dotted key of the shipped file, sections among them.
func shippedKeys(t testing.TB, name string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		all[path] = true
		m, _ := v.(map[string]any)
		for key, v := range m {
			walk(strings.TrimPrefix(path+"."+key, "."), v)
		}
	}
	walk("", root)
	return all
}

// secondLook finds in a text what no configuration may hold: "" if there is
// nothing of it. It looks at keys alone.
func secondLook(text []byte, known map[string]bool) string {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := in.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return "nothing"
		}
		return "no YAML"
	}
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		return "a second document"
	}
	return badKey(doc.Content[0], "", known)
}

func badKey(n *yaml.Node, path string, known map[string]bool) string {
	if n.Kind == yaml.AliasNode {
		return "an alias at " + path
	}
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			if wrong := badKey(item, path+"[]", known); wrong != "" {
				return wrong
			}
		}
		return ""
	}
	if n.Kind != yaml.MappingNode {
		return ""
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		switch {
		case key.Kind != yaml.ScalarNode:
			return "a key that is no word in " + path
		case seen[key.Value]:
			return "twice the key " + at
		case !isKey(path, key.Value, known):
			return "the unknown key " + at
		}
		seen[key.Value] = true
		if wrong := badKey(n.Content[i+1], at, known); wrong != "" {
			return wrong
		}
	}
	return ""
}

func isKey(path, key string, known map[string]bool) bool {
	if list, rest, ok := strings.Cut(path, "[]"); ok {
		if rest != "" { // the sections within an entry: judged by name
			return !strings.ContainsAny(key, ".[] ") && key == strings.ToLower(key) && key != ""
		}
		return strings.Contains(" "+entryKeys[list]+" ", " "+key+" ") && key != ""
	}
	return !strings.Contains(key, ".") && known[strings.TrimPrefix(path+"."+key, ".")]
}
