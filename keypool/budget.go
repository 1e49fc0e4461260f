// SPDX-License-Identifier: Apache-2.0

package keypool

import "sync"

// Budget bounds the retries of all calls together to a share of the calls, so
// that an outage is not made worse by asking three times as often. The zero
// value allows none. It is safe for concurrent use.
type Budget struct {
	mu    sync.Mutex
	share float64
	// saved is how many retries are allowed now, at most most.
	saved, most float64
}

// NewBudget returns a budget of share retries for each call, 0.2 being one in
// five. reserve, at least 1, is how many may be made at once after a quiet
// time, or at the start.
func NewBudget(share float64, reserve int) *Budget {
	most := float64(max(1, reserve))
	return &Budget{share: max(0, share), saved: most, most: most}
}

// Call counts a call in.
func (b *Budget) Call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.most, b.saved+b.share)
}

// Retry reports whether one more retry may be made, and counts it.
func (b *Budget) Retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved < 1 {
		return false
	}
	b.saved--
	return true
}
