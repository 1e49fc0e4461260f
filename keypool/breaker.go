// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker says when an upstream is taken out, and for how long.
type Breaker struct {
	// Failures is how many failures in a row take it out, or a key that meets
	// them while others are served. Default: 5.
	Failures int
	// MinSuccess is the share of successes, from 0 to 1, below which it is
	// taken out, or a key that is served worse than the others. Default: 0.5.
	MinSuccess float64
	// Window is the time over which that share is taken. It says nothing
	// before 20 calls. Default: 1 minute.
	Window time.Duration
	// OpenFor is how long it rests before a call may probe it, and how long
	// after it has said that it is overloaded. Default: 10 seconds.
	OpenFor time.Duration
}

const (
	// enoughCalls is how many a share of successes must be taken over.
	enoughCalls = 20
	// windowParts is how finely a window moves on.
	windowParts = 6
)

func (b Breaker) withDefaults() Breaker {
	if b.Failures <= 0 {
		b.Failures = 5
	}
	if b.MinSuccess <= 0 {
		b.MinSuccess = 0.5
	}
	if b.Window <= 0 {
		b.Window = time.Minute
	}
	if b.OpenFor <= 0 {
		b.OpenFor = 10 * time.Second
	}
	return b
}

// What the breaker is told.
var errFailed = errors.New("failed")

func succeeded() (struct{}, error) { return struct{}{}, nil }
func failed() (struct{}, error)    { return struct{}{}, errFailed }

// renewLocked gives the circuit a breaker that is closed and has counted
// nothing.
func (c *circuit) renewLocked() {
	c.known = gobreaker.StateClosed
	c.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     c.rules.Window,
		BucketPeriod: c.rules.Window / windowParts,
		Timeout:      c.rules.OpenFor,
		OnStateChange: func(_ string, _, to gobreaker.State) {
			c.known = to
		},
		ReadyToTrip: func(n gobreaker.Counts) bool {
			seen := n.TotalSuccesses + n.TotalFailures
			return c.told || int(n.ConsecutiveFailures) >= c.rules.Failures ||
				c.byShare && seen >= enoughCalls && float64(n.TotalSuccesses) < c.rules.MinSuccess*float64(seen)
		},
	})
}

// adoptLocked goes by the rules of the pool that tells of a failure: pools of
// several configs may ask here, and each judges by its own. A circuit that is
// open stays so, until it heals, by the rules that have opened it.
func (c *circuit) adoptLocked(rules Breaker) {
	if rules == c.rules || c.stateLocked() != gobreaker.StateClosed {
		return
	}
	again := rules.Window != c.rules.Window || rules.OpenFor != c.rules.OpenFor
	c.rules = rules
	if !again {
		return
	}
	failures := int(c.breaker.Counts().ConsecutiveFailures)
	c.renewLocked()
	for range min(failures, rules.Failures-1, enoughCalls-1) { // which opens nothing
		_, _ = c.breaker.Execute(failed)
	}
}

// stateLocked returns the breaker's state. Only that of an open one changes
// with time.
func (c *circuit) stateLocked() gobreaker.State {
	if c.known == gobreaker.StateOpen {
		return c.breaker.State()
	}
	return c.known
}

// tellLocked tells the breaker of an outcome. Of a circuit that is half open
// only the probe says something.
func (c *circuit) tellLocked(p pass, outcome func() (struct{}, error), now time.Time) {
	before := c.stateLocked()
	if before == gobreaker.StateHalfOpen && (p.circuit != c || p.probe != c.probe) {
		return
	}
	_, _ = c.breaker.Execute(outcome)
	switch after := c.stateLocked(); {
	case after == before:
	case after == gobreaker.StateOpen:
		c.opens, c.told = now.Add(c.rules.OpenFor), false
	case after == gobreaker.StateClosed:
		c.recovered, c.inFlight, c.told = now, 0, false
	}
}
