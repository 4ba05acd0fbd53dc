package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) userRoles() *cobra.Command {
	return &cobra.Command{
		Use: "roles LOGIN a,b", Short: "Give an account these roles and no others; takes effect with the next request",
		RunE: p.withClient(func(c *call, args []string) error {
			roles := splitList(args[1])
			if err := c.change(args[0], "PATCH", "", map[string]any{"roles": roles}, nil); err != nil {
				return err
			}
			p.warnOfRoles(c.cfg, roles)
			fmt.Fprintf(p.stdout, "%s has the roles: %s\n", args[0], rolesText(roles))
			return nil
		}),
	}
}

// warnOfRoles names the roles that open nothing: a slip of the pen, or a route
// yet to come.
func (p *program) warnOfRoles(cfg *loaded, roles []string) {
	named := cfg.namedRoles()
	for _, role := range roles {
		if !slices.Contains(named, role) && role != cfg.Accounts.AdminRole && !slices.Contains(cfg.Accounts.DefaultRoles, role) {
			fmt.Fprintf(p.stderr, "doorward: no route in %s names the role %s; those named are: %s\n", cfg.file, role, rolesText(named))
		}
	}
}

// namedRoles is every role that some route admits, sorted.
func (c Config) namedRoles() []string {
	var all []string
	for _, r := range c.Routes {
		all = append(all, r.Allow.Roles...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// adminRoles is what to give someone who is to be an admin besides what
// everybody is.
func (c Config) adminRoles() string {
	roles := []string{c.Accounts.AdminRole}
	for _, role := range c.Accounts.DefaultRoles {
		if role != c.Accounts.AdminRole {
			roles = append(roles, role)
		}
	}
	return strings.Join(roles, ",")
}
