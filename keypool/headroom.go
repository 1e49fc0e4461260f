// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync/atomic"
	"time"
)

// Headroom is what a provider says is left of a key's limits, as it does with
// each answer.
type Headroom struct {
	Requests, Tokens Allowance
	// At is when it said so. Default: when the pool is told.
	At time.Time
}

// Allowance is what is left of one limit. The zero value says nothing.
type Allowance struct {
	// Remaining is what is left of Limit.
	Remaining, Limit int64
	// ResetAt is when all of it is there again.
	ResetAt time.Time
}

// usualWindow is the time in which a limit refills if nothing says otherwise.
const usualWindow = time.Minute

// gauge follows one limit of a key. Its fields may be read while they are
// being changed: what comes of it is an estimate anyway.
type gauge struct {
	remaining, limit atomic.Int64
	// at and reset are nanoseconds since 1970.
	at, reset atomic.Int64
	// spent is what calls have taken since.
	spent atomic.Int64
}

// observe takes in what a provider has said. Answers may come in out of order:
// what is older than the latest is of no use.
func (g *gauge) observe(a Allowance, at time.Time) {
	if a.Limit <= 0 || at.UnixNano() < g.at.Load() {
		return
	}
	g.remaining.Store(a.Remaining)
	g.limit.Store(a.Limit)
	g.at.Store(at.UnixNano())
	g.reset.Store(a.ResetAt.UnixNano())
	g.spent.Store(0)
}

// left estimates what is left by now. It reports false if nothing is known.
func (g *gauge) left(now time.Time) (left, limit float64, known bool) {
	limit, remaining := float64(g.limit.Load()), float64(g.remaining.Load())
	if limit <= 0 {
		return 0, 0, false
	}
	at, reset := g.at.Load(), g.reset.Load()
	rate := limit / float64(usualWindow)
	if reset > at && remaining < limit {
		rate = (limit - remaining) / float64(reset-at)
	}
	left = remaining - float64(g.spent.Load()) + rate*float64(now.UnixNano()-at)
	return min(left, limit), limit, true
}

// share returns how much of the limit would be left after a call that takes n,
// from 0 to 1; less than 0 if there is not enough. What is not known is
// thought to be there.
func (g *gauge) share(n int, now time.Time) float64 {
	left, limit, known := g.left(now)
	if !known {
		return 1
	}
	return (left - float64(n)) / limit
}

// headroom returns the smallest share that a call would leave of any limit of
// the key, stated or configured.
func (m *member) headroom(c *choice) float64 {
	s := m.state
	return min(
		s.requestGauge.share(1, c.now), s.tokenGauge.share(c.want.Tokens, c.now),
		s.requests.share(m.key.Requests, c.now), s.tokens.share(m.key.Tokens, c.now),
	)
}
