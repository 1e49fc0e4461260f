// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/handler/pricing"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// quota is what one call takes of its client's limits and those of its groups.
// Without limits it is empty and everything is allowed.
type quota struct {
	client string
	hold   *limits.Hold
	demand wire.Demand
	// exceeded is the first limit that the call has met.
	exceeded *limits.Exceeded
}

// enter counts the call, before its body is read.
func (q *quota) enter(h *Handler, r *http.Request, client *auth.Client) *refusal {
	if len(client.Limits) == 0 {
		return nil
	}
	if client.Guest && !h.hasRoom(client) {
		if h.ShadowLimits {
			return nil
		}
		return limitsUnavailable()
	}
	q.client = client.ID
	q.hold = limits.Begin(h.counts, client.Limits, h.ShadowLimits)
	exceeded, err := q.hold.Enter(r.Context(), time.Now())
	return q.judge(h, r, exceeded, err)
}

// hasRoom tells whether what a client uses can be counted, which an issuer with
// too many users could prevent.
func (h *Handler) hasRoom(client *auth.Client) bool {
	full := slices.ContainsFunc(client.Limits, func(s *limits.Subject) bool {
		return !s.Group && !h.memory.book.HasRoom(time.Now(), s)
	})
	if full && h.told.first("full") {
		h.logger.Warn("there are more users of issuers than what they use can be counted of: new ones are refused")
	}
	return !full
}

// reserve holds what the call may take, now that its body is known.
func (q *quota) reserve(h *Handler, r *http.Request, model string, demand wire.Demand) *refusal {
	if q.hold == nil {
		return nil
	}
	q.demand = demand
	amounts := limits.Amounts{Input: demand.Input, Output: demand.Output}
	if q.hold.Limits(limits.Cost) {
		cost, _ := h.prices.Load().Estimate(model, demand.Input, demand.Output)
		amounts.Cost = int64(cost)
	}
	models := demand.Models
	if model != "" {
		models = append([]string{model}, models...)
	}
	exceeded, err := q.hold.Reserve(r.Context(), time.Now(), models, amounts)
	return q.judge(h, r, exceeded, err)
}

// tell returns a writer that states the client's limits in the answer's head.
func (q *quota) tell(w http.ResponseWriter, family *wire.Family) http.ResponseWriter {
	if q.hold == nil || !q.hold.Limited() {
		return w
	}
	return &limitWriter{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		quota:                 q,
		headers:               limitHeadersOf(family),
	}
}

// judge remembers the limit that was met, and refuses the call if that is to
// matter.
func (q *quota) judge(h *Handler, r *http.Request, exceeded *limits.Exceeded, err error) *refusal {
	if q.exceeded == nil && exceeded != nil {
		q.exceeded = exceeded
		metrics.Process.MeetLimit(metrics.LayerUser, exceeded.Rule.Kind.String(), h.ShadowLimits)
		h.tellOfLimit(q.client, exceeded)
	}
	switch {
	case h.ShadowLimits:
		return nil
	case err != nil:
		return limitsUnavailable()
	case exceeded != nil:
		return quotaRefusal(r.Header, exceeded, q.demand.Input)
	}
	return nil
}

// settle gives back what the call holds and counts what it took.
func (q *quota) settle(call *streaming.Call, cost pricing.Cost) {
	if q.hold != nil {
		q.hold.Settle(time.Now(), q.taken(call, cost))
	}
}

// taken returns what a call took. Where an answer did not get to say, it is
// guessed from what came of it: an event of a stream is about a token. A call
// that came to nothing took nothing.
func (q *quota) taken(call *streaming.Call, cost pricing.Cost) limits.Amounts {
	result := call.Result
	stated := limits.Amounts{
		Input:  result.Usage.InputTotal(),
		Output: result.Usage.OutputTotal(),
		Cost:   int64(cost),
	}
	if call.Outcome == streaming.OutcomeOK && result.Usage.Stated() {
		return stated
	}
	if call.FirstToken == 0 {
		return stated
	}
	generated := int64(result.Events)
	if generated <= 1 {
		generated = min(result.Bytes/4, q.demand.Output)
	}
	stated.Input = max(stated.Input, q.demand.Input)
	stated.Output = max(stated.Output, generated)
	return stated
}
