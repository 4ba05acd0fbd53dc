package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// waves is what came of many connections that did the same: how many ended how,
// and when the first and the last did.
type waves struct {
	mu          sync.Mutex
	ways        map[string]int
	first, last time.Duration
}

func (w *waves) end(way string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ways == nil {
		w.ways, w.first = map[string]int{}, took
	}
	w.ways[way]++
	w.first, w.last = min(w.first, took), max(w.last, took)
}

func (w *waves) String() string {
	var parts []string
	for _, way := range slices.Sorted(maps.Keys(w.ways)) {
		parts = append(parts, fmt.Sprintf("%s: %d", way, w.ways[way]))
	}
	return fmt.Sprintf("%s; after %.1f to %.1f s", strings.Join(parts, ", "), w.first.Seconds(), w.last.Seconds())
}

// only is an error unless all ended in one of these ways, and in time; the
// shortest of 0 is any.
func (w *waves) only(n int, from, to time.Duration, ways ...string) error {
	sum := 0
	for _, way := range ways {
		sum += w.ways[way]
	}
	switch {
	case sum != n:
		return fmt.Errorf("want %d of: %s", n, strings.Join(ways, ", "))
	case w.first < from || w.last > to:
		return fmt.Errorf("want all after %v to %v", from, to)
	}
	return nil
}

// drip opens n connections, each from an address of its own. Each sends head, and
// after that a byte a second, if drop is set; it ends with the gateway's answer
// or when it is cut, and after a while by itself.
func (st *stand) drip(ctx context.Context, n int, head string, drop byte, patience time.Duration) (*waves, error) {
	w := &waves{}
	var all sync.WaitGroup
	err := inParallel(ctx, n, func(i int) error {
		conn, err := st.dialFrom(ctx, loopback(5000+i))
		if err != nil {
			return err
		}
		began := time.Now()
		_ = conn.SetDeadline(began.Add(patience))
		if _, err := io.WriteString(conn, head); err != nil {
			conn.Close()
			return err
		}
		answered := make(chan string, 1)
		go func() { answered <- howEnded(conn) }()
		all.Go(func() {
			defer conn.Close()
			w.end(dropping(conn, drop, answered), time.Since(began))
		})
		return nil
	})
	all.Wait()
	return w, err
}

// dropping writes a byte a second until there is an answer.
func dropping(conn net.Conn, drop byte, answered <-chan string) string {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case way := <-answered:
			return way
		case <-tick.C:
			if drop != 0 {
				conn.Write([]byte{drop}) // how it ends, the reader sees
			}
		}
	}
}

// howEnded reads what comes: an answer, or the end.
func howEnded(conn net.Conn) string {
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	var timeout net.Error
	switch {
	case err == nil:
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return answerOf(res)
	case errors.As(err, &timeout) && timeout.Timeout():
		return "still open"
	}
	return "cut"
}

func silentClients(ctx context.Context, st *stand) (string, error) {
	w, err := st.drip(ctx, 1000, "", 0, headerTimeout+2*onTime)
	return w.String(), errors.Join(err, w.only(1000, headerTimeout/2, headerTimeout+onTime, "cut", "408"))
}

func slowHeaders(ctx context.Context, st *stand) (string, error) {
	w, err := st.drip(ctx, 1000, "GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\nX-Slow: ", 'x', headerTimeout+2*onTime)
	return w.String(), errors.Join(err, w.only(1000, headerTimeout/2, headerTimeout+onTime, "cut", "408"))
}

func (st *stand) bearer() string {
	return "Authorization: Bearer " + st.tokens[standAlgorithm].hot + "\r\n"
}

func stoppedUploads(ctx context.Context, st *stand) (string, error) {
	w, err := st.drip(ctx, 500, "POST /app/upload HTTP/1.1\r\nHost: localhost:8080\r\n"+st.bearer()+"Content-Length: 100000\r\n\r\nsome", 0, bodyTimeout+2*onTime)
	return w.String(), errors.Join(err, w.only(500, bodyTimeout/2, bodyTimeout+onTime, "cut", "400 BAD_REQUEST"), st.idle(ctx, "uploads"))
}

