// SPDX-License-Identifier: Apache-2.0

package keypool

import "time"

// Member is one key of a pool, as instances tell each other of it.
type Member struct {
	// Fingerprint is that of the key's secret: what is known is of the secret,
	// whatever it is called.
	Fingerprint string
	// State is what is known of the key.
	State *State
	// Requests and Tokens are the key's limits.
	Requests, Tokens Rate
}

// Members returns the keys of the pool.
func (p *Pool) Members() []Member {
	members := make([]Member, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		members[i] = Member{Fingerprint(m.key.Secret.Reveal()), m.state, m.key.Requests, m.key.Tokens}
	}
	return members
}

// Upstream returns what is known of the provider's servers.
func (p *Pool) Upstream() *Upstream { return p.upstream }

// MaxWait returns how long a key may rest at most because somebody says so.
func (p *Pool) MaxWait() time.Duration { return p.opts.MaxWait }

// Spent is what has been taken of a key's limits.
type Spent struct {
	// Requests and Tokens are how many were taken; less than 0 if some were
	// given back.
	Requests, Tokens int64
	// RequestsFull and TokensFull are when all of the limits is there again.
	RequestsFull, TokensFull time.Time
}

// Spent returns what was taken here that is yet to be told. It reports false if
// there is nothing: until [Told.Spend] it is returned each time.
func (m *Member) Spent(t *Told) (spent Spent, ok bool) {
	if m.Requests.N == 0 && m.Tokens.N == 0 {
		return spent, false
	}
	s := m.State
	spent.Requests = s.requests.taken.Load() - t.requests
	spent.Tokens = s.tokens.taken.Load() - t.tokens
	spent.RequestsFull = time.Unix(0, s.requests.full.Load())
	spent.TokensFull = time.Unix(0, s.tokens.full.Load())
	return spent, spent.Requests != 0 || spent.Tokens != 0
}

// Spend notes that this was told.
func (t *Told) Spend(spent Spent) {
	t.requests += spent.Requests
	t.tokens += spent.Tokens
}

// HearSpent counts what another instance has taken at that time. For one that
// has just come it is how full the limits were by then that counts.
func (m *Member) HearSpent(spent Spent, at, now time.Time, newcomer bool) {
	s := m.State
	s.mu.Lock()
	defer s.mu.Unlock()
	if newcomer {
		s.requests.level(m.Requests, spent.RequestsFull, now)
		s.tokens.level(m.Tokens, spent.TokensFull, now)
		return
	}
	s.requests.hear(m.Requests, spent.Requests, at, now)
	s.tokens.hear(m.Tokens, spent.Tokens, at, now)
}
