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
	// first.
	byID  map[string]*list.Element
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
	return &Pins{most: max(1, most), ttl: ttl, now: now, byID: map[string]*list.Element{}, order: list.New()}
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
	until := p.now().Add(p.ttl)
	if e := p.byID[objectID]; e != nil {
		known := e.Value.(*pin)
		changed = known.key != keyID
		p.changed[groupOf(objectID)] = p.changed[groupOf(objectID)] || changed
		known.key, known.until = keyID, until
		p.order.MoveToFront(e)
		return known, changed
	}
	if len(p.byID) >= p.most {
		p.forgetLocked(p.order.Back())
	}
	// The clone lets go of the answer that the id is a part of.
	fresh := &pin{strings.Clone(objectID), keyID, until}
	p.byID[fresh.object] = p.order.PushFront(fresh)
	p.changed[groupOf(objectID)] = true
	return fresh, true
}

func validObject(objectID string) bool { return objectID != "" && len(objectID) <= maxObjectID }

// Get returns the id of the key that made an object, if it is known.
func (p *Pins) Get(objectID string) (keyID string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[objectID]
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
	return len(p.byID)
}

func (p *Pins) forgetLocked(e *list.Element) {
	p.order.Remove(e)
	delete(p.byID, e.Value.(*pin).object)
}
