// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"hash/fnv"
	"math/bits"
	"slices"
	"sync"
	"time"
)

// Book holds what all subjects have used, in memory. It is safe for concurrent
// use. Make one with [NewBook].
//
// It knows a subject by its name and a counter by its kind, period and models,
// so the rules may change while the counts go on. A subject that has used
// nothing for so long that nothing counts any more is forgotten.
type Book struct{ shards [manyShards]shard }

// manyShards is how many shards there are: a call that concerns several locks
// them in the order of their bits.
const manyShards = 64

// shard holds some of the subjects, so that one lock is not everybody's.
type shard struct {
	mu       sync.Mutex
	accounts map[string]*account
	// changed says that a count has changed since it was written down.
	changed bool
	// sweepAt is at how many accounts the idle ones are looked for.
	sweepAt int
	// searched is when room was last looked for in a full shard.
	searched time.Time
}

// maxAccounts is how many subjects a shard remembers before it has no room for
// guests: about a million in all shards together.
const maxAccounts = 1 << 14

// searchAgain is how long a full shard is not searched again for room.
const searchAgain = 10 * time.Second

// minSweep keeps small shards from being swept at every new subject.
const minSweep = 64

// manyCounters is at how many counters of one subject the idle ones are looked
// for.
const manyCounters = 8

// account holds the counters of one subject.
type account struct{ counters []*counter }

// NewBook returns an empty book.
func NewBook() *Book {
	b := new(Book)
	for i := range b.shards {
		b.shards[i].accounts, b.shards[i].sweepAt = map[string]*account{}, minSweep
	}
	return b
}

// HasRoom tells whether the book can remember a subject that nobody has
// configured: whether it does already, or does not remember too many others.
func (b *Book) HasRoom(now time.Time, subject *Subject) bool {
	s := &b.shards[subject.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.accounts[subject.key]; known || len(s.accounts) < maxAccounts {
		return true
	}
	if now.Sub(s.searched) < searchAgain {
		return false
	}
	s.searched = now
	s.sweep(now)
	return len(s.accounts) < maxAccounts
}

func (b *Book) take(_ context.Context, now time.Time, h *Hold) error {
	locked := b.lock(h)
	defer b.unlock(locked)
	granted := true
	for p := range h.asked() {
		c := b.counter(now, p)
		p.force(c)
		if p.ask(now, c); p.wait > 0 && !h.shadow {
			granted = false
		}
	}
	// A counter that counts nothing may have been forgotten since, so it is
	// looked for again.
	for p := range h.asked() {
		c := b.counter(now, p)
		if granted {
			p.grant(c)
		}
		p.note(now, c)
		b.mark(p, granted)
	}
	return nil
}

func (b *Book) settle(now time.Time, h *Hold) { b.follow(now, h, true) }

// follow does what was decided elsewhere.
func (b *Book) follow(now time.Time, h *Hold, granted bool) {
	locked := b.lock(h)
	defer b.unlock(locked)
	for p := range h.asked() {
		c := b.counter(now, p)
		if p.force(c); granted {
			p.grant(c)
		}
		b.mark(p, granted)
	}
}

// lock locks the shards of all that is asked, and returns which these are.
func (b *Book) lock(h *Hold) (locked uint64) {
	for p := range h.asked() {
		locked |= 1 << p.subject.shard
	}
	for rest := locked; rest != 0; rest &= rest - 1 {
		b.shards[bits.TrailingZeros64(rest)].mu.Lock()
	}
	return locked
}

func (b *Book) unlock(locked uint64) {
	for rest := locked; rest != 0; rest &= rest - 1 {
		b.shards[bits.TrailingZeros64(rest)].mu.Unlock()
	}
}

// shardOf returns where a subject is kept: always the same, so that what was
// written down of a shard is about the same subjects for ever.
func shardOf(key string) uint8 {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key))
	return uint8(hash.Sum32() % manyShards)
}

// counter returns the counter that a part is about.
func (b *Book) counter(now time.Time, p *part) *counter {
	return b.shards[p.subject.shard].account(now, p.subject.key).counter(now, p.rule)
}

// mark marks what has changed.
func (b *Book) mark(p *part, granted bool) {
	if p.drop+p.add > 0 || granted && p.hold+p.use > 0 {
		b.shards[p.subject.shard].changed = true
	}
}

// account returns the subject's account.
func (s *shard) account(now time.Time, key string) *account {
	if known, ok := s.accounts[key]; ok {
		return known
	}
	if len(s.accounts) >= s.sweepAt {
		s.sweep(now)
	}
	opened := new(account)
	s.accounts[key] = opened
	return opened
}

// sweep forgets the subjects for whom nothing counts. It runs when the shard
// has doubled, so that its cost is shared by many calls.
func (s *shard) sweep(now time.Time) {
	for key, a := range s.accounts {
		if a.forget(now); len(a.counters) == 0 {
			delete(s.accounts, key)
		}
	}
	s.sweepAt = max(minSweep, 2*len(s.accounts))
}

// counter returns the account's counter for a rule, brought up to now.
func (a *account) counter(now time.Time, r *Rule) *counter {
	for _, c := range a.counters {
		if c.rule.Counts(r) {
			c.advance(now)
			return c
		}
	}
	// Rules may have been changed: what the old ones counted is not kept for
	// ever.
	if len(a.counters) >= manyCounters {
		a.forget(now)
	}
	made := newCounter(r)
	made.advance(now)
	a.counters = append(a.counters, made)
	return made
}

// forget drops the counters that count nothing.
func (a *account) forget(now time.Time) {
	a.counters = slices.DeleteFunc(a.counters, func(c *counter) bool {
		c.advance(now)
		return c.idle()
	})
}
