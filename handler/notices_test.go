// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// Operators hear once of a limit that a client has met, until there is room
// again, and what is remembered is bounded.
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
	if !r.first(now, reachedLimit{"one more", "tokens per day"}, time.Hour) {
		t.Error("operators do not hear of more limits than are remembered")
	}
	now = now.Add(2 * time.Hour)
	if !r.first(now, reachedLimit{"new", "tokens per day"}, time.Hour) || len(r.until) != 1 {
		t.Errorf("limits that are over take room: %d", len(r.until))
	}
}

// Refused calls do not wait for one another while limits are looked for that
// have room again: that is done once in a while.
func TestLimitsAreSweptNowAndThen(t *testing.T) {
	var r reached
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range maxReached {
		r.first(now, reachedLimit{fmt.Sprint(i), "tokens per day"}, time.Hour)
	}
	now = now.Add(30 * time.Minute)
	r.first(now, reachedLimit{"a", "tokens per day"}, time.Hour)
	swept := r.sweepAt
	for i := range 100 {
		r.first(now.Add(noticeableWait-1), reachedLimit{"b", fmt.Sprint(i)}, time.Hour)
	}
	if !swept.Equal(now.Add(noticeableWait)) || r.sweepAt != swept || len(r.until) != maxReached {
		t.Errorf("swept again at %s, %d are remembered", r.sweepAt, len(r.until))
	}
}

// A short wait is not worth a word, so it costs nothing either.
func TestShortWaitsAreNotToldOf(t *testing.T) {
	h := &Handler{Callers: Callers{memory: new(memory)}}
	exceeded := &limits.Exceeded{Rule: &limits.Rule{Kind: limits.Requests}, Subject: new(limits.Subject), Wait: noticeableWait - 1}
	if allocated := testing.AllocsPerRun(10, func() { h.tellOfLimit("app", exceeded) }); allocated > 0 || len(h.memory.reached.until) > 0 {
		t.Errorf("%v allocations, %d are remembered", allocated, len(h.memory.reached.until))
	}
}
