package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/doorward/doorward/gateway"
	"github.com/doorward/doorward/policy"
)

func (p *program) explainCommand() *cobra.Command {
	var as, roles string
	cmd := &cobra.Command{
		Use:   "explain METHOD URL-or-path [--as LOGIN | --roles a,b]",
		Short: "Say whether a request would be allowed, by which route, and why",
		Example: `  doorward explain GET /admin/users
  doorward explain GET https://app.example.com/admin --roles admin
  doorward explain DELETE /api/items/7 --as alice`,
		RunE: func(cmd *cobra.Command, args []string) error {
			// Not by cobra's flag groups: it judges them after PreRun, when a call
			// counts as understood.
			if cmd.Flags().Changed("as") && cmd.Flags().Changed("roles") {
				return usageError{errors.New("--as and --roles exclude each other: write one of them")}
			}
			cfg, err := p.load()
			if err != nil {
				return err
			}
			caller := policy.Caller{}
			switch {
			case as != "":
				if caller, err = p.caller(cmd, cfg, as); err != nil {
					return err
				}
			case cmd.Flags().Changed("roles"):
				caller = policy.Caller{SignedIn: true, Roles: splitList(roles), Verified: true}
			}
			return p.explain(cfg, args[0], args[1], caller)
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "judge as this `LOGIN`, with its roles of now")
	cmd.Flags().StringVar(&roles, "roles", "", "judge as someone signed in, verified, with these `roles`")
	return cmd
}

// caller is an account as the policy sees it.
func (p *program) caller(cmd *cobra.Command, cfg *loaded, login string) (policy.Caller, error) {
	c, err := p.dial(cmd.Context(), cfg)
	if err != nil {
		return policy.Caller{}, err
	}
	defer c.close()
	u, err := c.user(cmd.Context(), login)
	if err != nil {
		return policy.Caller{}, err
	}
	if !u.Active {
		return policy.Caller{}, fmt.Errorf("%s is disabled and gets in nowhere: doorward user enable %s", login, login)
	}
	return policy.Caller{SignedIn: true, Roles: u.Roles, Verified: u.EmailVerified}, nil
}

// explain prints the decision. Refused is an answer, and exit code 1.
func (p *program) explain(cfg *loaded, method, where string, caller policy.Caller) error {
	req, err := request(cfg, method, where)
	if err != nil {
		return usageError{err}
	}
	compiled, err := cfg.policy()
	if err != nil {
		return err
	}
	if gateway.NeverPasses(method) {
		fmt.Fprintf(p.stdout, "refused %s\nrule: none\nbecause: %s is refused before any rule is asked\n", policy.MethodNotAllowed, method)
		return errRefused
	}
	if own(cfg.Server.Prefix, req.Target) {
		fmt.Fprintf(p.stdout, "allowed\nrule: none\nbecause: %s is Doorward's own: it answers there itself, and says who may in its API description\nreadings:\n", cfg.Server.Prefix)
		return nil
	}
	e := compiled.Explain(req, caller)
	if e.OK() {
		fmt.Fprintln(p.stdout, "allowed")
	} else {
		fmt.Fprintln(p.stdout, "refused", e.Code)
	}
	fmt.Fprintln(p.stdout, "rule:", cfg.rule(e.Rule))
	fmt.Fprintln(p.stdout, "because:", plain(e.Because))
	fmt.Fprintln(p.stdout, "readings:")
	for _, r := range e.Readings {
		fmt.Fprintln(p.stdout, " ", cfg.reading(r))
	}
	if !e.OK() {
		return errRefused
	}
	if limit := cfg.limitOf(e.Rule); limit != "" {
		fmt.Fprintln(p.stdout, "limit:", limit)
	}
	return nil
}

// limitOf is how often what is allowed is allowed, and which key says so; "" for
// as often as one likes.
func (l *loaded) limitOf(rule int) string {
	rate, path := l.Limits.Requests, "limits.requests"
	if own := l.Routes[rule].Limit; own.N > 0 {
		rate, path = own, fmt.Sprintf("routes[%d].limit", rule)
	}
	if rate.N == 0 {
		return ""
	}
	return fmt.Sprintf("%s for each user, or client that is not signed in (%s, %s); past it 429 RATE_LIMITED", rate, path, l.place(path))
}

// request takes a URL apart, or puts a path on the public URL's host. Nothing
// is decoded: the target is judged as it would arrive.
func request(cfg *loaded, method, where string) (policy.Request, error) {
	public, err := url.Parse(cfg.Server.PublicURL)
	if err != nil {
		return policy.Request{}, err
	}
	r := policy.Request{Method: method, Host: public.Host, Target: where}
	if scheme, rest, ok := strings.Cut(where, "://"); ok && !strings.HasPrefix(where, "/") {
		if scheme != "http" && scheme != "https" {
			return r, fmt.Errorf("%s: write an http or https URL, or a path that begins with /", where)
		}
		end := len(rest)
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			end = i
		}
		r.Host, r.Target = rest[:end], rest[end:]
		if !strings.HasPrefix(r.Target, "/") {
			r.Target = "/" + r.Target
		}
	}
	if r.Target == "" || method == "" {
		return r, errors.New("write a method and a path, such as GET /admin/")
	}
	if method != strings.ToUpper(method) {
		return r, fmt.Errorf("methods are upper case: write %s", strings.ToUpper(method))
	}
	return r, nil
}

// own reports whether the target is literally one of our own endpoints.
func own(prefix, target string) bool {
	path, _, _ := strings.Cut(target, "?")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// rule names a route: index, pattern, file and line.
func (l *loaded) rule(i int) string {
	if i < 0 {
		return "none"
	}
	r := l.Routes[i]
	methods := ""
	if len(r.Methods) > 0 {
		methods = " [" + strings.Join(r.Methods, ", ") + "]"
	}
	return fmt.Sprintf("%d %s%s%s (%s)", i, r.Host, r.Path, methods, l.place(fmt.Sprintf("routes[%d]", i)))
}

// reading is one line about what the path could be read as.
func (l *loaded) reading(r policy.Reading) string {
	code := "allowed"
	if r.Code != policy.Allowed {
		code = "refused " + string(r.Code)
	}
	rule := "no rule"
	if r.Rule >= 0 {
		rule = fmt.Sprintf("rule %d", r.Rule)
	}
	how := ""
	switch {
	case r.Primary:
		how = ", primary"
	case r.Folded:
		how = ", without regard to case"
	}
	return fmt.Sprintf("%s: %s, %s%s", plain(r.Path), code, rule, how)
}

// plain is text with what would not show, or would turn the text around it,
// written out: the path that is explained is often a stranger's.
func plain(text string) string {
	var b strings.Builder
	for _, c := range text {
		if strconv.IsPrint(c) {
			b.WriteRune(c)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(c), "'"))
		}
	}
	return b.String()
}
