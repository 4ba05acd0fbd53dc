package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   spread
	}{
		{"odd", []float64{3, 1, 2}, spread{1, 2, 3}},
		{"even", []float64{4, 1, 2, 3}, spread{1, 2.5, 4}},
		{"none", nil, spread{}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// measured is a contender that took so many microseconds in each round.
func measured(name string, micros ...int) *contender {
	c := &contender{name: name}
	for _, m := range micros {
		c.samples = append(c.samples, sample{requests: 1000, took: time.Second, cpu: time.Duration(m) * time.Millisecond, memory: 1 << 20})
	}
	return c
}

// A round in which the whole machine is slow must not change a ratio.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	bare, ours := measured(bareName, 50, 100, 500), measured("Doorward", 60, 120, 600)
	if got, want := ours.ratio(bare), (spread{1.2, 1.2, 1.2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTable(t *testing.T) {
	got := table([]*contender{measured(plainName, 20, 20), measured(bareName, 50, 50), measured("Doorward", 60, 60)})
	want := "| Doorward | 60.0 (60.0–60.0) | 1.20 (1.20–1.20) | 3.00 | 0.00 | 1000 | 0.00 | 0.00 | 1 | 0% |\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant the last line\n%s", got, want)
	}
}

func TestPlotIsAnImage(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(plot([]*contender{measured(bareName, 50, 70), measured("<Doorward> & co", 60)})))
	bars, text := 0, ""
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "rect" {
				bars++
			}
		case xml.CharData:
			text += string(token)
		}
	}
	if got, want := bars, 3; got != want { // the ground and two bars
		t.Errorf("got %d rectangles, want %d", got, want)
	}
	if want := "<Doorward> & co"; !strings.Contains(text, want) {
		t.Errorf("got text %q, want %q in it", text, want)
	}
}
