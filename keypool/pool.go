// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"fmt"
	"sync"
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
	opts Options

	// mu makes choosing one step, so that calls at the same time get different
	// keys. It guards turn and the members' credits.
	mu      sync.Mutex
	members []member
	turn    int
}

// member is a key of the pool.
type member struct {
	key   Key
	state *State
	// credit is the key's running account under the weighted policy.
	credit int
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
	if opts.MaxWait <= 0 {
		opts.MaxWait = DefaultMaxWait
	}
	members := make([]member, len(keys))
	for i, key := range checked {
		members[i] = member{key: key, state: states[i]}
	}
	return &Pool{opts: opts, members: members}, nil
}

// Size returns how many keys the pool has.
func (p *Pool) Size() int { return len(p.members) }

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

// Acquire takes a key that may be used for model. It prefers keys that are not
// in tried, and adds the one it took; a key that was tried comes again only if
// it does not rest and all others do, as after an upstream's fault. It fails
// with a [*CoolingError] when all keys rest. The lease must be reported.
func (p *Pool) Acquire(model string, tried *Tried) (Lease, error) {
	model = model[:min(len(model), maxModelName)]
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		now := p.opts.Now()
		i := p.chooseLocked(model, now, tried)
		if i < 0 {
			i = p.chooseLocked(model, now, nil)
		}
		if i < 0 {
			return Lease{}, p.cooling(model, now)
		}
		// This fails only if a report has just made the key rest.
		lease := Lease{pool: p, index: i, model: model}
		if p.members[i].state.take(&lease, p.opts.Now) {
			tried.add(i)
			return lease, nil
		}
	}
}

// cooling tells when the first of all keys comes free, and why not before.
func (p *Pool) cooling(model string, now time.Time) *CoolingError {
	var first CoolingError
	for i := range p.members {
		at, class := p.members[i].state.rests.Load().until(model)
		if i == 0 || at.Before(first.Until) {
			first = CoolingError{Until: at, Class: class}
		}
	}
	if first.Until.Before(now) {
		// A report has just freed it.
		first.Until = now
	}
	return &first
}
