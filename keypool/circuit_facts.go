// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// hearsay is what a circuit knows of what other instances tell.
//
// An instance that cannot reach a provider must not keep the others away from
// it. So what is told is believed only as far as it cannot be the teller's own
// trouble: a fault that the provider's servers have answered with opens the
// circuit, what may be due to the way there puts it in doubt, so that one call
// finds out. Nothing is believed of a time at which a call from here was
// served, and nothing more than once of failures in a row.
type hearsay struct {
	// run is when the failures began that go on; the zero time if the latest
	// call was served.
	run time.Time
	// told says that the breaker was opened by what another instance told, and
	// toldRun when the failures began that were told of last.
	told    bool
	toldRun time.Time
}

// places is among how many places the models of an upstream are spread.
const places = 64

// served is when the latest calls were well that contradict what others may
// tell: those that were served, by a hash of their model, and those of any
// model; and those that were answered at all.
type served struct {
	models        [places]times
	any, answered times
}

// times are when the latest such call began, and when its answer did, in
// nanoseconds since 1970.
type times struct{ call, answer atomic.Int64 }

func (t *times) note(l *Lease, now time.Time) {
	t.call.Store(l.began.UnixNano())
	t.answer.Store(now.UnixNano())
}

// note notes how a call went. s may be nil.
func (s *served) note(l *Lease, class Class, now time.Time) {
	if s == nil {
		return
	}
	switch class {
	case ClassOK:
		s.models[hashString(l.model)%places].note(l, now)
		s.any.note(l, now)
		s.answered.note(l, now)
	case ClassCanceled, ClassNotSent, ClassReset, ClassSlow, ClassBroken:
	default:
		s.answered.note(l, now)
	}
}

// contradicts reports whether a call from here was well since. What the
// provider has said is contradicted only by a call that began after it: others
// may have been under way before. For the way there to be well it is enough
// that an answer came.
func (s *served) contradicts(f *Fact) bool {
	if s == nil {
		return false
	}
	latest := &s.models[hashString(f.Model)%places]
	switch {
	case f.Whole && isAlike(f.Class):
		latest = &s.any
	case f.Whole:
		latest = &s.answered
	}
	at := &latest.answer
	if f.Class == ClassUpstream {
		at = &latest.call
	}
	return at.Load() > f.Since.UnixNano()
}

// Share has the upstream note from now on what it takes to judge what others
// tell of it.
func (u *Upstream) Share() {
	if u.served.Load() == nil {
		u.served.CompareAndSwap(nil, new(served))
	}
}

// News returns what has changed in how the upstream and its models stand, and
// is yet to be told: until [Told.Done] it is returned each time.
func (u *Upstream) News(t *Told, now time.Time) []Fact {
	if len(t.of) == 0 && u.whole.Load() == nil && len(u.list()) == 0 {
		return nil
	}
	present := map[about]bool{}
	if c := u.whole.Load(); c != nil {
		present[t.look(c, true, now)] = true
	}
	for _, c := range u.list() {
		present[t.look(c, false, now)] = true
	}
	for what, known := range t.of {
		if known.fact.Kind == FactRest && !present[what] {
			delete(t.of, what) // it had to make room
		}
	}
	return t.due(now)
}

// look notes how a circuit differs from what was told of it.
func (t *Told) look(c *circuit, whole bool, now time.Time) about {
	f, own := c.fact(whole, now)
	what := f.about()
	known := t.of[what]
	resting := known != nil && known.fact.Kind == FactRest
	switch {
	case f.Kind == FactRest && own && (!resting || !known.fact.Until.Equal(f.Until)):
		t.note(f, now)
	case f.Kind == FactFree && resting && known.fact.Class == ClassOverloaded:
		delete(t.of, what) // its time was over, which shows nothing
	case f.Kind == FactFree && resting:
		if f.Since.Before(known.fact.Since) {
			f.Since = now
		}
		t.note(f, now)
	}
	return what
}

// fact returns how the circuit stands, and whether that was seen here. There is
// no kind for one that is in between.
func (c *circuit) fact(whole bool, now time.Time) (f Fact, own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f = Fact{Model: c.model, Whole: whole}
	switch state := c.stateLocked(); {
	case state == gobreaker.StateOpen:
		f.Kind, f.Class, f.Since, f.Until = FactRest, c.class, c.run, c.opens
		return f, !c.told
	case state == gobreaker.StateHalfOpen:
	case now.Before(c.rest.until):
		f.Kind, f.Class, f.Since, f.Until = FactRest, c.rest.class, c.rest.set, c.rest.until
		return f, !c.rest.heard
	case !c.correlated():
		f.Kind, f.Since = FactFree, now
		if !c.recovered.IsZero() {
			f.Since = c.recovered
		}
	}
	return f, true
}

// Hear takes in what another instance has told of the upstream, as far as it
// can be believed. It reports whether anything has changed.
func (u *Upstream) Hear(t *Told, f Fact, now time.Time, maxWait time.Duration) bool {
	if len(f.Model) > maxModelName {
		return false
	}
	if f.Since.After(now) {
		f.Since = now
	}
	var c *circuit
	switch {
	case f.Kind == FactFree && f.Whole:
		c = u.whole.Load()
	case f.Kind == FactFree:
		c = u.find(f.Model)
	case f.Kind != FactRest, f.Class == ClassRegion, !now.Before(f.Until), u.served.Load().contradicts(&f):
	case f.Whole:
		c = u.wholeCircuit()
	default:
		c = u.circuit(f.Model)
	}
	if c == nil || !c.hear(&f, now, maxWait) {
		t.confirm(f, now)
		return false
	}
	t.heard(f, now)
	return true
}

func (c *circuit) hear(f *Fact, now time.Time, maxWait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.Kind == FactFree:
		return c.hearFreeLocked(f, now)
	case f.Class == ClassOverloaded:
		if latest := now.Add(maxWait); f.Until.After(latest) {
			f.Until = latest
		}
		if !f.Until.After(c.rest.until.Add(factSlack)) {
			return false
		}
		c.class = f.Class
		c.rest = coolDown{until: f.Until, set: f.Since, strikes: 1, class: f.Class, heard: true}
	case c.stateLocked() != gobreaker.StateClosed || now.Before(c.rest.until) || c.correlated(), near(c.toldRun, f.Since):
		return false
	case f.Class == ClassUpstream:
		c.told = true
		_, _ = c.breaker.Execute(failed)
		f.Until = now.Add(c.rules.OpenFor)
		c.class, c.failed, c.opens, c.toldRun = f.Class, now, f.Until, f.Since
	default:
		c.class, c.failed, c.toldRun = f.Class, now, f.Since
		c.rest = coolDown{until: now, set: f.Since, strikes: 1, class: f.Class, heard: true}
	}
	c.calm.Store(false)
	return true
}

// hearFreeLocked closes the circuit if it was opened, or in doubt, by hearsay
// of failures that are over.
func (c *circuit) hearFreeLocked(f *Fact, now time.Time) bool {
	if f.Since.Before(c.toldRun) {
		return false
	}
	changed := false
	if c.told && c.stateLocked() != gobreaker.StateClosed {
		c.renewLocked()
		c.told, c.recovered, c.inFlight, changed = false, now, 0, true
	}
	if c.rest.heard && c.correlated() {
		c.rest, changed = coolDown{}, true
	}
	if changed {
		c.calmLocked(now)
	}
	return changed
}

// near reports whether two times may be the same, seen from two instances.
func near(a, b time.Time) bool { return a.Sub(b).Abs() <= factSlack }
