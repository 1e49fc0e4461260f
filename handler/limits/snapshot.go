// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"encoding/json"
	"fmt"
	"time"
)

// Parts is into how many parts a book is divided to be written down, so that
// what changes every second is not always all of it.
const Parts = 8

// minKept is the shortest window that is written down: what is forgotten so
// soon is not worth it. What claims to be longer than maxKept is none of ours.
const (
	minKept = time.Minute
	maxKept = 100 * 365 * 24 * time.Hour
)

// record is a counter as it is written down. What is held counts as used:
// should the process die, the provider has seen these calls nevertheless.
type record struct {
	Kind     string        `json:"kind"`
	Window   time.Duration `json:"window,omitempty"`
	Calendar Calendar      `json:"calendar,omitempty"`
	Zone     string        `json:"zone,omitempty"`
	Models   []string      `json:"models,omitempty"`
	Tally    bool          `json:"tally,omitempty"`
	// Next is when the calendar period ends, Used what was used in it.
	Next time.Time `json:"next,omitzero"`
	Used int64     `json:"used,omitempty"`
	// Slots are those of a window that are not empty, by number.
	Slots map[int64]int64 `json:"slots,omitempty"`
}

// Snapshot returns what the subjects of a part of the book have used, if that
// has changed since the last time. Parts are numbered from 0.
func (b *Book) Snapshot(now time.Time, part int) (text []byte, changed bool, err error) {
	subjects := map[string][]record{}
	for i := part; i < len(b.shards); i += Parts {
		s := &b.shards[i]
		s.mu.Lock()
		changed = changed || s.changed
		s.mu.Unlock()
	}
	if !changed {
		return nil, false, nil
	}
	for i := part; i < len(b.shards); i += Parts {
		b.shards[i].write(now, subjects)
	}
	text, err = json.Marshal(subjects)
	return text, true, err
}

// Changed says that a snapshot of a part did not get to where it should.
func (b *Book) Changed(part int) {
	s := &b.shards[part]
	s.mu.Lock()
	s.changed = true
	s.mu.Unlock()
}

// Restore adds to the book what a snapshot says, as far as it still counts.
func (b *Book) Restore(now time.Time, text []byte) error {
	var subjects map[string][]record
	if err := json.Unmarshal(text, &subjects); err != nil {
		return fmt.Errorf("reading a snapshot of limits: %w", err)
	}
	for key, records := range subjects {
		s := &b.shards[shardOf(key)]
		s.mu.Lock()
		for _, r := range records {
			if rule, ok := r.rule(); ok {
				r.addTo(s.account(now, key).counter(now, rule))
			}
		}
		s.mu.Unlock()
	}
	return nil
}

// write enters the shard's subjects. The shard is unchanged from then on.
func (s *shard) write(now time.Time, subjects map[string][]record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = false
	for key, a := range s.accounts {
		var records []record
		for _, c := range a.counters {
			c.advance(now)
			if r, ok := c.record(); ok {
				records = append(records, r)
			}
		}
		if len(records) > 0 {
			subjects[key] = records
		}
	}
}

// record returns the counter as it is written down, if it is worth that.
func (c *counter) record() (record, bool) {
	p := c.rule.Period
	if c.rule.Kind == Concurrent || c.idle() || p.Calendar == 0 && p.Window < minKept {
		return record{}, false
	}
	r := record{Kind: c.rule.Kind.String(), Window: p.Window, Calendar: p.Calendar, Zone: p.zone().String(), Models: c.rule.Models, Tally: c.rule.Tally}
	if p.Calendar != 0 {
		r.Next, r.Used = c.next, c.taken()
		return r, true
	}
	r.Slots = map[int64]int64{}
	for n := c.newest - slots; n <= c.newest; n++ {
		if used := *c.ring.at(n); used > 0 {
			r.Slots[n] = used
		}
	}
	if c.held > 0 {
		r.Slots[c.newest] += c.held
	}
	return r, true
}

// rule returns what a record counts; false if that cannot be said any more.
func (r record) rule() (*Rule, bool) {
	kind, ok := ParseKind(r.Kind)
	zone, err := time.LoadLocation(r.Zone)
	if !ok || kind == Concurrent || err != nil || r.Calendar > Month || r.Calendar == 0 && (r.Window < minKept || r.Window > maxKept) {
		return nil, false
	}
	rule := &Rule{Kind: kind, Period: Period{Window: r.Window, Calendar: r.Calendar}, Models: r.Models, Tally: r.Tally}
	if r.Calendar != 0 {
		rule.Period.Zone = zone
	}
	return rule, true
}

// addTo adds what still counts to a counter that is up to now.
func (r record) addTo(c *counter) {
	if r.Calendar != 0 {
		if r.Next.Equal(c.next) {
			c.used += clamp(r.Used)
		}
		return
	}
	for n, used := range r.Slots {
		if n >= c.newest-slots && n <= c.newest {
			*c.ring.at(n) += clamp(used)
			c.used += clamp(used)
			c.last = max(c.last, n)
		}
	}
}
