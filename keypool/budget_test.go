// SPDX-License-Identifier: Apache-2.0

package keypool

import "testing"

// In an outage, retries are a share of the calls, and a reserve.
func TestBudget(t *testing.T) {
	b := NewBudget(0.2, 10)
	retries := 0
	for range 1000 {
		b.Call()
		for range 2 {
			if b.Retry() {
				retries++
			}
		}
	}
	if retries < 200 || retries > 210 {
		t.Errorf("%d retries of 1000 calls", retries)
	}
	for range 1_000_000 {
		b.Call()
	}
	for retries = 0; b.Retry(); retries++ {
	}
	if retries != 10 {
		t.Errorf("a quiet time saved up %d retries", retries)
	}
	if new(Budget).Retry() || NewBudget(-1, -1) == nil {
		t.Error("the zero value allows a retry")
	}
}
