// SPDX-License-Identifier: Apache-2.0

package keypool

// maxPinNews is how many pins wait at most to be told of.
const maxPinNews = 4096

// pinNews are pins that other instances are to be told of.
type pinNews struct {
	wanted bool
	pins   []Pin
}

// add adds a pin, at the cost of the oldest if there are too many.
func (n *pinNews) add(p *pin) {
	if !n.wanted {
		return
	}
	if len(n.pins) == maxPinNews {
		n.pins = append(n.pins[:0], n.pins[maxPinNews/2:]...)
	}
	n.pins = append(n.pins, Pin{p.object, p.key, p.until})
}

// Share gathers from now on what other instances are to be told of.
func (p *Pins) Share() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news.wanted = true
}

// News returns up to so many of the pins that other instances are yet to be
// told of.
func (p *Pins) News(most int) []Pin {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Pin(nil), p.news.pins[:min(most, len(p.news.pins))]...)
}

// Told notes that these were told.
func (p *Pins) Told(pins []Pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(pins) > 0 && len(p.news.pins) >= len(pins) && p.news.pins[0] == pins[0] {
		p.news.pins = append(p.news.pins[:0], p.news.pins[len(pins):]...)
	}
}

// Again has the latest pins told once more.
func (p *Pins) Again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news.pins = p.news.pins[:0]
	for e := p.order.Front(); e != nil && len(p.news.pins) < maxPinNews; e = e.Next() {
		p.news.add(e.Value.(*pin))
	}
}

// Hear takes in that another instance's key has made an object.
func (p *Pins) Hear(objectID, keyID string) {
	if !validObject(objectID) || !validObject(keyID) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putLocked(objectID, keyID)
}
