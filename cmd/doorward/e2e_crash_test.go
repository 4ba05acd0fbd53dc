package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// acknowledged is what the program has said is done: it must be there whatever
// happens to the process.
type acknowledged struct {
	mu      sync.Mutex
	live    []pair // signed up or refreshed: the session goes on
	over    []pair // signed out
	count   int
	enough  int
	reached chan struct{}
}

func (a *acknowledged) add(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	if a.count++; a.count == a.enough {
		close(a.reached)
	}
}

// TestKillUnderWriteLoad kills the program in the middle of its writes, 50
// times, and starts it again on the same store.
func TestKillUnderWriteLoad(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	g := &gate{t: t, dir: t.TempDir(), quick: true}
	g.writeConfig(`
upstreams: [{name: app, url: "whoami:"}]
routes: [{path: "/**", upstream: app, allow: authenticated}]
`)
	g.run()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var all []*acknowledged
	for round := range rounds {
		acks := &acknowledged{enough: 3 + random.IntN(8), reached: make(chan struct{})}
		var workers sync.WaitGroup
		for worker := range 4 {
			workers.Go(func() { writeUntilKilled(g, fmt.Sprintf("r%d-w%d", round, worker), acks) })
		}
		<-acks.reached
		g.kill()
		workers.Wait()
		g.run()
		checkAcknowledged(t, g, acks)
		all = append(all, acks)
	}
	for _, acks := range all {
		checkAcknowledged(t, g, acks)
	}
}

// writeUntilKilled signs up, refreshes and signs out until the connection breaks.
func writeUntilKilled(g *gate, name string, acks *acknowledged) {
	for i := 0; ; i++ {
		p, ok := tryPost(g, "/auth/register", map[string]string{"username": fmt.Sprintf("%s-%d", name, i), "password": goodPassword}, 201)
		if !ok {
			return
		}
		acks.add(func() { acks.live = append(acks.live, p) })
		if i%2 == 0 {
			continue
		}
		// In flight, a sign-out may or may not have happened: such a session
		// belongs to neither list.
		acks.mu.Lock()
		last := len(acks.live) - 1
		for acks.live[last].Access != p.Access {
			last--
		}
		acks.live = append(acks.live[:last], acks.live[last+1:]...)
		acks.mu.Unlock()
		if _, ok := tryPost(g, "/auth/logout", map[string]string{"refresh_token": p.Refresh}, 204); !ok {
			return
		}
		acks.add(func() { acks.over = append(acks.over, p) })
	}
}

func tryPost(g *gate, path string, v any, want int) (pair, bool) {
	data, _ := json.Marshal(v)
	var r reply
	for r.status == 0 || r.status == 503 { // a slow machine has a full hashing queue: nothing was acknowledged
		var err error
		if r, err = g.try("POST", path, bytes.NewReader(data), "Content-Type", "application/json"); err != nil {
			return pair{}, false
		}
	}
	if r.status != want {
		g.t.Errorf("POST %s: got %d %s, want %d", path, r.status, r.body, want)
		return pair{}, false
	}
	var p pair
	if want != 204 {
		if err := json.Unmarshal(r.body, &p); err != nil {
			g.t.Errorf("POST %s: %v", path, err)
			return pair{}, false
		}
	}
	return p, true
}

func checkAcknowledged(t *testing.T, g *gate, acks *acknowledged) {
	t.Helper()
	for _, p := range acks.live {
		if r := g.call("GET", "/auth/profile", nil, bearer(p.Access)...); r.status != 200 {
			t.Fatalf("%s was signed up, and after the restart the answer is %d %s", p.User.Username, r.status, r.body)
		}
	}
	for _, p := range acks.over {
		if r := g.call("GET", "/auth/profile", nil, bearer(p.Access)...); r.status != 401 || r.header.Get("Doorward") != "TOKEN_REVOKED" {
			t.Fatalf("%s was signed out, and after the restart the answer is %d %s", p.User.Username, r.status, r.body)
		}
	}
	if len(acks.live) > 0 {
		// The refresh chain came through as well: the token works, once.
		p := &acks.live[0]
		r := g.post("/auth/refresh", map[string]string{"refresh_token": p.Refresh})
		if r.status != 200 {
			t.Fatalf("%s: refresh after the restart: %d %s", p.User.Username, r.status, r.body)
		}
		r.json(t, p)
	}
}
