package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// stand is what soak.go, long.go and excess.go measure: the gateway in front of
// an application that can also misbehave. Nothing is pinned: gateway,
// application and load share all processors.
type stand struct {
	*site
	gateway, backend *contender
	settings         settings
	ops              int
	config           string // file
}

// settings is what differs between them.
type settings struct {
	proxies   string // trusted to say where a request comes from
	retention time.Duration
	ttl       time.Duration // of tokens
}

const standAlgorithm = "EdDSA"

// openStand builds and starts both, with everyone signed in.
func openStand(ctx context.Context, set settings) (*stand, error) {
	if err := allDescriptors(); err != nil {
		return nil, err
	}
	s := &site{ttl: set.ttl, tokens: map[string]*tokens{}}
	var err error
	if s.dir, err = os.MkdirTemp("", "doorward-stand-"); err != nil {
		return nil, err
	}
	st := &stand{site: s, settings: set}
	if err := st.furnish(ctx); err != nil {
		s.close()
		return nil, err
	}
	return st, nil
}

func (st *stand) furnish(ctx context.Context) error {
	for target, pkg := range map[string]string{"doorward": "./cmd/doorward", "backend": "./bench/backend"} {
		if _, _, err := output(ctx, nil, "go", "build", "-o", st.file(target), pkg); err != nil {
			return err
		}
	}
	st.began = time.Now().Truncate(time.Second) // not before: to build can take longer than a token lasts
	var err error
	if st.crowd, err = populate(ctx, "bolt:"+st.file("people.db"), st.began); err != nil {
		return err
	}
	if st.tokens[standAlgorithm], err = st.issue(standAlgorithm); err != nil {
		return err
	}
	st.backend = &contender{name: "backend", start: startBackend}
	if err := st.run(ctx, st.backend); err != nil {
		return err
	}
	st.upstreamPort, st.upstream = st.backend.port, st.backend.process
	st.gateway = &contender{name: "Doorward", algorithm: standAlgorithm, revokes: true, start: st.startGateway}
	return st.run(ctx, st.gateway)
}

func startBackend(_ context.Context, s *site, c *contender) (*process, error) {
	return start(-1, s.file("backend.log"), s.file("backend"), fmt.Sprintf("127.0.0.1:%d", c.port))
}

func (st *stand) startGateway(ctx context.Context, s *site, c *contender) (p *process, err error) {
	if st.ops, err = freePort(); err != nil {
		return nil, err
	}
	if st.config, err = st.configure(""); err != nil {
		return nil, err
	}
	db := st.storeFile()
	people, err := os.ReadFile(s.file("people.db"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(db, people, 0o600); err != nil {
		return nil, err
	}
	if err := s.tokens[standAlgorithm].signer.keep(ctx, "bolt:"+db, s.began); err != nil {
		return nil, err
	}
	return start(-1, st.config+".log", s.file("doorward"), "serve", "--config", st.config)
}

// configure writes the configuration, with more lines of YAML below the routes.
func (st *stand) configure(extra string) (string, error) {
	return st.render("endure.yaml", st.gateway, map[string]any{
		"Ops": st.ops, "Algorithm": standAlgorithm, "Proxies": st.settings.proxies,
		"Retention": st.settings.retention, "Extra": extra,
	})
}

func (st *stand) storeFile() string { return filepath.Join(filepath.Dir(st.config), "doorward.db") }

// restartBackend ends the application in the middle of whatever it does, and
// starts it again on its port.
func (st *stand) restartBackend(ctx context.Context, away time.Duration) error {
	old := st.backend.process
	_ = syscall.Kill(-old.cmd.Process.Pid, syscall.SIGKILL)
	old.stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(away):
	}
	p, err := startBackend(ctx, st.site, st.backend)
	if err != nil {
		return err
	}
	for i := range st.running {
		if st.running[i] == old {
			st.running[i] = p
		}
	}
	st.backend.process, st.upstream = p, p
	return p.awaits(ctx, st.backend.port)
}

// allDescriptors raises the number of files we, and what we start, may open to
// what the system allows.
func allDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return nil
}

// loopback is the nth address of loopback to call from. Each has ports of its
// own, and to the gateway each is another client.
func loopback(n int) net.IP {
	n++ // 127.1.0.0 is nobody's choice
	return net.IPv4(127, byte(1+n>>16&0x7f), byte(n>>8), byte(n))
}

// clientFrom calls from one address.
func clientFrom(ip net.IP) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: ip}}
	return &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: d.DialContext, DisableCompression: true,
			MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second,
		},
	}
}
