// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"testing"
	"time"
)

// In an outage, retries are a share of the calls, and a reserve.
func TestRetriesAreAShareOfTheCalls(t *testing.T) {
	b := NewBudget(0.2, 10, newClock().Now)
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
}

// Many calls without a fault save up no more than the reserve.
func TestQuietTimeSavesUpNoMoreThanTheReserve(t *testing.T) {
	c := newClock()
	b := NewBudget(0.2, 10, c.Now)
	for range 1_000_000 {
		b.Call()
	}
	c.advance(time.Hour)
	if retries := spend(b); retries != 10 {
		t.Errorf("a quiet time saved up %d retries", retries)
	}
}

// Where calls are few, the reserve comes back with time.
func TestReserveComesBack(t *testing.T) {
	c := newClock()
	b := NewBudget(0.2, 10, c.Now)
	spend(b)
	c.advance(3 * time.Second)
	if retries := spend(b); retries != 3 {
		t.Errorf("%d retries after 3 seconds, want 3", retries)
	}
	c.advance(time.Minute)
	if retries := spend(b); retries != 10 {
		t.Errorf("%d retries after a minute, want 10", retries)
	}
}

func TestBudgetsWithoutNumbers(t *testing.T) {
	if new(Budget).Retry() {
		t.Error("the zero value allows a retry")
	}
	if b := NewBudget(-1, -1, newClock().Now); spend(b) != 1 {
		t.Error("a budget without a reserve does not allow one retry")
	}
	var none *Budget
	none.Call()
	if !none.Retry() {
		t.Error("no budget forbids a retry")
	}
}

// spend makes all retries that b allows.
func spend(b *Budget) (retries int) {
	for b.Retry() {
		retries++
	}
	return retries
}
