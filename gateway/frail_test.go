package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/doorward/doorward/authn"
)

// frailStore is a real store on a disk that can fill up or be gone, with keys
// that can become unreadable, a feed that can be cut and a read that can take
// its time.
type frailStore struct {
	authn.Store
	full, gone, keyless, cut atomic.Bool
	cutNow                   chan struct{}
	slow                     atomic.Pointer[slowRead]
}

// slowRead is a read that has begun and is not over until it may be.
type slowRead struct{ begun, over chan struct{} }

// slowNext makes the next read a slow one; those after it are as quick as ever.
func (s *frailStore) slowNext() *slowRead {
	r := &slowRead{make(chan struct{}), make(chan struct{})}
	s.slow.Store(r)
	return r
}

var (
	errDisk = errors.New("no space left on device")
	errGone = errors.New("input/output error")
	errKeys = errors.New("the record of a key is damaged")
	errFeed = errors.New("the feed was cut")
)

// keylessTx is a transaction in which the key ring cannot be read.
type keylessTx struct{ authn.Tx }

func (keylessTx) Keys() ([]authn.Key, error) { return nil, errKeys }

func (s *frailStore) View(ctx context.Context, fn func(authn.Tx) error) error {
	if s.gone.Load() {
		return errGone
	}
	if r := s.slow.Swap(nil); r != nil {
		close(r.begun)
		<-r.over
	}
	return s.Store.View(ctx, func(tx authn.Tx) error {
		if s.keyless.Load() {
			tx = keylessTx{tx}
		}
		return fn(tx)
	})
}

func (s *frailStore) Update(ctx context.Context, fn func(authn.Tx) error) error {
	if s.gone.Load() {
		return errGone
	}
	return s.Store.Update(ctx, func(tx authn.Tx) error {
		if s.keyless.Load() {
			tx = keylessTx{tx}
		}
		if err := fn(tx); err != nil || !s.full.Load() {
			return err
		}
		return errDisk // as a commit that fails: nothing of it happened
	})
}

func (s *frailStore) Check(ctx context.Context) error {
	switch {
	case s.gone.Load():
		return errGone
	case s.full.Load():
		return errDisk
	}
	return s.Store.Check(ctx)
}

func (s *frailStore) Watch(ctx context.Context, ready func(), fn func(authn.Change)) error {
	if s.cut.Load() {
		return errFeed
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-s.cutNow:
			stop(errFeed)
		case <-ctx.Done():
		}
	}()
	if err := s.Store.Watch(ctx, ready, fn); err != nil {
		return err
	}
	if errors.Is(context.Cause(ctx), errFeed) {
		return errFeed
	}
	return nil
}

// newFrailGateway is a whole gateway over a store that can fail.
func newFrailGateway(t *testing.T, mutate func(*Config)) (*testGateway, *frailStore) {
	t.Helper()
	g := &testGateway{t: t, logs: &logBuffer{}, clock: &testClock{}}
	g.http = httptest.NewUnstartedServer(nil)
	g.addr = g.http.Listener.Addr().String()
	g.URL = "http://" + g.addr
	d := testDeps(t, g, mutate, nil)
	d.Authn.Close() // for one that sees the frail store
	frail := &frailStore{Store: g.store, cutNow: make(chan struct{})}
	ac := authn.Default()
	ac.Accounts.Registration, ac.Accounts.Password.BcryptCost = "open", 4
	ac.Tokens.Issuer = g.URL
	service, err := authn.New(context.Background(), authn.Deps{Config: ac, Store: frail, Now: g.clock.now, Log: d.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	d.Authn = service
	if g.Server, err = New(d); err != nil {
		t.Fatal(err)
	}
	g.http.Config.Handler = g.Public()
	g.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	g.http.Start()
	t.Cleanup(func() {
		g.streams.closeAll()
		g.http.CloseClientConnections()
		g.http.Close()
	})
	return g, frail
}
