package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running server whether it is well",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			return p.healthcheck(cmd.Context(), cfg.Server.OpsListen)
		},
	}
}

func (p *program) healthcheck(ctx context.Context, listen string) error {
	address, err := reachable(listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	direct := &http.Client{Transport: &http.Transport{}} // whatever proxy the environment names
	resp, err := direct.Do(req)
	if err != nil {
		return fmt.Errorf("unhealthy: nothing answers on %s (server.ops_listen): %w", address, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("unhealthy: %s answers %s", address, resp.Status)
	}
	fmt.Fprintln(p.stdout, "healthy")
	return nil
}

// reachable is the address to call for one that is listened on: every address
// includes this machine's own.
func reachable(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	switch {
	case err != nil:
		return "", fmt.Errorf("server.ops_listen: %w", err)
	case port == "0":
		return "", errors.New("server.ops_listen has port 0, so nobody can know the port: write one")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}
