package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
)

// Accounts by the file, in and out. importfile.go reads the formats.

// maxImport is how large a file may be.
const maxImport = 256 << 20

// importResultJSON is one line of the answer to an import: what became of a
// row, or, as the last line, how it ended.
type importResultJSON struct {
	Line    int         `json:"line,omitempty"`
	Outcome string      `json:"outcome,omitempty"`
	Hashed  bool        `json:"hashed,omitempty"`
	Login   string      `json:"login,omitempty"`
	Roles   []string    `json:"roles,omitempty"`
	Errors  []fieldJSON `json:"errors,omitempty"`

	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

// importUsers reads a file and answers while it does, a line of JSON for each
// row: an import can take hours, and what was reported is done even if the
// rest never is. Since the answer has begun by then, an error is its last line.
func (s *Server) importUsers(w *answer, r *http.Request, a authn.Actor) error {
	query := r.URL.Query()
	file, err := readImport(query.Get("format"), &capped{r: r.Body, left: maxImport})
	if err != nil {
		return err
	}
	_ = w.rc.EnableFullDuplex() // in memory there is nothing to enable
	// A client is only sure to get the answer once it has sent everything.
	defer io.Copy(io.Discard, r.Body)

	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	report := func(results []authn.ImportResult) error {
		for _, result := range results {
			if err := lines.Encode(shapeImportResult(result)); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		w.Flush()
		return nil
	}
	err = s.Authn.ImportUsers(r.Context(), file.rows(), a, query.Get("dry_run") == "true", report)
	last := importResultJSON{Done: true}
	if err = errors.Join(err, file.err); err != nil {
		s.Log.Error("import users", "error", err)
		last = importResultJSON{Error: err.Error()}
	}
	if err := lines.Encode(last); err == nil {
		_ = out.Flush()
	}
	return nil
}

func shapeImportResult(r authn.ImportResult) importResultJSON {
	out := importResultJSON{Line: r.Line, Outcome: string(r.Outcome), Hashed: r.Hashed, Login: r.Login, Roles: r.Roles}
	for _, f := range r.Fields {
		out.Errors = append(out.Errors, fieldJSON{f.Field, f.Code, f.Detail})
	}
	return out
}

// capped is a reader that fails past a number of bytes, where a limit that
// ended it quietly would import part of a file.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errors.New("the file is larger than 256 MiB: split it")
	}
	return n, err
}

// exportPage is how many accounts are read at a time.
const exportPage = 1000

// exportJSON is an account as an import takes it back. It has no id: there it
// will be another account.
type exportJSON struct {
	Username      string    `json:"username,omitempty"`
	Email         string    `json:"email,omitempty"`
	Name          string    `json:"name,omitempty"`
	Roles         []string  `json:"roles"`
	Active        bool      `json:"active"`
	EmailVerified bool      `json:"email_verified"`
	CreatedAt     time.Time `json:"created_at"`
	PasswordHash  string    `json:"password_hash,omitempty"` // only if asked for
}

// exportUsers answers with a page of accounts, newest first; next is what to
// send as after for the page that follows, null on the last.
func (s *Server) exportUsers(w *answer, r *http.Request, a authn.Actor) error {
	query := r.URL.Query()
	after, secrets := query.Get("after"), query.Get("passwords") == "true"
	if !isCursor(after) {
		return invalid("after", "format", "send next of the page before")
	}
	page, err := s.Authn.ExportUsers(r.Context(), after, exportPage, secrets, a)
	if err != nil {
		return err
	}
	body := struct {
		Users []exportJSON `json:"users"`
		Next  *string      `json:"next"`
	}{Users: []exportJSON{}}
	for _, u := range page {
		body.Users = append(body.Users, shapeExport(u))
	}
	if len(page) == exportPage {
		body.Next = &page[exportPage-1].ID
	}
	return writeJSON(w, http.StatusOK, body)
}

func shapeExport(u authn.User) exportJSON {
	return exportJSON{
		Username: u.Username, Email: u.Email, Name: u.Name, Roles: append([]string{}, u.Roles...),
		Active: u.Active, EmailVerified: u.EmailVerified, CreatedAt: u.CreatedAt.UTC(), PasswordHash: u.PasswordHash,
	}
}

// importTime reads a time of a file.
func importTime(e *authn.InputError, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		e.Add("created_at", "format", "write a time like 2026-03-01T12:00:00Z")
	}
	return t
}

// importBool reads yes or no of a file; empty is normal.
func importBool(e *authn.InputError, field, text string, normal bool) bool {
	switch strings.ToLower(text) {
	case "":
		return normal
	case "true", "yes", "1":
		return true
	case "false", "no", "0":
		return false
	}
	e.Add(field, "type", "write true or false")
	return normal
}
