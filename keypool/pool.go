// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMaxWait caps the wait that a provider may ask for.
const DefaultMaxWait = 24 * time.Hour

// Options are the settings of a pool.
type Options struct {
	// Policy is how a key is chosen. Default: RoundRobin.
	Policy Policy
	// MaxWait caps the wait that a provider may ask for. Default: 24 hours.
	MaxWait time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Pool chooses among the keys of a provider. It is safe for concurrent use.
type Pool struct {
	keys   []Key
	states []*State
	opts   Options
	cursor atomic.Uint64

	// mu guards credits, the running account of the weighted policy.
	mu      sync.Mutex
	credits []int
}

// New makes a pool of keys over what is known of them: states[i] belongs to
// keys[i]. It fails if there is no key, or one that is empty or given twice.
func New(keys []Key, states []*State, opts Options) (*Pool, error) {
	checked, err := checkKeys(keys)
	if err != nil {
		return nil, err
	}
	if len(states) != len(keys) {
		return nil, fmt.Errorf("making a pool: %d states for %d keys", len(states), len(keys))
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = DefaultMaxWait
	}
	return &Pool{keys: checked, states: states, opts: opts, credits: make([]int, len(keys))}, nil
}

// ErrNoKey is that no key of the pool may be used at the moment.
var ErrNoKey = errors.New("no key is free")

// CoolingError is that all keys of the pool are resting.
type CoolingError struct {
	// Until is when the first of them may be used again.
	Until time.Time
	// Class is why that one rests.
	Class Class
}

// Error says so.
func (e *CoolingError) Error() string {
	return ErrNoKey.Error() + ": the first rests until " + e.Until.Format(time.RFC3339)
}

// Unwrap makes the error one of ErrNoKey.
func (e *CoolingError) Unwrap() error { return ErrNoKey }

// Tried remembers the keys that a call has used. The zero value is empty.
type Tried struct {
	first uint64
	rest  []uint64
}

func (t *Tried) has(i int) bool {
	if i < 64 {
		return t.first&(1<<i) != 0
	}
	word := i/64 - 1
	return word < len(t.rest) && t.rest[word]&(1<<(i%64)) != 0
}

func (t *Tried) add(i int) {
	if i < 64 {
		t.first |= 1 << i
		return
	}
	for len(t.rest) <= i/64-1 {
		t.rest = append(t.rest, 0)
	}
	t.rest[i/64-1] |= 1 << (i % 64)
}

// Acquire takes a key that may be used for model. It prefers keys that are not
// in tried, and adds the one it took. It fails with a [*CoolingError] when all
// keys rest. The lease must be reported.
func (p *Pool) Acquire(model string, tried *Tried) (Lease, error) {
	now := p.opts.Now()
	var cooling CoolingError
	again := -1
	for i := range p.order() {
		if tried.has(i) {
			if again < 0 && p.free(i, model, now) {
				again = i
			}
			continue
		}
		if lease, ok := p.take(i, model, now, &cooling); ok {
			tried.add(i)
			return lease, nil
		}
	}
	if again >= 0 {
		if lease, ok := p.take(again, model, now, &cooling); ok {
			return lease, nil
		}
	}
	if cooling.Until.IsZero() {
		p.earliest(model, now, &cooling)
	}
	return Lease{}, &cooling
}

// take takes key i if it is free, and otherwise notes when it will be.
func (p *Pool) take(i int, model string, now time.Time, cooling *CoolingError) (Lease, bool) {
	state := p.states[i]
	state.mu.Lock()
	defer state.mu.Unlock()
	at, class := state.freeAtLocked(model, now)
	if !at.IsZero() {
		cooling.note(at, class)
		return Lease{}, false
	}
	probe := state.takeLocked()
	p.charge(i)
	return Lease{pool: p, index: i, model: model, began: now, probe: probe, open: true}, true
}

func (p *Pool) free(i int, model string, now time.Time) bool {
	p.states[i].mu.Lock()
	defer p.states[i].mu.Unlock()
	at, _ := p.states[i].freeAtLocked(model, now)
	return at.IsZero()
}

// earliest notes when the first of all keys comes free.
func (p *Pool) earliest(model string, now time.Time, cooling *CoolingError) {
	for _, state := range p.states {
		state.mu.Lock()
		at, class := state.freeAtLocked(model, now)
		state.mu.Unlock()
		if !at.IsZero() {
			cooling.note(at, class)
		}
	}
}

func (e *CoolingError) note(at time.Time, class Class) {
	if e.Until.IsZero() || at.Before(e.Until) {
		e.Until, e.Class = at, class
	}
}

// Lease is the use of a key by one attempt.
type Lease struct {
	pool  *Pool
	index int
	model string
	began time.Time
	probe bool
	open  bool
}

// KeyID returns the id of the key.
func (l *Lease) KeyID() string { return l.pool.keys[l.index].ID }

// Secret returns the key's credential.
func (l *Lease) Secret() Secret { return l.pool.keys[l.index].Secret }

// Outcome is how an attempt went.
type Outcome struct {
	Verdict Verdict
	// Latency is how long it took in all, FirstToken until the first token;
	// 0 where there was none.
	Latency, FirstToken time.Duration
}

// Report ends the lease: the slot is free again and the pool knows how it
// went. A second report of the same lease does nothing.
func (l *Lease) Report(o Outcome) {
	if !l.open {
		return
	}
	l.open = false
	l.pool.states[l.index].report(l, o, l.pool.opts.Now(), l.pool.opts.MaxWait)
}
