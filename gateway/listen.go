package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxHeaderBytes bounds a request's header: 8 KiB of target, 8 KiB of token,
// and room for the cookies of everything else on the host.
const maxHeaderBytes = 64 << 10

// Listeners is where the gateway is reached. Public must be set.
type Listeners struct {
	Public   net.Listener
	Ops      net.Listener
	Redirect net.Listener // plain http, answered with a redirect to https
	Control  net.Listener // the unix socket of the command line
}

// Run serves until ctx ends, then stops in order: it says it is not ready, goes
// on serving for server.timeouts.drain so that whoever sends requests can
// notice, stops accepting, lets what runs finish for server.timeouts.shutdown,
// and cuts the rest. It returns nil after that, or the error of a listener
// that failed.
func (s *Server) Run(ctx context.Context, ls Listeners) error {
	servers := s.servers(ls)
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, one := range servers {
		running.Go(func() {
			if err := one.serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.drain(failed)
	}
	s.stop(servers)
	running.Wait()
	return err
}

// drain serves on, unready, until everybody had the time to notice.
func (s *Server) drain(failed <-chan error) {
	s.draining.Store(true)
	wait := s.Config.Server.Timeouts.Drain
	streams := len(s.streams.list())
	s.Log.Info("stopping", "drain", wait.String(), "shutdown", s.Config.Server.Timeouts.Shutdown.String(),
		"requests", max(0, int(s.underWay.Load())-streams), "streams", streams)
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-failed: // nothing to wait for
	}
}

// stop ends the servers. The public ones first: as long as they finish, the
// others answer how it goes.
func (s *Server) stop(servers []listening) {
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.Config.Server.Timeouts.Shutdown)
	defer cancel()
	var finishing sync.WaitGroup
	for _, one := range servers {
		if one.public {
			finishing.Go(func() {
				if err := one.Shutdown(ctx); err != nil {
					one.Close()
				}
			})
		}
	}
	// Shutdown does not know hijacked connections: streams counts those itself.
	finishing.Go(func() {
		if s.streams.wait(ctx) != nil {
			s.streams.closeAll()
		}
	})
	finishing.Wait()
	for _, one := range servers {
		if !one.public {
			one.Close()
		}
	}
}

// listening is a server and where it listens.
type listening struct {
	*http.Server
	ln     net.Listener
	public bool // the clients' side: finishes what runs
}

func (l listening) serve() error {
	if l.TLSConfig != nil {
		return l.ServeTLS(l.ln, "", "")
	}
	return l.Serve(l.ln)
}

// servers is a server for every listener there is.
func (s *Server) servers(ls Listeners) []listening {
	public := s.httpServer(s.Public())
	public.Protocols = s.protocols()
	if s.cert != nil {
		public.TLSConfig = s.cert.config()
	}
	all := []listening{{public, clients{ls.Public}, true}}
	if ls.Redirect != nil {
		all = append(all, listening{s.httpServer(s.framed(s.redirect)), ls.Redirect, true})
	}
	if ls.Ops != nil {
		all = append(all, listening{s.httpServer(s.Ops()), ls.Ops, false})
	}
	if ls.Control != nil {
		all = append(all, listening{s.httpServer(s.Control()), ls.Control, false})
	}
	return all
}

// httpServer has the bounds every server of ours has. There is no ReadTimeout
// and no WriteTimeout: they would end long uploads and event streams. The
// rolling deadline of answer.go bounds each chunk instead.
func (s *Server) httpServer(h http.Handler) *http.Server {
	t := s.Config.Server.Timeouts
	return &http.Server{
		Handler:                      h,
		DisableGeneralOptionsHandler: true, // OPTIONS * is for the handler to refuse
		ReadHeaderTimeout:            t.ReadHeader,
		IdleTimeout:                  t.Idle,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(serverLog{s.Log.Handler()}, slog.LevelWarn),
		HTTP2:                        &http.HTTP2Config{WriteByteTimeout: t.Body},
	}
}

// protocols is what the public listener speaks.
func (s *Server) protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(s.cert != nil)
	p.SetUnencryptedHTTP2(s.Config.Server.H2C && s.cert == nil)
	return &p
}

// redirect answers the plain listener beside https: nothing is served there,
// whatever anybody says about how the client came.
func (s *Server) redirect(w *answer, r *http.Request, x *exchange) error {
	if err := s.locate(w, r, x); err != nil {
		return err
	}
	if err := s.number(w, r, x); err != nil {
		return err
	}
	w.Header().Set("Connection", "close")
	return s.leadToHTTPS(w, r, x)
}

// serverLog carries net/http's own lines. What a stranger's broken connection
// is worth a line for, is worth one for debugging only.
type serverLog struct{ slog.Handler }

func (h serverLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "TLS handshake error") || strings.HasPrefix(r.Message, "http2: ") {
		r.Level = slog.LevelDebug
		if !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	r.Message = printable(cutText(r.Message, maxLoggedPath))
	return h.Handler.Handle(ctx, r)
}
