package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What is wrong with a call, in the words of what to write. A command's Use line
// says what it takes; it is checked against that line and nothing else.

// mind has every command below cmd say what its call lacks.
func mind(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(wrongFlag)
	for _, sub := range cmd.Commands() {
		mind(sub)
	}
	if !cmd.HasSubCommands() {
		cmd.Args = takesOperands
	}
}

// operands are what a Use line asks for: the words behind the command's name and
// before what may be left out.
func operands(cmd *cobra.Command) []string {
	taken, _, _ := strings.Cut(cmd.Use, "[")
	return strings.Fields(taken)[1:]
}

func takesOperands(cmd *cobra.Command, args []string) error {
	wanted := operands(cmd)
	switch {
	case len(args) < len(wanted):
		return usageError{fmt.Errorf("%s is missing", strings.Join(wanted[len(args):], " "))}
	case len(wanted) == 0 && len(args) > 0:
		return usageError{fmt.Errorf("%q is too much: %s takes nothing but flags", args[0], cmd.CommandPath())}
	case len(args) > len(wanted):
		return usageError{fmt.Errorf("%q is too much: %s takes %s", args[len(wanted)], cmd.CommandPath(), strings.Join(wanted, " "))}
	}
	return nil
}

// group is a command that only holds others: called alone, or with a name it
// does not hold, it is a wrong call.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := knowsCommand(cmd, args); err != nil {
			return err
		}
		return usageError{fmt.Errorf("%s needs a command: %s", cmd.CommandPath(), strings.Join(subcommands(cmd), ", "))}
	}
	return cmd
}

// knowsCommand refuses what stands where a subcommand would.
func knowsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	known := subcommands(cmd)
	return usageError{fmt.Errorf("unknown command %q for %q: %s", args[0], cmd.CommandPath(), meant(args[0], known, "there are "))}
}

// subcommands are the names below a command, in the order of its help.
func subcommands(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// wrongFlag says what flag was meant, or what one lacks.
func wrongFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		name := unknown.GetSpecifiedName()
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
		err = fmt.Errorf("unknown flag --%s: %s", name, meant("--"+name, known, cmd.CommandPath()+" knows "))
	case errors.As(err, &noValue):
		f := noValue.GetFlag()
		what, _ := pflag.UnquoteUsage(f)
		err = fmt.Errorf("--%s needs a value: write --%s %s", f.Name, f.Name, strings.ToUpper(what))
	}
	return usageError{err}
}

// meant is the known name nearest to what was written, or all of them.
func meant(written string, known []string, all string) string {
	if name, ok := nearest(written, known); ok {
		return "did you mean " + name + "?"
	}
	return all + strings.Join(known, ", ")
}
