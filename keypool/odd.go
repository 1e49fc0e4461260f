// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"math/bits"
	"strings"
	"time"
)

// faults counts the upstream's faults that one key has met with one model: a
// provider may serve every account but one, or serve it badly.
type faults struct {
	model string
	// count is how many came in a row, the first of them at since.
	count int
	since time.Time
	// recent holds a bit for each of the latest seen outcomes, 1 for a success.
	recent uint64
	seen   int
}

// note takes an outcome in.
func (f *faults) note(class Class, model string, now time.Time) {
	known := f.seen > 0 && f.model == model
	switch {
	case class == ClassOK && known:
		f.count = 0
	case !isFault(class):
		return
	case known:
		f.count++
	default:
		*f = faults{model: strings.Clone(model), count: 1}
	}
	if f.count == 1 {
		f.since = now
	}
	f.recent <<= 1
	if class == ClassOK {
		f.recent |= 1
	}
	f.seen = min(f.seen+1, window)
}

// share returns the share of successes among the latest outcomes.
func (f *faults) share() float64 { return float64(bits.OnesCount64(f.recent)) / float64(f.seen) }

// isFault reports whether a class counts against a model of the upstream.
func isFault(class Class) bool {
	switch class {
	case ClassUpstream, ClassSlow, ClassReset, ClassBroken:
		return true
	}
	return false
}

// judgeOdd makes a key rest that has met too many faults while others were
// served: then it is not the upstream, or only for this key's account.
func (p *Pool) judgeOdd(l *Lease, v Verdict, now time.Time) {
	if !isFault(v.Class) {
		return
	}
	if c := p.upstream.find(l.model); c != nil {
		p.notify(l.index, p.members[l.index].state.restIfOdd(l, v, c.standing(), now))
	}
}

// standing is how a model is served, whichever key asks.
type standing struct {
	rules Breaker
	// served is when the latest of the calls began that were served, and well
	// says that it is enough of them.
	served time.Time
	well   bool
}

func (c *circuit) standing() standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.breaker.Counts()
	seen := float64(n.TotalSuccesses + n.TotalFailures)
	return standing{c.rules, c.served, seen >= enoughCalls && float64(n.TotalSuccesses) >= c.rules.MinSuccess*seen}
}

// restIfOdd makes the key rest for the model if it has met enough faults in a
// row, and others were served that began after the first; or if too small a
// share of its calls was served, but enough of all.
func (s *State) restIfOdd(l *Lease, v Verdict, others standing, now time.Time) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.faults
	inARow := f.count >= others.rules.Failures && others.served.After(f.since)
	often := f.seen >= enoughCalls && f.share() < others.rules.MinSuccess && others.well
	if f.model != l.model || !inARow && !often {
		return Notice{}
	}
	old := s.rests.Load()
	r := old.clone()
	r.at(l.model).penalise(Verdict{Class: v.Class}, l.began, now, 0)
	return s.replace(old, r, l.model, now)
}
