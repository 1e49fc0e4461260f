// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync"
	"time"
)

// reserveTime is how long it takes until a spent reserve is there again.
const reserveTime = 10 * time.Second

// Budget bounds the retries of all calls together to a share of the calls, so
// that an outage is not made worse by asking three times as often. The zero
// value allows none, and nil any number. It is safe for concurrent use.
type Budget struct {
	share, most float64
	now         func() time.Time

	mu sync.Mutex
	// saved is how many retries are allowed at the time at, at most most.
	saved float64
	at    time.Time
}

// NewBudget returns a budget of share retries for each call, 0.2 being one in
// five. reserve, at least 1, is how many may be made besides in ten seconds:
// where calls are few, a share of them is next to none.
func NewBudget(share float64, reserve int, now func() time.Time) *Budget {
	most := float64(max(1, reserve))
	return &Budget{share: max(0, share), most: most, now: now, saved: most, at: now()}
}

// Call counts a call in.
func (b *Budget) Call() {
	if b == nil || b.now == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.most, b.saved+b.share)
}

// Retry reports whether one more retry may be made, and counts it.
func (b *Budget) Retry() bool {
	if b == nil || b.now == nil {
		return b == nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.saved = min(b.most, b.saved+b.most*float64(now.Sub(b.at))/float64(reserveTime))
	b.at = now
	if b.saved < 1 {
		return false
	}
	b.saved--
	return true
}
