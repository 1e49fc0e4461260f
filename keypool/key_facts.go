// SPDX-License-Identifier: Apache-2.0

package keypool

import "time"

// News returns what has changed in what the key rests from, and is yet to be
// told: until [Told.Done] it is returned each time.
func (s *State) News(t *Told, now time.Time) []Fact {
	if r := s.rests.Load(); r != t.seen || t.stale || !t.looked {
		t.compare(r, now)
	}
	if len(t.of) == 0 && !t.operator.due {
		return nil
	}
	return t.due(now)
}

// compare notes how r differs from what was told.
func (t *Told) compare(r *rests, now time.Time) {
	t.seen = r
	if r == nil {
		r = new(rests)
	}
	t.compareOperator(r.disabled, now)
	t.compareRest(&r.key, about{whole: true}, now)
	for i := range r.models {
		t.compareRest(&r.models[i].coolDown, about{model: r.models[i].model}, now)
	}
	for what, known := range t.of {
		if known.fact.Kind != FactRest || r.rests(what) {
			continue
		}
		if !what.whole && len(r.models) == maxModels {
			delete(t.of, what) // it had to make room
			continue
		}
		t.note(Fact{Kind: FactFree, Model: what.model, Whole: what.whole, Since: known.fact.Since}, now)
	}
	t.looked, t.stale = true, false
}

// compareOperator notes what an operator has done. What was so when the key was
// first seen is no news.
func (t *Told) compareOperator(disabled bool, now time.Time) {
	known := t.operator.fact.Kind
	switch {
	case disabled && known != FactDisabled:
		t.note(Fact{Kind: FactDisabled, Since: now, Again: !t.looked}, now)
	case !disabled && known == FactDisabled:
		t.note(Fact{Kind: FactEnabled, Since: now}, now)
	}
}

func (t *Told) compareRest(c *coolDown, what about, now time.Time) {
	if c.strikes == 0 || c.heard || !now.Before(c.until) || !tellable(c.class) {
		return
	}
	known := t.of[what]
	if known != nil && known.fact.Kind == FactRest && known.fact.Until.Equal(c.until) && known.fact.Strikes == c.strikes {
		known.fact.Since = c.set
		return
	}
	t.note(Fact{
		Kind: FactRest, Model: what.model, Whole: what.whole, Class: c.class,
		Since: c.set, Until: c.until, Stated: c.stated, Strikes: c.strikes,
	}, now)
}

// rests reports whether there is a rest of that, be it over or not.
func (r *rests) rests(what about) bool {
	if what.whole {
		return r.key.strikes > 0
	}
	return r.find(what.model) >= 0
}

// Hear takes in what another instance has told of the key, unless more is known
// here. A rest lasts for maxWait at most, whoever says so. It reports whether
// anything has changed.
func (s *State) Hear(t *Told, f Fact, now time.Time, maxWait time.Duration) bool {
	if len(f.Model) > maxModelName {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What has just happened here is newer.
	old := s.rests.Load()
	t.compare(old, now)
	var next *rests
	switch f.Kind {
	case FactRest:
		next = s.hearRest(t, &f, now, maxWait)
	case FactFree:
		next = old.freed(f)
	case FactDisabled, FactEnabled:
		next = t.hearOperator(old, f, now)
	}
	if next == nil {
		t.confirm(f, now)
		return false
	}
	t.heard(f, now)
	t.stale = true
	s.rests.Store(next.orNil())
	return true
}

// hearOperator returns r with what an operator has done elsewhere; nil if that
// changes nothing. The latest holds: in what order things were done is for the
// order to say in which they are told.
func (t *Told) hearOperator(r *rests, f Fact, now time.Time) *rests {
	known := &t.operator
	if known.due && !known.fact.Again || f.Again && known.fact.Kind != 0 {
		if known.fact.Kind == f.Kind {
			known.at = now
		}
		return nil
	}
	t.heard(f, now)
	disabled := f.Kind == FactDisabled
	if disabled == (r != nil && r.disabled) {
		return nil
	}
	next := r.clone()
	next.disabled = disabled
	return next
}

// hearRest returns the rests with one that is told; nil if it changes nothing.
func (s *State) hearRest(t *Told, f *Fact, now time.Time, maxWait time.Duration) *rests {
	if latest := now.Add(maxWait); f.Until.After(latest) {
		f.Until = latest
	}
	if f.Since.After(now) {
		f.Since = now
	}
	refused := isAlike(f.Class)
	if !now.Before(f.Until) || !tellable(f.Class) || t.outdated(*f) || refused && now.Sub(s.disproved) < disbeliefTime {
		return nil
	}
	next := s.rests.Load().clone()
	c := &next.key
	if !f.Whole {
		c = next.at(f.Model)
	}
	if !f.Until.After(c.until.Add(factSlack)) {
		if c.heard && t.of[f.about()] == nil {
			t.heard(*f, now) // it was known from before a restart
		}
		return nil
	}
	heard := coolDown{
		until: f.Until, set: f.Since, strikes: max(c.strikes, min(max(f.Strikes, 1), maxStrikes)),
		class: f.Class, stated: f.Stated, announced: c.announced, heard: true,
	}
	if c.set.After(heard.set) {
		heard.set = c.set
	}
	if heard.stated.After(heard.until) {
		heard.stated = heard.until
	}
	if refused || heard.until.Sub(now) >= noticeableRest {
		heard.announced = heard.class // there, where it was found out
	}
	*c = heard
	return next
}

// freed returns r without what a fact says is over; nil if r has no such rest,
// or a later one.
func (r *rests) freed(f Fact) *rests {
	limit := f.Since.Add(factSlack)
	if r == nil {
		return nil
	}
	next := r.clone()
	if !f.Whole {
		i := next.find(f.Model)
		if i < 0 || next.models[i].set.After(limit) {
			return nil
		}
		next.drop(i)
		return next
	}
	if next.key.strikes == 0 || next.key.set.After(limit) {
		return nil
	}
	next.key, next.proof = coolDown{}, time.Time{}
	return next
}

// refutes reports whether a key that was said to be refused has turned out to
// work: next comes in the place of r, as a key or a model has been found free.
func (r *rests) refutes(next *rests, model string) bool {
	if r == nil {
		return false
	}
	if next == nil {
		next = new(rests)
	}
	if r.key.heard && isAlike(r.key.class) && next.key.strikes == 0 {
		return true
	}
	i := r.find(model)
	return i >= 0 && r.models[i].heard && isAlike(r.models[i].class) && next.find(model) < 0
}
