// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"slices"
	"strings"
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
	// LeastBusy takes one with the fewest calls in flight for its weight.
	LeastBusy
	// Fastest takes the faster of two, by how long answers have taken to begin
	// lately and how many are under way.
	Fastest
	// LargestHeadroom takes one with the most left of its limits, by what the
	// provider and the config say.
	LargestHeadroom
	// Sticky keeps what has the same [Want.Affinity] with one key, as long as
	// that is free, has something left of its limits and is not much busier
	// than the others.
	Sticky
)

var policyNames = []string{
	RoundRobin: "round_robin", Weighted: "weighted", LeastBusy: "least_busy",
	Fastest: "fastest", LargestHeadroom: "headroom", Sticky: "sticky",
}

// String returns the name by which configs call the policy.
func (p Policy) String() string { return policyNames[p] }

// ParsePolicy returns the policy of that name.
func ParsePolicy(name string) (Policy, error) {
	i := slices.Index(policyNames, name)
	if i < 0 {
		return 0, fmt.Errorf("unknown selection policy %q; known are %s", name, strings.Join(policyNames, ", "))
	}
	return Policy(i), nil
}

// Policies returns the names of all policies.
func Policies() []string { return slices.Clone(policyNames) }

// choice is the search for one key.
type choice struct {
	want  *Want
	model string
	now   time.Time
	tried *Tried
}

// tier is the members of one tier of service, from lo to before hi.
type tier struct {
	level, lo, hi int
	// next is whose turn it is.
	next  int
	queue queue
}

func (p *Pool) makeTiers() {
	for i := range p.members {
		if i == 0 || p.members[i].key.Tier != p.members[i-1].key.Tier {
			p.tiers = append(p.tiers, tier{level: p.members[i].key.Tier, lo: i, next: i})
		}
		p.tiers[len(p.tiers)-1].hi = i + 1
	}
	if p.opts.Policy == Weighted {
		for t := range p.tiers {
			p.tiers[t].queue.fill(p.members[p.tiers[t].lo:p.tiers[t].hi])
		}
	}
}

// chooseLocked returns the key that is next by the policy, of the lowest tier
// that has one free; -1 if there is none. Keys in tried come after all others
// of their tier.
func (p *Pool) chooseLocked(c *choice) int {
	if c.want.KeyID != "" {
		if i, ok := p.byID[c.want.KeyID]; ok && p.members[i].free(c) {
			return i
		}
		return -1
	}
	for i := range p.tiers {
		t := &p.tiers[i]
		if t.level < c.want.Tier {
			continue
		}
		if i := p.fromLocked(t, c); i >= 0 {
			return i
		}
		if c.tried.empty() {
			continue
		}
		again := *c
		again.tried = nil
		if i := p.fromLocked(t, &again); i >= 0 {
			return i
		}
	}
	return -1
}

func (p *Pool) fromLocked(t *tier, c *choice) int {
	switch p.opts.Policy {
	case Weighted:
		return p.byWeightLocked(t, c)
	case LeastBusy, LargestHeadroom:
		return p.bestLocked(t, c)
	case Fastest:
		return p.fasterLocked(t, c)
	case Sticky:
		return p.stickyLocked(t, c)
	}
	return p.inTurnLocked(t, c)
}

// may reports whether the choice may fall on member i.
func (p *Pool) may(i int, c *choice) bool {
	return !c.tried.has(i) && p.members[i].free(c)
}

// inTurnLocked goes on from the key after the last one taken, not from the
// last one asked: so what resting keys leave undone is shared by all others,
// and does not fall to whichever stands behind them.
func (p *Pool) inTurnLocked(t *tier, c *choice) int {
	i := p.freeFrom(t, t.next, c)
	if i >= 0 {
		t.next = i + 1
	}
	return i
}

// freeFrom returns the first member, from i on and around, that the choice may
// fall on; -1 if there is none.
func (p *Pool) freeFrom(t *tier, i int, c *choice) int {
	for range t.hi - t.lo {
		if i >= t.hi {
			i = t.lo
		}
		if p.may(i, c) {
			return i
		}
		i++
	}
	return -1
}
