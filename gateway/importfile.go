package gateway

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/doorward/doorward/authn"
)

// The files accounts are imported from. All have an account on a line, so that
// a line that is damaged costs no other, and a report can name it.

// maxImportLine is how long a line may be.
const maxImportLine = 64 << 10

// importFormats reads one line of a file into a row; what is wrong goes to e.
var importFormats = map[string]func(f *importFile, e *authn.InputError, line []byte) authn.ImportRow{
	"jsonl":    (*importFile).readJSON,
	"csv":      (*importFile).readCSV,
	"htpasswd": (*importFile).readHtpasswd,
}

// importFile is a file being read.
type importFile struct {
	r       *bufio.Reader
	read    func(f *importFile, e *authn.InputError, line []byte) authn.ImportRow
	line    int
	columns []string // of CSV
	err     error    // why reading ended, other than at the end
}

// readImport begins to read a file: of CSV, the names of the columns.
func readImport(format string, r io.Reader) (*importFile, error) {
	read, ok := importFormats[format]
	if !ok {
		return nil, invalid("format", "format", "csv, jsonl or htpasswd")
	}
	f := &importFile{r: bufio.NewReaderSize(r, maxImportLine), read: read}
	if mark, _ := f.r.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		f.r.Discard(len(mark)) // spreadsheets write it
	}
	if format == "csv" {
		return f, f.readColumns()
	}
	return f, nil
}

// rows reads the rest of the file. Empty lines are no rows.
func (f *importFile) rows() iter.Seq[authn.ImportRow] {
	return func(yield func(authn.ImportRow) bool) {
		for {
			line, tooLong, ok := f.next()
			if !ok {
				return
			}
			var e authn.InputError
			var row authn.ImportRow
			switch {
			case tooLong:
				e.Add("", "too_long", fmt.Sprintf("a line has at most %d bytes", maxImportLine))
			case len(bytes.TrimSpace(line)) == 0:
				continue
			default:
				row = f.read(f, &e, line)
			}
			if row.Line < 0 { // a comment
				continue
			}
			row.Line, row.Wrong = f.line, e.Fields
			if !yield(row) {
				return
			}
		}
	}
}

// next reads a line; one that is too long is passed over.
func (f *importFile) next() (line []byte, tooLong, ok bool) {
	for {
		part, err := f.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			tooLong = true
			continue
		case err != nil && err != io.EOF:
			f.err = fmt.Errorf("read the file after line %d: %w", f.line, err)
			return nil, false, false
		case err == io.EOF && len(part) == 0 && !tooLong:
			return nil, false, false
		}
		f.line++
		return bytes.TrimRight(part, "\r\n"), tooLong, true
	}
}

// importJSON is a line of JSON. What is null or left out is as in the API.
type importJSON struct {
	Username      *string       `json:"username"`
	Email         *string       `json:"email"`
	Name          *string       `json:"name"`
	Roles         *[]string     `json:"roles"`
	Active        *bool         `json:"active"`
	EmailVerified *bool         `json:"email_verified"`
	CreatedAt     *string       `json:"created_at"`
	Password      *authn.Secret `json:"password"`
	PasswordHash  *authn.Secret `json:"password_hash"`
}

func (f *importFile) readJSON(e *authn.InputError, line []byte) authn.ImportRow {
	var in importJSON
	if err := authn.DecodeNullable(line, &in); err != nil {
		var wrong *authn.InputError
		if errors.As(err, &wrong) {
			e.Fields = wrong.Fields
		} else {
			e.Add("", "format", "not a JSON object")
		}
		return authn.ImportRow{}
	}
	row := authn.ImportRow{
		Username: or(in.Username, ""), Email: or(in.Email, ""), Name: or(in.Name, ""), Roles: or(in.Roles, nil),
		Active: or(in.Active, true), EmailVerified: or(in.EmailVerified, false),
		Password: or(in.Password, ""), PasswordHash: or(in.PasswordHash, ""),
	}
	row.CreatedAt = importTime(e, or(in.CreatedAt, ""))
	return row
}

