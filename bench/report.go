package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// spread is a figure measured many times.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	v := slices.Clone(values)
	slices.Sort(v)
	if len(v) == 0 {
		return spread{}
	}
	median := v[len(v)/2]
	if len(v)%2 == 0 {
		median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return spread{v[0], median, v[len(v)-1]}
}

// of is one figure of every round.
func (c *contender) of(figure func(sample) float64) spread {
	var values []float64
	for _, s := range c.samples {
		values = append(values, figure(s))
	}
	return spreadOf(values)
}

// ratio compares round by round: what the machine did in a round it did to both.
func (c *contender) ratio(to *contender) spread {
	var values []float64
	for i, s := range c.samples {
		if i < len(to.samples) {
			values = append(values, s.perRequest()/to.samples[i].perRequest())
		}
	}
	return spreadOf(values)
}

// find is who a ratio is taken to, under the same kind of load.
func find(all []*contender, name string, many bool) *contender {
	if many {
		name += manyMark
	}
	for _, c := range all {
		if c.name == name {
			return c
		}
	}
	return &contender{name: name}
}

// publish prints the results and, if wanted, writes them with their plot.
func publish(ctx context.Context, all []*contender, o options) error {
	table := table(all)
	fmt.Print(table)
	if o.out == "" {
		return nil
	}
	plotFile := strings.TrimSuffix(o.out, filepath.Ext(o.out)) + ".svg"
	text := heading(ctx, all, o, filepath.Base(plotFile)) + table + ending
	if err := os.WriteFile(o.out, []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(plotFile, []byte(plot(all)), 0o644)
}

// table is one line for each contender.
func table(all []*contender) string {
	var b strings.Builder
	b.WriteString("| contender | CPU µs/request (range) | × bare ReverseProxy (range) | × HAProxy | × HAProxy RS256 | requests/s | p50 ms | p99 ms | memory MB | CPU of others |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, c := range all {
		cost, toBare := c.of(sample.perRequest), c.ratio(find(all, bareName, c.many))
		fmt.Fprintf(&b, "| %s | %.1f (%.1f–%.1f) | %.2f (%.2f–%.2f) | %.2f | %.2f | %.0f | %.2f | %.2f | %.0f | %.0f%% |\n", c.name,
			cost.median, cost.low, cost.high, toBare.median, toBare.low, toBare.high,
			c.ratio(find(all, plainName, c.many)).median, c.ratio(find(all, rs256Name, c.many)).median, c.of(sample.rate).median,
			c.of(func(s sample) float64 { return milliseconds(s.p50) }).median,
			c.of(func(s sample) float64 { return milliseconds(s.p99) }).median,
			c.of(func(s sample) float64 { return float64(s.memory) / (1 << 20) }).high,
			100*c.of(func(s sample) float64 { return s.foreign }).median)
	}
	return b.String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// heading says what was measured, where and with what.
func heading(ctx context.Context, all []*contender, o options, plotFile string) string {
	var b strings.Builder
	b.WriteString("# What a checked request costs\n\nWritten by `make bench`; the times are those of one machine, the ratios are what to look at.\n\n")
	fmt.Fprintf(&b, "![CPU time per request](%s)\n\n", plotFile)
	fmt.Fprintf(&b, "- %s, %d processors, Linux %s, %s\n", cpuModel(), runtime.NumCPU(), firstLine(ctx, "uname", "-r"), time.Now().UTC().Format("2006-01-02"))
	for _, v := range [][]string{{"go", "version"}, {"nginx", "-v"}, {"haproxy", "-v"}, {"wrk", "-v"}} {
		fmt.Fprintf(&b, "- %s\n", firstLine(ctx, v[0], v[1:]...))
	}
	fmt.Fprintf(&b, "- Doorward %s\n", firstLine(ctx, "git", "describe", "--tags", "--always", "--dirty"))
	fmt.Fprintf(&b, "- %d rounds, in which each of the %d contenders has %v, in turning order; %d keep-alive connections; answers of 1 KB\n", o.rounds, len(all), o.slice, connections)
	fmt.Fprintf(&b, "- load average when it began: %s; a machine with something else to do gives wide ranges\n", o.load)
	b.WriteString("- the proxy has one processor for itself, wrk and the upstream (nginx) share another\n\n")
	return b.String()
}

const ending = `
CPU is user and system time of the proxy with all its threads and processes, over requests answered; shown is the median of the rounds.
Ratios are taken round by round; those of a load with 10,000 tokens in turn to others under that load, which is dearer for all. p50 and p99 are those of a proxy kept as busy as it can be: they follow from requests/s. Memory is the
largest resident size after a round. CPU of others is how much of one processor went meanwhile to what has no part in this: a slice of which
they took more than 15% was measured again where there was time.

Same work for all but the first of each kind: verify a bearer token (signature, issuer, audience, end), require the role *member*, tell
the upstream who it is in a header the client cannot set. Before it was timed each of them had refused a request without a token, a
forged one, an expired one and one without the role. Doorward does more, and had all of it on: live revocation (it also refused the token of a session
that had just been signed out), a log line for each request, metrics, a limit on requests, policy on every reading of the path. The
others wrote no log. HAProxy verifies the signature on each request and knows no EdDSA; Doorward remembers tokens it has verified.
`

// loadAverage is how busy the machine was in the last minute.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// firstLine is the first line a program prints. What wrk says about itself
// comes with a status of failure.
func firstLine(ctx context.Context, name string, args ...string) string {
	out, _, err := output(ctx, nil, name, args...)
	if err != nil {
		_, out, _ = strings.Cut(err.Error(), "exit status 1: ")
	}
	line, _, _ := strings.Cut(out, "\n")
	return strings.TrimSpace(line)
}
