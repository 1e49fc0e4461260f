// SPDX-License-Identifier: Apache-2.0

package keypool

import "time"

// Lease is the use of a key by one attempt. It may be copied; the copies are
// one lease. The zero value is no lease: only Report may be called on it, and
// does nothing.
type Lease struct {
	pool  *Pool
	index int
	model string
	began time.Time
	slot  slot
	// proof says that this attempt shows whether a suspect key works again.
	proof bool
}

// KeyID returns the id of the key.
func (l *Lease) KeyID() string { return l.pool.members[l.index].key.ID }

// Secret returns the key's credential.
func (l *Lease) Secret() Secret { return l.pool.members[l.index].key.Secret }

// Outcome is how an attempt went.
type Outcome struct {
	Verdict Verdict
	// Latency is how long it took in all, FirstToken until the first token;
	// 0 where there was none.
	Latency, FirstToken time.Duration
}

// Report ends the lease: the slot is free again and the pool knows how it
// went. Only the first report of a lease counts, whichever of its copies makes
// it.
func (l *Lease) Report(o Outcome) {
	if l.pool == nil {
		return
	}
	l.pool.members[l.index].state.report(l, o, &l.pool.opts)
}
