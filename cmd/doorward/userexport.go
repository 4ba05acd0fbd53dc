package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) userExport() *cobra.Command {
	var format string
	var passwords bool
	cmd := &cobra.Command{
		Use:   "export [--format jsonl|csv] [--with-passwords]",
		Short: "Print every account, newest first, as user import takes it back",
	}
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	cmd.Flags().BoolVar(&passwords, "with-passwords", false, "the hashes of the passwords too: keep what is printed like a private key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := bufio.NewWriter(p.stdout)
		write, ok := map[string]func(io.Writer, bool) func(json.RawMessage) error{"jsonl": writeJSONL, "csv": writeCSV}[format]
		if !ok {
			return usageError{fmt.Errorf("--format %s: write jsonl or csv", format)}
		}
		return p.withClient(func(c *call, _ []string) error {
			if err := c.export(passwords, write(out, passwords)); err != nil {
				return err
			}
			return out.Flush()
		})(cmd, args)
	}
	return cmd
}

// export calls each with every account, page by page.
func (c *call) export(passwords bool, each func(json.RawMessage) error) error {
	query := url.Values{"passwords": {strconv.FormatBool(passwords)}}
	for {
		var page struct {
			Users []json.RawMessage `json:"users"`
			Next  *string           `json:"next"`
		}
		if err := c.call(c.ctx, "GET", "/control/export?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, u := range page.Users {
			if err := each(u); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		query.Set("after", *page.Next)
	}
}

func writeJSONL(out io.Writer, _ bool) func(json.RawMessage) error {
	return func(u json.RawMessage) error {
		_, err := fmt.Fprintf(out, "%s\n", u)
		return err
	}
}

// writeCSV writes the names of the columns at once: also where nobody is.
func writeCSV(out io.Writer, passwords bool) func(json.RawMessage) error {
	w := csv.NewWriter(out)
	columns := []string{"username", "email", "name", "roles", "active", "email_verified", "created_at"}
	if passwords {
		columns = append(columns, "password_hash")
	}
	put := func(fields []string) error {
		_ = w.Write(fields) // Error has it
		w.Flush()
		return w.Error()
	}
	headed := put(columns)
	return func(raw json.RawMessage) error {
		var u struct {
			Username, Email, Name string
			Roles                 []string
			Active                bool
			EmailVerified         bool      `json:"email_verified"`
			CreatedAt             time.Time `json:"created_at"`
			PasswordHash          string    `json:"password_hash"`
		}
		if err := json.Unmarshal(raw, &u); err != nil || headed != nil {
			return fmt.Errorf("write an account: %w", errors.Join(headed, err))
		}
		fields := []string{
			cell(u.Username), cell(u.Email), cell(u.Name), strings.Join(u.Roles, ";"),
			strconv.FormatBool(u.Active), strconv.FormatBool(u.EmailVerified), u.CreatedAt.Format(time.RFC3339Nano),
		}
		if passwords {
			fields = append(fields, u.PasswordHash)
		}
		return put(fields)
	}
}

// cell keeps a spreadsheet from computing what somebody chose to be called: a
// text that would begin a formula begins with an apostrophe instead, as
// spreadsheets write it themselves. The import takes it off again.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r'", rune(text[0])) {
		return "'" + text
	}
	return text
}
