package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is how many units of CPU time /proc counts in a second: on Linux it is
// the same for all that see it through /proc, whatever the kernel's own clock.
const ticks = 100

// process is a program that runs for the length of the measurement, with
// everything it started, in a process group of its own.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan error
}

// start runs a program on one processor (on all, if cpu is negative), with its
// output in a file. It is killed when we end, however we end.
func start(cpu int, log string, name string, args ...string) (*process, error) {
	if cpu >= 0 {
		args = append([]string{"-c", strconv.Itoa(cpu), name}, args...)
		name = "taskset"
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, err
	}
	p := &process{cmd: cmd, log: out, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// stop ends the group: asked first, then made to.
func (p *process) stop() {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-p.done
	}
	p.log.Close()
}

// emptyLog forgets what was logged, so that no disk fills up.
func (p *process) emptyLog() { _ = p.log.Truncate(0) }

// tail is the end of what the program said, for an error message.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(text[max(0, len(text)-2000):])
}

// cpu is the time the group has spent on a processor so far, in user and
// system mode, all threads.
func (p *process) cpu() (time.Duration, error) {
	sum := int64(0)
	err := p.each(func(dir string, stat stat) error { sum += stat.ticks; return nil })
	return time.Duration(sum) * (time.Second / ticks), err
}

// memory is what the group holds in RAM, in bytes.
func (p *process) memory() (int64, error) {
	sum := int64(0)
	err := p.each(func(dir string, _ stat) error {
		text, err := os.ReadFile(filepath.Join(dir, "statm"))
		if err != nil {
			return err
		}
		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			return fmt.Errorf("%s/statm: %q", dir, text)
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		sum += pages * int64(os.Getpagesize())
		return err
	})
	return sum, err
}

// each calls fn with the /proc directory of every process of the group.
func (p *process) each(fn func(dir string, s stat) error) error {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	found := false
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // ended meanwhile
		}
		s, err := parseStat(text)
		if err != nil {
			return fmt.Errorf("%s/stat: %w", dir, err)
		}
		if s.group != p.cmd.Process.Pid {
			continue
		}
		found = true
		if err := fn(dir, s); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s has ended: %s", p.cmd.Path, p.tail())
	}
	return nil
}

// stat is what we need of /proc/PID/stat.
type stat struct {
	group int
	ticks int64 // user and system, all threads, and children that have ended
}

// parseStat reads /proc/PID/stat. The name, in parentheses, may hold anything.
func parseStat(text []byte) (stat, error) {
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return stat{}, errors.New("too few fields")
	}
	group, err := strconv.Atoi(fields[2])
	s := stat{group: group}
	for _, f := range fields[11:15] { // utime stime cutime cstime
		n, e := strconv.ParseInt(f, 10, 64)
		s.ticks, err = s.ticks+n, errors.Join(err, e)
	}
	return s, err
}

// idleTime is how long all processors together have had nothing to do.
func idleTime() time.Duration {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return 0
	}
	idle, _ := strconv.ParseInt(fields[4], 10, 64)
	waiting, _ := strconv.ParseInt(fields[5], 10, 64) // for a disk
	return time.Duration(idle+waiting) * (time.Second / ticks)
}

// output runs a program to its end and returns what it printed, and what CPU
// time it took.
func output(ctx context.Context, env []string, name string, args ...string) (string, time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return string(out), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
