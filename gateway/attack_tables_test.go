package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The tables in testdata/attacks, one file a class: each line is what has to
// become of it and the case. Of targets the case is the target, of headers the
// lines of header, else the whole request.
//
// any: what holds after every attack. no: it reaches the backend for nobody.
// yes: it does for whoever may go there. A digit behind it is how many requests
// may arrive where that is not one; cut: the bytes end within a request.
// Escapes are \r \n \t \\ \xNN, and {3000*../*} is ../ three thousand times.

// shapes is how a class makes a request of a line.
var shapes = map[string]func(text string) []attack{
	"paths": ofTarget, "targets": ofTarget, "controls": ofTarget,
	"headers": ofHeader, "hopbyhop": ofHeader, "forwarded": ofHeader, "credentials": ofCredential,
	"framing": ofRequest, "methods": ofRequest, "upgrades": ofRequest, "hosts": ofRequest,
}

func ofTarget(text string) []attack {
	a := attack{method: "GET", raw: "GET " + text + " HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n"}
	if strings.HasPrefix(text, "/") {
		a.target = text
	}
	return []attack{a}
}

// ofHeader sends the lines where the caller may go and where only admins may.
func ofHeader(text string) []attack {
	var all []attack
	for _, target := range []string{"{home}", "/admin/x"} {
		all = append(all, attack{method: "GET", raw: "GET " + target + " HTTP/1.1\r\nHost: {host}\r\n{auth}" + text + "\r\n\r\n"})
	}
	return all
}

func ofCredential(text string) []attack {
	return []attack{{method: "GET", raw: "GET {home} HTTP/1.1\r\nHost: {host}\r\n" + text + "\r\n\r\n"}}
}

func ofRequest(text string) []attack {
	method, _, _ := strings.Cut(text, " ")
	return []attack{{method: method, raw: text}}
}

var (
	escaped  = regexp.MustCompile(`\\(?:[rnt0\\]|x[0-9a-fA-F]{2})`)
	repeated = regexp.MustCompile(`\{([0-9]+)\*(.*?)\*\}`)
)

// unwritten is a table's text as bytes.
func unwritten(t testing.TB, text string) string {
	t.Helper()
	text = repeated.ReplaceAllStringFunc(text, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[1])
		return strings.Repeat(m[2], n)
	})
	return escaped.ReplaceAllStringFunc(text, func(e string) string {
		switch e[1] {
		case 'r':
			return "\r"
		case 'n':
			return "\n"
		case 't':
			return "\t"
		case '0':
			return "\x00"
		case '\\':
			return `\`
		}
		b, err := strconv.ParseUint(e[2:], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		return string([]byte{byte(b)})
	})
}

// table reads one class.
func table(t testing.TB, class string) []attack {
	t.Helper()
	shape := shapes[class]
	if shape == nil {
		t.Fatalf("no shape for the class %q", class)
	}
	text, err := os.ReadFile(filepath.Join("testdata", "attacks", class+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []attack
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		want, rest, ok := strings.Cut(line, " ")
		n := 1
		if last := want[len(want)-1]; last >= '0' && last <= '9' {
			n, want = int(last-'0'), want[:len(want)-1]
		}
		if want != "any" && want != "no" && want != "yes" && want != "cut" || !ok {
			t.Fatalf("%s.txt:%d: %q is none of any, no, yes, cut", class, i+1, want)
		}
		for _, a := range shape(unwritten(t, rest)) {
			a.class, a.name, a.want, a.requests, a.cut = class, fmt.Sprint("line ", i+1), want, n, want == "cut"
			a.nobody = class == "credentials" && want == "any"
			all = append(all, a)
		}
	}
	return all
}

// classes is every table there is.
func classes(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/attacks/*.txt")
	if err != nil || len(files) != len(shapes) {
		t.Fatalf("%d tables (%v), want one for each of %d shapes", len(files), err, len(shapes))
	}
	var all []string
	for _, file := range files {
		all = append(all, strings.TrimSuffix(filepath.Base(file), ".txt"))
	}
	return all
}

func TestAttacks(t *testing.T) {
	everyWorld(t, func(t *testing.T, w *world) {
		for _, class := range classes(t) {
			t.Run(class, func(t *testing.T) {
				before, reached := w.n, w.reached
				for i, a := range table(t, class) {
					for j, c := range w.callers {
						// What nobody may send is sent by one of them, in another
						// configuration by another.
						if a.want != "no" || (i+len(w.name))%len(w.callers) == j {
							w.strike(t, a, c)
						}
					}
				}
				t.Logf("%d attacks, %d requests reached the backend", w.n-before, w.reached-reached)
			})
		}
	})
}

// A proxy in front may say where a request comes from, and still not who it is
// from.
func TestAttacksThroughATrustedProxy(t *testing.T) {
	for _, name := range []string{"legacy", "open"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name, func(c *Config) { c.Server.TrustedProxies = []string{"127.0.0.0/8"} })
			for _, class := range []string{"headers", "hopbyhop", "forwarded"} {
				for _, a := range table(t, class) {
					for _, c := range w.callers {
						w.strike(t, a, c)
					}
				}
			}
		})
	}
}
