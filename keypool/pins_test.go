// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A pin is found until it was not used for its time.
func TestPins(t *testing.T) {
	c := newClock()
	pins := NewPins(10, time.Hour, c.Now)
	pins.Put("resp_1", "a")
	for range 3 {
		c.advance(59 * time.Minute)
		if key, ok := pins.Get("resp_1"); !ok || key != "a" {
			t.Fatalf("got %q, %t", key, ok)
		}
	}
	pins.Put("resp_1", "b")
	if key, _ := pins.Get("resp_1"); key != "b" {
		t.Errorf("got %q after it was put again", key)
	}
	c.advance(time.Hour)
	if _, ok := pins.Get("resp_1"); ok || pins.Len() != 0 {
		t.Error("it is remembered for longer than it should be")
	}
}

// Ids come from outside: they may not grow the memory, and the latest used
// stay.
func TestPinsAreBounded(t *testing.T) {
	pins := NewPins(100, time.Hour, newClock().Now)
	pins.Put("precious", "a")
	for i := range 10_000 {
		pins.Put(fmt.Sprintf("resp_%d", i), "b")
		if _, ok := pins.Get("precious"); !ok {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	pins.Put(strings.Repeat("x", 1<<20), "c")
	pins.Put("", "c")
	if pins.Len() != 100 || pins.order.Len() != 100 {
		t.Errorf("%d objects are remembered, want 100", pins.Len())
	}
}
