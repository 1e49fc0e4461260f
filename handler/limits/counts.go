// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Counts is where use is counted: a [Book] in the memory of one instance, or a
// [Shared] store that several instances have in common.
type Counts interface {
	// take does what the parts ask for and notes where each stands. If a rule
	// forbids it, what is given back and added counts nevertheless, and
	// nothing else; unless the hold is in shadow. After an error nothing has
	// been done.
	take(ctx context.Context, now time.Time, h *Hold) error
	// settle does what cannot be forbidden: giving back and adding. It waits
	// for nothing.
	settle(now time.Time, h *Hold)
}

// errUnavailable is that nobody can say whether there is room for a call.
var errUnavailable = errors.New("limits cannot be counted at the moment")

// part is what one call does to one count.
type part struct {
	subject *Subject
	rule    *Rule

	// asked says that something is to be done. drop is given back of what is
	// held and add counted as used, whatever the rules say; hold and use are
	// taken if they allow it.
	asked                bool
	drop, add, hold, use int64

	// held is what is held for the call.
	held int64
	// granted says that the call's use of it will be counted.
	granted bool
	// name is what a store that is shared knows the held by.
	name string

	// wait is for how long the rule forbids what was asked for last; 0 if it
	// does not. used and reset say where it stood then, if that is known.
	wait, reset time.Duration
	used        int64
	known       bool
}

// force does what no rule forbids.
func (p *part) force(c *counter) {
	c.held = max(c.held-p.drop, 0)
	c.use(p.add)
}

// ask asks the rule for the rest.
func (p *part) ask(now time.Time, c *counter) {
	p.wait = c.refuses(now, p.rule.Amount, p.hold+p.use)
}

// grant does the rest, if all rules allow it.
func (p *part) grant(c *counter) {
	c.held += p.hold
	c.use(p.use)
}

// note notes where the count stands. It is not whole again before there is room
// for what was asked for.
func (p *part) note(now time.Time, c *counter) {
	p.used, p.reset, p.known = c.taken(), max(c.reset(now), p.wait), true
}

// asked goes through the parts of which something is asked.
func (h *Hold) asked() iter.Seq[*part] {
	return func(yield func(*part) bool) {
		for i := range h.parts {
			if h.parts[i].asked && !yield(&h.parts[i]) {
				return
			}
		}
	}
}

// States returns where subjects stand with their rules.
func States(ctx context.Context, counts Counts, now time.Time, subjects []*Subject) ([]State, error) {
	h := Begin(counts, subjects, true)
	h.at = now
	for i := range h.parts {
		h.parts[i].asked = true
	}
	if err := counts.take(ctx, now, h); err != nil {
		return nil, err
	}
	return h.States(now), nil
}
