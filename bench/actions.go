package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// action is one thing that is done in a soak. It says what came of it; an error
// if that was not asked for.
type action struct {
	name    string
	weight  int  // among all of them
	proxied bool // needs the application
	long    bool // goes on for seconds
	do      func(context.Context, *soaking, *mathrand.Rand) (string, error)
}

// actions is everything people and strangers do. Those with a password in them
// are rare: each takes a processor for a while.
var actions = []action{
	{"page, bearer", 3000, true, false, pageByBearer},
	{"page, own bearer", 1500, true, false, pageByOwnBearer},
	{"page, cookie", 1500, true, false, pageByCookie},
	{"page, anybody", 600, true, false, pageByAnybody},
	{"upload", 400, true, false, uploads},
	{"large answer", 200, true, false, downloads},
	{"own endpoints", 400, false, false, ownEndpoints},
	{"refresh", 400, false, false, refreshes},
	{"sign in", 20, false, false, signsIn},
	{"sign out and in, bearer", 10, false, false, signsOut},
	{"sign out and in, cookie", 10, false, false, signsOutOfCookie},
	{"register and leave", 10, false, false, registersAndLeaves},
	{"wrong password", 15, false, false, wrongPassword},
	{"wrong password, again and again", 30, false, false, wrongAgain},
	{"no good credential", 600, false, false, noGoodCredential},
	{"not allowed", 200, false, false, notAllowed},
	{"bad request", 400, true, false, badRequest},
	{"leaves in the middle", 300, false, false, leaves},
	{"event stream", 40, true, true, eventStream},
	{"WebSocket", 60, true, true, webSocket},
	{"event stream of a session that ends", 5, true, true, endedStream},
}

// choose picks an action by weight.
func choose(r *mathrand.Rand) *action {
	sum := 0
	for _, a := range actions {
		sum += a.weight
	}
	n := r.IntN(sum)
	for i := range actions {
		if n -= actions[i].weight; n < 0 {
			return &actions[i]
		}
	}
	panic("weights do not add up")
}

func (k *soaking) anybody(r *mathrand.Rand) *person { return k.people[r.IntN(len(k.people))] }

// caller is a session that only calls.
func (k *soaking) caller(r *mathrand.Rand) (token, told string) {
	i := r.IntN(soakTokens)
	return k.callers.Load().all[i], k.crowd.members[i].user.Username
}

func pageByBearer(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	token, told := k.caller(r)
	return page(ctx, k.hot, k.gateway.url("/app/page"), told, "Authorization", "Bearer "+token)
}

func pageByOwnBearer(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.RLock()
	defer p.RUnlock()
	return page(ctx, p.client, k.gateway.url("/app/page?q=1"), p.name, "Authorization", "Bearer "+p.access)
}

func pageByCookie(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.RLock()
	defer p.RUnlock()
	return page(ctx, p.client, k.gateway.url("/app/images/1.png"), p.name, "Cookie", "theme=dark; "+p.cookie)
}

func pageByAnybody(ctx context.Context, k *soaking, _ *mathrand.Rand) (string, error) {
	return page(ctx, k.hot, k.gateway.url("/public/page"), "")
}

var zeros = make([]byte, 4*mb)

func uploads(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	n := 1 + r.IntN(64<<10)
	if r.IntN(10) == 0 { // long enough to be followed
		n = mb + r.IntN(2*mb)
	}
	token, _ := k.caller(r)
	a, err := call(ctx, k.hot, http.MethodPost, k.gateway.url("/app/upload"), zeros[:n], "Authorization", "Bearer "+token)
	got, err := want(a, err, "200")
	if err == nil && string(a.body) != strconv.Itoa(n) {
		err = fmt.Errorf("of %d bytes %s arrived", n, a.body)
	}
	return got, err
}

func downloads(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	n := 1 + r.IntN(2048)
	token, _ := k.caller(r)
	a, err := call(ctx, k.hot, http.MethodGet, k.gateway.url(fmt.Sprintf("/app/big?n=%d", n)), nil, "Authorization", "Bearer "+token)
	got, err := want(a, err, "200")
	if err == nil && len(a.body) != n<<10 {
		err = fmt.Errorf("of %d bytes %d arrived", n<<10, len(a.body))
	}
	return got, err
}

