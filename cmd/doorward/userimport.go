package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// maxImport is how large a file the control handlers take.
const maxImport = 256 << 20

var importFormats = []string{"csv", "jsonl", "htpasswd"}

func (p *program) userImport() *cobra.Command {
	var format string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "import FILE [--format csv|jsonl|htpasswd] [--dry-run] [--output json]",
		Short: "Bring in accounts with the passwords they have elsewhere; - is standard input",
		Long: `Bring in accounts from a file with one on each line.

An account that is there already stays as it is, so the same file may be given
again. A password in clear, or a hash too weak to be kept, takes a new hash
each: count on a few a second.`,
	}
	cmd.Flags().StringVar(&format, "format", "", "csv, jsonl or htpasswd (default: what the file looks like)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would become of each line and change nothing")
	p.addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if format != "" && !slices.Contains(importFormats, format) {
			return usageError{fmt.Errorf("--format %s: write csv, jsonl or htpasswd", format)}
		}
		file, size, err := p.importFile(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		if size > maxImport {
			return fmt.Errorf("%s is larger than %d MiB: split it", args[0], maxImport>>20)
		}
		in := bufio.NewReaderSize(file, 4096)
		if format == "" {
			if format = guessFormat(args[0], in); format == "" {
				return usageError{fmt.Errorf("%s could be anything: say --format csv, jsonl or htpasswd", args[0])}
			}
		}
		p.begins, p.rehearses = !dryRun, dryRun // people are often moved in before the server has run
		query := url.Values{"format": {format}}
		if dryRun {
			query.Set("dry_run", "true")
		}
		return p.withClient(func(c *call, _ []string) error {
			answer, err := c.send(c.ctx, "POST", "/control/import?"+query.Encode(), "application/octet-stream", in)
			if err != nil {
				return err
			}
			defer answer.Close()
			return p.printImport(answer, dryRun, c.cfg)
		})(cmd, args)
	}
	return cmd
}

// rehearse opens an empty store that is gone afterwards.
func (p *program) rehearse(ctx context.Context, cfg *loaded) (*client, error) {
	folder, err := os.MkdirTemp("", "doorward-*")
	if err != nil {
		return nil, err
	}
	cfg.Store.URL = "bolt:" + filepath.Join(folder, "rehearsal.db")
	in, err := open(ctx, cfg, p.env, slog.New(slog.DiscardHandler), io.Discard)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	end := func() error { return errors.Join(in.close(), os.RemoveAll(folder)) }
	return &client{http: &http.Client{Transport: memory{in.server.Control()}}, close: end}, nil
}

