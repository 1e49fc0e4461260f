// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// KeyStatus is what an operator may know of a key. It never holds the secret.
type KeyStatus struct {
	// ID is the key's id.
	ID string
	// InFlight is how many attempts use the key now.
	InFlight int
	// Total and Successes count the attempts since the key was first seen.
	// Those that were the client's fault count in Total alone; those that the
	// client gave up count nowhere.
	Total, Successes uint64
	// SuccessRate is the share of successes in the latest 64 attempts, from 0
	// to 1; 1 before the first.
	SuccessRate float64
	// ConsecutiveFailures is how many attempts have failed since the last
	// success.
	ConsecutiveFailures int
	// LastSuccess and LastError are when; the zero time means never.
	LastSuccess, LastError time.Time
	// LastErrorClass is what the last error was.
	LastErrorClass Class
	// Latency and FirstToken are moving averages over successes.
	Latency, FirstToken time.Duration
	// State is closed (the key may be used), open (it rests) or half-open (one
	// call at a time may use it, until one succeeds).
	State string
	// CoolingUntil is when the key may be used again; the zero time means now.
	CoolingUntil time.Time
	// CoolingClass is why it rests; ClassOK if it does not.
	CoolingClass Class
	// CoolingModels is the same for single models.
	CoolingModels map[string]time.Time
}

// Snapshot returns the status of every key, in the order of the config.
func (p *Pool) Snapshot() []KeyStatus {
	now := p.opts.Now()
	statuses := make([]KeyStatus, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		statuses[m.place] = m.state.status(m.key.ID, now)
	}
	return statuses
}

func (s *State) status(id string, now time.Time) KeyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.health
	status := KeyStatus{
		ID:                  id,
		InFlight:            int(s.inFlight.Load()),
		Total:               h.total,
		Successes:           h.successes,
		SuccessRate:         h.successRate(),
		ConsecutiveFailures: h.consecutiveFailures,
		LastSuccess:         h.lastSuccess,
		LastError:           h.lastError,
		LastErrorClass:      h.lastErrorClass,
		Latency:             h.latency,
		FirstToken:          h.firstToken,
		State:               gobreaker.StateClosed.String(),
	}
	r := s.rests.Load()
	if r == nil {
		return status
	}
	switch {
	case now.Before(r.key.until):
		status.State = gobreaker.StateOpen.String()
		status.CoolingUntil, status.CoolingClass = r.key.until, r.key.class
	case now.Before(r.away):
		status.State = gobreaker.StateOpen.String()
		status.CoolingUntil, status.CoolingClass = r.away, ClassStale
	case r.suspect():
		status.State = gobreaker.StateHalfOpen.String()
	}
	for _, m := range r.models {
		if now.Before(m.until) {
			if status.CoolingModels == nil {
				status.CoolingModels = map[string]time.Time{}
			}
			status.CoolingModels[m.model] = m.until
		}
	}
	return status
}

// UpstreamStatus is what an operator may know of a provider's servers.
type UpstreamStatus struct {
	// Total and Successes count the attempts of all keys, as in [KeyStatus];
	// what was a key's fault counts in Total alone.
	Total, Successes uint64
	// SuccessRate is the share of successes in the latest 64 attempts, from 0
	// to 1; 1 before the first.
	SuccessRate float64
	// ConsecutiveFailures is how many attempts have failed since the last
	// success.
	ConsecutiveFailures int
	// LastSuccess and LastError are when; the zero time means never.
	LastSuccess, LastError time.Time
	// LastErrorClass is what the last error was.
	LastErrorClass Class
	// Latency and FirstToken are moving averages over successes.
	Latency, FirstToken time.Duration
	// Circuits are those of models that are in trouble or lately were; that of
	// the upstream as a whole has no model.
	Circuits []CircuitStatus
}

// CircuitStatus is how the way to an upstream, or to one of its models,
// stands.
type CircuitStatus struct {
	Model string
	// State is closed (calls pass), open, half-open (one call probes) or
	// resting.
	State string
	// Until is when a call may pass again; the zero time where one may now.
	Until time.Time
	// LastFailure is when it failed last, and Class how.
	LastFailure time.Time
	Class       Class
}

// UpstreamStatus returns the status of the provider's servers.
func (p *Pool) UpstreamStatus() UpstreamStatus { return p.upstream.status(p.opts.Now()) }

func (u *Upstream) status(now time.Time) UpstreamStatus {
	u.mu.Lock()
	h := u.health
	u.mu.Unlock()
	status := UpstreamStatus{
		Total:               h.total,
		Successes:           h.successes,
		SuccessRate:         h.successRate(),
		ConsecutiveFailures: h.consecutiveFailures,
		LastSuccess:         h.lastSuccess,
		LastError:           h.lastError,
		LastErrorClass:      h.lastErrorClass,
		Latency:             h.latency,
		FirstToken:          h.firstToken,
	}
	if c := u.whole.Load(); c != nil {
		status.Circuits = append(status.Circuits, c.state(now))
	}
	for _, c := range u.list() {
		status.Circuits = append(status.Circuits, c.state(now))
	}
	return status
}
