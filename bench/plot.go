package main

import (
	"fmt"
	"html"
	"strings"
)

const (
	plotWidth = 900
	plotLeft  = 270 // where the bars begin
	plotRight = 90  // room for the figures
	rowHeight = 26
	plotTop   = 56
)

// plot draws CPU time per request as an SVG: a bar to the median, a line over
// the range, and a dashed line at what the bare ReverseProxy takes.
func plot(all []*contender) string {
	most := 1.0
	for _, c := range all {
		most = max(most, c.of(sample.perRequest).high)
	}
	scale := float64(plotWidth-plotLeft-plotRight) / most
	height := plotTop + rowHeight*len(all) + 16
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<text x="16" y="26" font-size="16" fill="#222">CPU microseconds of the proxy per request: median and range of the rounds</text>`+"\n")
	for i, c := range all {
		b.WriteString(row(c, float64(plotTop+rowHeight*i), scale))
	}
	if bare := find(all, bareName, false).of(sample.perRequest).median; bare > 0 {
		x := plotLeft + bare*scale
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#444" stroke-dasharray="4 3"/>`+"\n", x, plotTop-8, x, height-12)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// row is one contender's bar.
func row(c *contender, y, scale float64) string {
	colour := "#b5bac2"
	switch {
	case strings.HasPrefix(c.name, "Doorward"):
		colour = "#2f7d5b"
	case strings.HasPrefix(c.name, bareName):
		colour = "#6b7ba4"
	}
	cost := c.of(sample.perRequest)
	middle := y + rowHeight/2
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end" fill="#222">%s</text>`, plotLeft-10, middle+4, html.EscapeString(c.name))
	fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`, plotLeft, y+4, cost.median*scale, rowHeight-8, colour)
	fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#222"/>`, plotLeft+cost.low*scale, middle, plotLeft+cost.high*scale, middle)
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="#222">%.0f</text>`+"\n", plotLeft+cost.high*scale+8, middle+4, cost.median)
	return b.String()
}
