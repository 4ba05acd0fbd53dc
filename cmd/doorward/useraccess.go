package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// Ways in and out of an account: its sessions, its lockout, a link to a new
// password.

// userDo is a command that posts to an account and says what came of it.
func (p *program) userDo(use, short, what, done string) *cobra.Command {
	return &cobra.Command{
		Use: use + " LOGIN", Short: short,
		RunE: p.withClient(func(c *call, args []string) error {
			if err := c.change(args[0], "POST", what, nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, args[0], done)
			return nil
		}),
	}
}

func (p *program) userLogout() *cobra.Command {
	return p.userDo("logout", "End every session of an account", "/logout", "is signed out everywhere")
}

func (p *program) userUnlock() *cobra.Command {
	return p.userDo("unlock", "Forget the failures to sign in that are counted against an account", "/unlock", "can try again")
}

func (p *program) userReset() *cobra.Command {
	return p.userDo("reset", "Mail a link to a new password; the old one stays good until then", "/reset-password", "is mailed a link to a new password")
}

// session is a session as the control handlers show it.
type session struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current"`
	Mode       string    `json:"mode"`
	ClientIP   *string   `json:"client_ip"`
	UserAgent  *string   `json:"user_agent"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

func (p *program) userSessions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sessions LOGIN", Short: "List where an account is signed in, newest first",
		RunE: p.withClient(func(c *call, args []string) error {
			var got struct {
				Sessions []session `json:"sessions"`
			}
			if err := c.change(args[0], "GET", "/sessions", nil, &got); err != nil {
				return err
			}
			return p.printSessions(got.Sessions)
		}),
	}
	p.addOutput(cmd)
	return cmd
}

func (p *program) printSessions(held []session) error {
	if p.output == "json" {
		return p.printJSON(map[string]any{"sessions": held})
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SINCE\tLAST USED\tEXPIRES\tADDRESS\tMODE\tDEVICE")
	for _, x := range held {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
			stamp(x.CreatedAt), stamp(x.LastUsedAt), stamp(x.ExpiresAt), orDash(x.ClientIP), x.Mode, orDash(x.UserAgent))
	}
	return w.Flush()
}
