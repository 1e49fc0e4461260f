// SPDX-License-Identifier: Apache-2.0

package limits

import "time"

// slots is into how many parts a sliding window is divided. What was used
// leaves the window a part at a time, and never too early: it is remembered
// for at most one part longer than the window.
const slots = 32

// ring holds what was used in each part of a window, by its number modulo the
// length.
type ring [slots + 1]int64

// counter is what one subject has used of one thing within one period, and
// what is held for its calls under way.
type counter struct {
	// rule says what is counted, and when. Its amount may be out of date.
	rule *Rule
	// held is reserved for calls under way.
	held int64
	// used is the sum of what was used within the period.
	used int64
	// newest is the number of the newest slot: the time since 1970 divided by
	// a slot's length. last is that of the newest one with something in it.
	newest, last int64
	// ring is nil if the period is none.
	ring *ring
	// next is when the next calendar period begins.
	next time.Time
}

func newCounter(r *Rule) *counter {
	c := &counter{rule: r}
	if r.windowed() {
		c.ring = new(ring)
	}
	return c
}

// windowed tells whether the rule counts over a sliding window.
func (r *Rule) windowed() bool { return r.Kind != Concurrent && r.Period.Calendar == 0 }

// advance forgets what has left the period. A clock that goes backwards
// changes nothing.
func (c *counter) advance(now time.Time) {
	switch {
	case c.rule.Kind == Concurrent:
	case c.ring == nil:
		if !now.Before(c.next) {
			c.used = 0
			c.next = c.rule.Period.begin(now, 1)
		}
	default:
		n := now.UnixNano() / c.rule.Period.slot()
		for k := max(c.newest+1, n-slots); k <= n; k++ {
			at := c.ring.at(k)
			c.used -= *at
			*at = 0
		}
		c.newest = max(c.newest, n)
	}
}

// use counts n as used now. It wants an advance first.
func (c *counter) use(n int64) {
	if n == 0 {
		return
	}
	c.used += n
	if c.ring != nil {
		*c.ring.at(c.newest) += n
		c.last = c.newest
	}
}

// taken returns what is used and held.
func (c *counter) taken() int64 { return c.used + c.held }

// idle tells whether the counter may be forgotten.
func (c *counter) idle() bool { return c.taken() == 0 }

// refuses returns for how long a call must wait that wants n more; 0 if it
// need not. What calls under way hold may be given back at any time: if that
// would do, a second is all that can be said.
func (c *counter) refuses(now time.Time, amount, n int64) time.Duration {
	excess := c.taken() + n - amount
	if n == 0 || excess <= 0 {
		return 0
	}
	if excess <= c.held {
		return time.Second
	}
	return max(c.leaves(now, excess), time.Second)
}

// leaves returns how long it takes until n of what was used, or all of it, has
// left the period.
func (c *counter) leaves(now time.Time, n int64) time.Duration {
	n = min(n, c.used)
	if n <= 0 || c.ring == nil {
		return c.reset(now)
	}
	at := c.newest - slots
	for ; at < c.newest; at++ {
		if n -= *c.ring.at(at); n <= 0 {
			break
		}
	}
	return c.over(now, at)
}

// reset returns how long it takes until all that was used has left the period.
// What calls under way hold is as good as used now.
func (c *counter) reset(now time.Time) time.Duration {
	switch {
	case c.taken() == 0 || c.rule.Kind == Concurrent:
		return 0
	case c.ring == nil:
		return c.next.Sub(now)
	case c.held > 0:
		return c.over(now, c.newest)
	default:
		return c.over(now, c.last)
	}
}

// over returns how long it takes until a slot has left the window.
func (c *counter) over(now time.Time, slot int64) time.Duration {
	return time.Duration((slot+slots+1)*c.rule.Period.slot() - now.UnixNano())
}

// at returns where a slot stands; its number may be below zero.
func (r *ring) at(n int64) *int64 { return &r[(n%(slots+1)+slots+1)%(slots+1)] }
