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

// tellable reports whether a key's rest is one to tell of. That a token has
// expired is none: each instance is lent its own.
func tellable(class Class) bool { return class != ClassStale }

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
