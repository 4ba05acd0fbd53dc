package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// signingKey is a key of the ring as the control handlers show it.
type signingKey struct {
	ID        string     `json:"id"`
	Algorithm string     `json:"algorithm"`
	CreatedAt *time.Time `json:"created_at"` // nil for the secret of HS256
	RetireAt  *time.Time `json:"retire_at"`
}

func (p *program) keysCommand() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "Look at and rotate the keys that sign access tokens"}
	list := &cobra.Command{
		Use: "list", Short: "List the keys that sign or still verify, oldest first",
		RunE: p.withClient(func(c *call, _ []string) error {
			var got struct {
				Keys []signingKey `json:"keys"`
			}
			if err := c.call(c.ctx, "GET", "/control/keys", nil, &got); err != nil {
				return err
			}
			return p.printKeys(got.Keys)
		}),
	}
	p.addOutput(list)
	rotate := &cobra.Command{
		Use: "rotate", Short: "Sign with a new key from now on; what the old one signed stays good until it expires",
		RunE: p.withClient(func(c *call, _ []string) error {
			var got struct {
				Key signingKey `json:"key"`
			}
			if err := c.call(c.ctx, "POST", "/control/keys", nil, &got); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "new tokens are signed with key %s (%s)\n", got.Key.ID, got.Key.Algorithm)
			return nil
		}),
	}
	keys.AddCommand(list, rotate)
	return group(keys)
}

func (p *program) printKeys(keys []signingKey) error {
	if p.output == "json" {
		return p.printJSON(map[string]any{"keys": keys})
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tALGORITHM\tCREATED\tUSE")
	for _, k := range keys {
		use := "signs"
		if k.RetireAt != nil {
			use = "verifies until " + stamp(*k.RetireAt)
		}
		created := "-"
		if k.CreatedAt != nil {
			created = stamp(*k.CreatedAt)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, created, use)
	}
	return w.Flush()
}

// printJSON prints a result for programs.
func (p *program) printJSON(v any) error {
	out := json.NewEncoder(p.stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// stamp writes a time for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
