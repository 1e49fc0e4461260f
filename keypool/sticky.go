// SPDX-License-Identifier: Apache-2.0

package keypool

import "math"

const (
	// stickyTries is how many keys, best first, are looked at by their hashes
	// alone before all of them are looked at closely.
	stickyTries = 4
	// A key may have a quarter more calls in flight than the average, and
	// always a few, before the next best gets what sticks to it.
	stickySlack = 1.25
	stickyFew   = 4
	// stickySpare is the share of its limits that a key keeps back from what
	// sticks to it.
	stickySpare = 0.1
)

// stickyLocked returns the key that c's affinity makes its own: the one with
// the highest of the hashes of affinity and key. So each key that comes or
// goes moves only its own share.
func (p *Pool) stickyLocked(t *tier, c *choice) int {
	if c.want.Affinity == 0 {
		return p.inTurnLocked(t, c)
	}
	below := uint64(math.MaxUint64)
	for range stickyTries {
		i, hash := p.highest(t, c.want.Affinity, below)
		if i < 0 {
			break
		}
		if p.may(i, c) && p.hasRoom(i, c) {
			return i
		}
		below = hash
	}
	best, highest := -1, uint64(0)
	for i := t.lo; i < t.hi; i++ {
		if hash := mix(c.want.Affinity ^ p.hashes[i]); (best < 0 || hash > highest) && p.may(i, c) {
			best, highest = i, hash
		}
	}
	if best >= 0 && !p.hasRoom(best, c) {
		return p.bestLocked(t, c)
	}
	return best
}

// highest returns the member of t with the highest hash below a bound.
func (p *Pool) highest(t *tier, affinity, below uint64) (best int, highest uint64) {
	best = -1
	for i, hash := range p.hashes[t.lo:t.hi] {
		if hash = mix(affinity ^ hash); hash < below && (best < 0 || hash > highest) {
			best, highest = t.lo+i, hash
		}
	}
	return best, highest
}

// hasRoom reports whether the key is neither about to be limited nor much
// busier than the others.
func (p *Pool) hasRoom(i int, c *choice) bool {
	if p.members[i].headroom(c) < stickySpare {
		return false
	}
	average := float64(p.upstream.inFlight.Load()+1) / float64(len(p.members))
	return float64(p.members[i].state.inFlight.Load()) < max(stickyFew, math.Ceil(stickySlack*average))
}

// Owner returns the id of the key that is taken for that of a stored object of
// which nothing is known: of those that could serve the call the same one each
// time, whatever its health. It is "" if none could.
func (p *Pool) Owner(objectID string, want Want) string {
	hash := hashString(objectID)
	c := choice{want: &want, model: want.Model, now: p.opts.Now()}
	owner, highest := "", uint64(0)
	for i := range p.members {
		m := &p.members[i]
		if h := mix(hash ^ p.hashes[i]); (owner == "" || h > highest) && m.serves(&c) {
			owner, highest = m.key.ID, h
		}
	}
	return owner
}

// Has reports whether the pool has a key of that id.
func (p *Pool) Has(keyID string) bool {
	_, ok := p.byID[keyID]
	return ok
}

// hashString is FNV-1a: the same in every instance and after a restart.
func hashString(s string) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(s) {
		hash = (hash ^ uint64(s[i])) * 1099511628211
	}
	return mix(hash)
}

// mix spreads the bits of a hash; it is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
