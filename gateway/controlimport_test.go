package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// importFile sends a file to the control socket and returns the lines of the
// answer, as "3 refused username format", and how it ended.
func (g *testGateway) importFile(query, file string) (lines []string, end string) {
	g.t.Helper()
	socket := httptest.NewServer(g.Control())
	defer socket.Close()
	resp, err := http.Post(socket.URL+"/control/import?"+query, "application/octet-stream", strings.NewReader(file))
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		g.t.Fatalf("%s: got %d %s", query, resp.StatusCode, body)
	}
	for in := json.NewDecoder(resp.Body); ; {
		var l importResultJSON
		if err := in.Decode(&l); err != nil {
			return lines, end
		}
		if l.Line == 0 {
			end = fmt.Sprintf("done %t %s", l.Done, l.Error)
			continue
		}
		text := fmt.Sprint(l.Line, " ", l.Outcome)
		for _, e := range l.Errors {
			text += strings.TrimRight(" "+strings.TrimSpace(e.Field+" "+e.Code), " ")
		}
		lines = append(lines, text)
	}
}

func TestImportFormats(t *testing.T) {
	long := strings.Repeat("x", maxImportLine)
	for _, c := range []struct{ name, query, file, want string }{
		{"csv", "format=csv", "\ufeffusername,email,roles,active,created_at\r\nada,ada@example.com,a;b,,2020-01-01T00:00:00Z\r\n\r\nbob,,,no,\r\n\"c\"\"\",,,,\n", "2 created|4 created|5 refused username format"},
		{"csv, formulas", "format=csv", "username,name\nada,'=1+1\nbob,'t Hooft\ncarol,''t Hooft\n", "2 created|3 created|4 created"},
		{"csv, damaged", "format=csv", "username,name\nada\nbob,\"Bob\ncarol,Carol,more\ndan,Dan\neve,a\"b\n", "2 refused format|3 refused format|4 refused format|5 created|6 refused format"},
		{"csv, values", "format=csv", "username,active,email_verified,created_at\nada,maybe,perhaps,yesterday\nbob,YES,0,2020-01-01T00:00:00.5+02:00\n", "2 refused active type email_verified type created_at format|3 created"},
		{"jsonl", "format=jsonl", `{"username":"ada","roles":[],"email":null}` + "\n\n" + `{"username":"bob","name":"Bob","active":false}`, "1 created|3 created"},
		{"jsonl, damaged", "format=jsonl", "{\n" + `[]` + "\n" + `{"username":"ada","id":"x"}` + "\n" + `{"username":1,"roles":"a"}` + "\n" + `{"username":"ada","username":"bob"}` + "\n" + `{"username":"ada","created_at":"now"}` + "\n" + "\xff\n", "1 refused format|2 refused type|3 refused id unknown|4 refused username type roles type|5 refused username duplicate|6 refused created_at format|7 refused format"},
		{"htpasswd", "format=htpasswd", "# users\nada:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\nbob@example.com:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=:more\n\ncarol:rqXexS6ZhobKA\ndan\neve:\nfred:myPassword\n", "2 created|3 created|5 refused password_hash format|6 refused format|7 refused password_hash required|8 refused password_hash format"},
		{"long lines", "format=jsonl", `{"username":"ada"}` + "\n" + long + long + "x\n" + `{"username":"bob"}` + "\n" + long + "xx", "1 created|2 refused too_long|3 created|4 refused too_long"},
		{"empty", "format=jsonl", "", ""},
		{"dry run", "format=jsonl&dry_run=true", `{"username":"ada"}`, "1 created"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, nil)
			lines, end := g.importFile(c.query, c.file)
			if got := strings.Join(lines, "|"); got != c.want || end != "done true " {
				t.Errorf("got %s (%s), want %s", got, end, c.want)
			}
			page, err := g.Authn.Users(t.Context(), authn.UserQuery{Limit: 100})
			made := strings.Count(c.want, "created")
			if strings.Contains(c.want, "created_at") {
				made -= strings.Count(c.want, "created_at")
			}
			if strings.HasPrefix(c.name, "dry") {
				made = 0
			}
			if err != nil || len(page.Users) != made {
				t.Errorf("%d accounts (%v), want %d", len(page.Users), err, made)
			}
		})
	}
}

