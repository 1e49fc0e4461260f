// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync"
	"time"
)

// maxModels bounds how many models a key remembers a cool-down for. Their
// names come from outside.
const maxModels = 64

// State is what is known of one key at run time. It is safe for concurrent
// use and outlives configs.
type State struct {
	mu       sync.Mutex
	inFlight int
	health   health
	key      coolDown
	models   map[string]*coolDown
}

// NewState returns the state of a key that nothing is known of.
func NewState() *State { return &State{health: newHealth()} }

// Destruct does nothing: calls in flight may still report. It is there so
// that a caddy.UsagePool can hold states.
func (s *State) Destruct() error { return nil }

// coolDown is how long a key must rest, for everything or for one model.
type coolDown struct {
	until time.Time
	// set is when until was last set: a call that began before cannot know of
	// it, and its failure is no further one.
	set     time.Time
	strikes int
	class   Class
	// probing says that one call is finding out whether the key works again.
	probing bool
}

func (c *coolDown) cooling(now time.Time) bool { return now.Before(c.until) }

// suspect reports whether the key must prove itself by one call before others
// may use it: a rejected or broke key would otherwise fail many calls at once.
func (c *coolDown) suspect() bool {
	return c.strikes > 0 && (c.class == ClassCredential || c.class == ClassQuota)
}

// penalise makes the key rest. began is when the failed call was sent.
func (c *coolDown) penalise(v Verdict, began, now time.Time, maxWait time.Duration) {
	rule := rules[v.Class]
	repeated := began.Before(c.set) && c.class == v.Class
	if !repeated {
		if c.class != v.Class {
			c.strikes = 0
		}
		c.strikes++
	}
	rest := min(v.Wait, maxWait)
	if rest <= 0 {
		rest = min(rule.first<<min(c.strikes-1, 20), rule.most)
	}
	if until := now.Add(rest); until.After(c.until) {
		c.until = until
	}
	c.set, c.class = now, v.Class
}

// freeAtLocked returns when the key may be used for model, and why not
// before. The zero time means now.
func (s *State) freeAtLocked(model string, now time.Time) (time.Time, Class) {
	if s.key.cooling(now) {
		return s.key.until, s.key.class
	}
	if c := s.models[model]; c != nil && c.cooling(now) {
		return c.until, c.class
	}
	if s.key.probing {
		return now.Add(time.Second), s.key.class
	}
	return time.Time{}, ClassOK
}

// takeLocked counts a call in. It reports whether this call is the probe of a
// suspect key.
func (s *State) takeLocked() (probe bool) {
	s.inFlight++
	if s.key.suspect() {
		s.key.probing = true
		return true
	}
	return false
}

// report counts a call out and draws the consequences.
func (s *State) report(l *Lease, o Outcome, now time.Time, maxWait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if l.probe {
		s.key.probing = false
	}
	s.health.note(o, now)
	switch o.Verdict.Scope() {
	case ScopeKey:
		s.key.penalise(o.Verdict, l.began, now, maxWait)
	case ScopeKeyModel:
		s.modelLocked(l.model, now).penalise(o.Verdict, l.began, now, maxWait)
	}
	if o.Verdict.Class == ClassOK {
		s.forgiveLocked(l, now)
	}
}

// forgiveLocked ends the ramp after a success. A cool-down that was set while
// the successful call was under way stays.
func (s *State) forgiveLocked(l *Lease, now time.Time) {
	if !s.key.cooling(now) && s.key.set.Before(l.began) {
		s.key = coolDown{}
	}
	if c := s.models[l.model]; c != nil && !c.cooling(now) && c.set.Before(l.began) {
		delete(s.models, l.model)
	}
}

// modelLocked returns the cool-down for a model, making room if need be: at
// the cost of one that is over, else of the one that is over first.
func (s *State) modelLocked(model string, now time.Time) *coolDown {
	if c := s.models[model]; c != nil {
		return c
	}
	if s.models == nil {
		s.models = map[string]*coolDown{}
	}
	if len(s.models) >= maxModels {
		var victim string
		var first time.Time
		for name, c := range s.models {
			if victim == "" || c.until.Before(first) {
				victim, first = name, c.until
			}
		}
		delete(s.models, victim)
	}
	c := new(coolDown)
	s.models[model] = c
	return c
}
