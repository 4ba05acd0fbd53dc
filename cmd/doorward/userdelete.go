package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) userDelete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete LOGIN [--yes]", Short: "Remove an account and everything of it; its names stay taken",
		RunE: p.withClient(func(c *call, args []string) error {
			u, err := c.user(c.ctx, args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := p.confirm(fmt.Sprintf("Delete %s and everything of it, for good?", args[0])); err != nil {
					return err
				}
			}
			if err := c.change(args[0], "DELETE", "", nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s is deleted; %s\n", args[0], taken(u))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask at a terminal")
	return cmd
}

// taken says which names nobody else can have.
func taken(u account) string {
	if u.Username == nil || u.Email == nil {
		return "the name stays taken"
	}
	return fmt.Sprintf("the names %s and %s stay taken", *u.Username, *u.Email)
}

// confirm asks the person at the terminal. With none there nobody can be asked,
// and whoever wrote the script has decided.
func (p *program) confirm(question string) error {
	terminal, ok := p.terminal()
	if !ok {
		return nil
	}
	fmt.Fprint(p.stderr, question+" [y/N] ")
	typed, err := bufio.NewReader(terminal).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(typed)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		fmt.Fprintln(p.stderr) // no line was ended
	}
	return errors.New("nothing was changed")
}
