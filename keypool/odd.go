// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"strings"
	"time"
)

// faults counts the upstream's faults that one key has met in a row with one
// model: a provider may serve every account but one.
type faults struct {
	model string
	count int
	since time.Time
}

// note takes an outcome in.
func (f *faults) note(class Class, model string, now time.Time) {
	switch {
	case class == ClassOK && f.model == model:
		*f = faults{}
	case !isFault(class):
	case f.count > 0 && f.model == model:
		f.count++
	default:
		*f = faults{model: strings.Clone(model), count: 1, since: now}
	}
}

// isFault reports whether a class counts against a model of the upstream.
func isFault(class Class) bool {
	switch class {
	case ClassUpstream, ClassSlow, ClassReset, ClassBroken:
		return true
	}
	return false
}

// judgeOdd makes a key rest that has met faults in a row while others were
// served: then it is not the upstream, or only for this key's account.
func (p *Pool) judgeOdd(l *Lease, v Verdict, now time.Time) {
	if !isFault(v.Class) {
		return
	}
	c := p.upstream.find(l.model)
	if c == nil {
		return
	}
	c.mu.Lock()
	served := c.served
	c.mu.Unlock()
	p.notify(l.index, p.members[l.index].state.restIfOdd(l, v, c.rules.Failures, served, now))
}

// restIfOdd makes the key rest for the model if it has met enough faults in a
// row, and others were served that began after the first. served is when the
// latest of these did.
func (s *State) restIfOdd(l *Lease, v Verdict, enough int, served, now time.Time) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.count < enough || s.faults.model != l.model || !served.After(s.faults.since) {
		return Notice{}
	}
	old := s.rests.Load()
	r := old.clone()
	r.at(l.model).penalise(Verdict{Class: v.Class}, l.began, now, 0)
	return s.replace(old, r, l.model, now)
}
