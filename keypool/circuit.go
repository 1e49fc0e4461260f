// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// regionRest is how long one is left alone that does not serve our
	// location, which a change of the egress address may mend.
	regionRest = time.Minute
	// rampTime is how long after its recovery an upstream is spared. In its
	// first second two calls may be in flight; each further one doubles that.
	rampTime = 6 * time.Second
)

// circuit is what is known of a model at an upstream, or of the upstream as a
// whole, while something is wrong or has lately been. The counts and states
// are a gobreaker's, which is told of outcomes as they come; which call may be
// a probe is decided here, as a call that is a neutral outcome or never ends
// must not keep others from probing.
type circuit struct {
	model string
	// byShare says that it also goes by the share of successes.
	byShare bool

	// calm says that there is nothing to decide: calls may pass without a
	// lock.
	calm atomic.Bool

	mu sync.Mutex
	// rules are those of the pool that has last told of a failure while the
	// circuit was closed.
	rules   Breaker
	breaker *gobreaker.CircuitBreaker[struct{}]
	// known is the breaker's state when it was last looked at.
	known gobreaker.State
	class Class
	// failed is when a call last was, and served when the latest of those that
	// were served began.
	failed, served time.Time
	// rest is for what needs no count: an overload, keys that failed alike.
	rest coolDown
	// opens is when an open breaker lets a probe through, and recovered when
	// it last closed.
	opens, recovered time.Time
	// probe is the number of the latest probe, and probing until when the
	// others wait for it.
	probe   uint32
	probing time.Time
	// inFlight counts the passes given since there was something to decide.
	inFlight int
	// down says that operators were told that it was taken out.
	down bool
	hearsay
}

// pass is the leave of a circuit for one call. The zero value is that of a
// circuit with nothing to decide.
type pass struct {
	circuit *circuit
	// probe is the number of the probe that the call is; 0 if it is none.
	probe uint32
}

// newCircuit makes a circuit. One that does not go by the share of successes
// is taken out only by failures in a row.
func newCircuit(model string, byShare bool) *circuit {
	c := &circuit{model: model, rules: Breaker{}.withDefaults(), byShare: byShare}
	c.calm.Store(true)
	c.renewLocked()
	return c
}

// admit lets a call through, or says until when it may not be and why. fresh
// is a call's first attempt, insist one that has nowhere else to go.
func (c *circuit) admit(now time.Time, fresh, insist bool) (pass, *CoolingError) {
	if c.calm.Load() {
		return pass{}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.rest.until) && !(insist && c.rest.class == ClassOverloaded) {
		return pass{}, c.closedLocked(c.rest.until, now)
	}
	p := pass{circuit: c}
	switch state := c.stateLocked(); {
	case state == gobreaker.StateOpen:
		return pass{}, c.closedLocked(c.opens, now)
	case state == gobreaker.StateHalfOpen:
		if now.Before(c.probing) {
			return pass{}, c.closedLocked(c.probing, now)
		}
		c.probe++
		p.probe, c.probing = c.probe, now.Add(c.rules.OpenFor)
	case c.correlated():
		// A call that is under way goes on to its next key.
		if fresh && now.Before(c.probing) {
			return pass{}, c.closedLocked(c.probing, now)
		}
		c.probing = now.Add(proofTime)
	case now.Before(c.recovered.Add(rampTime)):
		second := max(0, now.Sub(c.recovered)/time.Second)
		if c.inFlight >= 2<<second {
			return pass{}, c.closedLocked(c.recovered.Add((second+1)*time.Second), now)
		}
	default:
		c.calmLocked(now)
	}
	c.inFlight++
	return p, nil
}

// correlated reports whether the circuit was opened as keys failed alike, and
// none has worked since.
func (c *circuit) correlated() bool {
	return c.rest.strikes > 0 && c.rest.class != ClassOverloaded && c.rest.class != ClassRegion
}

func (c *circuit) closedLocked(until, now time.Time) *CoolingError {
	// The breaker's clock is read a little later than ours.
	if soonest := now.Add(time.Millisecond); until.Before(soonest) {
		until = soonest
	}
	return &CoolingError{Until: until, Class: c.class, Upstream: true}
}

// calmLocked settles whether there is anything left to decide.
func (c *circuit) calmLocked(now time.Time) {
	calm := !now.Before(c.rest.until) && !c.correlated() &&
		c.stateLocked() == gobreaker.StateClosed && !now.Before(c.recovered.Add(rampTime))
	if calm {
		c.inFlight, c.rest = 0, coolDown{}
	}
	c.calm.Store(calm)
}

// leave takes back a pass that was not used, or whose call says nothing of
// the circuit: a probe's place is free again.
func (c *circuit) leave(p pass) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked(p)
}

func (c *circuit) leaveLocked(p pass) {
	if p.circuit != c {
		return
	}
	c.inFlight = max(0, c.inFlight-1)
	if p.probe != 0 && p.probe == c.probe {
		c.probing = time.Time{}
	}
}

// succeed notes that a call which began then has been answered. It reports
// whether the circuit has healed and may be forgotten.
func (c *circuit) succeed(p pass, began, now time.Time) (healed bool, news Notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked(p)
	if began.After(c.served) {
		c.served = began
	}
	if !began.Before(c.run) {
		c.run = time.Time{}
	}
	if c.correlated() && !began.Before(c.rest.set) {
		c.rest = coolDown{}
	}
	c.tellLocked(p, succeeded, now)
	c.calmLocked(now)
	return c.calm.Load() && now.Sub(c.failed) > c.rules.Window, c.announceUpLocked(now)
}

// fail notes that a call which began then has failed for a reason that counts
// by these rules.
func (c *circuit) fail(p pass, class Class, rules Breaker, began, now time.Time) Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked(p)
	if began.Before(c.recovered) {
		return Notice{} // of the outage that is over
	}
	if class == ClassReset && began.Before(c.failed) && p.probe == 0 {
		// Servers that are restarted break all their connections at once, and
		// are there again before the next call.
		return Notice{}
	}
	c.class, c.failed = class, now
	if c.run.IsZero() {
		c.run = now
	}
	c.adoptLocked(rules)
	c.tellLocked(p, failed, now)
	c.calmLocked(now)
	return c.announceDownLocked(now)
}

// cool closes the circuit for a time, which doubles from first to most each
// time that it is done again before anything has worked.
func (c *circuit) cool(class Class, first, most time.Duration, now time.Time) Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.class, c.failed = class, now
	c.rest.class, c.rest.set, c.rest.heard = class, now, false
	c.rest.strikes++
	rest := min(first<<min(c.rest.strikes-1, 20), most)
	if until := now.Add(rest); until.After(c.rest.until) {
		c.rest.until = until
	}
	c.calm.Store(false)
	return c.announceDownLocked(now)
}

// state returns how the circuit stands, for people.
func (c *circuit) state(now time.Time) CircuitStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	status := CircuitStatus{Model: c.model, State: c.stateLocked().String(), LastFailure: c.failed, Class: c.class}
	switch {
	case status.State == gobreaker.StateOpen.String():
		status.Until = c.opens
	case now.Before(c.rest.until):
		status.State, status.Until = stateResting, c.rest.until
	}
	return status
}
