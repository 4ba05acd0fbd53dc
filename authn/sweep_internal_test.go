package authn

import (
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
