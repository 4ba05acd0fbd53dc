package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	idleClients = 5_000
	openSockets = 2_000
	ofOneOwner  = 200 // of them in one session, which is signed out
	longSide    = 500 // proxied requests a second beside them
	openers     = 32  // at work at once
	// perAddress is how many connections one address of loopback makes.
	perAddress = 500
	// endsWithin is how soon a socket is to end after its session.
	endsWithin = time.Second
)

// long measures what connections cost that are open and do nothing: in memory,
// and to those who do something.
func long(ctx context.Context, o options) error {
	st, err := openStand(ctx, settings{retention: time.Hour, ttl: ttl})
	if err != nil {
		return err
	}
	defer st.close()
	if err := st.holds(ctx, st.gateway); err != nil {
		return err
	}
	beside := st.beside(ctx, longSide)
	defer beside.end()
	beside.stretch(ctx, o.slice) // warms up
	fmt.Printf("| round | %d keep-alive connections, %d WebSockets | proxied/s | failed | p50 ms | p99 ms | resident MB | stacks MB | heap in use MB | goroutines | descriptors |\n", idleClients, openSockets)
	fmt.Println("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	var wrong error
	var notes []string
	for round := range o.rounds {
		l := &longRound{st: st, side: beside, slice: o.slice, number: round + 1}
		wrong = l.run(ctx)
		l.close()
		notes = append(notes, l.notes...)
		if wrong != nil {
			wrong = fmt.Errorf("round %d: %w", round+1, wrong)
			break
		}
		st.gateway.process.emptyLog()
	}
	fmt.Println()
	for _, note := range notes {
		fmt.Println("- " + note)
	}
	return wrong
}

// longRound is one time of opening, looking, and closing.
type longRound struct {
	st      *stand
	side    *side
	slice   time.Duration
	number  int
	notes   []string
	idle    []net.Conn
	sockets []*socket
}

func (l *longRound) run(ctx context.Context) error {
	bare, err := l.look(ctx, "none")
	if err != nil {
		return err
	}
	took := time.Now()
	if err := l.keepAlive(ctx); err != nil {
		return err
	}
	l.note("%d connections opened in %v, each has had one answer", len(l.idle), time.Since(took).Round(time.Millisecond))
	idle, err := l.look(ctx, "connections")
	if err != nil {
		return err
	}
	took = time.Now()
	if err := l.openSockets(ctx); err != nil {
		return err
	}
	l.note("%d WebSockets opened in %v, each has had one echo", len(l.sockets), time.Since(took).Round(time.Millisecond))
	both, err := l.look(ctx, "both")
	if err != nil {
		return err
	}
	if err := l.signOutOne(ctx); err != nil {
		return err
	}
	l.close()
	text, err := l.st.comesBack(ctx, bare, 16*mb) // goroutines that have ended leave their descriptors, for the next
	if err != nil {
		return err
	}
	l.note("all closed: %s", text)
	if _, err := l.look(ctx, "none again"); err != nil {
		return err
	}
	l.each("an idle keep-alive connection", bare, idle, idleClients)
	l.each("an idle WebSocket", idle, both, openSockets)
	return nil
}

func (l *longRound) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf("round %d: "+format, append([]any{l.number}, args...)...))
}

// look is a stretch of side traffic, and what the gateway holds at its end.
func (l *longRound) look(ctx context.Context, name string) (vitals, error) {
	q := l.side.stretch(ctx, l.slice)
	v, err := l.st.vitals(ctx)
	if err != nil {
		return v, err
	}
	fmt.Printf("| %d | %s | %.0f | %d | %.2f | %.2f | %.0f | %.0f | %.0f | %d | %d |\n", l.number, name,
		float64(q.requests)/l.slice.Seconds(), q.failed, milliseconds(q.p50), milliseconds(q.p99),
		float64(v.memory)/mb, float64(v.stacks)/mb, float64(v.live)/mb, v.goroutines, v.descriptors)
	if q.failed > 0 {
		return v, fmt.Errorf("beside %s: %d requests failed, %s", name, q.failed, q.why)
	}
	return v, ctx.Err()
}

