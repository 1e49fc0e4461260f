// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"testing"
	"time"
)

// Operators hear once of a limit that a client has met, until there is room
// again; of short waits they do not, and what is remembered is bounded.
func TestLimitsAreToldOfOnce(t *testing.T) {
	var r reached
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := reachedLimit{"app", "tokens per day"}
	for i, step := range []struct {
		after time.Duration
		limit reachedLimit
		wait  time.Duration
		first bool
	}{
		{0, limit, time.Hour, true},
		{0, limit, time.Hour, false},
		{0, reachedLimit{"app", "cost per day"}, time.Hour, true},
		{0, reachedLimit{"other", "tokens per day"}, time.Hour, true},
		{59 * time.Minute, limit, time.Minute, false},
		{time.Minute, limit, time.Hour, true},
		{0, reachedLimit{"app", "requests per 1m0s"}, 59 * time.Second, false},
	} {
		now = now.Add(step.after)
		if first := r.first(now, step.limit, step.wait); first != step.first {
			t.Errorf("step %d: first is %t", i, first)
		}
	}
	for i := range 2 * maxReached {
		r.first(now, reachedLimit{fmt.Sprint(i), "tokens per day"}, time.Hour)
	}
	if n := len(r.until); n > maxReached {
		t.Errorf("%d limits are remembered", n)
	}
	now = now.Add(2 * time.Hour)
	if !r.first(now, reachedLimit{"new", "tokens per day"}, time.Hour) || len(r.until) != 1 {
		t.Errorf("limits that are over take room: %d", len(r.until))
	}
}
