// SPDX-License-Identifier: Apache-2.0

package load

import (
	"strings"
	"testing"
	"time"
)

func TestQuantilesAreWithinTwoPercent(t *testing.T) {
	var h Histogram
	for i := range 100_000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []float64{0.001, 0.5, 0.99, 1} {
		want := q * 100_000 * float64(time.Microsecond)
		if got := float64(h.Quantile(q)); got < 0.98*want || got > 1.02*want {
			t.Errorf("the %g quantile is %g, not %g", q, got, want)
		}
	}
}

func TestHistogramTakesEveryDuration(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 1 << 62} {
		h.add(d)
	}
	if h.Count() != 6 || h.Quantile(0.5) != 1 {
		t.Errorf("%d durations, median %s", h.Count(), h.Quantile(0.5))
	}
}

func TestStampsAreFoundHoweverTheStreamIsCut(t *testing.T) {
	const stream = "data: {\"text\":\"@1700000000123456789@the \"}\n\ndata: {\"text\":\"an @ alone\"}\n\n" +
		"data: {\"text\":\"@1700000000223456789@quick \"}\n\ndata: [DONE]\n\n"
	for size := 1; size <= len(stream); size++ {
		var e events
		var sent []time.Time
		for rest := stream; rest != ""; rest = rest[min(size, len(rest)):] {
			e.read([]byte(rest[:min(size, len(rest))]), func(at time.Time) { sent = append(sent, at) })
		}
		if len(sent) != 2 || sent[1].Sub(sent[0]) != 100*time.Millisecond || !e.done {
			t.Fatalf("in pieces of %d: stamps %v, done %v", size, sent, e.done)
		}
	}
}

func TestAStreamWithoutItsEndIsNotDone(t *testing.T) {
	var e events
	e.read([]byte(strings.Repeat("data: {}\n\n", 3)), func(time.Time) {})
	if e.done {
		t.Error("the stream is taken for done")
	}
}
