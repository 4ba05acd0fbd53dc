// Command doorward is the gateway and the tool to run it with.
//
// Without a subcommand it serves. The others look at the configuration (check,
// explain) or at the people in the store (user, keys, backup). Those work
// beside a running server, through the socket beside its store, and without
// one, on the store itself: client.go makes both look the same.
//
// One file a subcommand. config.go is the only file that knows viper;
// configfile.go and env.go say what the file and the environment mean, and
// problem.go how it is told when they mean nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// What the program ends with.
const (
	exitDone  = 0 // done, allowed, valid
	exitNot   = 1 // could not be done
	exitUsage = 2 // wrong call or configuration
)

const defaultConfigFile = "config.yaml"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// run is the program as a value: everything it touches but files and sockets
// is handed in. It returns the exit code; a ctx that ends stops a server the
// way SIGTERM does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	root := p.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	return p.exit(called, err)
}

// program is one call of the command.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            []string

	config  string // --config
	output  string // --output
	started bool   // the call was understood: what goes wrong now is no wrong call
	begins  bool   // the command may make the store where there is none

	rehearses bool // the command changes nothing: where there is no store an empty one elsewhere will do
}

// These end the program with exitNot or exitUsage; what there was to say is
// said.
var (
	errRefused = errors.New("refused")
	errInvalid = errors.New("the configuration is not valid")
)

// usageError is a call that makes no sense.
type usageError struct{ error }

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "doorward",
		Short: "An authentication gateway: users, sessions and route rules in front of any backend",
		Args:  knowsCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context()) },

		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { p.started = true },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&p.config, "config", "", "configuration `file` (default $DOORWARD_CONFIG, else ./"+defaultConfigFile+")")
	root.AddCommand(
		p.serveCommand(), p.checkCommand(), p.explainCommand(), p.userCommand(), p.keysCommand(),
		p.mailCommand(), p.backupCommand(), p.reloadCommand(), p.healthcheckCommand(), p.versionCommand(),
	)
	mind(root)
	return root
}

// exit says what went wrong with the command and returns the code for it.
func (p *program) exit(called *cobra.Command, err error) int {
	var usage usageError
	var config *configError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRefused):
		return exitNot
	case errors.Is(err, errInvalid):
		return exitUsage
	case errors.As(err, &config):
		fmt.Fprintln(p.stderr, config)
		return exitUsage
	case errors.As(err, &usage), !p.started:
		fmt.Fprintf(p.stderr, "doorward: %v\n", err)
		if !called.HasSubCommands() {
			fmt.Fprintf(p.stderr, "Usage: %s\n", called.UseLine())
		}
		fmt.Fprintf(p.stderr, "Try '%s --help'.\n", called.CommandPath())
		return exitUsage
	default:
		briefly(func() { fmt.Fprintf(p.stderr, "doorward: %v\n", err) })
		return exitNot
	}
}

// getenv is the value of an environment variable, the last one if it is set
// twice.
func (p *program) getenv(name string) string {
	value := ""
	for _, entry := range p.env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// configFile is the file to read: --config, $DOORWARD_CONFIG, ./config.yaml.
func (p *program) configFile() string {
	if p.config != "" {
		return p.config
	}
	if file := p.getenv(envConfig); file != "" {
		return file
	}
	return defaultConfigFile
}

// load reads the configuration and passes on what it warns of.
func (p *program) load() (*loaded, error) {
	cfg, err := load(p.configFile(), p.env)
	if err != nil {
		return nil, err
	}
	for _, warning := range cfg.warnings {
		fmt.Fprintln(p.stderr, "doorward: "+warning)
	}
	return cfg, nil
}

// addOutput adds --output to a command that lists.
func (p *program) addOutput(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.output, "output", "text", "text or json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if p.output != "text" && p.output != "json" {
			return usageError{fmt.Errorf("--output %s: write text or json", p.output)}
		}
		return nil
	}
}
