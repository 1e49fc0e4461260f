// SPDX-License-Identifier: Apache-2.0

package load

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets whose width is at most 1.6 % of their
// value. It is safe for concurrent use, so that thousands of connections share
// one. The zero value is empty.
type Histogram struct {
	buckets [buckets]atomic.Uint32
	count   atomic.Uint64
}

const (
	// steps is how many buckets an octave has.
	steps     = 64
	stepsBits = 6
	// octaves reaches beyond an hour, in nanoseconds.
	octaves = 38
	buckets = octaves * steps
)

// add counts d. What took less than nothing, because clocks are read a moment
// apart, took nothing.
func (h *Histogram) add(d time.Duration) {
	h.buckets[min(bucket(uint64(max(d, 0))), buckets-1)].Add(1)
	h.count.Add(1)
}

// Count returns how many durations were counted.
func (h *Histogram) Count() uint64 { return h.count.Load() }

// Quantile returns the duration that the share q of all is not above, and 0 if
// there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := max(uint64(q*float64(h.Count())+0.5), 1)
	var seen uint64
	for i := range h.buckets {
		if seen += uint64(h.buckets[i].Load()); seen >= want {
			return middle(i)
		}
	}
	return 0
}

// bucket returns the index for v: v itself up to steps, then one octave after
// the other in equal steps.
func bucket(v uint64) int {
	if v < steps {
		return int(v)
	}
	octave := bits.Len64(v) - stepsBits - 1
	return (octave+1)*steps + int(v>>octave) - steps
}

func middle(i int) time.Duration {
	if i < steps {
		return time.Duration(i)
	}
	octave := i/steps - 1
	return time.Duration((float64(i%steps+steps) + 0.5) * float64(uint64(1)<<octave))
}