func ownEndpoints(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.RLock()
	defer p.RUnlock()
	path, header := "/auth/login", []string{"Accept", "text/html"}
	if i := r.IntN(6); i > 0 {
		path = []string{"/auth/jwks.json", "/auth/openapi.yaml", "/auth/profile", "/auth/sessions", "/auth/events"}[i-1]
		header = []string{"Authorization", "Bearer " + p.access}
	}
	a, err := call(ctx, p.client, http.MethodGet, k.gateway.url(path), nil, header...)
	got, err := want(a, err, "200")
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return got, err
}

// refreshPause is what a client leaves between two refreshes; some few in a
// row are refused.
const refreshPause = 5 * time.Second

func refreshes(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.Lock()
	defer p.Unlock()
	if time.Since(p.issued) < refreshPause {
		return "not yet", nil
	}
	return p.rotate(ctx)
}

func signsIn(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.Lock()
	defer p.Unlock()
	// One session more than is left behind could push out the cookie's.
	if _, err := p.signOut(ctx, "Authorization", "Bearer "+p.access); err != nil {
		return "", err
	}
	return p.signIn(ctx)
}

func signsOut(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.Lock()
	defer p.Unlock()
	got, err := p.signOut(ctx, "Authorization", "Bearer "+p.access)
	if err != nil {
		return got, err
	}
	return p.signIn(ctx)
}

func signsOutOfCookie(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.Lock()
	defer p.Unlock()
	got, err := p.signOut(ctx, "Cookie", p.cookie)
	if err != nil {
		return got, err
	}
	return p.signInByCookie(ctx)
}

func registersAndLeaves(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := &person{st: k.stand, name: fmt.Sprintf("guest%d", r.Uint32()), client: clientFrom(stranger(r))}
	defer p.client.CloseIdleConnections()
	if got, err := p.register(ctx); err != nil {
		return got, err
	}
	return p.leave(ctx)
}

// streaming opens an event stream and reads its first event.
func (k *soaking) streaming(ctx context.Context, client *http.Client, token string) (*http.Response, *bufio.Reader, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.gateway.url("/app/events"), nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	events := bufio.NewReader(res.Body)
	if _, err := want(reply{is: answerOf(res)}, nil, "200"); err != nil {
		res.Body.Close()
		return nil, nil, err
	}
	if text, err := events.ReadBytes('\n'); err != nil || !bytes.HasPrefix(text, []byte("data:")) {
		res.Body.Close()
		return nil, nil, fmt.Errorf("first event %q: %v", text, err)
	}
	return res, events, nil
}

// eventStream reads events for some seconds.
func eventStream(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	token, _ := k.caller(r)
	res, events, err := k.streaming(ctx, k.hot, token)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	for end := time.Now().Add(time.Second + time.Duration(r.IntN(6000))*time.Millisecond); time.Now().Before(end); {
		if _, err := events.ReadBytes('\n'); err != nil {
			return "", err
		}
	}
	return "read, and closed", nil
}

// webSocket sends messages for some seconds.
func webSocket(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	token, _ := k.caller(r)
	s, err := k.openSocket(ctx, k.hot, token)
	if err != nil {
		return "", err
	}
	defer s.conn.CloseNow()
	for i := range 1 + r.IntN(20) {
		rest(ctx, time.Duration(r.IntN(500))*time.Millisecond)
		if err := s.echo(ctx, strings.Repeat("x", 1+i*200)); err != nil {
			return "", err
		}
	}
	if r.IntN(2) == 0 {
		return "echoed, and left", nil
	}
	return "echoed, and closed", s.conn.Close(1000, "")
}

// endedStream is an event stream whose session is signed out: it ends at once.
func endedStream(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	p := k.anybody(r)
	p.Lock()
	defer p.Unlock()
	res, events, err := k.streaming(ctx, p.client, p.access)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if _, err := p.signOut(ctx, "Authorization", "Bearer "+p.access); err != nil {
		return "", err
	}
	_, inErr := p.signIn(ctx)
	began := time.Now()
	for time.Since(began) < 5*time.Second {
		if _, err := events.ReadBytes('\n'); err != nil {
			return "ended", inErr
		}
	}
	return "", errors.Join(inErr, errors.New("open 5s after its session"))
}
