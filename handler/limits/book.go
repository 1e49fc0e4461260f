// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// Book holds what all clients have used. It is safe for concurrent use. Make
// one with [NewBook].
//
// It knows a client by its id and a counter by its kind and period, so the
// rules may change while the counts go on. A client that has used nothing for
// so long that nothing counts any more is forgotten.
type Book struct{ shards [64]shard }

// shard holds some of the clients, so that one lock is not everybody's.
type shard struct {
	mu       sync.Mutex
	accounts map[string]*account
	// changed says that a count has changed since it was written down.
	changed bool
	// sweepAt is at how many accounts the idle ones are looked for.
	sweepAt int
}

// minSweep keeps small shards from being swept at every new client.
const minSweep = 64

// manyCounters is at how many counters of one client the idle ones are looked
// for.
const manyCounters = 8

// account holds the counters of one client.
type account struct{ counters []*counter }

// NewBook returns an empty book.
func NewBook() *Book {
	b := new(Book)
	for i := range b.shards {
		b.shards[i].accounts, b.shards[i].sweepAt = map[string]*account{}, minSweep
	}
	return b
}

// Len returns how many clients the book remembers.
func (b *Book) Len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.accounts)
		s.mu.Unlock()
	}
	return n
}

// Enter begins a call: it counts the request and takes a place among the
// concurrent calls. If a rule forbids that, nothing is counted and there is no
// hold; unless in shadow, where everything goes on and the rule is only
// reported. A hold must be settled.
func (b *Book) Enter(now time.Time, client string, rules []Rule, shadow bool) (*Hold, *Exceeded) {
	s := b.shard(client)
	h := &Hold{shard: s, client: client, rules: rules, shadow: shadow}
	s.mu.Lock()
	defer s.mu.Unlock()
	exceeded := h.take(now, false, Amounts{})
	if exceeded != nil && !shadow {
		return nil, exceeded
	}
	return h, exceeded
}

// States returns where a client stands with each of its rules.
func (b *Book) States(now time.Time, client string, rules []Rule) []State {
	s := b.shard(client)
	states := make([]State, len(rules))
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(now, client)
	for i, rule := range rules {
		c := a.counter(now, rule)
		states[i] = State{Rule: rule, Remaining: max(rule.Amount-c.taken(), 0), Reset: c.leaves(now, c.used)}
	}
	return states
}

// shard returns where a client is kept: always the same, so that what was
// written down of a group is about the same clients for ever.
func (b *Book) shard(client string) *shard {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(client))
	return &b.shards[hash.Sum32()%uint32(len(b.shards))]
}

// account returns the client's account.
func (s *shard) account(now time.Time, client string) *account {
	if known, ok := s.accounts[client]; ok {
		return known
	}
	if len(s.accounts) >= s.sweepAt {
		s.sweep(now)
	}
	opened := new(account)
	s.accounts[client] = opened
	return opened
}

// sweep forgets the clients for whom nothing counts. It runs when the shard
// has doubled, so that its cost is shared by many calls.
func (s *shard) sweep(now time.Time) {
	for client, a := range s.accounts {
		if a.forget(now); len(a.counters) == 0 {
			delete(s.accounts, client)
		}
	}
	s.sweepAt = max(minSweep, 2*len(s.accounts))
}

// counter returns the account's counter for a rule, brought up to now.
func (a *account) counter(now time.Time, r Rule) *counter {
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
	made := &counter{rule: r}
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
