// SPDX-License-Identifier: Apache-2.0

package keypool

import "time"

// Lease is the use of a key by one attempt. It may be copied; the copies are
// one lease. The zero value is no lease: only Answering and Report may be
// called on it, and do nothing.
type Lease struct {
	pool   *Pool
	index  int
	model  string
	tokens int
	began  time.Time
	slot   slot
	passes [2]pass
	// proof says that this attempt shows whether a suspect key works again.
	proof bool
	// answered says that its success has been counted.
	answered bool
}

// KeyID returns the id of the key.
func (l *Lease) KeyID() string { return l.pool.members[l.index].key.ID }

// Secret returns the key's credential.
func (l *Lease) Secret() Secret { return l.pool.members[l.index].key.Secret }

// Tier returns the key's tier of service.
func (l *Lease) Tier() int { return l.pool.members[l.index].key.Tier }

// Outcome is how an attempt went.
type Outcome struct {
	Verdict Verdict
	// Latency is how long it took in all, FirstToken until the first token;
	// 0 where there was none.
	Latency, FirstToken time.Duration
	// Tokens is how many tokens it took; 0 if nobody knows.
	Tokens int
	// Headroom is what the provider says is left of the key's limits.
	Headroom Headroom
}

// Answering tells the pool, long before the attempt may end, that its answer
// has begun well, and what is left of the key's limits by its headers. So the
// key and the upstream need not be in doubt for as long as a stream takes.
func (l *Lease) Answering(h Headroom) {
	if l.pool != nil {
		l.pool.answering(l, h)
	}
}

// Report ends the lease: the slot is free again and the pool knows how it
// went. Only the first report of a lease counts, whichever of its copies makes
// it.
func (l *Lease) Report(o Outcome) {
	if l.pool != nil {
		l.pool.report(l, o)
	}
}

// Return ends the lease of a key that was not used. That counts nowhere. If
// what it takes to use the key could not be had, a token, say, as its issuer
// cannot be reached, the key is passed over until then; the zero time is for one
// that could be used at once.
func (l *Lease) Return(until time.Time) {
	if l.pool != nil {
		l.pool.giveBack(l, until)
	}
}
