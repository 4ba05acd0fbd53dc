package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A gateway is the same at the end if it holds no more in the last quarter than
// in the first, after warming up: in the median, beyond a share and a few.
const growth = 0.10

// gauge is one thing it holds.
type gauge struct {
	name string
	of   func(vitals) int64
	unit int64
	few  int64
}

var gauges = []gauge{
	{"resident MB", func(v vitals) int64 { return v.memory }, mb, 8 * mb},
	{"heap in use MB", func(v vitals) int64 { return v.live }, mb, 4 * mb},
	{"stacks MB", func(v vitals) int64 { return v.stacks }, mb, 2 * mb},
	{"goroutines", func(v vitals) int64 { return v.goroutines }, 1, 32},
	{"descriptors", func(v vitals) int64 { return v.descriptors }, 1, 32},
	{"store file MB", func(v vitals) int64 { return v.store }, mb, 4 * mb},
}

// trend is one gauge over a soak.
type trend struct {
	first, last float64 // medians of the quarters
	high        float64
	slope       float64 // an hour, by least squares
	bound       float64 // for last
}

func (t trend) flat() bool { return t.last <= t.bound }

// trend of the samples, warmed up.
func (g gauge) trend(samples []vitals) trend {
	var values, hours []float64
	for _, s := range samples {
		values, hours = append(values, float64(g.of(s))/float64(g.unit)), append(hours, s.at.Hours())
	}
	q := max(1, len(values)/4)
	t := trend{first: spreadOf(values[:q]).median, last: spreadOf(values[len(values)-q:]).median}
	t.high, t.slope = slices.Max(values), slope(hours, values)
	t.bound = t.first*(1+growth) + float64(g.few)/float64(g.unit)
	return t
}

// slope is that of the line closest to the points.
func slope(x, y []float64) float64 {
	var sx, sy, sxx, sxy float64
	n := float64(len(x))
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	if d := n*sxx - sx*sx; d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}

// warmed drops the first part of a soak, in which caches and connections fill.
func warmed(samples []vitals, length time.Duration) []vitals {
	warm := max(length/10, 10*time.Second)
	i := slices.IndexFunc(samples, func(v vitals) bool { return v.at >= warm })
	if i < 0 {
		return nil
	}
	return samples[i:]
}

// printSoak writes what was held over the soak; the error names what has grown.
func printSoak(samples []vitals, before, after vitals, length time.Duration) error {
	warm := warmed(samples, length)
	if len(warm) < 8 {
		return errors.New("too few samples to tell")
	}
	fmt.Printf("Medians of the first and the last quarter of %d samples after warming up; flat is a last of at most %.0f%% more, and a few.\n\n", len(warm), 100*growth)
	fmt.Println("| held | before | first quarter | last quarter | most | slope an hour | bound | flat | everybody gone |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|---|--:|")
	var grown []error
	for _, g := range gauges {
		t := g.trend(warm)
		verdict := "yes"
		if !t.flat() {
			verdict = "NO"
			grown = append(grown, fmt.Errorf("%s has grown from %.1f to %.1f, bound %.1f", g.name, t.first, t.last, t.bound))
		}
		of := func(v vitals) float64 { return float64(g.of(v)) / float64(g.unit) }
		fmt.Printf("| %s | %.1f | %.1f | %.1f | %.1f | %+.1f | %.1f | %s | %.1f |\n", g.name, of(before), t.first, t.last, t.high, t.slope, t.bound, verdict, of(after))
	}
	return errors.Join(grown...)
}
