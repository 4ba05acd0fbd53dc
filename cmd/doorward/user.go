package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// account is a user as the control handlers show it.
type account struct {
	ID            string     `json:"id"`
	Username      *string    `json:"username"`
	Email         *string    `json:"email"`
	Name          *string    `json:"name"`
	Roles         []string   `json:"roles"`
	Active        bool       `json:"active"`
	EmailVerified bool       `json:"email_verified"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	LastLoginAt   *time.Time `json:"last_login_at"`
}

// call is one subcommand's talk with the control handlers.
type call struct {
	*client
	ctx context.Context
	cfg *loaded
}

// withClient makes a subcommand of what is done with a client.
func (p *program) withClient(do func(*call, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := p.load()
		if err != nil {
			return err
		}
		c, err := p.dial(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		return do(&call{c, cmd.Context(), cfg}, args)
	}
}

func (p *program) userCommand() *cobra.Command {
	user := &cobra.Command{Use: "user", Short: "Look at and change accounts, also beside a running server"}
	user.AddCommand(p.userAdd(), p.userList(), p.userShow(), p.userPasswd(), p.userRoles(),
		p.userActive("disable", false), p.userActive("enable", true), p.userDelete(),
		p.userLogout(), p.userUnlock(), p.userReset(), p.userSessions(), p.userEvents(), p.userImport(), p.userExport())
	return group(user)
}

// user finds an account by username or email.
func (c *client) user(ctx context.Context, login string) (account, error) {
	got, err := c.look(ctx, login)
	return got.User, err
}

// found is an account, and whether failures to sign in keep people out of it.
type found struct {
	User   account `json:"user"`
	Locked bool    `json:"locked"`
}

func (c *client) look(ctx context.Context, login string) (got found, err error) {
	err = c.call(ctx, "GET", "/control/users/"+url.PathEscape(login), nil, &got)
	if no := (*refused)(nil); errors.As(err, &no) && no.Status == http.StatusNotFound {
		where := ""
		if c.place != "" {
			where = " in " + c.place
		}
		return found{}, fmt.Errorf("nobody is called %s%s: doorward user list shows who there is", login, where)
	}
	return got, err
}

func (p *program) userAdd() *cobra.Command {
	var roles []string
	var verified, fromStdin bool
	cmd := &cobra.Command{
		Use:   "add LOGIN [--role R]... [--verified] [--password-stdin]",
		Short: "Make an account; LOGIN is a username or an email address",
	}
	cmd.Flags().StringArrayVar(&roles, "role", nil, "give this `role` instead of accounts.default_roles; may be repeated")
	cmd.Flags().BoolVar(&verified, "verified", false, "the email address is known to be theirs")
	p.addPassword(cmd, &fromStdin)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := p.password(fromStdin)
		if err != nil {
			return err
		}
		p.begins = true // a first admin may be made before the server has run
		body := map[string]any{"email_verified": verified}
		if strings.Contains(args[0], "@") {
			body["email"] = args[0]
		} else {
			body["username"] = args[0]
		}
		if password != "" {
			body["password"] = password
		}
		if roles != nil {
			body["roles"] = roles
		}
		return p.withClient(func(c *call, _ []string) error { return p.add(c, args[0], body) })(cmd, args)
	}
	return cmd
}

func (p *program) add(c *call, login string, body map[string]any) error {
	var got struct {
		User     account `json:"user"`
		Password string  `json:"password"`
	}
	if err := c.call(c.ctx, "POST", "/admin/users", body, &got); err != nil {
		return err
	}
	p.warnOfRoles(c.cfg, got.User.Roles)
	if body["password"] == nil && got.Password == "" {
		fmt.Fprintf(p.stdout, "%s is invited by mail to choose a password; roles: %s\n", login, rolesText(got.User.Roles))
		return nil
	}
	fmt.Fprintf(p.stdout, "%s can sign in; roles: %s\n", login, rolesText(got.User.Roles))
	p.printPassword(got.Password)
	return nil
}

func (p *program) userList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List accounts, newest first",
		RunE: p.withClient(func(c *call, _ []string) error {
			users, err := c.users(c.ctx)
			if err != nil {
				return err
			}
			return p.printUsers(users)
		}),
	}
	p.addOutput(cmd)
	return cmd
}

// users reads every page of the listing.
func (c *client) users(ctx context.Context) ([]account, error) {
	all := []account{}
	query := url.Values{"limit": {"100"}}
	for {
		var page struct {
			Users []account `json:"users"`
		}
		if err := c.call(ctx, "GET", "/admin/users?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Users...)
		if len(page.Users) < 100 {
			return all, nil
		}
		query.Set("after", page.Users[len(page.Users)-1].ID)
	}
}

func (p *program) printUsers(users []account) error {
	if p.output == "json" {
		return p.printJSON(map[string]any{"users": users})
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USERNAME\tEMAIL\tROLES\tSTATE\tLAST SIGN-IN")
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", orDash(u.Username), orDash(u.Email), rolesText(u.Roles), state(u), lastLogin(u))
	}
	return w.Flush()
}

func (p *program) userShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show LOGIN", Short: "Show one account",
		RunE: p.withClient(func(c *call, args []string) error {
			got, err := c.look(c.ctx, args[0])
			if err != nil {
				return err
			}
			return p.printUser(got)
		}),
	}
	p.addOutput(cmd)
	return cmd
}

func (p *program) printUser(got found) error {
	if p.output == "json" {
		return p.printJSON(got)
	}
	u, status, verified := got.User, state(got.User), "no"
	if got.Locked {
		status += ", locked after too many wrong passwords"
	}
	if u.EmailVerified {
		verified = "yes"
	}
	for _, row := range [][2]string{
		{"id", u.ID}, {"username", orDash(u.Username)}, {"email", orDash(u.Email)}, {"email verified", verified},
		{"name", orDash(u.Name)}, {"roles", rolesText(u.Roles)}, {"state", status},
		{"created", stamp(u.CreatedAt)}, {"updated", stamp(u.UpdatedAt)}, {"last sign-in", lastLogin(u)},
	} {
		fmt.Fprintf(p.stdout, "%-15s %s\n", row[0]+":", row[1])
	}
	return nil
}

func (p *program) userPasswd() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "passwd LOGIN [--password-stdin]",
		Short: "Set a password; every session of the account ends",
	}
	p.addPassword(cmd, &fromStdin)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := p.password(fromStdin)
		if err != nil {
			return err
		}
		body := map[string]any{}
		if password != "" {
			body["password"] = password
		}
		return p.withClient(func(c *call, args []string) error {
			var made struct {
				Password string `json:"password"`
			}
			if err := c.change(args[0], "POST", "/password", body, &made); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s has a new password; every session of the account has ended\n", args[0])
			p.printPassword(made.Password)
			return nil
		})(cmd, args)
	}
	return cmd
}

// change does something to the account that is called login.
func (c *call) change(login, method, what string, body, out any) error {
	u, err := c.user(c.ctx, login)
	if err != nil {
		return err
	}
	err = c.call(c.ctx, method, "/admin/users/"+url.PathEscape(u.ID)+what, body, out)
	if no := (*refused)(nil); errors.As(err, &no) && no.Code == "LAST_ADMIN" {
		return fmt.Errorf("%s is the only active admin: make someone else one first (doorward user roles LOGIN %s)", login, c.cfg.adminRoles())
	}
	return err
}

func (p *program) userActive(verb string, active bool) *cobra.Command {
	short, done := "Keep an account from signing in and end its sessions", "is disabled; every session of the account has ended"
	if active {
		short, done = "Let a disabled or locked account sign in again: failures counted against it are forgotten", "can sign in again; failures counted against it are forgotten"
	}
	return &cobra.Command{
		Use: verb + " LOGIN", Short: short,
		RunE: p.withClient(func(c *call, args []string) error {
			if err := c.change(args[0], "PATCH", "", map[string]any{"active": active}, nil); err != nil {
				return err
			}
			if active {
				if err := c.change(args[0], "POST", "/unlock", nil, nil); err != nil {
					return err
				}
			}
			fmt.Fprintln(p.stdout, args[0], done)
			return nil
		}),
	}
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func rolesText(roles []string) string {
	if len(roles) == 0 {
		return "none"
	}
	return strings.Join(roles, ", ")
}

func state(u account) string {
	if u.Active {
		return "active"
	}
	return "disabled"
}

func lastLogin(u account) string {
	if u.LastLoginAt == nil {
		return "never"
	}
	return stamp(*u.LastLoginAt)
}