const signIn = "POST /auth/login HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n"

func stoppedBodies(ctx context.Context, st *stand) (string, error) {
	w, err := st.drip(ctx, 500, signIn+"Content-Length: 60000\r\n\r\n{", 0, bodyTimeout+2*onTime)
	return w.String(), errors.Join(err, w.only(500, bodyTimeout/2, bodyTimeout+onTime, "cut", "400 BAD_REQUEST"))
}

func slowBodies(ctx context.Context, st *stand) (string, error) {
	w, err := st.drip(ctx, 500, signIn+"Content-Length: 60000\r\n\r\n{", ' ', 2*bodyTimeout+2*onTime)
	return w.String(), errors.Join(err, w.only(500, 0, 2*bodyTimeout+onTime, "cut", "400 BAD_REQUEST"))
}

const (
	floodRate  = 5_000 // a second
	floodConns = 16
)

// flood sends n requests at a steady rate over some connections from 127.0.0.1,
// and counts the answers.
func (st *stand) flood(ctx context.Context, n int, text func(r *rand.Rand) string) (map[string]int, error) {
	var mu sync.Mutex
	answers := map[string]int{}
	began := time.Now()
	err := inParallel(ctx, floodConns, func(share int) error {
		conn, err := st.dialFrom(ctx, net.IPv4(127, 0, 0, 1))
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(began.Add(2 * time.Minute))
		r, in := rand.New(rand.NewPCG(uint64(share), uint64(began.UnixNano()))), bufio.NewReader(conn)
		for i := share; i < n && ctx.Err() == nil; i += floodConns {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / floodRate)))
			answer, err := askOn(conn, in, text(r))
			if err != nil {
				return err
			}
			mu.Lock()
			answers[answer]++
			mu.Unlock()
		}
		return nil
	})
	return answers, err
}

// askOn asks on a connection that is kept.
func askOn(conn net.Conn, in *bufio.Reader, text string) (string, error) {
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return answerOf(res), err
}

// told is the answers in words; an error if there were others than those.
func told(answers map[string]int, err error, want ...string) (string, error) {
	w := &waves{ways: answers}
	text, _, _ := strings.Cut(w.String(), ";")
	for answer, n := range answers {
		if !slices.Contains(want, answer) {
			err = errors.Join(err, fmt.Errorf("%d answers were %s, want %s", n, answer, strings.Join(want, " or ")))
		}
	}
	return text, err
}

// refreshTokenBytes is how long one of ours is.
const refreshTokenBytes = 72

// anyAddress is a header that says the request is for some client.
func anyAddress(r *rand.Rand) string {
	n := r.Uint32()
	return fmt.Sprintf("X-Forwarded-For: %d.%d.%d.%d\r\n", 1+n>>24%200, n>>16&255, n>>8&255, n&255)
}

func manyAddresses(ctx context.Context, st *stand) (string, error) {
	answers, err := st.flood(ctx, 200_000, func(r *rand.Rand) string {
		return "GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\n" + anyAddress(r) + "\r\n"
	})
	return told(answers, err, "401 AUTHENTICATION_REQUIRED")
}

// manyCredentials sends what strangers can make: forged tokens and cookies.
func manyCredentials(ctx context.Context, st *stand) (string, error) {
	t := st.tokens[standAlgorithm]
	answers, err := st.flood(ctx, 200_000, func(r *rand.Rand) string {
		line := "Cookie: doorward_session_8080=" + randomText(48)
		if r.IntN(2) == 0 {
			text := t.all[r.IntN(len(t.all))]
			line = "Authorization: Bearer " + text[:strings.LastIndexByte(text, '.')+1] + randomText(64)
		}
		return "GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\n" + anyAddress(r) + line + "\r\n\r\n"
	})
	return told(answers, err, "401 AUTHENTICATION_REQUIRED", "401 TOKEN_INVALID")
}

