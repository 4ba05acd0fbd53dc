package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			c, err := dialSocket(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if c == nil {
				return errors.New("no server is running on this store: start one with doorward serve")
			}
			defer c.close()
			if err := c.call(cmd.Context(), "POST", "/control/reload", nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "the server has loaded its configuration again")
			return nil
		},
	}
}
