package authn

import (
	"strconv"
	"testing"
	"time"
)

func TestNextBatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
		took time.Duration
		want int
	}{
		{"slow: half", 64, 21 * time.Millisecond, 32},
		{"slow, and small already", 5, time.Second, leastBatch},
		{"as it should be", 64, 10 * time.Millisecond, 64},
		{"quick: twice", 64, 4 * time.Millisecond, 128},
		{"quick, and large already", 200, time.Microsecond, mostBatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := nextBatch(tt.n, tt.took); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestMarksAreBounded: of sessions past the bound nothing is noted, and those
// noted before still move on.
func TestMarksAreBounded(t *testing.T) {
	var m marks
	now := time.Now()
	for n := range maxMarks + 100 {
		m.add(strconv.Itoa(n), now)
	}
	m.add("0", now.Add(time.Minute))
	if at, _ := m.last("0"); len(m.at) != maxMarks || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("%d marks, and the first is of %v; want %d and a minute later", len(m.at), at.Sub(now), maxMarks)
	}
}
