package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (p *program) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a compacted copy of the store to a new file, also beside a running server",
		RunE: p.withClient(func(c *call, args []string) error {
			file, err := filepath.Abs(args[0]) // the server may stand in another folder
			if err != nil {
				return err
			}
			if err := c.call(c.ctx, "POST", "/control/backup", map[string]string{"file": file}, nil); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "the store is in %s: keep it like a private key\n", file)
			return nil
		}),
	}
}
