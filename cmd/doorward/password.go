package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *program) addPassword(cmd *cobra.Command, fromStdin *bool) {
	cmd.Flags().BoolVar(fromStdin, "password-stdin", false, "read the password from standard input")
}

// maxPasswordInput is more than any password may be, and little enough to hold.
const maxPasswordInput = 64 << 10

// password reads a password: from standard input if told to, else from the
// person at the terminal. With neither it is "", and one is made. It is never
// an argument: those are in everyone's process list.
func (p *program) password(fromStdin bool) (string, error) {
	if fromStdin {
		data, err := io.ReadAll(io.LimitReader(p.stdin, maxPasswordInput))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		password := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
		if password == "" {
			return "", usageError{errors.New("--password-stdin: standard input holds no password")}
		}
		return password, nil
	}
	file, ok := p.terminal()
	if !ok {
		return "", nil
	}
	return p.askPassword(file)
}

// terminal is where a person can be asked, if standard input is one.
func (p *program) terminal() (*os.File, bool) {
	file, ok := p.stdin.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// askPassword asks twice, since nothing is shown. An empty answer means: make
// one.
func (p *program) askPassword(terminal *os.File) (string, error) {
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.stderr, prompt)
		typed, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(p.stderr)
		return string(typed), err
	}
	first, err := ask("Password (empty: one is made): ")
	if err != nil || first == "" {
		return "", err
	}
	second, err := ask("Once more: ")
	if err == nil && first != second {
		err = errors.New("the two are not the same: nothing was changed")
	}
	return first, err
}

// printPassword shows a password that was made, this once.
func (p *program) printPassword(made string) {
	if made != "" {
		fmt.Fprintf(p.stdout, "password: %s\n", made)
	}
}
