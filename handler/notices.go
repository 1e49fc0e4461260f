// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"maps"
	"sync"
	"time"

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
}

type reachedLimit struct{ client, limit string }

// first reports whether operators should hear of a limit, and remembers that
// they did.
func (r *reached) first(now time.Time, limit reachedLimit, wait time.Duration) bool {
	if wait < noticeableWait {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.until[limit]) {
		return false
	}
	if len(r.until) >= maxReached {
		maps.DeleteFunc(r.until, func(_ reachedLimit, until time.Time) bool { return !now.Before(until) })
		if len(r.until) >= maxReached {
			return false
		}
	}
	if r.until == nil {
		r.until = map[reachedLimit]time.Time{}
	}
	r.until[limit] = now.Add(wait)
	return true
}

// tellOfLimit has operators hear that a client has met the end of a limit.
func (h *Handler) tellOfLimit(client string, exceeded *limits.Exceeded) {
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
