package main

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/gateway"
	"github.com/doorward/doorward/store"
)

func (p *program) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway (what doorward does without a subcommand)",
		RunE:  func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context()) },
	}
}

// serve runs the gateway until it is told to stop.
func (p *program) serve(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	cfg, err := load(p.configFile(), p.env)
	if err != nil {
		return err
	}
	log := openLog(p.stderr, cfg.Log)
	defer log.Close()
	stdlog.SetFlags(0)
	stdlog.SetOutput(hushed{log.Logger})
	defer stdlog.SetOutput(os.Stderr)
	in, err := open(ctx, cfg, p.env, log.Logger, log.lines)
	if errors.Is(err, store.ErrLocked) {
		return errors.Join(err, cfg.portTaken())
	}
	if err != nil {
		return err
	}
	in.setLevel = log.setLevel
	defer collectLess(p.getenv("GOGC"))()
	listeners, err := listen(cfg, log)
	if err != nil {
		return errors.Join(err, in.close())
	}
	in.ready(ctx, listeners)
	return in.serve(ctx, listeners, signals)
}

// ready says what runs where, as the first line of the log.
func (in *instance) ready(ctx context.Context, on gateway.Listeners) {
	ops := ""
	if on.Ops != nil {
		ops = on.Ops.Addr().String()
	}
	in.log.Info("ready", "listen", on.Public.Addr().String(), "ops_listen", ops,
		"public_url", in.cfg.Server.PublicURL, "routes", len(in.cfg.Routes),
		"registration", in.cfg.Accounts.Registration, "mail", in.cfg.Mail.way())
	in.log.Info("store", "file", store.Place(in.cfg.Store.URL))
	for _, warning := range in.cfg.warnings {
		in.log.Warn(warning)
	}
	for _, warning := range in.cfg.doubts() {
		in.log.Warn(warning)
	}
	in.record(ctx, authn.ConfigLoaded, authn.Actor{}, map[string]string{"file": in.cfg.file})
	in.authn.SendMails() // not before: the first line of the log is the one above
}

// errHurried is the end after a second signal: nothing more is waited for.
var errHurried = errors.New("stopped at once by a second signal: requests under way were cut off")

// serve runs until the first signal, or the end of ctx, has been obeyed.
func (in *instance) serve(ctx context.Context, on gateway.Listeners, signals <-chan os.Signal) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		err := in.server.Run(running, on)
		ended <- errors.Join(err, in.close())
	}()
	for {
		select {
		case err := <-ended:
			if err == nil {
				in.log.Info("stopped")
			}
			return err
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				// Reports its own failure; beside the loop, so that no signal waits for it.
				go in.reload(ctx, authn.Actor{})
			case running.Err() != nil:
				return errHurried
			default:
				stop()
			}
		}
	}
}

// listen opens every listener there is to be, or none.
func listen(cfg *loaded, log *logbook) (on gateway.Listeners, err error) {
	var opened []net.Listener
	defer func() {
		if err != nil {
			for _, l := range opened {
				l.Close()
			}
		}
	}()
	for _, want := range []struct {
		key, address string
		to           *net.Listener
	}{
		{"server.listen", cfg.Server.Listen, &on.Public},
		{"server.ops_listen", cfg.Server.OpsListen, &on.Ops},
		{"server.tls.redirect_listen", cfg.Server.TLS.RedirectListen, &on.Redirect},
	} {
		if want.address == "" {
			continue
		}
		l, err := net.Listen("tcp", want.address)
		if err != nil {
			return on, cfg.cannotListen(want.key, want.address, err)
		}
		opened = append(opened, l)
		*want.to = l
	}
	path, err := socketPath(cfg.Store.URL)
	if err != nil {
		return on, err
	}
	control, err := listenControl(path, log.Logger)
	if err != nil {
		return on, err
	}
	on.Control = control
	return on, nil
}

// portTaken is why the public port could not be had either; nil if it could.
func (l *loaded) portTaken() error {
	probe, err := net.Listen("tcp", l.Server.Listen)
	if err != nil {
		return l.cannotListen("server.listen", l.Server.Listen, err)
	}
	return probe.Close()
}

// cannotListen says which key to change.
func (l *loaded) cannotListen(key, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		where, follow := l.place(key), ""
		if where != envName(key) {
			where += ", or " + envName(key)
		}
		if key == "server.listen" {
			follow = fmt.Sprintf(", and the port of server.public_url (%s) with it", l.place("server.public_url"))
		}
		return fmt.Errorf("%s: something else listens on %s already: stop it, or change %s (%s)%s", key, address, key, where, follow)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: only root may listen on %s: choose a port above 1023 (%s)", key, address, l.place(key))
	}
	return fmt.Errorf("%s: cannot listen on %s (%s): %w", key, address, l.place(key), err)
}
