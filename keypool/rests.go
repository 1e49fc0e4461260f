// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"slices"
	"strings"
	"time"
)

const (
	// leastWait is how long a key rests at least when a provider states a
	// wait. It doubles with each further failure in a row, up to a second.
	leastWait = 20 * time.Millisecond
	// maxModels bounds how many models a key remembers a rest for, and
	// maxModelName how much of a name, in bytes. Names come from outside.
	maxModels    = 64
	maxModelName = 256
	// proofTime is how long the others wait for the one call that finds out
	// whether a suspect key works again. A rejection comes at once, an answer
	// may take minutes.
	proofTime = 2 * time.Second
)

// rests is what a key rests from. It is never changed, but replaced: so that a
// call can pass over a thousand resting keys without a lock. Nil is a key that
// rests from nothing.
type rests struct {
	// key is for whatever the call asks; its failures are of the kind that a
	// wait need not cure. Once it is over the key is suspect, and one call at a
	// time may use it until one succeeds.
	key coolDown
	// proof is until when the latest of these calls keeps the others away.
	proof time.Time
	// models are for single models. Once over, the key just comes back.
	models []modelRest
	// away is until when the key cannot be used because what it takes to use
	// it could not be had. That is no failure of the key: it just comes back.
	away time.Time
	// disabled says that an operator has taken the key out.
	disabled bool
}

type modelRest struct {
	model string
	coolDown
}

// until returns the time before which the key may not be used for model, and
// why. The zero time is for a key that was always free.
func (r *rests) until(model string) (time.Time, Class) {
	if r == nil {
		return time.Time{}, ClassOK
	}
	if r.disabled {
		return Never, ClassDisabled
	}
	at, class := r.key.until, r.key.class
	if r.proof.After(at) {
		at = r.proof
	}
	if r.away.After(at) {
		at, class = r.away, ClassStale
	}
	if i := r.find(model); i >= 0 && r.models[i].until.After(at) {
		at, class = r.models[i].until, r.models[i].class
	}
	return at, class
}

// suspect reports whether the key must prove itself by one call before others
// may use it: a rejected or broke key would otherwise fail many calls at once.
func (r *rests) suspect() bool { return r != nil && r.key.strikes > 0 }

func (r *rests) find(model string) int {
	for i := range r.models {
		if r.models[i].model == model {
			return i
		}
	}
	return -1
}

// proving returns r with others kept away while one call proves the key.
func (r *rests) proving(now time.Time) *rests {
	next := r.clone()
	next.proof = now.Add(proofTime)
	return next
}

// after returns what follows from r and the outcome of a lease.
func (r *rests) after(l *Lease, v Verdict, now time.Time, maxWait time.Duration) *rests {
	if l.proof && r != nil {
		r = r.clone()
		r.proof = time.Time{}
	}
	switch scope := v.Scope(); {
	case scope == ScopeKey:
		r = r.clone()
		r.key.penalise(v, l.began, now, maxWait)
	case scope == ScopeKeyModel:
		r = r.clone()
		r.at(l.model).penalise(v, l.began, now, maxWait)
	case v.Class == ClassOK:
		r = r.forgiven(l.model, l.began)
	}
	return r
}

// forgiven returns r after a call that began then has succeeded. What was
// found out since is not disproved by it.
func (r *rests) forgiven(model string, began time.Time) *rests {
	if r == nil {
		return nil
	}
	whole := r.key.strikes > 0 && r.key.set.Before(began)
	i := r.find(model)
	single := i >= 0 && r.models[i].set.Before(began)
	back := !r.away.IsZero() && !r.away.After(began)
	if !whole && !single && !back {
		return r
	}
	next := r.clone()
	if back {
		next.away = time.Time{}
	}
	if whole {
		next.key, next.proof = coolDown{}, time.Time{}
	}
	if single {
		next.drop(i)
	}
	return next.orNil()
}

// pardoned returns r without the rests for a class of failures since then: of
// the key as a whole, and for the model.
func (r *rests) pardoned(class Class, model string, since time.Time) *rests {
	next := r.clone()
	if next.key.class == class && !next.key.set.Before(since) {
		next.key, next.proof = coolDown{}, time.Time{}
	}
	if i := next.find(model); i >= 0 && next.models[i].class == class && !next.models[i].set.Before(since) {
		next.drop(i)
	}
	return next.orNil()
}

// orNil returns nil for a key that rests from nothing.
func (r *rests) orNil() *rests {
	if r.key.strikes == 0 && len(r.models) == 0 && r.away.IsZero() && !r.disabled {
		return nil
	}
	return r
}

// at returns the cool-down for a model, making room if need be: at the cost of
// the one that is, or will be, over first.
func (r *rests) at(model string) *coolDown {
	i := r.find(model)
	if i < 0 {
		// The clone lets go of the request that the name is a part of.
		fresh := modelRest{model: strings.Clone(model)}
		if i = len(r.models); i < maxModels {
			r.models = append(r.models, fresh)
		} else {
			i = 0
			for j := range r.models {
				if r.models[j].until.Before(r.models[i].until) {
					i = j
				}
			}
			r.models[i] = fresh
		}
	}
	return &r.models[i].coolDown
}

// drop forgets the rest for a model.
func (r *rests) drop(i int) { r.models = slices.Delete(r.models, i, i+1) }

func (r *rests) clone() *rests {
	if r == nil {
		return new(rests)
	}
	next := *r
	next.models = slices.Clone(r.models)
	return &next
}

// coolDown is how long a key must rest, for everything or for one model.
type coolDown struct {
	until time.Time
	// set is when the latest failure came in: a call that began before could
	// not know of it, and its failure is no further one.
	set     time.Time
	strikes int
	class   Class
	// stated is until when somebody has said that it takes.
	stated time.Time
	// announced is the class that operators were told of; ClassOK if they were
	// told of none.
	announced Class
	// heard says that another instance has told of it.
	heard bool
}

// penalise makes the key rest. began is when the failed call was sent.
func (c *coolDown) penalise(v Verdict, began, now time.Time, maxWait time.Duration) {
	known := c.strikes > 0 && began.Before(c.set)
	switch {
	case known:
	case c.class == v.Class:
		c.strikes++
	default:
		c.strikes = 1
	}
	c.set, c.heard = now, false
	if until := now.Add(v.rest(c.strikes, maxWait)); until.After(c.until) {
		c.until, c.class = until, v.Class
	}
	if until := now.Add(min(v.Wait, c.until.Sub(now))); v.Wait > 0 && until.After(c.stated) {
		c.stated = until
	}
}

// rest returns how long a key rests after so many such failures in a row.
func (v Verdict) rest(strikes int, maxWait time.Duration) time.Duration {
	if v.Ordered {
		return v.Wait
	}
	if v.Wait > 0 {
		// One that is stated as next to nothing, again and again, is not meant.
		least := min(leastWait<<min(strikes-1, 20), time.Second)
		return min(max(v.Wait, least), maxWait)
	}
	rule := rules[v.Class]
	return min(rule.first<<min(strikes-1, 20), rule.most)
}
