// Command bench measures what a checked request costs, beside the alternatives.
//
// Every contender stands on loopback in front of the same nginx and does the
// same work: verify a bearer token, check a role, tell the upstream who the
// request is from, forward. Before anything is timed each one must refuse what
// it should refuse. The proxy has one processor; the load generator and the
// upstream share another. Contenders take turns in short slices, many rounds,
// so that what happens on the machine meanwhile falls on all alike: times are
// this machine's, ratios within one run are what counts.
//
// contenders.go says who takes part, conf/ how each is configured, measure.go
// what is counted, report.go what is printed. storm.go is another question:
// what a storm of sign-ins does to everyone else. And three more are put to the
// gateway alone, in front of an application that can misbehave (stand.go):
// long.go, what connections cost that are open and idle; excess.go, what too
// much of anything does; soak.go, whether it stays the same for as long as it runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	rounds int
	slice  time.Duration
	only   string
	before string
	out    string
	storm  time.Duration
	soak   time.Duration
	rate   int
	long   bool
	excess bool
	load   string // of the machine, before we add to it
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 10, "how often each contender is measured")
	flag.DurationVar(&o.slice, "slice", 3*time.Second, "for how long, in whole seconds")
	flag.StringVar(&o.only, "only", "", "only contenders whose name this regular expression finds")
	flag.StringVar(&o.before, "before", "", "another build of doorward to measure along")
	flag.StringVar(&o.out, "out", "", "write the results to this Markdown file, and a plot beside it")
	flag.DurationVar(&o.storm, "storm", 0, "measure a storm of sign-ins for this long instead")
	flag.DurationVar(&o.soak, "soak", 0, "soak for this long instead")
	flag.IntVar(&o.rate, "rate", 300, "with so many requests a second")
	flag.BoolVar(&o.excess, "excess", false, "measure too much of everything instead")
	flag.BoolVar(&o.long, "long", false, "measure long connections instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// site is where the measurement takes place.
type site struct {
	dir               string
	proxyCPU, loadCPU int
	upstreamPort      int
	began             time.Time
	ttl               time.Duration // of tokens
	crowd             crowd
	tokens            map[string]*tokens // by algorithm
	upstream          *process
	running           []*process
}

// tokens are those of one algorithm.
type tokens struct {
	signer                    *signer
	issued                    time.Time
	hot, expired, guest, left string
	all                       []string // one for every session
	file                      string   // of them
}

func run(ctx context.Context, o options) error {
	if o.rounds < 1 || o.rounds > 100 || o.slice < time.Second || o.slice > time.Minute || o.storm < 0 || o.storm > 5*time.Minute {
		return fmt.Errorf("write 1 to 100 rounds of slices of 1s to 1m, or a storm of at most 5m")
	}
	o.load = loadAverage()
	switch {
	case o.soak != 0:
		return soak(ctx, o)
	case o.excess:
		return excess(ctx, o)
	case o.long:
		return long(ctx, o)
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	s, err := openSite(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if o.storm > 0 {
		return storm(ctx, s, o)
	}
	var all []*contender
	for _, c := range field(map[string]string{"Doorward": s.file("doorward"), "Doorward before": o.before}) {
		if only.MatchString(c.name) {
			all = append(all, c)
		}
	}
	for _, c := range all {
		if err := s.run(ctx, c); err != nil {
			return err
		}
		if err := s.holds(ctx, c); err != nil {
			return err
		}
	}
	s.say("%d contenders run, and refuse what they should", len(all))
	if err := rounds(ctx, s, all, o.rounds, o.slice); err != nil {
		return err
	}
	return publish(ctx, all, o)
}

// openSite builds what is ours, signs everyone in and starts the upstream.
func openSite(ctx context.Context) (*site, error) {
	s := &site{began: time.Now().Truncate(time.Second), ttl: ttl, tokens: map[string]*tokens{}}
	var err error
	if s.proxyCPU, s.loadCPU, err = twoCPUs(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "doorward-bench-"); err != nil {
		return nil, err
	}
	if err := s.furnish(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *site) furnish(ctx context.Context) error {
	for target, pkg := range map[string]string{"doorward": "./cmd/doorward", "bare": "./bench/bare"} {
		if _, _, err := output(ctx, nil, "go", "build", "-o", s.file(target), pkg); err != nil {
			return err
		}
	}
	script, err := conf.ReadFile("conf/load.lua")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file("load.lua"), script, 0o600); err != nil {
		return err
	}
	if s.crowd, err = populate(ctx, "bolt:"+s.file("people.db"), s.began); err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		if s.tokens[algorithm], err = s.issue(algorithm); err != nil {
			return err
		}
	}
	up := &contender{name: "upstream", start: func(_ context.Context, s *site, c *contender) (*process, error) {
		file, err := s.render("upstream.conf", c, nil)
		if err != nil {
			return nil, err
		}
		return start(s.loadCPU, file+".log", "nginx", "-c", file, "-e", file+".err")
	}}
	err = s.run(ctx, up)
	s.upstreamPort, s.upstream = up.port, up.process
	return err
}

// issue makes the tokens of one algorithm.
func (s *site) issue(algorithm string) (*tokens, error) {
	signer, err := newSigner(algorithm, s.ttl, s.began)
	if err != nil {
		return nil, err
	}
	t, err := s.sign(signer, s.crowd.members, s.began)
	if err != nil {
		return nil, err
	}
	t.file = s.file("tokens-" + algorithm)
	return t, os.WriteFile(t.file, []byte(strings.Join(t.all, "\n")+"\n"), 0o600)
}

// sign makes the tokens of some of the crowd, as of some moment.
func (s *site) sign(signer *signer, members []signedIn, at time.Time) (*tokens, error) {
	t := &tokens{signer: signer, issued: at}
	var err error
	if t.all, err = signer.mintAll(members, at); err != nil {
		return nil, err
	}
	t.hot = t.all[0]
	for _, one := range []struct {
		to *string
		in signedIn
		at time.Time
	}{
		{&t.expired, members[0], at.Add(-2 * s.ttl)},
		{&t.guest, s.crowd.guest, at},
		{&t.left, s.crowd.left, at},
	} {
		if *one.to, err = signer.mint(one.in, one.at); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// close ends everything that was started and removes what it left.
func (s *site) close() {
	for _, p := range s.running {
		p.stop()
	}
	os.RemoveAll(s.dir)
}

// twoCPUs finds two processors we may use, one for the proxy alone.
func twoCPUs() (int, int, error) {
	out, err := exec.Command("taskset", "-cp", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("taskset: %w", err)
	}
	_, list, _ := strings.Cut(strings.TrimSpace(string(out)), "list: ")
	cpus, err := parseCPUs(list)
	if err == nil && len(cpus) < 2 {
		err = fmt.Errorf("two processors are needed, one for the proxy alone; here is %s", list)
	}
	if err != nil {
		return 0, 0, err
	}
	return cpus[0], cpus[1], nil
}

// parseCPUs reads a list like 0-2,5.
func parseCPUs(list string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(list, ",") {
		from, to, found := strings.Cut(part, "-")
		if !found {
			to = from
		}
		a, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		b, err := strconv.Atoi(to)
		if err != nil {
			return nil, err
		}
		for cpu := a; cpu <= b; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
