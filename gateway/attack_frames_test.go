package gateway

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The usual pseudo-fields, in the words of testdata/http2.txt.
const usualFields = ":method: GET | :scheme: {scheme} | :authority: {host} | :path: {home} | {auth}"

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

func TestHTTP2Attacks(t *testing.T) { everyWorld(t, http2Tables, speakHTTP2) }

// TestHTTP2AttacksUnderTLS: net/http has one server for both, but what it says of
// a connection differs, and the scheme is the client's word.
func TestHTTP2AttacksUnderTLS(t *testing.T) {
	w := newWorld(t, "open", func(c *Config) {
		c.Server.PublicURL, c.Server.TLS = "https://app.test", newTestCert(t, "app.test")
	})
	w.http2, w.secure = true, true
	http2Tables(t, w)
}

func http2Tables(t *testing.T, w *world) {
	t.Helper()
	r := lot(fmt.Sprint("tables", w.name, w.secure))
	for _, a := range messages(t, "testdata/http2.txt", "") {
		who := w.callers
		switch a.want {
		case "no": // by one of them, in half of the configurations
			i := r.IntN(2 * len(who))
			who = who[min(i, len(who)):min(i+1, len(who))]
		case "any":
			i := r.IntN(len(who))
			who = who[i : i+1]
		}
		for _, c := range who {
			w.strike(t, a, c)
		}
	}
	for _, a := range messages(t, "testdata/http2credentials.txt", strings.TrimSuffix(usualFields, "{auth}")) {
		a.nobody = a.want == "any"
		for _, c := range w.callers {
			w.strike(t, a, c)
		}
	}
}

// TestTheTablesInFrames is the tables once more: every case for a caller drawn by
// lot, in half of the configurations.
func TestTheTablesInFrames(t *testing.T) {
	everyWorld(t, func(t *testing.T, w *world) {
		r := lot("frames" + w.name)
		for _, class := range classes(t) {
			before, reached := w.n, w.reached
			for _, a := range table(t, class) {
				if r.IntN(2) == 0 {
					w.strike(t, a, w.callers[r.IntN(len(w.callers))])
				}
			}
			t.Logf("%s: %d attacks, %d requests reached the backend", class, w.n-before, w.reached-reached)
		}
	}, speakHTTP2)
}

// anyMessage is a request with something odd about its fields.
func anyMessage(r *rand.Rand) message {
	m := message{fields: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "{host}"}, {":path", "{home}"}, {"{auth}", ""}}}
	if r.IntN(3) == 0 {
		m.fields[3][1] = strings.Split(anyPath(r).raw, " ")[1]
	}
	if r.IntN(3) == 0 {
		m.fields[0][1] = "POST"
		m.data = []string{pick(r, "hello", "", "GET /admin/x HTTP/1.1\r\nHost: app.test\r\n\r\n", "0\r\n\r\n"), "~"}[:1+r.IntN(2)]
		m.fields = append(m.fields, [2]string{"content-length", pick(r, "5", "5", "6", "0", "3", "+5", "5,5", "05", " 5", "")})
	}
	for range 1 + r.IntN(4) {
		i := r.IntN(len(m.fields))
		claim, value, _ := strings.Cut(claims[r.IntN(len(claims))], ": ")
		if claim = strings.ToLower(claim); r.IntN(3) == 0 {
			claim = respelled(r, claim)
		}
		switch r.IntN(8) {
		case 0:
			m.fields = append(m.fields, m.fields[i])
		case 1:
			m.fields = slices.Delete(m.fields, i, i+1)
		case 2:
			j := r.IntN(len(m.fields))
			m.fields[i], m.fields[j] = m.fields[j], m.fields[i]
		case 3:
			if m.fields[i][0] != "{auth}" {
				m.fields[i][1] += pick(r, " ", "\t", "\r\nX-Forwarded-User: root", "\n", "\x00", "#", "?", "/", "@admin.test", ",admin.test", ":80", ";", "%00", "\xff", "")
			}
		case 4:
			m.trailers = append(m.trailers, [2]string{claim, value})
		case 5:
			m.fields = append(m.fields, [2]string{pick(r, "connection", "te", "trailer", "upgrade", "host", "cookie", "expect", ":path", ":authority", ":protocol"), pick(r, claim, "trailers", "admin.test", "websocket", "a=1", "/admin/x")})
		default:
			m.fields = append(m.fields, [2]string{claim, value + pick(r, "", "", "", " ", "\r\n", ", x")})
		}
		if len(m.fields) == 0 {
			m.fields = [][2]string{{claim, value}}
		}
	}
	return m
}

func TestGeneratedFrames(t *testing.T) {
	each := 30
	if testing.Short() {
		each = 10
	}
	everyWorld(t, func(t *testing.T, w *world) {
		for _, class := range []string{"paths", "names", "hosts", "methods", "cookies", "messages"} {
			r := lot("frames" + w.name + class)
			reached := w.reached
			for i := range each * map[bool]int{true: 5, false: 1}[class == "messages"] {
				a := attack{want: "any", requests: 1, nobody: true, raw: "a message", message: message{}}
				if class == "messages" {
					a.message = anyMessage(r)
				} else {
					a = generators[class](r)
				}
				a.class, a.name = class+" in frames", fmt.Sprint("generated ", i)
				w.strike(t, a, w.callers[r.IntN(len(w.callers))])
			}
			if w.reached == reached {
				t.Errorf("%s: none reached the backend: what refuses everything proves nothing", class)
			}
		}
	}, speakHTTP2)
}
