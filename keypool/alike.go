// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// alikeKeys is how many keys must fail alike before the upstream may be to
	// blame, and alikeWindow how close together.
	alikeKeys   = 3
	alikeWindow = 10 * time.Second
	// manyAlike is how many keys may fail alike while others have not been
	// asked yet. Below it they are: one of them may work.
	manyAlike = 16
	// The upstream that is to blame is cooled from alikeFirst to alikeMost.
	alikeFirst = 10 * time.Second
	alikeMost  = time.Minute
)

// isAlike reports whether keys that fail so may be innocent: a provider that
// refuses our address, or has lost its accounts, rejects every key.
func isAlike(class Class) bool {
	switch class {
	case ClassCredential, ClassAccess, ClassQuota, ClassStale:
		return true
	}
	return false
}

// isOfModel reports whether failures of a class may be about the model that was
// asked for, and not about all of them: access to it, or what may be spent on
// it.
func isOfModel(class Class) bool { return class == ClassAccess || class == ClassQuota }

// alike watches for keys that fail alike, one after the other, while none
// succeeds.
type alike struct {
	// any says that there is something to forget at a success.
	any atomic.Bool

	mu          sync.Mutex
	class       Class
	model       string
	first, last time.Time
	keys        Tried
	count       int
}

// note counts a key's failure. It returns how many have failed alike, and
// since when.
func (a *alike) note(key int, class Class, model string, began, now time.Time) (count int, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	same := a.class == class && (!isOfModel(class) || a.model == model)
	if a.count == 0 || !same || now.Sub(a.last) > alikeWindow {
		a.class, a.model, a.first = class, model, began
		a.keys, a.count = Tried{}, 0
	}
	if began.Before(a.first) {
		a.first = began
	}
	a.last = now
	if !a.keys.has(key) {
		a.keys.add(key)
		a.count++
	}
	a.any.Store(true)
	return a.count, a.first
}

// forget starts anew: a key has worked, or the upstream has been blamed.
func (a *alike) forget() {
	if !a.any.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys, a.count = Tried{}, 0
	a.any.Store(false)
}

// judgeAlike blames the upstream for a failure that is every key's, and clears
// the keys. As long as some other key is free it may be one that works: then
// the others are dead indeed.
func (p *Pool) judgeAlike(l *Lease, class Class, now time.Time) {
	if class == ClassOK {
		p.alike.forget()
		return
	}
	if !isAlike(class) || len(p.members) < 2 {
		return
	}
	count, since := p.alike.note(p.members[l.index].voice, class, l.model, l.began, now)
	if count < min(alikeKeys, p.voices) || p.voices < 2 || count < manyAlike && p.anyFree(l.model, now) {
		return
	}
	p.alike.forget()
	for i := range p.members {
		p.notify(i, p.members[i].state.pardon(class, l.model, since, now))
	}
	p.notify(noKey, p.upstream.blame(class, l.model, now))
}

// blame cools the upstream for what its keys were rejected for: a model, or
// everything.
func (u *Upstream) blame(class Class, model string, now time.Time) Notice {
	c := u.wholeCircuit
	if isOfModel(class) {
		c = func() *circuit { return u.circuit(model) }
	}
	return c().cool(class, alikeFirst, alikeMost, now)
}

// anyFree reports whether any key could be used for model.
func (p *Pool) anyFree(model string, now time.Time) bool {
	c := choice{want: &Want{Model: model}, model: model, now: now}
	for i := range p.members {
		if p.members[i].free(&c) {
			return true
		}
	}
	return false
}
