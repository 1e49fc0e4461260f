// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"maps"
	"sync"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

const (
	// noticeableWait is how long a client must have to wait for room in a limit
	// before operators hear of it.
	noticeableWait = time.Minute
	// maxReached bounds how many limits are remembered of which they have.
	maxReached = 10_000
)

// reached remembers of which limits operators have heard that a client has met
// them: once is enough until there is room again.
type reached struct {
	mu    sync.Mutex
	until map[reachedLimit]time.Time
	// sweepAt is when it is worth to look for those that have room again.
	sweepAt time.Time
}

type reachedLimit struct{ client, limit string }

// first reports whether operators should hear of a limit, and remembers that
// they did.
func (r *reached) first(now time.Time, limit reachedLimit, wait time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, known := r.until[limit]
	if now.Before(until) {
		return false
	}
	if !known {
		r.makeRoom(now)
	}
	r.until[limit] = now.Add(wait)
	return true
}

// makeRoom forgets limits that have room again, which it looks for now and
// then, or one that will have it soon.
func (r *reached) makeRoom(now time.Time) {
	if len(r.until) >= maxReached && !now.Before(r.sweepAt) {
		maps.DeleteFunc(r.until, func(_ reachedLimit, until time.Time) bool { return !now.Before(until) })
		r.sweepAt = now.Add(noticeableWait)
	}
	r.until = auth.WithRoom(r.until, maxReached, func(until time.Time) time.Time { return until })
}

// tellOfLimit has operators hear that a client has met the end of a limit.
func (h *Handler) tellOfLimit(client string, exceeded *limits.Exceeded) {
	if exceeded.Wait < noticeableWait {
		return
	}
	now, limit := time.Now(), reachedLimit{client, limitWords(exceeded)}
	if !h.memory.reached.first(now, limit, exceeded.Wait) {
		return
	}
	h.events.Emit("llm_quota_reached", map[string]any{
		"client": client,
		"limit":  limit.limit,
		"until":  now.Add(exceeded.Wait).UTC().Format(time.RFC3339),
		"shadow": h.ShadowLimits,
	})
}

// tellOfBreak has operators hear of a stream that broke before its end.
func (a *account) tellOfBreak() {
	call := a.call
	if call.Outcome != streaming.OutcomeBroken || call.Request == nil || !call.Request.Stream {
		return
	}
	data := map[string]any{
		"request_id": call.ID,
		"client":     a.client,
		"provider":   call.Provider,
		"key":        call.KeyID,
		"model":      call.TargetModel,
	}
	if call.Cause != nil {
		data["cause"] = call.Cause.Error()
	}
	a.events.Emit("llm_stream_broken", data)
}
