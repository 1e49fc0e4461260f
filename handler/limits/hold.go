// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"slices"
	"time"
)

// Hold is what one call has taken of what its subjects may use: its requests,
// its places among the concurrent calls and, once reserved, the tokens and the
// cost it is thought to take. Make one with [Begin]. It must be settled,
// whatever becomes of the call, and belongs to the goroutine that serves it.
type Hold struct {
	counts Counts
	shadow bool
	parts  []part
	at     time.Time
	stage  stage
	// alone says that a shared store has failed the call: it is not asked
	// again, so that no call waits for it twice.
	alone bool
}

// stage is how far a call has come.
type stage uint8

const (
	begun stage = iota
	entered
	reserved
	refused
	settled
)

// Begin returns the hold of a call by subjects, of which nothing is taken yet.
// In shadow all is counted and reported, and nothing refused.
func Begin(counts Counts, subjects []*Subject, shadow bool) *Hold {
	h := &Hold{counts: counts, shadow: shadow}
	n := 0
	for _, s := range subjects {
		n += len(s.Rules)
	}
	h.parts = make([]part, 0, n)
	for _, s := range subjects {
		for i := range s.Rules {
			h.parts = append(h.parts, part{subject: s, rule: &s.Rules[i]})
		}
	}
	return h
}

// Limits tells whether there is a limit of a kind.
func (h *Hold) Limits(kind Kind) bool {
	return slices.ContainsFunc(h.parts, func(p part) bool { return p.rule.Kind == kind && !p.rule.Tally })
}

// Limited tells whether there is any limit.
func (h *Hold) Limited() bool {
	return slices.ContainsFunc(h.parts, func(p part) bool { return !p.rule.Tally })
}

// Enter takes what can be taken before the body is read: the requests and the
// places among the concurrent calls. If a rule forbids that, nothing is taken.
//
// As long as a later rule may refuse the call, its requests are only held:
// what limits refuse is not counted.
func (h *Hold) Enter(ctx context.Context, now time.Time) (*Exceeded, error) {
	final := true
	for i := range h.parts {
		final = final && (h.parts[i].rule.Tally || !h.parts[i].rule.late())
	}
	for i := range h.parts {
		p := &h.parts[i]
		switch {
		case p.rule.late() || p.rule.Tally:
		case p.rule.Kind == Requests && final:
			p.asked, p.use = true, 1
		default:
			p.asked, p.hold = true, 1
		}
	}
	return h.take(ctx, now, entered)
}

// Reserve takes the rest, now that it is known which models the call names and
// what it is thought to take. If a rule forbids that, nothing is taken, and
// the requests are given back.
func (h *Hold) Reserve(ctx context.Context, now time.Time, models []string, estimate Amounts) (*Exceeded, error) {
	if h.stage != entered {
		return nil, nil
	}
	for i := range h.parts {
		p := &h.parts[i]
		switch {
		case p.rule.Tally || !p.rule.covers(models):
		case p.rule.late() && p.rule.Kind == Requests:
			p.asked, p.use = true, 1
		case p.rule.late():
			p.asked, p.hold = true, p.rule.need(estimate)
		case p.rule.Kind == Requests && p.held > 0:
			p.asked, p.drop, p.use = true, p.held, p.held
		}
	}
	return h.take(ctx, now, reserved)
}

// take takes what was asked for, and tells which rule forbids it.
func (h *Hold) take(ctx context.Context, now time.Time, next stage) (*Exceeded, error) {
	h.stage = next
	if h.at = now; !h.asks() {
		return nil, nil
	}
	if err := h.counts.take(ctx, now, h); err != nil {
		h.stage = refused
		for p := range h.asked() {
			p.done()
		}
		return nil, err
	}
	exceeded := h.exceeded()
	if exceeded != nil && !h.shadow {
		h.stage = refused
	}
	for p := range h.asked() {
		p.held -= p.drop
		if h.stage != refused {
			p.held += p.hold
			p.granted = true
		}
		p.done()
	}
	return exceeded, nil
}

// exceeded returns the rule that forbids what was asked for and takes the
// longest to allow it; nil if none does.
func (h *Hold) exceeded() *Exceeded {
	var worst *Exceeded
	for p := range h.asked() {
		if p.wait > 0 && (worst == nil || p.wait > worst.Wait) {
			worst = &Exceeded{
				Subject: p.subject, Rule: p.rule, Wait: p.wait,
				Need: p.hold + p.use, Left: max(p.rule.Amount-p.used, 0),
			}
		}
	}
	return worst
}

func (h *Hold) asks() bool {
	for range h.asked() {
		return true
	}
	return false
}

// done forgets what was asked.
func (p *part) done() { p.asked, p.drop, p.add, p.hold, p.use = false, 0, 0, 0, 0 }

// Settle gives back all that the call holds and counts what it really took, as
// far as it was let in for that. Only the first time counts.
func (h *Hold) Settle(now time.Time, taken Amounts) {
	if h.stage == settled {
		return
	}
	for i := range h.parts {
		p := &h.parts[i]
		p.drop = p.held
		switch {
		case h.stage == begun || h.stage == refused:
		case p.rule.Kind == Requests && (p.rule.Tally || p.held > 0):
			p.add = 1
		case p.rule.estimated() && (p.rule.Tally || p.granted):
			p.add = taken.of(p.rule.Kind)
		}
		p.asked = p.drop > 0 || p.add > 0
	}
	h.stage = settled
	if h.asks() {
		h.counts.settle(now, h)
	}
}

// States returns where the subjects stood with the rules that the call was
// asked about, when it was asked last.
func (h *Hold) States(now time.Time) []State {
	states := make([]State, 0, len(h.parts))
	for i := range h.parts {
		if p := &h.parts[i]; p.known {
			states = append(states, State{Subject: p.subject, Rule: p.rule, Used: p.used, Reset: max(p.reset-now.Sub(h.at), 0)})
		}
	}
	return states
}
