// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"math/bits"
	"time"
)

// KeyStatus is what an operator may know of a key. It never holds the secret.
type KeyStatus struct {
	// ID is the key's id.
	ID string
	// InFlight is how many attempts use the key now.
	InFlight int
	// Total and Successes count the attempts since the key was first seen.
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
	// CoolingUntil is when the key may be used again; the zero time means now.
	CoolingUntil time.Time
	// CoolingModels is the same for single models.
	CoolingModels map[string]time.Time
}

// Snapshot returns the status of every key, in the order of the config.
func (p *Pool) Snapshot() []KeyStatus {
	now := p.opts.Now()
	statuses := make([]KeyStatus, len(p.keys))
	for i, state := range p.states {
		statuses[i] = state.status(p.keys[i].ID, now)
	}
	return statuses
}

func (s *State) status(id string, now time.Time) KeyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.health
	status := KeyStatus{
		ID:                  id,
		InFlight:            s.inFlight,
		Total:               h.total,
		Successes:           h.successes,
		SuccessRate:         1,
		ConsecutiveFailures: h.consecutiveFailures,
		LastSuccess:         h.lastSuccess,
		LastError:           h.lastError,
		LastErrorClass:      h.lastErrorClass,
		Latency:             h.latency,
		FirstToken:          h.firstToken,
	}
	if h.recentCount > 0 {
		status.SuccessRate = float64(bits.OnesCount64(h.recent)) / float64(h.recentCount)
	}
	if s.key.cooling(now) {
		status.CoolingUntil = s.key.until
	}
	for model, c := range s.models {
		if c.cooling(now) {
			if status.CoolingModels == nil {
				status.CoolingModels = map[string]time.Time{}
			}
			status.CoolingModels[model] = c.until
		}
	}
	return status
}
