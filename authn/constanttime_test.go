package authn_test

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSecretsAreComparedInConstantTime reads the source: no byte string is
// compared by anything that stops at the first byte that differs, and no text is
// that was a secret or the hash of one a moment ago. What is left are hmac.Equal
// and crypto/subtle.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	stops := []string{"bytes.Equal", "bytes.Compare", "bytes.HasPrefix", "bytes.HasSuffix", "slices.Equal", "slices.Compare", "reflect.DeepEqual", "strings.EqualFold", "strings.Compare"}
	// Of these nothing is a secret, or nobody could measure it.
	known := []string{
		"admin.go: slices.Equal(a.Roles, b.Roles)",
		"json.go: string(bytes.TrimSpace(raw)) == \"null\"",
		"passwordrules.go: norm.NFC.String(a.Reveal()) == norm.NFC.String(b.Reveal())", // two the same person has just typed
		"registration.go: strings.Compare(a.ID, b.ID)",
		"token.go: strings.EqualFold(ours, name)",
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if slices.Contains(stops, source(n.Fun)) {
					found = append(found, file+": "+source(n))
				}
			case *ast.BinaryExpr:
				if (n.Op == token.EQL || n.Op == token.NEQ) && (isRevealed(n.X) || isRevealed(n.Y)) {
					found = append(found, file+": "+source(n))
				}
			}
			return true
		})
	}
	slices.Sort(found)
	if !slices.Equal(found, known) {
		t.Errorf("compared in a time that tells how much was right, or no longer:\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(known, "\n"))
	}
}

// isRevealed reports whether an expression makes a text or bytes of a secret, or
// of anything that was bytes.
func isRevealed(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := source(call.Fun)
		for _, reveals := range []string{"Reveal", ".sum", ".mac", ".hash"} {
			found = found || strings.HasSuffix(name, reveals)
		}
		found = found || name == "string"
		return name != "len"
	})
	return found
}

// source is an expression on one line.
func source(e ast.Expr) string {
	var b strings.Builder
	if err := format.Node(&b, token.NewFileSet(), e); err != nil {
		return err.Error()
	}
	return b.String()
}
