// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// DefaultMaxWait caps the wait that a provider may ask for.
const DefaultMaxWait = 24 * time.Hour

// Options are the settings of a pool.
type Options struct {
	// Policy is how a key is chosen. Default: RoundRobin.
	Policy Policy
	// Upstream is what is known of the provider's servers. Default: nothing,
	// and it is forgotten with the pool.
	Upstream *Upstream
	// Breaker says when the upstream is taken out by failures of this pool's
	// calls.
	Breaker Breaker
	// MaxWait caps the wait that a provider may ask for. Default: 24 hours.
	MaxWait time.Duration
	// Now is the clock. Default: time.Now, which is also the breakers'.
	Now func() time.Time
	// Random is where the fastest policy draws from. Default: rand.Uint64.
	Random func() uint64
	// Notify is told what operators should hear of. It is called on the way of
	// a call, without a lock, and must not block. Default: nobody is told.
	Notify func(Notice)
}

func (o Options) withDefaults() Options {
	if o.Upstream == nil {
		o.Upstream = NewUpstream()
	}
	o.Breaker = o.Breaker.withDefaults()
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Uint64
	}
	return o
}

// Pool chooses among the keys of a provider. It is safe for concurrent use.
type Pool struct {
	opts     Options
	upstream *Upstream
	alike    alike
	// voices is how many members could fail independently of one another.
	voices int
	byID   map[string]int

	// mu makes choosing one step, so that calls at the same time get different
	// keys. It guards the tiers.
	mu sync.Mutex
	// members stand in the order of their tiers.
	members []member
	tiers   []tier
	// hashes are of the members' ids, side by side to be read fast.
	hashes []uint64
}

// member is a key of the pool.
type member struct {
	key   Key
	state *State
	// index is where the key stands in the pool, and place where in the
	// config.
	index, place int
	// bounded says that more than its rests limits the key's use.
	bounded bool
	// siblings are the other keys of its account, and voice the first of them
	// all.
	siblings []int
	voice    int
	turn     turn
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
	p := &Pool{opts: opts.withDefaults(), members: make([]member, len(keys)), byID: map[string]int{}}
	p.upstream = p.opts.Upstream
	for i, key := range checked {
		p.members[i] = member{key: key, state: states[i], place: i, bounded: key.bounded()}
	}
	slices.SortStableFunc(p.members, func(a, b member) int { return a.key.Tier - b.key.Tier })
	for i := range p.members {
		p.members[i].index = i
		p.byID[p.members[i].key.ID] = i
		p.hashes = append(p.hashes, hashString(p.members[i].key.ID))
	}
	p.groupAccounts()
	p.makeTiers()
	return p, nil
}

func (p *Pool) groupAccounts() {
	accounts := map[string][]int{}
	for i := range p.members {
		if account := p.members[i].key.Account; account != "" {
			accounts[account] = append(accounts[account], i)
		}
	}
	for i := range p.members {
		m := &p.members[i]
		m.voice = i
		if group := accounts[m.key.Account]; len(group) > 0 {
			m.voice = group[0]
			m.siblings = slices.DeleteFunc(slices.Clone(group), func(j int) bool { return j == i })
		}
		if m.voice == i {
			p.voices++
		}
	}
}

// Size returns how many keys the pool has.
func (p *Pool) Size() int { return len(p.members) }

// errNoKey is that no key of the pool may be used at the moment; by itself,
// that none ever could be used for what is wanted.
var errNoKey = errors.New("no key is free")

// CoolingError is that all keys of the pool are resting, or that the upstream
// is.
type CoolingError struct {
	// Until is when the first of them may be used again.
	Until time.Time
	// Class is why that one rests.
	Class Class
	// Upstream says that it is the upstream: another key would not help.
	Upstream bool
}

// Error says so.
func (e *CoolingError) Error() string {
	until := e.Until.Format(time.RFC3339)
	if e.Upstream {
		return errNoKey.Error() + ": the upstream rests until " + until
	}
	return errNoKey.Error() + ": the first rests until " + until
}

// Unwrap makes the error one of errNoKey.
func (e *CoolingError) Unwrap() error { return errNoKey }

// Acquire takes a key that may be used for what is wanted. It prefers keys
// that are not in tried, and adds the one it took; a key that was tried comes
// again only if it does not rest and all others of its tier do, as after an
// upstream's fault. It fails with a [*CoolingError] when all keys rest or the
// upstream does, and with [errNoKey] if no key serves. The lease must be
// reported.
func (p *Pool) Acquire(want Want, tried *Tried) (Lease, error) {
	model := want.Model[:min(len(want.Model), maxModelName)]
	want.Tokens = max(0, want.Tokens)
	now := p.opts.Now()
	passes, refused := p.upstream.admit(model, now, tried.empty(), want.Insist)
	if refused != nil {
		return Lease{}, refused
	}
	// Nothing that is to be kept may be taken from c: it would all be
	// allocated.
	c := choice{want: &want, model: model, now: now, tried: tried}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		i := p.chooseLocked(&c)
		if i < 0 {
			p.upstream.leave(passes)
			return Lease{}, p.cooling(&c, p.opts.Now())
		}
		// This fails only if a report has just made the key rest.
		lease := Lease{pool: p, index: i, model: model, tokens: want.Tokens, passes: passes}
		if p.members[i].take(&lease, &c, p.opts.Now) {
			tried.add(i)
			p.upstream.inFlight.Add(1)
			return lease, nil
		}
	}
}

// cooling tells when the first of all keys comes free, and why not before.
func (p *Pool) cooling(c *choice, now time.Time) error {
	var first *CoolingError
	for i := range p.members {
		m := &p.members[i]
		if !m.serves(c) || c.want.KeyID != "" && c.want.KeyID != m.key.ID {
			continue
		}
		at, class := m.state.rests.Load().until(c.model)
		if due := m.due(c.want.Tokens, now); due.After(at) {
			at, class = due, ClassRateLimited
		}
		if first == nil || at.Before(first.Until) {
			first = &CoolingError{Until: at, Class: class}
		}
	}
	if first == nil {
		return errNoKey
	}
	if first.Until.Before(now) {
		// A report has just freed it.
		first.Until = now
	}
	return first
}

func (p *Pool) answering(l *Lease, h Headroom) {
	now, news, ok := p.members[l.index].answering(l, h, p.opts.Now)
	p.notify(l.index, news)
	if !ok || l.answered {
		return
	}
	l.answered = true
	p.alike.forget()
	p.upstream.answering(l, now)
}

// giveBack ends a lease that came to nothing.
func (p *Pool) giveBack(l *Lease, until time.Time) {
	p.members[l.index].leave(l, until, p.opts.Now)
	p.report(l, Outcome{Verdict: Verdict{Class: ClassCanceled}})
}

func (p *Pool) report(l *Lease, o Outcome) {
	m := &p.members[l.index]
	now, news, ok := m.report(l, o, &p.opts)
	if !ok {
		return
	}
	p.upstream.inFlight.Add(-1)
	p.notify(l.index, news)
	class := o.Verdict.Class
	if class == ClassRateLimited || class == ClassQuota {
		for _, i := range m.siblings {
			p.notify(i, p.members[i].state.share(l, o.Verdict, now, p.opts.MaxWait))
		}
	}
	p.upstream.report(l, o, now)
	if !o.Verdict.Excess {
		p.judgeAlike(l, class, now)
	}
	p.judgeOdd(l, o.Verdict, now)
}
