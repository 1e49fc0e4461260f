// SPDX-License-Identifier: Apache-2.0

package limits

import "time"

// slots is into how many parts a sliding window is divided. What was used
// leaves the window a part at a time, and never too early: it is remembered
// for at most one part longer than the window.
const slots = 32

// counter is what one client has used of one thing within one period, and
// what is held for its calls under way.
type counter struct {
	// rule says what is counted, and when. Its amount may be out of date.
	rule Rule
	// held is reserved for calls under way.
	held int64
	// used is the sum of what was used within the period.
	used int64
	// newest is the number of the newest slot: the time since 1970 divided by
	// a slot's length.
	newest int64
	ring   [slots + 1]int64
	// next is when the next calendar period begins.
	next time.Time
}

// advance forgets what has left the period. A clock that goes backwards
// changes nothing.
func (c *counter) advance(now time.Time) {
	switch {
	case c.rule.Kind == Concurrent:
	case c.rule.Period.Calendar != 0:
		if !now.Before(c.next) {
			c.used = 0
			c.next = c.rule.Period.begin(now, 1)
		}
	default:
		n := c.slot(now)
		for k := max(c.newest+1, n-slots); k <= n; k++ {
			at := &c.ring[ringIndex(k)]
			c.used -= *at
			*at = 0
		}
		c.newest = max(c.newest, n)
	}
}

func (c *counter) slot(t time.Time) int64 { return t.UnixNano() / c.width() }

// width is the length of a slot, rounded up so that all of them are no
// shorter than the window.
func (c *counter) width() int64 { return (int64(c.rule.Period.Window) + slots - 1) / slots }

// use counts n as used now. It wants an advance first.
func (c *counter) use(n int64) {
	c.used += n
	if c.rule.Period.Calendar == 0 {
		c.ring[ringIndex(c.newest)] += n
	}
}

// taken returns what is used and held.
func (c *counter) taken() int64 { return c.used + c.held }

// idle tells whether the counter may be forgotten.
func (c *counter) idle() bool { return c.taken() == 0 }

// wait returns how long it takes until excess is gone. What calls under way
// hold may be given back at any time: if that would do, a second is all that
// can be said.
func (c *counter) wait(now time.Time, excess int64) time.Duration {
	if excess <= c.held {
		return time.Second
	}
	return max(c.leaves(now, excess), time.Second)
}

// leaves returns how long it takes until n of what was used, or all of it, has
// left the period.
func (c *counter) leaves(now time.Time, n int64) time.Duration {
	n = min(n, c.used)
	if n <= 0 {
		return 0
	}
	if c.rule.Period.Calendar != 0 {
		return c.next.Sub(now)
	}
	at := c.newest - slots
	for ; at < c.newest; at++ {
		if n -= c.ring[ringIndex(at)]; n <= 0 {
			break
		}
	}
	return time.Duration((at+slots+1)*c.width() - now.UnixNano())
}

// ringIndex is where a slot stands; its number may be below zero.
func ringIndex(n int64) int64 { return (n%(slots+1) + slots + 1) % (slots + 1) }
