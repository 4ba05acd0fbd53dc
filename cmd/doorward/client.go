package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/doorward/doorward/store"
)

// client talks to the control handlers: those of the running server, through
// the socket beside its store; or, with no server running, the same handlers
// over the store opened here. A subcommand cannot tell which.
type client struct {
	http  *http.Client
	place string // of the store, if it was opened here; "" beside a server
	close func() error
}

// dial finds the running server of the configured store, or opens the store. A
// store that is not there is made only for a command that may begin one: any
// other stands in the wrong folder, and would find an empty store for ever
// after.
func (p *program) dial(ctx context.Context, cfg *loaded) (*client, error) {
	if c, err := dialSocket(ctx, cfg); c != nil || err != nil {
		return c, err
	}
	place, fresh := store.Place(cfg.Store.URL), store.Absent(cfg.Store.URL)
	if fresh && p.rehearses {
		return p.rehearse(ctx, cfg)
	}
	if fresh && !p.begins {
		return nil, fmt.Errorf("there is no store at %s: run this in the server's folder, or make store.url an absolute path", place)
	}
	in, err := open(ctx, cfg, p.env, slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), p.stderr)
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("the store is locked, so a server is running, but nothing answers on %s.sock: run this as the server's user and in its file system, or stop it first", place)
	}
	if err != nil {
		return nil, err
	}
	if fresh {
		fmt.Fprintf(p.stderr, "doorward: there was no store at %s: a new one is made\n", place)
	}
	return &client{http: &http.Client{Transport: memory{in.server.Control()}}, place: place, close: in.close}, nil
}

// dialSocket connects to the running server; nil if none is running.
func dialSocket(ctx context.Context, cfg *loaded) (*client, error) {
	path, err := socketPath(cfg.Store.URL)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
	probe, err := connect(ctx, "", "")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the control socket %s is not open to you: run this as the server's user or as root", path)
	case err != nil:
		return nil, fmt.Errorf("control socket: %w", err)
	}
	probe.Close()
	t := &http.Transport{DialContext: connect, DisableCompression: true}
	return &client{
		http:  &http.Client{Transport: t},
		close: func() error { t.CloseIdleConnections(); return nil },
	}, nil
}

// refused is a control handler's answer that it could not be done.
type refused struct {
	Status int
	Code   string
	Detail string
	Errors []struct{ Field, Code, Detail string }
}

// Error says everything that was wrong, for a person.
func (r *refused) Error() string {
	if len(r.Errors) == 0 {
		return strings.TrimSuffix(r.Detail, ".")
	}
	parts := make([]string, len(r.Errors))
	for i, e := range r.Errors {
		parts[i] = e.Field + ": " + strings.TrimSuffix(e.Detail, ".")
	}
	return strings.Join(parts, "; ")
}

// call sends in and reads the answer into out; either may be nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	answer, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("control socket: read the answer: %w", err)
	}
	return nil
}

// send sends body, which may be nil, and returns the body of the answer, which
// may begin before all of it is sent. What was refused is an error.
func (c *client) send(ctx context.Context, method, path, contentType string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		var outer *url.Error // its text is our made-up URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if resp.StatusCode < 400 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	no := &refused{Status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(no); err != nil || no.Detail == "" {
		no.Detail = resp.Status
	}
	return nil, no
}

// memory carries requests to a handler in this process.
type memory struct{ handler http.Handler }

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI() // as if it had been read off a connection
	if r.Body == nil {
		r.Body = http.NoBody
	}
	a := &memoryAnswer{header: http.Header{}}
	m.handler.ServeHTTP(a, r)
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// memoryAnswer is a ResponseWriter that keeps the answer.
type memoryAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *memoryAnswer) Header() http.Header { return a.header }

func (a *memoryAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *memoryAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}
