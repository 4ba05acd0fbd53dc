package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/doorward/doorward/gateway"
)

// Set by the linker: -X main.version=1.2.3 -X main.commit=abc.
var version, commit string

// build says which build this is. A build without a version of its own is
// named by what the Go tool noted of the working copy.
func build() gateway.Build {
	b := gateway.Build{Version: version, Commit: commit}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.Commit == "" {
				b.Commit = s.Value
			}
		}
		if v := info.Main.Version; b.Version == "" && v != "(devel)" {
			b.Version = v
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		RunE: func(*cobra.Command, []string) error {
			b := build()
			_, err := fmt.Fprintf(p.stdout, "doorward %s (commit %s, %s)\n", b.Version, b.Commit, runtime.Version())
			return err
		},
	}
}
