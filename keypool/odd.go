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
	c := p.upstream.find(l.model)
	if c == nil {
		return
	}
	state, all := p.members[l.index].state, c.standing()
	inARow, often := state.faulty(l.model, all)
	if inARow || often && p.othersServed(l.index, all.rules, now) {
		p.notify(l.index, state.restFor(l, v, now))
	}
}

// othersServed reports whether enough of the calls with other keys have lately
// been served.
func (p *Pool) othersServed(key int, rules Breaker, now time.Time) bool {
	shares, keys := 0.0, 0
	for i := range p.members {
		s := p.members[i].state
		if i == key {
			continue
		}
		s.mu.Lock()
		if now.Sub(s.health.lastSuccess) <= rules.Window {
			shares, keys = shares+s.health.successRate(), keys+1
		}
		s.mu.Unlock()
	}
	return keys > 0 && shares >= rules.MinSuccess*float64(keys)
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

// faulty reports whether the key has met enough faults with the model: in a
// row, while others were served that began after the first; or often, as too
// small a share of its calls was served, but enough of all.
func (s *State) faulty(model string, all standing) (inARow, often bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.faults
	if f.model != model || f.seen == 0 {
		return false, false
	}
	inARow = f.count >= all.rules.Failures && all.served.After(f.since)
	often = f.seen >= enoughCalls && f.share() < all.rules.MinSuccess && all.well
	return inARow, often
}

// restFor makes the key rest for the model that it has met a fault with.
func (s *State) restFor(l *Lease, v Verdict, now time.Time) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.rests.Load()
	r := old.clone()
	r.at(l.model).penalise(Verdict{Class: v.Class}, l.began, now, 0)
	return s.replace(old, r, l.model, now)
}
