// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"math"
	"sync/atomic"
	"time"
)

// paceHalfLife is how fast a key's slowness is forgotten: one that is not
// asked any more must get another chance.
const paceHalfLife = 30 * time.Second

// pace is how long a key's answers take to begin. It may be read while it is
// being changed.
type pace struct{ wait, at atomic.Int64 }

// note takes an outcome in. An answer that did not come counts for the time
// that was lost on it.
func (p *pace) note(o Outcome, now time.Time) {
	wait := o.FirstToken
	if wait == 0 {
		wait = o.Latency
	}
	if class := o.Verdict.Class; class != ClassOK && class != ClassSlow || wait == 0 {
		return
	}
	// The longer ago the others were, the more the new one counts.
	old := float64(p.wait.Load())
	share := max(1.0/8, 1-p.kept(now))
	p.wait.Store(int64(old + (float64(wait)-old)*share))
	p.at.Store(now.UnixNano())
}

// kept is how much of what was observed last still counts, from 0 to 1.
func (p *pace) kept(now time.Time) float64 {
	age := max(0, now.UnixNano()-p.at.Load())
	return math.Exp2(-float64(age) / float64(paceHalfLife))
}

// cost is the wait that one more call must expect beside those in flight; 0 if
// nothing is known.
func (p *pace) cost(inFlight int32, now time.Time) float64 {
	return float64(p.wait.Load()) * p.kept(now) * float64(inFlight+1)
}
