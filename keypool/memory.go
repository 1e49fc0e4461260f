// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"slices"
	"strings"
	"time"
)

const (
	// maxRecalled bounds how long a rest may still last that was written down.
	maxRecalled = 31 * 24 * time.Hour
	// forgetAfter is how long after its end a rest is not worth writing down.
	forgetAfter = 24 * time.Hour
	// maxStrikes bounds how many failures in a row are recalled.
	maxStrikes = 20
)

// Memory is what a key rests from, to be written down and recalled after a
// restart. It holds no secret. The zero value is a key that rests from nothing.
type Memory struct {
	// Key is for all models, Models for single ones.
	Key    *KeptRest           `json:"key,omitempty"`
	Models map[string]KeptRest `json:"models,omitempty"`
	// Disabled says that an operator has taken the key out.
	Disabled bool `json:"disabled,omitempty"`
}

// KeptRest is one thing that a key rests from.
type KeptRest struct {
	// Class is the word for why, Until when it is over, Strikes how often in a
	// row it has come to that, and Stated until when somebody has said that it
	// takes; the zero time if nobody has.
	Class   string    `json:"class"`
	Until   time.Time `json:"until"`
	Strikes int       `json:"strikes"`
	Stated  time.Time `json:"stated,omitzero"`
}

// Over reports whether nothing of it is worth remembering any more.
func (m Memory) Over(now time.Time) bool {
	if m.Disabled || m.Key != nil && now.Sub(m.Key.Until) <= forgetAfter {
		return false
	}
	for _, rest := range m.Models {
		if now.Before(rest.Until) {
			return false
		}
	}
	return true
}

// Remember returns what is worth writing down.
func (s *State) Remember(now time.Time) Memory {
	r := s.rests.Load()
	if r == nil {
		return Memory{}
	}
	m := Memory{Disabled: r.disabled}
	if rest, ok := r.key.remember(now); ok {
		m.Key = &rest
	}
	for i := range r.models {
		if rest, ok := r.models[i].remember(now); ok && now.Before(rest.Until) {
			if m.Models == nil {
				m.Models = map[string]KeptRest{}
			}
			m.Models[r.models[i].model] = rest
		}
	}
	return m
}

func (c *coolDown) remember(now time.Time) (KeptRest, bool) {
	if c.strikes == 0 || now.Sub(c.until) > forgetAfter {
		return KeptRest{}, false
	}
	return KeptRest{Class: c.class.String(), Until: c.until, Strikes: c.strikes, Stated: c.stated}, true
}

// Recall takes in what was written down, unless more is known already. What
// makes no sense is left out.
func (s *State) Recall(m Memory, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known.Load() || s.rests.Load() != nil {
		return
	}
	r := &rests{disabled: m.Disabled}
	if m.Key != nil {
		r.key, _ = m.Key.recall(now)
	}
	for model, rest := range m.Models {
		c, ok := rest.recall(now)
		if ok && len(r.models) < maxModels && len(model) <= maxModelName {
			r.models = append(r.models, modelRest{strings.Clone(model), c})
		}
	}
	s.rests.Store(r.orNil())
}

func (r KeptRest) recall(now time.Time) (coolDown, bool) {
	class, known := ClassNamed(r.Class)
	if !known || r.Strikes < 1 || now.Sub(r.Until) > forgetAfter {
		return coolDown{}, false
	}
	c := coolDown{until: r.Until, set: now, strikes: min(r.Strikes, maxStrikes), class: class, stated: r.Stated, heard: true}
	if latest := now.Add(maxRecalled); c.until.After(latest) {
		c.until = latest
	}
	if isAlike(c.class) {
		c.announced = c.class
	}
	return c, true
}

// PinGroups is how many groups pins are divided into to be written down.
const PinGroups = 32

// Pin is a stored object and the key that made it, to be written down. Until is
// when it is forgotten if nobody asks for it.
type Pin struct {
	Object string    `json:"object"`
	Key    string    `json:"key"`
	Until  time.Time `json:"until"`
}

func groupOf(objectID string) int { return int(hashString(objectID) % PinGroups) }

// Remember returns a group of the pins, the latest used first, and whether
// there are others in it than when it was last asked.
func (p *Pins) Remember(group int) (pins []Pin, changed bool) {
	pins, changed = p.gather(group)
	slices.SortFunc(pins, func(a, b Pin) int { return b.Until.Compare(a.Until) })
	return pins, changed
}

func (p *Pins) gather(group int) (pins []Pin, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.changed[group] {
		return nil, false
	}
	p.changed[group] = false
	now := p.now()
	pins = make([]Pin, 0, len(p.byID[group]))
	for _, e := range p.byID[group] {
		if known := e.Value.(*pin); now.Before(known.until) {
			pins = append(pins, Pin{known.object, known.key, known.until})
		}
	}
	return pins, true
}

// Changed takes back that a group was asked for.
func (p *Pins) Changed(group int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed[group] = true
}

// Recall takes in pins that were written down. What is known already is newer.
func (p *Pins) Recall(pins []Pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, old := range pins {
		group := p.byID[groupOf(old.Object)]
		if group[old.Object] != nil || !validObject(old.Object) || !now.Before(old.Until) || p.order.Len() >= p.most {
			continue
		}
		until := old.Until
		if latest := now.Add(p.ttl); until.After(latest) {
			until = latest
		}
		group[old.Object] = p.order.PushBack(&pin{old.Object, old.Key, until})
	}
}
