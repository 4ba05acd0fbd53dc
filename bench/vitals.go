package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// vitals is what the gateway holds at one moment: as the kernel counts it, and
// as it says itself at /metrics.
type vitals struct {
	at          time.Duration // since sampling began
	memory      int64         // resident bytes
	live        int64         // bytes of heap that survived the last collection, roughly
	stacks      int64         // bytes
	goroutines  int64
	descriptors int64
	store       int64 // bytes of the file
}

const mb = 1 << 20

func (st *stand) vitals(ctx context.Context) (v vitals, err error) {
	if v.memory, err = st.gateway.process.memory(); err != nil {
		return v, err
	}
	if v.descriptors, err = st.gateway.process.descriptors(); err != nil {
		return v, err
	}
	info, err := os.Stat(st.storeFile())
	if err != nil {
		return v, err
	}
	v.store = info.Size()
	m, err := st.metrics(ctx)
	if err != nil {
		return v, err
	}
	v.stacks, v.goroutines = int64(m["go_memstats_stack_inuse_bytes"]), int64(m["go_goroutines"])
	v.live = survived(int64(m["go_memstats_next_gc_bytes"]), v.stacks, int64(m["go_gc_gogc_percent"]))
	return v, nil
}

// survived is how much of the heap was in use after the last collection, from
// the size at which the next begins: what survived, and for that and the stacks
// so many percent more.
func survived(next, stacks, percent int64) int64 {
	return max(0, (next*100-stacks*percent)/(100+percent))
}

// descriptors is how many files and sockets the group has open.
func (p *process) descriptors() (int64, error) {
	var n int64
	err := p.each(func(dir string, _ stat) error {
		open, err := os.ReadDir(filepath.Join(dir, "fd"))
		n += int64(len(open))
		return err
	})
	return n, err
}

// opsClient asks what nobody measures.
var opsClient = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// metrics is every series without labels.
func (st *stand) metrics(ctx context.Context) (map[string]float64, error) {
	res, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/metrics", st.ops))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	m := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if name, value, ok := parseMetric(lines.Text()); ok {
			m[name] = value
		}
	}
	return m, nil
}

// parseMetric reads one line of Prometheus' text format; false for a comment
// and for a series with labels.
func parseMetric(line string) (name string, value float64, ok bool) {
	name, text, found := strings.Cut(line, " ")
	if !found || name == "#" || strings.Contains(name, "{") {
		return "", 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	return name, value, err == nil
}

// busyWith is what the application says it is busy with.
func (st *stand) busyWith(ctx context.Context) (map[string]int64, error) {
	res, err := get(ctx, st.backend.url("/stats"))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var m map[string]int64
	return m, json.NewDecoder(res.Body).Decode(&m)
}

func get(ctx context.Context, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return opsClient.Do(r)
}

// until asks again and again, at most for so long, whether something has come
// to be; it returns how long that took.
func until(ctx context.Context, patience time.Duration, is func() (bool, error)) (time.Duration, error) {
	began := time.Now()
	for {
		ok, err := is()
		took := time.Since(began)
		switch {
		case ok || err != nil:
			return took, err
		case took > patience:
			return took, fmt.Errorf("not within %v", patience)
		case ctx.Err() != nil:
			return took, ctx.Err()
		}
		time.Sleep(max(10*time.Millisecond, min(took/20, time.Second))) // asking costs the gateway too
	}
}

// peak watches for the most memory the gateway has between two moments.
type peak struct {
	stop chan struct{}
	done sync.WaitGroup
	most int64
}

func (st *stand) peak() *peak {
	p := &peak{stop: make(chan struct{})}
	p.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, err := st.gateway.process.memory(); err == nil {
				p.most = max(p.most, now)
			}
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
		}
	})
	return p
}

// end is the most there was.
func (p *peak) end() int64 {
	close(p.stop)
	p.done.Wait()
	return p.most
}

// comesBack waits until the gateway holds no more than before: descriptors and
// goroutines but for a few, and the heap and stacks in use but for what may be
// kept. Those are known after the next collection, which comes after two minutes
// where little happens; and what it has of the system it gives back by and by.
func (st *stand) comesBack(ctx context.Context, before vitals, kept int64) (string, error) {
	var now vitals
	const few = 64 // side traffic's own come and go
	counts, err := until(ctx, 30*time.Second, func() (_ bool, err error) {
		now, err = st.vitals(ctx)
		return now.descriptors <= before.descriptors+few && now.goroutines <= before.goroutines+few, err
	})
	if err != nil {
		return "", fmt.Errorf("from %d descriptors and %d goroutines there are %d and %d: %w", before.descriptors, before.goroutines, now.descriptors, now.goroutines, err)
	}
	memory, err := until(ctx, 3*time.Minute, func() (_ bool, err error) {
		now, err = st.vitals(ctx)
		return now.live+now.stacks <= before.live+before.stacks+kept, err
	})
	if err != nil {
		return "", fmt.Errorf("from %d MB of heap and stacks there are %d: %w", (before.live+before.stacks)/mb, (now.live+now.stacks)/mb, err)
	}
	return fmt.Sprintf("descriptors and goroutines are back after %v, heap and stacks after %v more: %d MB in use, %d MB resident",
		counts.Round(time.Millisecond), memory.Round(time.Millisecond), (now.live+now.stacks)/mb, now.memory/mb), nil
}

// alive is an error if the program has ended.
func (p *process) alive() error {
	_, err := p.memory()
	return err
}
