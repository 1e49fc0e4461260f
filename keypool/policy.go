// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"time"
)

// Policy is how a key is chosen among those that are free.
type Policy uint8

// The policies.
const (
	// RoundRobin takes the keys in turn.
	RoundRobin Policy = iota
	// Weighted takes them in proportion to their weights, evenly spread.
	Weighted
)

var policyNames = map[string]Policy{"round_robin": RoundRobin, "weighted": Weighted}

// ParsePolicy returns the policy of that name.
func ParsePolicy(name string) (Policy, error) {
	policy, ok := policyNames[name]
	if !ok {
		return 0, fmt.Errorf("unknown selection policy %q; known are round_robin and weighted", name)
	}
	return policy, nil
}

// chooseLocked returns the key that is next by the policy, of those that are
// free for model and not in tried; -1 if there is none.
func (p *Pool) chooseLocked(model string, now time.Time, tried *Tried) int {
	if p.opts.Policy == Weighted {
		return p.byCreditLocked(model, now, tried)
	}
	return p.inTurnLocked(model, now, tried)
}

// inTurnLocked goes on from the key after the last one taken, not from the
// last one asked: so what resting keys leave undone is shared by all others,
// and does not fall to whichever stands behind them.
func (p *Pool) inTurnLocked(model string, now time.Time, tried *Tried) int {
	n := len(p.members)
	for offset := range n {
		i := p.turn + offset
		if i >= n {
			i -= n
		}
		if !tried.has(i) && p.members[i].state.free(model, now) {
			p.turn = i + 1
			return i
		}
	}
	return -1
}

// byCreditLocked is the smooth weighted round robin: every key that could be
// taken earns its weight, the one with the most credit is, and pays what all
// have earned. A key that rests earns nothing, so that it does not come back
// to a debt of the others.
func (p *Pool) byCreditLocked(model string, now time.Time, tried *Tried) int {
	best, total := -1, 0
	for i := range p.members {
		m := &p.members[i]
		if tried.has(i) || !m.state.free(model, now) {
			continue
		}
		m.credit += m.key.Weight
		total += m.key.Weight
		if best < 0 || m.credit > p.members[best].credit {
			best = i
		}
	}
	if best >= 0 {
		p.members[best].credit -= total
	}
	return best
}
