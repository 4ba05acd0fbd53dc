package gateway

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The usual pseudo-fields, in the words of testdata/http2.txt.
const usualFields = ":method: GET | :scheme: http | :authority: {host} | :path: {home} | {auth}"

var saidAs = regexp.MustCompile(`\{as (:[a-z]+)=((?:\{home\}|\{host\}|\{[0-9]+\*.*?\*\}|[^{}])*)\}`)

// messages reads a table of fields. before is put in front of every case.
func messages(t testing.TB, file, before string) []attack {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []attack
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		want, rest, ok := strings.Cut(line, " ")
		if want != "any" && want != "no" && want != "yes" && want != "cut" || !ok {
			t.Fatalf("%s:%d: %q is none of any, no, yes, cut", file, i+1, want)
		}
		all = append(all, attack{
			class: "http2", name: fmt.Sprintf("%s line %d", file, i+1), raw: line, want: want, requests: 1, cut: want == "cut",
			message: unwrittenMessage(t, before+rest),
		})
	}
	return all
}

func unwrittenMessage(t testing.TB, text string) message {
	t.Helper()
	text = strings.NewReplacer("{GET}", usualFields, "{POST}", strings.Replace(usualFields, "GET", "POST", 1)).Replace(text)
	text = saidAs.ReplaceAllStringFunc(text, func(s string) string {
		m := saidAs.FindStringSubmatch(s)
		usual := regexp.MustCompile(m[1] + `: [^ ]+`)
		return usual.ReplaceAllLiteralString(usualFields, m[1]+": "+m[2])
	})
	if strings.Contains(text, "{as ") {
		t.Fatalf("what is said in %q?", text)
	}
	parts := strings.Split(text, " ||")
	m := message{fields: unwrittenFields(t, parts[0])}
	if len(parts) > 1 {
		for data := range strings.SplitSeq(strings.TrimPrefix(parts[1], " "), "~") {
			m.data = append(m.data, unwritten(t, data))
		}
	}
	if len(parts) > 2 {
		m.trailers = unwrittenFields(t, strings.TrimPrefix(parts[2], " "))
	}
	return m
}

func unwrittenFields(t testing.TB, text string) [][2]string {
	t.Helper()
	var fields [][2]string
	for field := range strings.SplitSeq(text, " | ") {
		name, value := unwritten(t, field), ""
		if i := strings.Index(field[1:], ": ") + 1; i > 0 {
			name, value = unwritten(t, field[:i]), unwritten(t, field[i+2:])
		} else if name != "{auth}" {
			name = strings.TrimSuffix(name, ":")
		}
		fields = append(fields, [2]string{name, value})
	}
	return fields
}

// speakHTTP2 is a configuration whose public listener takes frames.
func speakHTTP2(c *Config) { c.Server.H2C = true }

// everyWorld2 is everyWorld in HTTP/2.
func everyWorld2(t *testing.T, f func(t *testing.T, w *world)) {
	for name := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, name, speakHTTP2)
			w.http2 = true
			f(t, w)
			t.Logf("%d attacks, %d requests reached the backend", w.n, w.reached)
		})
	}
}

func TestHTTP2Attacks(t *testing.T) {
	everyWorld2(t, func(t *testing.T, w *world) {
		for i, a := range messages(t, "testdata/http2.txt", "") {
			for j, c := range w.callers {
				if a.want == "yes" || (i+len(w.name))%len(w.callers) == j {
					w.strike(t, a, c)
				}
			}
		}
		for _, a := range messages(t, "testdata/http2credentials.txt", strings.TrimSuffix(usualFields, "{auth}")) {
			a.nobody = a.want == "any"
			for _, c := range w.callers {
				w.strike(t, a, c)
			}
		}
	})
}

// TestTheTablesInFrames is every case of the tables once more, each for one
// caller drawn by lot.
func TestTheTablesInFrames(t *testing.T) {
	everyWorld2(t, func(t *testing.T, w *world) {
		r := lot("frames" + w.name)
		for _, class := range classes(t) {
			before, reached := w.n, w.reached
			for _, a := range table(t, class) {
				w.strike(t, a, w.callers[r.IntN(len(w.callers))])
			}
			t.Logf("%s: %d attacks, %d requests reached the backend", class, w.n-before, w.reached-reached)
		}
	})
}
