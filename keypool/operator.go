// SPDX-License-Identifier: Apache-2.0

package keypool

import "time"

// Never is when a key comes back that an operator has taken out: there is no
// such time until it is enabled again.
var Never = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// Disable takes a key out until it is enabled again. Calls that use it go on.
// It reports false if the pool has no such key.
func (p *Pool) Disable(keyID string) bool {
	return p.operate(keyID, func(_ *State, r *rests) Notice {
		if r.disabled {
			return Notice{}
		}
		r.disabled = true
		return Notice{Kind: KeyDisabled, Class: ClassDisabled, Until: Never}
	})
}

// Enable takes back that a key was disabled. What else it rests from stays. It
// reports false if the pool has no such key.
func (p *Pool) Enable(keyID string) bool {
	return p.operate(keyID, func(_ *State, r *rests) Notice {
		if !r.disabled {
			return Notice{}
		}
		r.disabled = false
		return Notice{Kind: KeyRecovered}
	})
}

// Reset lifts all that a key rests from, as if nothing had ever been wrong with
// it; whether it is disabled stays. It reports false if the pool has no such
// key.
func (p *Pool) Reset(keyID string) bool {
	return p.operate(keyID, func(s *State, r *rests) Notice {
		announced := r.key.announced != ClassOK
		for i := range r.models {
			announced = announced || r.models[i].announced != ClassOK
		}
		*r = rests{disabled: r.disabled}
		s.faults, s.probing = faults{}, probing{}
		if announced && !r.disabled {
			return Notice{Kind: KeyRecovered}
		}
		return Notice{}
	})
}

// operate changes what a key rests from, and tells of it.
func (p *Pool) operate(keyID string, change func(*State, *rests) Notice) bool {
	i, ok := p.byID[keyID]
	if !ok {
		return false
	}
	p.notify(i, p.members[i].state.operate(change))
	return true
}

func (s *State) operate(change func(*State, *rests) Notice) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rests.Load().clone()
	news := change(s, r)
	s.rests.Store(r.orNil())
	return news
}
