package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		RunE:  func(cmd *cobra.Command, _ []string) error { return p.reload(cmd.Context()) },
	}
}

// reload leaves the judgement to the server, so that a rejected configuration
// is in its log too. All that is needed to find the server is where its store
// is, and that a broken file can often still say.
func (p *program) reload(ctx context.Context) error {
	cfg, _, err := assemble(p.configFile(), p.env)
	if err != nil {
		return err
	}
	c, err := dialSocket(ctx, cfg)
	if err != nil {
		return err
	}
	if c == nil {
		if _, err := p.load(); err != nil {
			return err
		}
		return errors.New("no server is running on this store: start one with doorward serve")
	}
	defer c.close()
	err = c.call(ctx, "POST", "/control/reload", nil, nil)
	var no *refused
	switch {
	case errors.As(err, &no):
		fmt.Fprintln(p.stderr, no)
		fmt.Fprintln(p.stderr, "nothing has changed: the server goes on with the configuration it has")
		if _, err := load(p.configFile(), p.env); err != nil {
			return errInvalid
		}
		return errRefused // valid, but not for a server that runs
	case err != nil:
		return err
	}
	fmt.Fprintln(p.stdout, "the server has loaded its configuration again")
	return nil
}
