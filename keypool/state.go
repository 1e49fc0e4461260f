// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync"
	"sync/atomic"
	"time"
)

// State is what is known of one key at run time. It is safe for concurrent
// use and outlives configs.
type State struct {
	// rests is replaced under mu and read without.
	rests atomic.Pointer[rests]
	// known says that the key was used, or that a probe has told of it.
	known atomic.Bool

	// These are changed under mu and read without.
	inFlight                 atomic.Int32
	requests, tokens         meter
	requestGauge, tokenGauge gauge
	pace                     pace

	mu      sync.Mutex
	slots   slots
	health  health
	faults  faults
	probing probing
	// disproved is when the key was last found to work of which another
	// instance had said that it is refused.
	disproved time.Time
}

// NewState returns the state of a key that nothing is known of.
func NewState() *State { return new(State) }

// Destruct does nothing: calls in flight may still report. It is there so
// that a caddy.UsagePool can hold states.
func (s *State) Destruct() error { return nil }

// free reports whether the key may be used for model.
func (s *State) free(model string, now time.Time) bool {
	r := s.rests.Load()
	if r == nil {
		return true
	}
	at, _ := r.until(model)
	return !now.Before(at)
}

// take counts a call in, unless the key has ceased to be free meanwhile. The
// lease that it fills in says when it began.
func (m *member) take(l *Lease, c *choice, clock func() time.Time) bool {
	s := m.state
	s.mu.Lock()
	defer s.mu.Unlock()
	// Take and report read the clock under the lock, so that the order of
	// times is that of events: a call that took the key before a failure was
	// reported must not seem to have begun after, or its success would lift
	// the rest.
	now := clock()
	c.now = now
	if !m.free(c) {
		return false
	}
	if r := s.rests.Load(); r.suspect() {
		s.rests.Store(r.proving(now))
		l.proof = true
	}
	if !s.known.Load() {
		s.known.Store(true)
	}
	l.began, l.slot = now, s.slots.take()
	s.inFlight.Add(1)
	s.requests.take(m.key.Requests, 1, now)
	s.tokens.take(m.key.Tokens, l.tokens, now)
	s.requestGauge.spent.Add(1)
	s.tokenGauge.spent.Add(int64(l.tokens))
	return true
}

// answering draws what can be drawn from an answer that has begun well.
func (m *member) answering(l *Lease, h Headroom, clock func() time.Time) (now time.Time, news Notice, ok bool) {
	s := m.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.slots.holds(l.slot) {
		return now, news, false
	}
	now = clock()
	s.observe(h, now)
	s.probing.learn(ClassOK, l.began)
	return now, s.follow(l, Verdict{Class: ClassOK}, now, 0), true
}

// report counts a call out and draws the consequences. It reports false if
// that has been done before.
func (m *member) report(l *Lease, o Outcome, opts *Options) (now time.Time, news Notice, ok bool) {
	s := m.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.slots.giveBack(l.slot) {
		return now, news, false
	}
	now = opts.Now()
	s.inFlight.Add(-1)
	s.health.note(o, now)
	s.pace.note(o, now)
	s.faults.note(o.Verdict.Class, l.model, now)
	s.probing.learn(o.Verdict.Class, l.began)
	if o.Tokens > 0 {
		s.tokens.take(m.key.Tokens, o.Tokens-l.tokens, now)
		s.tokenGauge.spent.Add(int64(o.Tokens - l.tokens))
	}
	s.observe(o.Headroom, now)
	return now, s.follow(l, o.Verdict, now, opts.MaxWait), true
}

// follow replaces the rests by what follows from them and a verdict.
func (s *State) follow(l *Lease, v Verdict, now time.Time, maxWait time.Duration) Notice {
	r := s.rests.Load()
	next := r.after(l, v, now, maxWait)
	if next == r {
		return Notice{}
	}
	return s.replace(r, next, l.model, now)
}

// replace puts new rests in the place of the old, and returns what operators
// should hear of that. Only the key's own rest and that for model may differ.
func (s *State) replace(old, next *rests, model string, now time.Time) Notice {
	news := next.announce(old, model, now)
	if old.refutes(next, model) {
		s.disproved = now
	}
	s.rests.Store(next)
	return news
}

// leave takes back what a lease that came to nothing has counted, and makes
// the key be passed over until then, if that is not the zero time.
func (m *member) leave(l *Lease, until time.Time, clock func() time.Time) {
	s := m.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.slots.holds(l.slot) {
		return
	}
	now := clock()
	s.requests.take(m.key.Requests, -1, now)
	s.tokens.take(m.key.Tokens, -l.tokens, now)
	s.requestGauge.spent.Add(-1)
	s.tokenGauge.spent.Add(-int64(l.tokens))
	if until.IsZero() {
		return
	}
	next := s.rests.Load().clone()
	if least := now.Add(leastWait); until.Before(least) {
		until = least
	}
	if until.After(next.away) {
		next.away = until
	}
	s.rests.Store(next)
}

func (s *State) observe(h Headroom, now time.Time) {
	if h.At.IsZero() {
		h.At = now
	}
	s.requestGauge.observe(h.Requests, h.At)
	s.tokenGauge.observe(h.Tokens, h.At)
}

// share makes the key rest for what another of its account has met.
func (s *State) share(l *Lease, v Verdict, now time.Time, maxWait time.Duration) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	other := Lease{model: l.model, began: l.began}
	return s.follow(&other, v, now, maxWait)
}

// pardon lifts what the key rests from for a class of failures since then.
func (s *State) pardon(class Class, model string, since, now time.Time) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rests.Load()
	if r == nil {
		return Notice{}
	}
	return s.replace(r, r.pardoned(class, model, since), model, now)
}

// slots are the places of the calls in flight. Each place counts how often it
// was given back, so that a lease can be, but once.
type slots struct {
	uses []uint32
	idle []uint32
}

// slot is one use of a place.
type slot struct{ place, use uint32 }

func (s *slots) take() slot {
	last := len(s.idle) - 1
	if last < 0 {
		s.uses = append(s.uses, 0)
		return slot{place: uint32(len(s.uses) - 1)}
	}
	place := s.idle[last]
	s.idle = s.idle[:last]
	return slot{place, s.uses[place]}
}

// holds reports whether the slot is still taken.
func (s *slots) holds(t slot) bool { return s.uses[t.place] == t.use }

// giveBack reports whether the slot was taken.
func (s *slots) giveBack(t slot) bool {
	if !s.holds(t) {
		return false
	}
	s.uses[t.place]++
	s.idle = append(s.idle, t.place)
	return true
}
