// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"iter"
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

// order yields the keys in the order in which they should be considered.
func (p *Pool) order() iter.Seq[int] {
	if p.opts.Policy == Weighted {
		return p.byCredit
	}
	return p.inTurn
}

func (p *Pool) inTurn(yield func(int) bool) {
	n := uint64(len(p.keys))
	start := p.cursor.Add(1) - 1
	for offset := range n {
		if !yield(int((start + offset) % n)) {
			return
		}
	}
}

// byCredit yields the key with the most credit first. Every key earns its
// weight each time one is chosen, and the chosen one pays for all: the smooth
// weighted round robin.
func (p *Pool) byCredit(yield func(int) bool) {
	var passed Tried
	for range p.keys {
		best := -1
		p.mu.Lock()
		for i, key := range p.keys {
			if !passed.has(i) && (best < 0 || p.credits[i]+key.Weight > p.credits[best]+p.keys[best].Weight) {
				best = i
			}
		}
		p.mu.Unlock()
		passed.add(best)
		if !yield(best) {
			return
		}
	}
}

// charge settles the account of the weighted policy once a key was taken.
// Credits are held within what one round can bring, so that a key that rested
// for long does not come back to a debt of all the others.
func (p *Pool) charge(taken int) {
	if p.opts.Policy != Weighted {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	for i, key := range p.keys {
		p.credits[i] += key.Weight
		total += key.Weight
	}
	p.credits[taken] -= total
	for i := range p.credits {
		p.credits[i] = max(-total, min(p.credits[i], total))
	}
}