// or is the value, or what it is if there is none.
func or[T any](value *T, none T) T {
	if value == nil {
		return none
	}
	return *value
}

// importColumns are the columns a CSV file may have.
var importColumns = []string{"username", "email", "name", "roles", "active", "email_verified", "created_at", "password", "password_hash"}

// readColumns reads the first line of CSV.
func (f *importFile) readColumns() error {
	line, tooLong, ok := f.next()
	if f.err != nil {
		return f.err
	}
	columns, err := fieldsOf(line)
	if !ok || tooLong || err != nil {
		return invalid("line 1", "format", "a CSV file begins with the names of its columns")
	}
	if sign := strings.IndexAny(columns[0], ";\t"); len(columns) == 1 && sign >= 0 {
		parted := map[byte]string{';': "semicolons", '\t': "tabs"}[columns[0][sign]]
		return invalid("line 1", "format", "the columns are parted by "+parted+": part them by commas, as a spreadsheet does that saves CSV for English")
	}
	for i, name := range columns {
		switch {
		case !slices.Contains(importColumns, name):
			return invalid("line 1", "unknown", "column "+fmt.Sprint(i+1)+" is none of "+strings.Join(importColumns, ", "))
		case slices.Contains(columns[:i], name):
			return invalid("line 1", "duplicate", "there are two columns "+name)
		}
	}
	if !slices.Contains(columns, "username") && !slices.Contains(columns, "email") {
		return invalid("line 1", "required", "there is no column username and no column email")
	}
	f.columns = columns
	return nil
}

// fieldsOf reads one line of CSV.
func fieldsOf(line []byte) ([]string, error) {
	return csv.NewReader(bytes.NewReader(line)).Read()
}

func (f *importFile) readCSV(e *authn.InputError, line []byte) authn.ImportRow {
	fields, err := fieldsOf(line)
	switch {
	case err != nil:
		e.Add("", "format", "quotes are not closed, or inside a field that is not quoted")
		return authn.ImportRow{}
	case len(fields) != len(f.columns):
		e.Add("", "format", fmt.Sprintf("%d fields, and the first line names %d columns", len(fields), len(f.columns)))
		return authn.ImportRow{}
	}
	at := map[string]string{}
	for i, name := range f.columns {
		at[name] = fields[i]
	}
	row := authn.ImportRow{
		Username: uncell(at["username"]), Email: uncell(at["email"]), Name: uncell(at["name"]),
		Active:        importBool(e, "active", at["active"], true),
		EmailVerified: importBool(e, "email_verified", at["email_verified"], false),
		CreatedAt:     importTime(e, at["created_at"]),
		Password:      authn.Secret(at["password"]), PasswordHash: authn.Secret(at["password_hash"]),
	}
	if slices.Contains(f.columns, "roles") { // empty: none
		row.Roles = []string{}
		for role := range strings.SplitSeq(at["roles"], ";") {
			if role = strings.TrimSpace(role); role != "" {
				row.Roles = append(row.Roles, role)
			}
		}
	}
	return row
}

// uncell takes off the apostrophe that keeps a spreadsheet from computing a
// text. A name that begins with one for its own sake keeps it.
func uncell(text string) string {
	if len(text) > 1 && text[0] == '\'' && strings.ContainsRune("=+-@\t\r'", rune(text[1])) {
		return text[1:]
	}
	return text
}

// readHtpasswd reads "name:digest"; as Apache does, what follows another colon
// is not looked at.
func (f *importFile) readHtpasswd(e *authn.InputError, line []byte) authn.ImportRow {
	if line[0] == '#' {
		return authn.ImportRow{Line: -1}
	}
	parts := strings.Split(string(line), ":")
	row := authn.ImportRow{Active: true}
	switch {
	case len(parts) < 2:
		e.Add("", "format", "no colon between name and hash")
	case parts[1] == "":
		e.Add("password_hash", "required", "there is no hash behind the name")
	default:
		row.PasswordHash = authn.Secret(parts[1])
	}
	if strings.Contains(parts[0], "@") {
		row.Email = parts[0]
	} else {
		row.Username = parts[0]
	}
	return row
}
