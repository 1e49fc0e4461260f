// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddresses bounds how many addresses are remembered. Who has more of them
// can make us forget some, and gains a few guesses by it.
const maxAddresses = 1 << 16

// Failures counts by address the calls whose key was wrong. The zero value is
// ready; it is safe for concurrent use.
//
// It knows addresses as [Host] does.
type Failures struct {
	mu        sync.Mutex
	addresses map[netip.Addr]failures
}

// failures are those of one address since the first that counts.
type failures struct {
	since time.Time
	count int
}

// Wait returns how long an address has to wait because it has failed limit
// times within the window; 0 if it has not.
func (f *Failures) Wait(now time.Time, from netip.Addr, limit int, window time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.addresses[Host(from)]
	if !ok || known.count < limit {
		return 0
	}
	return max(known.since.Add(window).Sub(now), 0)
}

// Add counts a failure.
func (f *Failures) Add(now time.Time, from netip.Addr, window time.Duration) {
	from = Host(from)
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.addresses[from]
	if !ok {
		f.addresses = WithRoom(f.addresses, maxAddresses, func(known failures) time.Time { return known.since })
	}
	if !now.Before(known.since.Add(window)) {
		known = failures{since: now}
	}
	known.count++
	f.addresses[from] = known
}

// Host returns the address by which a caller is known: an IPv4 address, or the
// first one of an IPv6 network of 64 bits, which belongs to one host.
func Host(from netip.Addr) netip.Addr {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		network, _ := from.Prefix(64)
		return network.Addr()
	}
	return from
}
