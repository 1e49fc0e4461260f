// SPDX-License-Identifier: Apache-2.0

package limits

import "time"

// Hold is what one call has taken: a place among the concurrent calls and,
// once reserved, the tokens and the cost it is thought to take. It must be
// settled, whatever becomes of the call.
type Hold struct {
	shard  *shard
	client string
	rules  []Rule
	shadow bool
	// parts are what is to be given back.
	parts            []part
	reserved, closed bool
}

// part is what a call holds of one counter. A counter of which something is
// held is never forgotten.
type part struct {
	counter *counter
	held    int64
}

// Reserve holds what the call is thought to take. If a rule forbids that,
// nothing is reserved; unless in shadow. It may be called once.
//
// An estimate beyond the whole amount is held as the whole: a guess keeps no
// call out for ever, but it waits until nothing else is counted.
func (h *Hold) Reserve(now time.Time, estimate Amounts) *Exceeded {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	if h.reserved || h.closed {
		return nil
	}
	exceeded := h.take(now, true, estimate)
	h.reserved = exceeded == nil || h.shadow
	return exceeded
}

// Settle gives back all that the call holds and counts what it really took,
// as far as it was reserved for. Only the first time counts.
func (h *Hold) Settle(now time.Time, taken Amounts) {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.shard.changed = true
	for _, p := range h.parts {
		p.counter.held -= p.held
		if n := taken.of(p.counter.rule.Kind); n > 0 {
			p.counter.advance(now)
			p.counter.use(n)
		}
	}
}

// take takes what the rules of one stage count: requests and places at first,
// later what is reserved. It returns the rule that forbids it and takes the
// longest to allow it, and then takes nothing; but in shadow it always takes.
// The shard must be locked.
func (h *Hold) take(now time.Time, reserved bool, estimate Amounts) *Exceeded {
	a := h.shard.account(now, h.client)
	var exceeded *Exceeded
	for _, rule := range h.rules {
		if rule.reserved() != reserved {
			continue
		}
		c := a.counter(now, rule)
		if excess := c.taken() + need(rule, estimate) - rule.Amount; excess > 0 {
			if wait := c.wait(now, excess); exceeded == nil || wait > exceeded.Wait {
				exceeded = &Exceeded{Rule: rule, Wait: wait}
			}
		}
	}
	if exceeded != nil && !h.shadow {
		return exceeded
	}
	h.shard.changed = true
	for _, rule := range h.rules {
		if rule.reserved() != reserved {
			continue
		}
		c, n := a.counter(now, rule), need(rule, estimate)
		if rule.Kind == Requests {
			c.use(n)
			continue
		}
		c.held += n
		h.parts = append(h.parts, part{c, n})
	}
	return exceeded
}

// need is what a call takes at first of what a rule counts: at least 1, so
// that an amount that is used up lets nothing through.
func need(r Rule, estimate Amounts) int64 {
	return min(max(estimate.of(r.Kind), 1), max(r.Amount, 1))
}
