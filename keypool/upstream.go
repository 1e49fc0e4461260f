// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Upstream is what is known at run time of a provider's servers, whichever
// key asks them: of all together, and of each model. It is safe for
// concurrent use and outlives configs.
//
// Nothing is blamed wider than the evidence: a model's faults close the way to
// that model, and only what cannot be a single model's doing, such as a
// connection that is refused, closes the way to all of them.
type Upstream struct {
	// circuits are those of models in trouble, at most maxModels. The slice
	// is never changed, but replaced under mu, and read without.
	circuits atomic.Pointer[[]*circuit]
	// whole is nil as long as the servers could always be reached.
	whole atomic.Pointer[circuit]
	// vouches says that the upstream has accepted a key in a probe: so its word
	// counts when it refuses one. disputed says that it has refused one before
	// that.
	vouches, disputed atomic.Bool
	// served is nil as long as nobody tells of other instances.
	served atomic.Pointer[served]
	// inFlight counts the attempts under way, of all pools that ask there.
	inFlight atomic.Int64

	mu     sync.Mutex
	health health
}

// NewUpstream returns the state of an upstream that nothing is known of.
func NewUpstream() *Upstream { return new(Upstream) }

// Destruct does nothing: calls in flight may still report. It is there so
// that a caddy.UsagePool can hold upstreams.
func (u *Upstream) Destruct() error { return nil }

func (u *Upstream) list() []*circuit {
	if circuits := u.circuits.Load(); circuits != nil {
		return *circuits
	}
	return nil
}

func (u *Upstream) find(model string) *circuit {
	for _, c := range u.list() {
		if c.model == model {
			return c
		}
	}
	return nil
}

// admit lets an attempt through, or says why not. passes holds the leave of
// the model's circuit and of the whole.
func (u *Upstream) admit(model string, now time.Time, fresh, insist bool) (passes [2]pass, refused *CoolingError) {
	if c := u.whole.Load(); c != nil {
		if passes[1], refused = c.admit(now, fresh, insist); refused != nil {
			return passes, refused
		}
	}
	if c := u.find(model); c != nil {
		if passes[0], refused = c.admit(now, fresh, insist); refused != nil {
			u.leave(passes)
		}
	}
	return passes, refused
}

// leave gives passes back that say nothing.
func (u *Upstream) leave(passes [2]pass) {
	for _, p := range passes {
		if p.circuit != nil {
			p.circuit.leave(p)
		}
	}
}

// report draws the consequences of an attempt.
func (u *Upstream) report(l *Lease, o Outcome, now time.Time) {
	class := o.Verdict.Class
	u.noteHealth(o, now)
	u.served.Load().note(l, class, now)
	u.reportWhole(l, o.Verdict, now)
	switch {
	case class == ClassOK:
		if !l.answered {
			u.succeed(l, now)
		}
	case class == ClassOverloaded, o.Verdict.Ordered && o.Verdict.Scope() == ScopeUpstreamModel:
		c := u.circuit(l.model)
		c.leave(l.passes[0])
		wait := o.Verdict.orderedOr(l.pool.opts.Breaker.OpenFor)
		l.pool.notify(noKey, c.cool(class, wait, wait, now))
	case isFault(class):
		l.pool.notify(noKey, u.circuit(l.model).fail(l.passes[0], class, l.pool.opts.Breaker, l.began, now))
	default:
		// Whatever else there is says nothing of how well the model is served.
		if c := l.passes[0].circuit; c != nil {
			c.leave(l.passes[0])
		}
	}
}

// noteHealth takes an outcome in. What was a key's fault is none of the
// upstream's.
func (u *Upstream) noteHealth(o Outcome, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch o.Verdict.Scope() {
	case ScopeKey, ScopeKeyModel:
		u.health.total++
	default:
		u.health.note(o, now)
	}
}

// answering notes that an answer has begun well.
func (u *Upstream) answering(l *Lease, now time.Time) {
	u.served.Load().note(l, ClassOK, now)
	u.reportWhole(l, Verdict{Class: ClassOK}, now)
	u.succeed(l, now)
	l.passes = [2]pass{}
}

func (u *Upstream) succeed(l *Lease, now time.Time) {
	c := l.passes[0].circuit
	if c == nil {
		c = u.find(l.model)
	}
	if c == nil {
		return
	}
	healed, news := c.succeed(l.passes[0], l.began, now)
	if healed {
		u.forget(c)
	}
	l.pool.notify(noKey, news)
}

// reportWhole judges whether the servers can be reached at all.
func (u *Upstream) reportWhole(l *Lease, v Verdict, now time.Time) {
	switch class := v.Class; class {
	case ClassNotSent:
		l.pool.notify(noKey, u.wholeCircuit().fail(l.passes[1], class, l.pool.opts.Breaker, l.began, now))
	case ClassRegion:
		wait := v.orderedOr(regionRest)
		l.pool.notify(noKey, u.wholeCircuit().cool(class, wait, wait, now))
	case ClassCanceled, ClassReset, ClassSlow, ClassBroken:
		// It may be the model's doing.
		if c := l.passes[1].circuit; c != nil {
			c.leave(l.passes[1])
		}
	default: // an answer, whatever it says
		c := u.whole.Load()
		if c == nil {
			return
		}
		if isAlike(class) {
			// Keys that fail alike do not disprove that they do.
			c.leave(l.passes[1])
			return
		}
		healed, news := c.succeed(l.passes[1], l.began, now)
		if healed {
			u.whole.CompareAndSwap(c, nil)
		}
		l.pool.notify(noKey, news)
	}
}

func (u *Upstream) wholeCircuit() *circuit {
	if c := u.whole.Load(); c != nil {
		return c
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.whole.Load()
	if c == nil {
		c = newCircuit("", false)
		u.whole.Store(c)
	}
	return c
}

// circuit returns that of a model, making one, and room for it, if need be.
func (u *Upstream) circuit(model string) *circuit {
	if c := u.find(model); c != nil {
		return c
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if c := u.find(model); c != nil {
		return c
	}
	// The clone lets go of the request that the name is a part of.
	c := newCircuit(strings.Clone(model), true)
	circuits := append([]*circuit{c}, u.list()...)
	if len(circuits) > maxModels {
		circuits = without(circuits, leastTroubled(circuits[1:]))
	}
	u.circuits.Store(&circuits)
	return c
}

func (u *Upstream) forget(c *circuit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	circuits := without(u.list(), c)
	u.circuits.Store(&circuits)
}

func without(circuits []*circuit, c *circuit) []*circuit {
	kept := make([]*circuit, 0, len(circuits))
	for _, other := range circuits {
		if other != c {
			kept = append(kept, other)
		}
	}
	return kept
}

// leastTroubled returns the circuit that matters least: one that is calm, or
// else the one that failed longest ago.
func leastTroubled(circuits []*circuit) *circuit {
	var least *circuit
	var since time.Time
	for _, c := range circuits {
		c.mu.Lock()
		at := c.failed
		c.mu.Unlock()
		if c.calm.Load() {
			at = at.Add(-24 * time.Hour)
		}
		if least == nil || at.Before(since) {
			least, since = c, at
		}
	}
	return least
}
