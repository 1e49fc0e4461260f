// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// HealthStatus is what an operator may know of how attempts have gone.
type HealthStatus struct {
	// Total, Successes and Errors count the attempts since the first was made.
	// Those that were the client's fault count in Total alone, and so do for
	// an upstream those that were a key's; those that the client gave up count
	// nowhere.
	Total, Successes, Errors uint64
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
}

func (h *health) status() HealthStatus {
	return HealthStatus{
		Total:               h.total,
		Successes:           h.successes,
		Errors:              h.errors,
		SuccessRate:         h.successRate(),
		ConsecutiveFailures: h.consecutiveFailures,
		LastSuccess:         h.lastSuccess,
		LastError:           h.lastError,
		LastErrorClass:      h.lastErrorClass,
		Latency:             h.latency,
		FirstToken:          h.firstToken,
	}
}

// KeyStatus is what an operator may know of a key. It never holds the secret.
type KeyStatus struct {
	HealthStatus
	// ID is the key's id.
	ID string
	// InFlight is how many attempts use the key now.
	InFlight int
	// State is closed (the key may be used), open (it rests), half-open (one
	// call at a time may use it, until one succeeds), disabled (an operator has
	// taken it out) or expired.
	State string
	// CoolingUntil is when the key may be used again; the zero time means now.
	CoolingUntil time.Time
	// CoolingClass is why it rests; ClassOK if it does not.
	CoolingClass Class
	// CoolingModels is the same for single models.
	CoolingModels map[string]Rest
}

// Available reports whether the key may be used, at least for some models.
func (k *KeyStatus) Available() bool {
	return k.State == gobreaker.StateClosed.String() || k.State == gobreaker.StateHalfOpen.String()
}

// The states of a key that no breaker has.
const (
	stateDisabled = "disabled"
	stateExpired  = "expired"
)

// stateResting is that of a circuit that was closed without being counted.
const stateResting = "resting"

// Rest is until when a key rests for a model, and why.
type Rest struct {
	Until time.Time
	Class Class
}

// Snapshot returns the status of every key, in the order of the config.
func (p *Pool) Snapshot() []KeyStatus {
	now := p.opts.Now()
	statuses := make([]KeyStatus, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		status := &statuses[m.place]
		*status = m.state.status(m.key.ID, now)
		if !m.key.Expires.IsZero() && !now.Before(m.key.Expires) {
			status.State = stateExpired
		}
	}
	return statuses
}

func (s *State) status(id string, now time.Time) KeyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := KeyStatus{
		HealthStatus: s.health.status(),
		ID:           id,
		InFlight:     int(s.inFlight.Load()),
		State:        gobreaker.StateClosed.String(),
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
	if r.disabled {
		status.State = stateDisabled
	}
	for _, m := range r.models {
		if now.Before(m.until) {
			if status.CoolingModels == nil {
				status.CoolingModels = map[string]Rest{}
			}
			status.CoolingModels[m.model] = Rest{m.until, m.class}
		}
	}
	return status
}

// UpstreamStatus is what an operator may know of a provider's servers.
type UpstreamStatus struct {
	HealthStatus
	// InFlight is how many attempts are under way there.
	InFlight int
	// Circuits are those of models that are in trouble or lately were; that of
	// the upstream as a whole has no model.
	Circuits []CircuitStatus
}

// Available reports whether calls may be sent there, at least for some models.
func (u *UpstreamStatus) Available() bool {
	for _, circuit := range u.Circuits {
		if circuit.Model == "" && (circuit.State == gobreaker.StateOpen.String() || circuit.State == stateResting) {
			return false
		}
	}
	return true
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
	status := UpstreamStatus{HealthStatus: h.status(), InFlight: int(u.inFlight.Load())}
	if c := u.whole.Load(); c != nil {
		status.Circuits = append(status.Circuits, c.state(now))
	}
	for _, c := range u.list() {
		status.Circuits = append(status.Circuits, c.state(now))
	}
	return status
}
