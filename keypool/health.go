// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"math/bits"
	"time"
)

// window is how many of the latest outcomes the success rate is taken over.
const window = 64

// health is what passive observation tells of a key.
type health struct {
	total, successes, errors uint64
	consecutiveFailures      int
	lastSuccess              time.Time
	lastError                time.Time
	lastErrorClass           Class
	// recent holds a bit for each of the latest outcomes, 1 for a success.
	recent      uint64
	recentCount int
	// latency and firstToken are moving averages.
	latency, firstToken time.Duration
}

// note takes an outcome in. What is the client's doing says nothing of the
// key: it is neither a success nor a failure, and how fast a request was
// refused tells nothing of how fast one is answered.
func (h *health) note(o Outcome, now time.Time) {
	class := o.Verdict.Class
	if class == ClassCanceled {
		return
	}
	h.total++
	switch class {
	case ClassCaller, ClassContext, ClassPolicy, ClassTier:
		return
	}
	h.recent <<= 1
	h.recentCount = min(h.recentCount+1, window)
	if class != ClassOK {
		h.errors++
		h.consecutiveFailures++
		h.lastError, h.lastErrorClass = now, class
		return
	}
	h.recent |= 1
	h.successes++
	h.consecutiveFailures = 0
	h.lastSuccess = now
	h.latency = average(h.latency, o.Latency)
	h.firstToken = average(h.firstToken, o.FirstToken)
}

// successRate is the share of successes in the latest outcomes; 1 before the
// first.
func (h *health) successRate() float64 {
	if h.recentCount == 0 {
		return 1
	}
	return float64(bits.OnesCount64(h.recent)) / float64(h.recentCount)
}

// average moves an average an eighth of the way to a new value.
func average(old, value time.Duration) time.Duration {
	if old == 0 || value == 0 {
		return max(old, value)
	}
	return old + (value-old)/8
}
