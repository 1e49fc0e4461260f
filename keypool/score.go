// SPDX-License-Identifier: Apache-2.0

package keypool

// candidates is how many free keys are compared: all those of most pools, and
// enough of a large one.
const candidates = 16

// bestLocked returns the best of the next candidates, the first of equals. It
// begins one further each time, so that equals take turns.
func (p *Pool) bestLocked(t *tier, c *choice) int {
	best, score := -1, 0.0
	i, left := t.next, candidates
	for range t.hi - t.lo {
		if i >= t.hi {
			i = t.lo
		}
		if p.may(i, c) {
			if s := p.score(i, c); best < 0 || s > score {
				best, score = i, s
			}
			if left--; left == 0 {
				break
			}
		}
		i++
	}
	if best >= 0 {
		t.next = best + 1
	}
	return best
}

// fasterLocked returns the better of two keys drawn at random: so the fastest
// one is not asked by all at once, and chance tries the others now and then.
func (p *Pool) fasterLocked(t *tier, c *choice) int {
	random := p.opts.Random()
	n := uint64(t.hi - t.lo)
	one := p.freeFrom(t, t.lo+int(random>>32%n), c)
	if one < 0 {
		return -1
	}
	other := p.freeFrom(t, t.lo+int(random&(1<<32-1)%n), c)
	if other == one {
		other = p.freeFrom(t, one+1, c)
	}
	if p.score(other, c) > p.score(one, c) {
		return other
	}
	return one
}

// score tells how good a key is by the policy: the more the better.
func (p *Pool) score(i int, c *choice) float64 {
	m := &p.members[i]
	switch p.opts.Policy {
	case LargestHeadroom, Sticky:
		return m.headroom(c)
	case Fastest:
		return -m.state.pace.cost(m.state.inFlight.Load(), c.now)
	}
	return -float64(m.state.inFlight.Load()) / float64(m.key.Weight)
}
