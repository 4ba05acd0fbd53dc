package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/doorward/doorward/gateway"
)

// accessLine is the message of the one line each request leaves. Those lines
// may wait for company; every other one is written at once.
const accessLine = "request"

// flushEvery is how long an access line may wait.
const flushEvery = time.Second

// logbook is the log: a logger, its level, which may change, and the lines that
// wait to be written.
type logbook struct {
	*slog.Logger
	level slog.LevelVar
	lines *lines
	done  chan struct{}
}

// openLog starts a log in the configured format. Close it, so that the last
// lines are written.
func openLog(w io.Writer, cfg gateway.LogConfig) *logbook {
	b := &logbook{lines: &lines{to: w, w: bufio.NewWriterSize(w, 64<<10)}, done: make(chan struct{})}
	b.setLevel(cfg.Level)
	options := &slog.HandlerOptions{Level: &b.level}
	h := prompt{slog.NewJSONHandler(b.lines, options), b.lines, true}
	if cfg.Format == "text" {
		h.Handler, h.json = slog.NewTextHandler(b.lines, options), false
	}
	b.Logger = slog.New(h)
	go b.flush()
	return b
}

// setLevel takes one of the words of log.level.
func (b *logbook) setLevel(word string) {
	var l slog.Level
	if l.UnmarshalText([]byte(word)) == nil {
		b.level.Set(l)
	}
}

func (b *logbook) flush() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.lines.Flush()
		case <-b.done:
			return
		}
	}
}

// Close writes what waits. The log may still be used; it no longer gathers.
func (b *logbook) Close() {
	close(b.done)
	briefly(func() { b.lines.Flush() })
}

// briefly waits for f a second at most. Nothing ends a write to a pipe that
// nobody reads, and a program that was told to end has to.
func briefly(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// lines gathers lines in front of a writer that costs a system call each.
type lines struct {
	mu sync.Mutex
	to io.Writer
	w  *bufio.Writer
}

// heal forgets a write that failed: bufio would take nothing more, ever, and a
// disk that was full for a moment would have ended the log.
func (l *lines) heal(err error) error {
	if err != nil {
		l.w.Reset(l.to)
	}
	return err
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.w.Write(b)
	return n, l.heal(err)
}

func (l *lines) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heal(l.w.Flush())
}

// hushed takes what libraries print through the standard logger. net/http repeats
// there what a backend or a stranger sent, so only that it spoke is noted.
type hushed struct{ log *slog.Logger }

func (h hushed) Write(line []byte) (int, error) {
	h.log.Debug("a library printed a line, not shown: it may repeat what a backend sent", "bytes", len(line))
	return len(line), nil
}

// access writes an access line as slog's JSON handler would, for a fraction of
// what that costs. It returns false, and has written nothing, if there is
// anything in it that needs the handler's care.
func (l *lines) access(r slog.Record) bool {
	var line *gateway.AccessLine
	r.Attrs(func(a slog.Attr) bool {
		line, _ = a.Value.Any().(*gateway.AccessLine)
		return false // the one attribute it has
	})
	if line == nil || r.NumAttrs() != 1 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := append(l.w.AvailableBuffer(), `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"INFO","msg":"request"`...)
	b, ok := line.AppendJSON(b)
	if !ok {
		return false
	}
	_, err := l.w.Write(append(b, '}', '\n'))
	return l.heal(err) == nil
}

// prompt is a handler after which nothing waits, unless it was an access line
// like any other. What waited goes out first: lines stay in order.
type prompt struct {
	slog.Handler
	lines *lines
	json  bool // and nothing was added to every line
}

func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	patient := r.Message == accessLine && r.Level < slog.LevelWarn
	if patient && p.json && r.Level == slog.LevelInfo && p.lines.access(r) {
		return nil
	}
	err := p.Handler.Handle(ctx, r)
	if patient {
		return err
	}
	if flushed := p.lines.Flush(); err == nil {
		err = flushed
	}
	return err
}

func (p prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{p.Handler.WithAttrs(attrs), p.lines, false}
}

func (p prompt) WithGroup(name string) slog.Handler {
	return prompt{p.Handler.WithGroup(name), p.lines, false}
}
