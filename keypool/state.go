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

	mu     sync.Mutex
	slots  slots
	health health
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

// take counts a call in, unless the key has come to rest meanwhile. The lease
// that it fills in says when it began.
func (s *State) take(l *Lease, clock func() time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Take and report read the clock under the lock, so that the order of
	// times is that of events: a call that took the key before a failure was
	// reported must not seem to have begun after, or its success would lift
	// the rest.
	now := clock()
	if !s.free(l.model, now) {
		return false
	}
	if r := s.rests.Load(); r.suspect() {
		s.rests.Store(r.proving(now))
		l.proof = true
	}
	l.began, l.slot = now, s.slots.take()
	return true
}

// report counts a call out and draws the consequences.
func (s *State) report(l *Lease, o Outcome, opts *Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.slots.giveBack(l.slot) {
		return
	}
	now := opts.Now()
	s.health.note(o, now)
	r := s.rests.Load()
	if next := r.after(l, o.Verdict, now, opts.MaxWait); next != r {
		s.rests.Store(next)
	}
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

// giveBack reports whether the slot was taken.
func (s *slots) giveBack(t slot) bool {
	if s.uses[t.place] != t.use {
		return false
	}
	s.uses[t.place]++
	s.idle = append(s.idle, t.place)
	return true
}

// taken returns how many calls are in flight.
func (s *slots) taken() int { return len(s.uses) - len(s.idle) }