// importFile opens a file, or standard input for "-".
func (p *program) importFile(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(p.stdin), 0, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// guessFormat tells a format by the name, else by how the file begins; "" if
// neither says.
func guessFormat(name string, in *bufio.Reader) string {
	base := strings.ToLower(filepath.Base(name))
	switch filepath.Ext(base) {
	case ".csv":
		return "csv"
	case ".jsonl", ".ndjson", ".json":
		return "jsonl"
	}
	if strings.Contains(base, "htpasswd") {
		return "htpasswd"
	}
	head, _ := in.Peek(4096)
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	first, _, _ := bytes.Cut(head, []byte("\n"))
	comma, colon := bytes.IndexByte(first, ','), bytes.IndexByte(first, ':')
	switch {
	case bytes.HasPrefix(head, []byte("{")):
		return "jsonl"
	case comma >= 0 && (colon < 0 || comma < colon):
		return "csv"
	case colon > 0:
		return "htpasswd"
	case bytes.IndexByte(first, ';') >= 0: // which will be refused, but as what it is
		return "csv"
	}
	return ""
}

// importLine is a line of the answer: of a row, or how the import ended.
type importLine struct {
	Line    int    `json:"line"`
	Outcome string `json:"outcome"`
	Hashed  bool   `json:"hashed"`
	Login   string
	Roles   []string
	Errors  []struct{ Field, Code, Detail string }
	Done    bool   `json:"done"`
	Error   string `json:"error"`
}

// importTotals count what became of the rows. Hashed are those of Created that
// took a hash.
type importTotals struct {
	Created int `json:"created"`
	Skipped int `json:"skipped"`
	Refused int `json:"refused"`
	Hashed  int `json:"hashed"`
}

func (t *importTotals) count(l importLine) {
	switch l.Outcome {
	case "created":
		t.Created++
	case "skipped":
		t.Skipped++
	default:
		t.Refused++
	}
	if l.Hashed {
		t.Hashed++
	}
}

// printImport prints the report as it comes, and the totals whatever happens:
// what was reported is done. A file can bring in people who may do everything,
// or roles with a slip of the pen in them: both are said.
func (p *program) printImport(answer io.Reader, dryRun bool, cfg *loaded) error {
	out := bufio.NewWriter(p.stdout)
	show, end := textReport(out, dryRun, cfg.Accounts.AdminRole)
	if p.output == "json" {
		show, end = jsonReport(out, dryRun)
	}
	var totals importTotals
	var roles []string
	err := errors.New("the import stopped")
	for lines := json.NewDecoder(answer); ; {
		var raw json.RawMessage
		var l importLine
		if broken := lines.Decode(&raw); broken != nil || json.Unmarshal(raw, &l) != nil {
			break
		}
		if l.Line > 0 {
			totals.count(l)
			roles = union(roles, l.Roles)
			show(l, raw)
			out.Flush() // it may go on for hours, or be stopped; end would tell of an error
			continue
		}
		if err = nil; !l.Done {
			err = fmt.Errorf("the import stopped: %s", l.Error)
		}
	}
	end(totals)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	p.warnOfRoles(cfg, roles)
	switch {
	case err != nil:
		return fmt.Errorf("%w; what is reported is done, and the same file can be given again", err)
	case totals.Refused > 0:
		return errRefused
	}
	return nil
}

// union is a with what only b has, in the order of their first appearance.
func union(a, b []string) []string {
	for _, text := range b {
		if !slices.Contains(a, text) {
			a = append(a, text)
		}
	}
	return a
}

// textReport names the lines that were not imported, and why, and those that
// made an admin.
func textReport(out *bufio.Writer, dryRun bool, adminRole string) (show func(importLine, json.RawMessage), end func(importTotals)) {
	show = func(l importLine, _ json.RawMessage) {
		if l.Outcome == "created" {
			if adminRole != "" && slices.Contains(l.Roles, adminRole) {
				fmt.Fprintf(out, "line %d: %s has the role %s, which administers accounts here\n", l.Line, l.Login, adminRole)
			}
			return
		}
		why := make([]string, len(l.Errors))
		for i, e := range l.Errors {
			why[i] = strings.TrimPrefix(e.Field+": "+e.Detail, ": ")
		}
		fmt.Fprintf(out, "line %d: %s: %s\n", l.Line, l.Outcome, strings.Join(why, "; "))
	}
	end = func(t importTotals) {
		if dryRun {
			fmt.Fprint(out, "dry run, nothing is changed: ")
		}
		fmt.Fprintf(out, "%d created, %d skipped, %d refused\n", t.Created, t.Skipped, t.Refused)
		if t.Hashed > 0 {
			fmt.Fprintf(out, "%d of them take a new password hash each, which is what takes the time: passwords in clear and weak hashes do\n", t.Hashed)
		}
	}
	return show, end
}

// jsonReport prints one object with every line in it.
func jsonReport(out *bufio.Writer, dryRun bool) (show func(importLine, json.RawMessage), end func(importTotals)) {
	fmt.Fprintf(out, "{\n  \"dry_run\": %t,\n  \"rows\": [", dryRun)
	separator := "\n    "
	show = func(_ importLine, raw json.RawMessage) {
		out.WriteString(separator)
		out.Write(raw)
		separator = ",\n    "
	}
	end = func(t importTotals) {
		totals, _ := json.Marshal(t) // four numbers
		fmt.Fprintf(out, "\n  ],\n  \"totals\": %s\n}\n", totals)
	}
	return show, end
}