// each says what one connection of n costs.
func (l *longRound) each(name string, before, after vitals, n int64) {
	kb := func(from, to int64) float64 { return float64(to-from) / float64(n) / 1024 }
	per := func(from, to int64) float64 { return float64(to-from) / float64(n) }
	l.note("%s takes %.1f KB resident (%.1f KB of stack, %.1f KB of heap), %.2f goroutines, %.2f descriptors", name,
		kb(before.memory, after.memory), kb(before.stacks, after.stacks), kb(before.live, after.live),
		per(before.goroutines, after.goroutines), per(before.descriptors, after.descriptors))
}

// inParallel calls open for 0 to n-1, a few at a time, until one goes wrong.
func inParallel(ctx context.Context, n int, open func(i int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	failed := make(chan error, openers)
	for range openers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil && len(failed) == 0; i = int(next.Add(1)) - 1 {
				if err := open(i); err != nil {
					failed <- fmt.Errorf("%d of %d: %w", i+1, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

// keepAlive opens the connections: each asks once, signed in, and then keeps
// silent.
func (l *longRound) keepAlive(ctx context.Context) error {
	l.idle = make([]net.Conn, idleClients)
	return inParallel(ctx, idleClients, func(i int) (err error) {
		l.idle[i], err = l.st.dialFrom(ctx, loopback(i/perAddress))
		if err != nil {
			return err
		}
		_ = l.idle[i].SetDeadline(time.Now().Add(time.Minute))
		res, err := ask(l.idle[i], "GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer "+l.st.tokenOf(i)+"\r\n\r\n")
		if err == nil && res != "200" {
			err = fmt.Errorf("got %s, want 200", res)
		}
		return err
	})
}

// owner is the session the ith socket belongs to: of each round another's that
// will be signed out.
func (l *longRound) owner(i int) signedIn {
	m := l.st.crowd.members
	if i < ofOneOwner {
		return m[len(m)-l.number]
	}
	return m[i]
}

func (l *longRound) openSockets(ctx context.Context) error {
	l.sockets = make([]*socket, openSockets)
	t := l.st.tokens[standAlgorithm].signer
	clients := make([]*http.Client, openSockets/perAddress+1)
	for i := range clients {
		clients[i] = clientFrom(loopback(1000 + i))
	}
	return inParallel(ctx, openSockets, func(i int) error {
		token, err := t.mint(l.owner(i), l.st.began)
		if err != nil {
			return err
		}
		l.sockets[i], err = l.st.openSocket(ctx, clients[i/perAddress], token)
		return err
	})
}

// signOutOne ends one session: its sockets are to end at once, and no others.
func (l *longRound) signOutOne(ctx context.Context) error {
	doomed, others := l.sockets[:ofOneOwner], l.sockets[ofOneOwner:]
	for _, s := range doomed {
		go s.watch()
	}
	token, err := l.st.tokens[standAlgorithm].signer.mint(l.owner(0), l.st.began)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := l.st.gateway.signOut(ctx, token); err != nil {
		return err
	}
	answered := time.Since(began)
	var last time.Duration
	late := time.NewTimer(10 * endsWithin)
	defer late.Stop()
	for i, s := range doomed {
		select {
		case <-s.ended:
			last = max(last, s.at.Sub(began))
		case <-late.C:
			return fmt.Errorf("signed out, and %d of %d WebSockets are open after %v", len(doomed)-i, len(doomed), 10*endsWithin)
		}
	}
	if err := inParallel(ctx, len(others), func(i int) error { return others[i].echo(ctx, "still here") }); err != nil {
		return fmt.Errorf("the WebSockets of other sessions: %w", err)
	}
	l.note("signed out in %v: the last of the session's %d WebSockets ended after %v, the other %d still echo",
		answered.Round(time.Microsecond), len(doomed), last.Round(time.Microsecond), len(others))
	if last > endsWithin {
		return fmt.Errorf("a WebSocket ended %v after its session, more than %v", last, endsWithin)
	}
	return nil
}

// close ends every connection.
func (l *longRound) close() {
	for _, s := range l.sockets {
		if s != nil {
			s.conn.CloseNow()
		}
	}
	for _, c := range l.idle {
		if c != nil {
			c.Close()
		}
	}
	l.sockets, l.idle = nil, nil
}
