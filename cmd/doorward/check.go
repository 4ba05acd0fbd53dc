package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/doorward/doorward/policy"
)

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the configuration",
		RunE:  func(*cobra.Command, []string) error { return p.check() },
	}
}

// check prints the problems as its result, and exits as any command would that
// met them. A valid configuration may still hold routes that look open and are
// not: those are named too.
func (p *program) check() error {
	cfg, err := p.load()
	var wrong *configError
	if errors.As(err, &wrong) {
		fmt.Fprintln(p.stdout, wrong)
		fmt.Fprintf(p.stderr, "doorward: %s is not valid\n", wrong.file)
		return errInvalid
	}
	if err != nil {
		return err
	}
	compiled, err := cfg.policy()
	if err != nil {
		return err
	}
	for _, warning := range cfg.doubts() {
		fmt.Fprintln(p.stderr, "doorward: "+warning)
	}
	fmt.Fprintf(p.stdout, "%s is valid\n", cfg.file)
	for _, h := range compiled.Hidden() {
		fmt.Fprintln(p.stdout, cfg.hidden(h))
	}
	return nil
}

// policy compiles the route table.
func (c Config) policy() (*policy.Policy, error) {
	rules := make([]policy.Rule, len(c.Routes))
	for i, r := range c.Routes {
		rules[i] = r.Rule
	}
	return policy.Compile(rules, policy.Options{Prefix: c.Server.Prefix})
}

// hidden says that a route does not guard what it seems to on the host of
// another one.
func (l *loaded) hidden(h policy.Hidden) string {
	rule, by := l.Routes[h.Rule], l.Routes[h.By]
	return fmt.Sprintf("note: on host %s, %s (%s) takes the place of %s (%s)",
		by.Host, by.Path, l.place(fmt.Sprintf("routes[%d]", h.By)), rule.Path, l.place(fmt.Sprintf("routes[%d]", h.Rule)))
}

// place is where a key is written: file and line, or the variable.
func (l *loaded) place(path string) string {
	switch from := l.origins.of(path); {
	case from.env != "":
		return from.env
	case from.line > 0:
		return fmt.Sprintf("%s:%d", l.file, from.line)
	default:
		return l.file
	}
}