func TestImportRefusesAFile(t *testing.T) {
	g := newGateway(t, nil)
	for _, c := range []struct{ query, file, detail string }{
		{"format=xml", "x", "csv, jsonl or htpasswd"},
		{"", "x", "csv, jsonl or htpasswd"},
		{"format=csv", "username,phone\nada,1\n", "column 2 is none of"},
		{"format=csv", "username,username\nada,ada\n", "two columns username"},
		{"format=csv", "name\nada\n", "no column username"},
		{"format=csv", "\"\n", "names of its columns"},
		{"format=csv", "", "names of its columns"},
	} {
		a := g.control("POST", "/control/import?"+c.query, c.file)
		wantProblem(t, a, 400, "INVALID_INPUT")
		if !strings.Contains(a.Body, c.detail) {
			t.Errorf("%s %q: got %s, want %q in it", c.query, c.file, a.Body, c.detail)
		}
	}
}

// endlessFile is a file that never ends.
type endlessFile struct{ text string }

func (e endlessFile) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.text) <= len(p) {
		n += copy(p[n:], e.text)
	}
	return n, nil
}

func TestImportIsBounded(t *testing.T) {
	f, err := readImport("jsonl", &capped{r: endlessFile{"{}\n"}, left: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for range f.rows() {
		rows++
	}
	if rows == 0 || rows > 1<<20/3 || f.err == nil || !strings.Contains(f.err.Error(), "256 MiB") {
		t.Errorf("%d rows, then %v; want no more than fit and an error", rows, f.err)
	}
}

// TestImportThatEndsEarly: an upload that breaks off is not taken for a file
// that ends.
func TestImportThatEndsEarly(t *testing.T) {
	g := newGateway(t, nil)
	r, err := http.NewRequest("POST", "http://control/control/import?format=jsonl", io.MultiReader(
		strings.NewReader(`{"username":"ada"}`+"\n"), &capped{r: strings.NewReader("too much"), left: 1}))
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	g.Control().ServeHTTP(rec, r)
	if body := rec.Body.String(); !strings.Contains(body, `"error":"read the file after line 1`) || strings.Contains(body, `"done"`) {
		t.Errorf("got %s, want the error at the end", body)
	}
}

func TestExport(t *testing.T) {
	g := newGateway(t, nil)
	lines := make([]string, exportPage+5)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"username":"user%04d","password_hash":"$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"}`, i)
	}
	if got, end := g.importFile("format=jsonl", strings.Join(lines, "\n")); len(got) != len(lines) || end != "done true " {
		t.Fatalf("%d lines, %s", len(got), end)
	}
	type page struct {
		Users []map[string]any
		Next  *string
	}
	var first, second page
	a := g.control("GET", "/control/export", "")
	a.json(t, &first)
	if a.Status != 200 || strings.Contains(a.Body, "password") || len(first.Users) != exportPage || first.Next == nil {
		t.Fatalf("got %d, %d accounts; want a full page and no password in it", a.Status, len(first.Users))
	}
	if _, there := first.Users[0]["id"]; there {
		t.Error("an export has ids")
	}
	a = g.control("GET", "/control/export?passwords=true&after="+*first.Next, "")
	a.json(t, &second)
	if len(second.Users) != 5 || second.Next != nil || !strings.HasPrefix(second.Users[0]["password_hash"].(string), "$2y$05$") {
		t.Errorf("the second page: got %s, want the rest with hashes", a.Body)
	}
	g.control("GET", "/control/export?passwords=true", "")
	events, err := g.Authn.Events(t.Context(), authn.EventQuery{Kind: authn.UsersExported, Limit: 10})
	if err != nil || len(events) != 2 || events[0].Detail["passwords"] != "true" || events[1].Detail["passwords"] != "false" || events[0].Actor != authn.ActorCLI {
		t.Errorf("got events %+v (%v), want one of each by cli", events, err)
	}
	wantProblem(t, g.control("GET", "/control/export?after=..", ""), 400, "INVALID_INPUT")
}

// TestFormulasComeBackAsNames: what the export marks as text is a name again,
// and a name that has an apostrophe of its own keeps it.
func TestFormulasComeBackAsNames(t *testing.T) {
	for cell, want := range map[string]string{
		"'=1+1": "=1+1", "'+49": "+49", "'@x": "@x", "'-2": "-2", "''t Hooft": "'t Hooft",
		"'t Hooft": "'t Hooft", "'": "'", "": "", "Ada": "Ada",
	} {
		if got := uncell(cell); got != want {
			t.Errorf("%q: got %q, want %q", cell, got, want)
		}
	}
}