// manyGone sends tokens under the gateway's own key, of sessions there are none
// of: they are found genuine, and that is remembered.
func manyGone(ctx context.Context, st *stand) (string, error) {
	t := st.tokens[standAlgorithm]
	answers, err := st.flood(ctx, 100_000, func(r *rand.Rand) string {
		now := time.Now()
		text, err := t.signer.mint(signedIn{st.crowd.guest.user, newID(now)}, now)
		if err != nil {
			panic(err) // of a key that has signed thousands
		}
		return "GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer " + text + "\r\n\r\n"
	})
	return told(answers, err, "401 TOKEN_REVOKED")
}

func manyRefreshTokens(ctx context.Context, st *stand) (string, error) {
	answers, err := st.flood(ctx, 200_000, func(r *rand.Rand) string {
		body := `{"refresh_token":"` + randomText(refreshTokenBytes) + `"}`
		return fmt.Sprintf("POST /auth/refresh HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", anyAddress(r), len(body), body)
	})
	return told(answers, err, "401 REFRESH_TOKEN_INVALID")
}

// bodies posts one body to sign in, again and again, from several at once.
func (st *stand) bodies(ctx context.Context, n int, body string) (*waves, error) {
	w := &waves{}
	text := fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", signIn, len(body), body)
	err := inParallel(ctx, n, func(i int) error {
		conn, err := st.dialFrom(ctx, loopback(6000+i))
		if err != nil {
			return err
		}
		defer conn.Close()
		began := time.Now()
		_ = conn.SetDeadline(began.Add(30 * time.Second))
		go conn.Write(text) // the answer comes before the end
		w.end(howEnded(conn), time.Since(began))
		return nil
	})
	return w, err
}

func longPasswords(ctx context.Context, st *stand) (string, error) {
	w, err := st.bodies(ctx, 200, `{"login":"user1","password":"`+strings.Repeat("x", mb)+`"}`)
	return w.String(), errors.Join(err, w.only(200, 0, onTime, "413 BODY_TOO_LARGE"))
}

func wideJSON(ctx context.Context, st *stand) (string, error) {
	w, err := st.bodies(ctx, 50, "{"+strings.Repeat(`"a":1,`, 10*mb/6)+`"login":"user1"}`)
	return w.String(), errors.Join(err, w.only(50, 0, onTime, "413 BODY_TOO_LARGE"))
}

