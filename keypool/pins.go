// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"container/list"
	"strings"
	"sync"
	"time"
)

// maxObjectID is the longest id of a stored object that is remembered, in
// bytes. Ids come from outside.
const maxObjectID = 256

// Pins remembers which key made which stored object, such as a response, a
// file or a batch: only its account can find it again. For an id that is not
// known there is [Pool.Owner]. It is safe for concurrent use.
type Pins struct {
	most int
	ttl  time.Duration
	now  func() time.Time

	mu sync.Mutex
	// byID finds the elements of order, which holds *pin, the latest used
	// first. It is divided into groups, so that to write one down does not keep
	// calls waiting until all pins were looked at.
	byID  [PinGroups]map[string]*list.Element
	order *list.List
	// changed says of which groups there is more than was written down.
	changed [PinGroups]bool
	// news are what is to be told to other instances, if it is.
	news pinNews
}

type pin struct {
	object, key string
	until       time.Time
}

// NewPins returns a store of at most so many objects, each remembered for ttl
// after it was last used. Where it is full the one that was not used for
// longest is forgotten.
func NewPins(most int, ttl time.Duration, now func() time.Time) *Pins {
	p := &Pins{most: max(1, most), ttl: ttl, now: now, order: list.New()}
	for group := range p.byID {
		p.byID[group] = map[string]*list.Element{}
	}
	return p
}

// Put remembers that a key made an object.
func (p *Pins) Put(objectID, keyID string) {
	if !validObject(objectID) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, changed := p.putLocked(objectID, keyID); changed {
		p.news.add(known)
	}
}

// putLocked returns the pin, and whether it is another than was known.
func (p *Pins) putLocked(objectID, keyID string) (_ *pin, changed bool) {
	until, group := p.now().Add(p.ttl), groupOf(objectID)
	if e := p.byID[group][objectID]; e != nil {
		known := e.Value.(*pin)
		changed = known.key != keyID
		p.changed[group] = p.changed[group] || changed
		known.key, known.until = keyID, until
		p.order.MoveToFront(e)
		return known, changed
	}
	if p.order.Len() >= p.most {
		p.forgetLocked(p.order.Back())
	}
	// The clone lets go of the answer that the id is a part of.
	fresh := &pin{strings.Clone(objectID), keyID, until}
	p.byID[group][fresh.object] = p.order.PushFront(fresh)
	p.changed[group] = true
	return fresh, true
}

func validObject(objectID string) bool { return objectID != "" && len(objectID) <= maxObjectID }

// Get returns the id of the key that made an object, if it is known.
func (p *Pins) Get(objectID string) (keyID string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[groupOf(objectID)][objectID]
	if e == nil {
		return "", false
	}
	known, now := e.Value.(*pin), p.now()
	if !now.Before(known.until) {
		p.forgetLocked(e)
		return "", false
	}
	known.until = now.Add(p.ttl)
	p.order.MoveToFront(e)
	return known.key, true
}

// Len returns how many objects are remembered.
func (p *Pins) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}

func (p *Pins) forgetLocked(e *list.Element) {
	p.order.Remove(e)
	object := e.Value.(*pin).object
	delete(p.byID[groupOf(object)], object)
}
