package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed conf
var conf embed.FS

// contender is one proxy under one kind of load.
type contender struct {
	name      string
	algorithm string // of the tokens it checks; "" if it asks nobody who they are
	many      bool   // every request has another token
	revokes   bool   // a token dies with its session
	start     func(context.Context, *site, *contender) (*process, error)

	port    int
	process *process
	samples []sample
}

// tokenAlgorithm is the algorithm of the token it is sent: also those who do
// not look get one, as the bytes cost them too.
func (c *contender) tokenAlgorithm() string {
	if c.algorithm == "" {
		return "EdDSA"
	}
	return c.algorithm
}

func (c *contender) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", c.port, path)
}

// The names the ratios are taken to. A load of many tokens costs also who does
// not look at them: wrk takes longer to send it, so its peers sleep and are
// woken more often. So that load is compared with itself.
const (
	bareName  = "ReverseProxy, no auth"
	plainName = "HAProxy, no auth"
	rs256Name = "HAProxy RS256"
	manyMark  = ", 10,000 tokens"
)

// field is everyone who is measured. Other builds of Doorward may run along,
// to compare one with its predecessor.
func field(builds map[string]string) []*contender {
	all := []*contender{
		{name: "nginx, no auth", start: startNginx},
		{name: plainName, start: startHAProxy},
		{name: "HAProxy HS256", algorithm: "HS256", start: startHAProxy},
		{name: rs256Name, algorithm: "RS256", start: startHAProxy},
		{name: "HAProxy ES256", algorithm: "ES256", start: startHAProxy},
		{name: bareName, start: startBare},
		{name: plainName + manyMark, many: true, start: startHAProxy},
		{name: rs256Name + manyMark, many: true, algorithm: "RS256", start: startHAProxy},
		{name: bareName + manyMark, many: true, start: startBare},
	}
	for _, name := range []string{"Doorward", "Doorward before"} {
		if builds[name] == "" {
			continue
		}
		for _, algorithm := range algorithms {
			run := startDoorward(builds[name])
			all = append(all,
				&contender{name: name + " " + algorithm + ", one token", algorithm: algorithm, revokes: true, start: run},
				&contender{name: name + " " + algorithm + manyMark, algorithm: algorithm, revokes: true, many: true, start: run})
		}
	}
	return all
}

var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

func startNginx(ctx context.Context, s *site, c *contender) (*process, error) {
	file, err := s.render("nginx.conf", c, nil)
	if err != nil {
		return nil, err
	}
	return start(s.proxyCPU, file+".log", "nginx", "-c", file, "-e", file+".err")
}

func startHAProxy(ctx context.Context, s *site, c *contender) (*process, error) {
	key := ""
	if c.algorithm != "" {
		signer := s.tokens[c.algorithm].signer
		if key = signer.secret; key == "" {
			public, err := signer.public()
			if err != nil {
				return nil, err
			}
			key = s.file(c.algorithm + ".pem")
			if err := os.WriteFile(key, public, 0o600); err != nil {
				return nil, err
			}
		}
	}
	file, err := s.render("haproxy.cfg", c, map[string]any{"Key": key})
	if err != nil {
		return nil, err
	}
	return start(s.proxyCPU, file+".log", "haproxy", "-db", "-f", file)
}

func startBare(ctx context.Context, s *site, c *contender) (*process, error) {
	return start(s.proxyCPU, s.file(fmt.Sprintf("bare-%d.log", c.port)), s.file("bare"),
		fmt.Sprintf("127.0.0.1:%d", c.port), fmt.Sprintf("http://127.0.0.1:%d", s.upstreamPort))
}

// startDoorward starts a build on a store of its own, where the whole crowd is
// signed in.
func startDoorward(program string) func(context.Context, *site, *contender) (*process, error) {
	return func(ctx context.Context, s *site, c *contender) (*process, error) {
		return s.startDoorward(ctx, c, program, s.proxyCPU)
	}
}

func (s *site) startDoorward(ctx context.Context, c *contender, program string, cpu int) (*process, error) {
	signer := s.tokens[c.algorithm].signer
	ops, err := freePort()
	if err != nil {
		return nil, err
	}
	file, err := s.render("doorward.yaml", c, map[string]any{"Ops": ops, "Secret": signer.secret})
	if err != nil {
		return nil, err
	}
	db := filepath.Join(filepath.Dir(file), "doorward.db")
	people, err := os.ReadFile(s.file("people.db"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(db, people, 0o600); err != nil {
		return nil, err
	}
	if err := signer.keep(ctx, "bolt:"+db, s.began); err != nil {
		return nil, err
	}
	return start(cpu, file+".log", program, "serve", "--config", file)
}

// render writes a configuration into a directory of the contender's own.
func (s *site) render(name string, c *contender, more map[string]any) (string, error) {
	dir := s.file(fmt.Sprintf("%s-%d", strings.SplitN(name, ".", 2)[0], c.port))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	values := map[string]any{
		"Dir": dir, "Port": c.port, "Upstream": s.upstreamPort, "Algorithm": c.algorithm, "Issuer": issuer, "TTL": s.ttl,
		"Body": strings.Repeat("0123456789abcdef", 64),
	}
	for k, v := range more {
		values[k] = v
	}
	t, err := template.ParseFS(conf, "conf/"+name)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	return file, os.WriteFile(file, b.Bytes(), 0o600)
}

// run starts a contender and waits until it takes connections.
func (s *site) run(ctx context.Context, c *contender) (err error) {
	if c.port, err = freePort(); err != nil {
		return err
	}
	if c.process, err = c.start(ctx, s, c); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	s.running = append(s.running, c.process)
	return c.process.awaits(ctx, c.port)
}

// awaits returns once something listens on the port, or the program has ended.
func (p *process) awaits(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("%s ended: %v: %s", p.cmd, err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen: %s", p.cmd, p.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freePort is a port of loopback nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