func deepJSON(ctx context.Context, st *stand) (string, error) {
	w, err := st.bodies(ctx, 200, `{"login":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}")
	return w.String(), errors.Join(err, w.only(200, 0, onTime, "413 BODY_TOO_LARGE"))
}

func deepJSONWithin(ctx context.Context, st *stand) (string, error) {
	w, err := st.bodies(ctx, 200, `{"login":`+strings.Repeat("[", 32_000)+strings.Repeat("]", 32_000)+"}")
	return w.String(), errors.Join(err, w.only(200, 0, onTime, "400 INVALID_INPUT"))
}

// idle waits until the application is no longer busy with something: its
// connections were closed.
func (st *stand) idle(ctx context.Context, with string) error {
	_, err := st.idleAfter(ctx, with)
	return err
}

func (st *stand) idleAfter(ctx context.Context, with string) (time.Duration, error) {
	var m map[string]int64
	took, err := until(ctx, bodyTimeout+2*onTime, func() (_ bool, err error) {
		m, err = st.busyWith(ctx)
		return m[with] == 0, err
	})
	if err != nil {
		err = fmt.Errorf("the application is still busy with %d %s: %w", m[with], with, err)
	}
	return took, err
}

// begun opens n connections that ask for a path, and waits until the
// application is busy with all of them.
func (st *stand) begun(ctx context.Context, n int, path, with string) (conns []net.Conn, err error) {
	conns = make([]net.Conn, n)
	err = inParallel(ctx, n, func(i int) (err error) {
		if conns[i], err = st.dialFrom(ctx, loopback(7000+i)); err != nil {
			return err
		}
		_, err = io.WriteString(conns[i], "GET "+path+" HTTP/1.1\r\nHost: localhost:8080\r\n"+st.bearer()+"\r\n")
		return err
	})
	if err != nil {
		return conns, err
	}
	_, err = until(ctx, onTime, func() (bool, error) {
		m, err := st.busyWith(ctx)
		return m[with] == int64(n), err
	})
	return conns, err
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

func endlessRead(ctx context.Context, st *stand) (string, error) {
	conns, err := st.begun(ctx, 1, "/app/endless", "endless")
	defer closeAll(conns)
	if err != nil {
		return "", err
	}
	began := time.Now()
	_ = conns[0].SetDeadline(began.Add(3 * time.Second))
	n, _ := io.Copy(io.Discard, conns[0])
	read := time.Since(began)
	closeAll(conns)
	took, err := st.idleAfter(ctx, "endless")
	if err == nil && read < 3*time.Second {
		err = fmt.Errorf("cut after %v", read)
	}
	return fmt.Sprintf("%d MB/s passed; the application's connection closed %v after the client left", n/mb/3, took.Round(time.Millisecond)), err
}

func endlessUnread(ctx context.Context, st *stand) (string, error) {
	began := time.Now()
	conns, err := st.begun(ctx, 50, "/app/endless", "endless")
	defer closeAll(conns)
	if err != nil {
		return "", err
	}
	_, err = st.idleAfter(ctx, "endless")
	took := time.Since(began)
	if err == nil && took < bodyTimeout/2 {
		err = errors.New("cut too early")
	}
	return fmt.Sprintf("all cut, on both sides, after %.1f s", took.Seconds()), err
}

func endlessLeft(ctx context.Context, st *stand) (string, error) {
	conns, err := st.begun(ctx, 50, "/app/endless", "endless")
	closeAll(conns)
	if err != nil {
		return "", err
	}
	took, err := st.idleAfter(ctx, "endless")
	if err == nil && took > onTime {
		err = errors.New("too late")
	}
	return fmt.Sprintf("the application's connections closed after %v", took.Round(time.Millisecond)), err
}

// askAll asks for a path n times at once.
func (st *stand) askAll(ctx context.Context, n int, path string) (*waves, error) {
	return st.drip(ctx, n, "GET "+path+" HTTP/1.1\r\nHost: localhost:8080\r\n"+st.bearer()+"\r\n", 0, responseTimeout+2*onTime)
}

func endlessHeaders(ctx context.Context, st *stand) (string, error) {
	before, err := st.busyWith(ctx)
	if err != nil {
		return "", err
	}
	const n = 20
	w, err := st.askAll(ctx, n, "/app/endless-header")
	err = errors.Join(err, w.only(n, 0, onTime, "502 UPSTREAM_UNREACHABLE"), st.idle(ctx, "headers"))
	after, statsErr := st.busyWith(ctx)
	wrote := after["header_bytes"] - before["header_bytes"]
	return fmt.Sprintf("%s; of each %.1f MB were taken from the application", w, float64(wrote)/n/mb), errors.Join(err, statsErr)
}

func hanging(ctx context.Context, st *stand) (string, error) {
	w, err := st.askAll(ctx, 200, "/slow/hang")
	return w.String(), errors.Join(err, w.only(200, responseTimeout, responseTimeout+onTime, "504 UPSTREAM_TIMEOUT"), st.idle(ctx, "hanging"))
}

func hangingLeft(ctx context.Context, st *stand) (string, error) {
	conns, err := st.begun(ctx, 200, "/slow/hang", "hanging")
	closeAll(conns)
	if err != nil {
		return "", err
	}
	took, err := st.idleAfter(ctx, "hanging")
	if err == nil && took > responseTimeout/2 {
		err = errors.New("too late")
	}
	return fmt.Sprintf("the application's connections closed after %v", took.Round(time.Millisecond)), err
}
