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
		statuses[i] = p.members[i].state.status(p.members[i].key.ID, now)
	}
	return statuses
}

func (s *State) status(id string, now time.Time) KeyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.health
	status := KeyStatus{
		ID:                  id,
		InFlight:            s.slots.taken(),
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
	r := s.rests.Load()
	if r == nil {
		return status
	}
	if now.Before(r.key.until) {
		status.CoolingUntil, status.CoolingClass = r.key.until, r.key.class
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
