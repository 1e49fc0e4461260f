// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
)

// The picture's measures, in pixels.
const (
	rowHeight  = 26
	labelWidth = 130
	barWidth   = 320
	// mostRatio is where a bar is cut off.
	mostRatio = 2.0
	width     = labelWidth + barWidth + 220
)

// picture draws a bar for each ratio, beside the line at which we are as a
// bare Caddy is.
func picture(outcomes []outcome) []byte {
	var svg bytes.Buffer
	height := (len(outcomes) + 2) * rowHeight
	one := labelWidth + barWidth/mostRatio
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&svg, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&svg, `<text x="%g" y="18" text-anchor="middle">bare Caddy</text>`+"\n", one)
	row := 1
	for _, o := range outcomes {
		if math.IsNaN(o.ratio) {
			continue
		}
		top := row * rowHeight
		colour := "#2f7d4f"
		if o.ratio > 1.05 {
			colour = "#b5612a"
		}
		length := min(max(o.ratio, 0), mostRatio) / mostRatio * barWidth
		fmt.Fprintf(&svg, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, top+17, o.name)
		fmt.Fprintf(&svg, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, top+4, length, rowHeight-8, colour)
		fmt.Fprintf(&svg, `<text x="%d" y="%d">%s × (%s to %s %s)</text>`+"\n", labelWidth+barWidth+8, top+17, figure(o.ratio), figure(o.ours), figure(o.base), o.unit)
		row++
	}
	fmt.Fprintf(&svg, `<line x1="%g" y1="24" x2="%g" y2="%d" stroke="#333" stroke-dasharray="4 3"/>`+"\n</svg>\n", one, one, row*rowHeight+4)
	return svg.Bytes()
}
