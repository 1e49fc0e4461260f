// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"maps"
	"time"
)

// Fact is one thing that an instance knows of a key or of an upstream and tells
// the others. Health is none: it stays where it was observed. Times are by the
// clock of whoever holds the fact.
type Fact struct {
	Kind FactKind
	// Model is what it is about, unless that is the Whole.
	Model string
	Whole bool
	// Class is why, of a rest.
	Class Class
	// Since is when that was found out on which it rests; for what has failed
	// in a row, when the first failure began.
	Since time.Time
	// Until is when a rest is over, and Stated until when somebody has said
	// that it takes; the zero time if nobody has.
	Until, Stated time.Time
	// Strikes is how often in a row it has come to that.
	Strikes int
	// Again says that it is no news: it is told for those who do not know.
	Again bool
}

// FactKind says what a fact is.
type FactKind uint8

// The kinds of facts. The zero value is none.
const (
	// FactRest is that a key rests, or that an upstream is left alone.
	FactRest FactKind = iota + 1
	// FactFree is that a rest is over before its time.
	FactFree
	// FactDisabled is that an operator has taken a key out.
	FactDisabled
	// FactEnabled is that it was put back.
	FactEnabled
)

// String returns the word by which instances tell of it; "" for none.
func (k FactKind) String() string {
	return [...]string{FactRest: "rest", FactFree: "free", FactDisabled: "disabled", FactEnabled: "enabled"}[k]
}

const (
	// factSlack is by how much the times of two instances may seem to differ
	// that are the same.
	factSlack = 500 * time.Millisecond
	// maxTold is of how many things it is remembered what was told of a key.
	maxTold = 4 * maxModels
	// freeTime is how long it is remembered that a rest was over, against
	// facts that come late.
	freeTime = time.Minute
	// disbeliefTime is how long refusals of a key are not believed after this
	// instance has found one to be wrong: they may be of the teller's address.
	disbeliefTime = 10 * time.Minute
)

// Told is what the instances have told each other of one key, or of one
// upstream. The zero value is that of one that nothing was told of. It belongs
// to whoever tells and hears, and is not safe for concurrent use.
type Told struct {
	looked bool
	// seen are the rests when they were last looked at; stale says that
	// something was heard since.
	seen     *rests
	stale    bool
	of       map[about]*told
	operator told
	// requests and tokens are what was told of what the key's limits count.
	requests, tokens int64
}

// about is what a fact is about.
type about struct {
	model string
	whole bool
}

func (f *Fact) about() about { return about{f.Model, f.Whole} }

// told is the latest fact about something, when it was told or heard, and
// whether it is yet to be told.
type told struct {
	fact Fact
	at   time.Time
	due  bool
}

// note notes a fact that is to be told.
func (t *Told) note(f Fact, now time.Time) { t.set(f, now, true) }

// heard notes a fact that was heard, and need not be told.
func (t *Told) heard(f Fact, now time.Time) { t.set(f, now, false) }

func (t *Told) set(f Fact, now time.Time, due bool) {
	if f.Kind == FactDisabled || f.Kind == FactEnabled {
		t.operator = told{f, now, due}
		return
	}
	if t.of == nil {
		t.of = map[about]*told{}
	}
	if len(t.of) >= maxTold {
		maps.DeleteFunc(t.of, func(_ about, known *told) bool { return known.fact.Kind == FactFree && !known.due })
	}
	t.of[f.about()] = &told{f, now, due}
}

// confirm notes that others know a rest, too.
func (t *Told) confirm(f Fact, now time.Time) {
	if known := t.of[f.about()]; known != nil && known.fact.Kind == f.Kind && !known.due {
		known.at = now
	}
}

// due returns what is to be told, and forgets what does not matter any more.
func (t *Told) due(now time.Time) (facts []Fact) {
	if t.operator.due {
		facts = append(facts, t.operator.fact)
	}
	for what, known := range t.of {
		switch {
		case known.fact.Kind == FactFree && !known.due && now.Sub(known.at) > freeTime,
			known.fact.Kind == FactRest && known.due && !now.Before(known.fact.Until):
			delete(t.of, what)
		case known.due:
			facts = append(facts, known.fact)
		}
	}
	return facts
}

// Done notes that a fact was told.
func (t *Told) Done(f Fact, now time.Time) {
	known := &t.operator
	if f.Kind == FactRest || f.Kind == FactFree {
		if known = t.of[f.about()]; known == nil {
			return
		}
	}
	if known.fact == f {
		known.due, known.at = false, now
	}
}

// Again has what still holds told once more, unless it was told or heard of
// within that time: the others may have come since, or lost it.
func (t *Told) Again(now time.Time, within time.Duration) {
	for _, known := range t.of {
		if known.fact.Kind == FactRest && now.Sub(known.at) >= within && now.Before(known.fact.Until) {
			known.fact.Again, known.due = true, true
		}
	}
	if known := &t.operator; known.fact.Kind == FactDisabled && now.Sub(known.at) >= within {
		known.fact.Again, known.due = true, true
	}
}

// outdated reports whether a rest that is heard of is known to be over.
func (t *Told) outdated(f Fact) bool {
	known := t.of[f.about()]
	return known != nil && known.fact.Kind == FactFree && !f.Since.After(known.fact.Since.Add(factSlack))
}

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
	if c.strikes == 0 || c.heard || !now.Before(c.until) {
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
	if !now.Before(f.Until) || t.outdated(*f) || refused && now.Sub(s.disproved) < disbeliefTime {
		return nil
	}
	next := s.rests.Load().clone()
	c := &next.key
	if !f.Whole {
		c = next.at(f.Model)
	}
	if !f.Until.After(c.until.Add(factSlack)) {
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
