package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally counts every answer of a soak, apart for those that were asked for and
// those that were not.
type tally struct {
	mu        sync.Mutex
	right     map[line]int
	wrong     map[line]int
	postponed int // turns that came while no worker was free
}

// line is one line of the table: what was done and what came of it.
type line struct{ did, got string }

func newTally() *tally { return &tally{right: map[line]int{}, wrong: map[line]int{}} }

func (t *tally) asked(did, got string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.right[line{did, got}]++
}

func (t *tally) unasked(did string, err error) {
	text := err.Error()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong[line{did, text[:min(len(text), 200)]}]++
}

// note is for what either works or does not.
func (t *tally) note(did string, err error) {
	if err != nil {
		t.unasked(did, err)
		return
	}
	t.asked(did, "done")
}

func (t *tally) late() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.postponed++
}

// print writes the table; the error says how much was not asked for.
func (t *tally) print() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Println("| what was done | what came of it | times | asked for |")
	fmt.Println("|---|---|--:|---|")
	all, wrong := 0, 0
	for _, part := range []struct {
		lines map[line]int
		asked string
		sum   *int
	}{{t.right, "yes", &all}, {t.wrong, "NO", &wrong}} {
		lines := slices.SortedFunc(maps.Keys(part.lines), func(a, b line) int {
			return strings.Compare(a.did+" "+a.got, b.did+" "+b.got)
		})
		for _, l := range lines {
			fmt.Printf("| %s | %s | %d | %s |\n", l.did, strings.ReplaceAll(l.got, "|", "\\|"), part.lines[l], part.asked)
			*part.sum += part.lines[l]
		}
	}
	fmt.Printf("\n%d answers that were asked for, %d that were not; %d turns were skipped because the machine was busy.\n", all, wrong, t.postponed)
	if wrong > 0 {
		return fmt.Errorf("%d answers nobody asked for", wrong)
	}
	return nil
}

// judgeLine is a line of the gateway's log that matters here, and whether it was
// asked for: "" is for the lines of every day.
func judgeLine(text []byte) (name string, asked bool) {
	var l struct{ Level, Msg string }
	switch {
	case bytes.Contains(text, []byte("panic")):
		return string(text[:min(len(text), 180)]), false
	case !bytes.Contains(text, []byte(`"level":"ERROR"`)):
		return "", false
	case json.Unmarshal(text, &l) == nil && strings.Contains(l.Msg, "configuration"):
		return "ERROR " + l.Msg, true
	}
	return strings.TrimSpace(string(text[:min(len(text), 180)])), false
}

// outage is when the application was away. Connections that were kept to it
// stay broken a little longer.
type outage struct {
	mu    sync.Mutex
	spans []span
}

type span struct{ from, to time.Time } // to is zero as long as it lasts

const outageGrace = 2 * time.Second

func (o *outage) begins() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans = append(o.spans, span{from: time.Now()})
}

func (o *outage) ends() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans[len(o.spans)-1].to = time.Now().Add(outageGrace)
}

// overlaps reports whether it was away at any time between two moments.
func (o *outage) overlaps(from, to time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.spans, func(s span) bool {
		return to.After(s.from) && (s.to.IsZero() || from.Before(s.to))
	})
}
