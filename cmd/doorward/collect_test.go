package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// Four times what is in use is for a gateway that keeps little: with thousands
// of connections open it was a gigabyte.
func TestGarbageIsBoundedInBytesToo(t *testing.T) {
	for _, c := range []struct {
		name  string
		inUse uint64
		want  int
	}{
		{"before the first collection", 0, 400},
		{"as small as it starts", 4 << 20, 400},
		{"ten thousand sessions", 30 << 20, 400},
		{"a little more", 36 << 20, 350},
		{"a thousand WebSockets", 80 << 20, 150},
		{"five thousand", 400 << 20, 100},
		{"as much as there is", 1 << 40, 100},
	} {
		if got := garbageShare(c.inUse); got != c.want {
			t.Errorf("%s: got %d%%, want %d%%", c.name, got, c.want)
		}
	}
}

func TestInUseIsKnown(t *testing.T) {
	runtime.GC()
	if got := inUse(); got < 10<<10 || got > 1<<40 {
		t.Errorf("got %d bytes, want about what a test uses", got)
	}
}

// Whoever sets GOGC is obeyed, and what is set here ends with the server.
func TestCollectLessStops(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	for _, c := range []struct {
		gogc string
		want int
	}{{"", mostGarbage}, {"70", 100}} {
		stop := collectLess(c.gogc)
		got := debug.SetGCPercent(100)
		stop()
		if got != c.want {
			t.Errorf("GOGC=%q: got %d, want %d", c.gogc, got, c.want)
		}
		if got := debug.SetGCPercent(100); got != 100 {
			t.Errorf("GOGC=%q, stopped: got %d, want 100", c.gogc, got)
		}
	}
}
