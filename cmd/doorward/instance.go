package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/gateway"
	"github.com/doorward/doorward/store"
)

// instance is everything behind the listeners: store, people, gateway. The
// server holds one for as long as it runs, a subcommand without a server for
// one call.
type instance struct {
	log     *slog.Logger
	store   authn.Store
	authn   *authn.Service
	metrics *gateway.Metrics
	server  *gateway.Server

	env      []string     // what load reads besides the file
	setLevel func(string) // changes the log's level

	reloading sync.Mutex
	cfg       *loaded // in use; under reloading once the server runs
}

// open opens the store and puts the rest on it. Mails wait in the store until
// the server is ready; those to "log:" are written to mails then. Close the
// instance when done.
func open(ctx context.Context, cfg *loaded, env []string, log *slog.Logger, mails io.Writer) (*instance, error) {
	in := &instance{log: log, metrics: gateway.NewMetrics(), cfg: cfg, env: env, setLevel: func(string) {}}
	mailer, err := openMailer(cfg, mails)
	if err != nil {
		return nil, err
	}
	in.store, err = store.Open(ctx, cfg.Store.URL, store.Options{Observe: in.metrics.Store})
	if err != nil {
		return nil, err
	}
	in.authn, err = authn.New(ctx, authn.Deps{
		Config: cfg.authn(), Store: in.store, Now: time.Now, Log: log, Observe: in.metrics.Authn,
		Mail: mailer, MailLater: true,
	})
	if err != nil {
		return nil, errors.Join(err, in.store.Close())
	}
	in.server, err = gateway.New(gateway.Deps{
		Config: cfg.gateway(), Authn: in.authn, Log: log, Now: time.Now, Metrics: in.metrics, Build: build(),
		Reload: func(ctx context.Context) error { return in.reload(ctx, authn.Actor{ID: authn.ActorCLI}) },
		Backup: func(ctx context.Context, file string) error { return store.Backup(ctx, in.store, file) },
	})
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

// close ends the background work, then gives the store back.
func (in *instance) close() error {
	return errors.Join(in.authn.Close(), in.store.Close())
}

// live is what a running server can change: every key within these. The rest
// is built into what runs, and takes a restart.
var live = []string{"routes", "upstreams", "limits", "cors", "identity", "log.level", "log.access"}

// reload reads the configuration again and puts it in the place of the one in
// use, whole or not at all. Either way the security log says so.
func (in *instance) reload(ctx context.Context, a authn.Actor) error {
	in.reloading.Lock()
	defer in.reloading.Unlock()
	next, err := in.adopt()
	if err != nil {
		in.metrics.Reloaded(false)
		problems := strings.Split(err.Error(), "\n")
		in.log.Error("configuration rejected: the one in use stays", "problems", problems)
		in.record(ctx, authn.ConfigRejected, a, map[string]string{"problems": fmt.Sprint(len(problems)), "first": problems[0]})
		return err
	}
	in.cfg = next
	in.setLevel(next.Log.Level)
	in.log.Info("configuration loaded", "file", next.file, "routes", len(next.Routes))
	for _, warning := range next.warnings {
		in.log.Warn(warning)
	}
	in.record(ctx, authn.ConfigLoaded, a, map[string]string{"file": next.file})
	return nil
}

// adopt loads the configuration and hands it to the gateway, unless it asks
// for more than a running server can do.
func (in *instance) adopt() (*loaded, error) {
	next, err := load(in.cfg.file, in.env)
	if err != nil {
		return nil, err
	}
	if problems := in.cfg.needRestart(next); len(problems) > 0 {
		return nil, &configError{file: next.file, problems: problems}
	}
	if err := in.server.Reload(next.gateway()); err != nil {
		return nil, err
	}
	in.authn.SetMailLimit(next.authn().Mail.Limit)
	return next, nil
}

// record writes an event. That it could not be written undoes nothing.
func (in *instance) record(ctx context.Context, k authn.Kind, a authn.Actor, detail map[string]string) {
	if err := in.authn.Record(ctx, k, a, detail); err != nil {
		in.log.Error("the security log could not be written", "kind", string(k), "error", err)
	}
}
