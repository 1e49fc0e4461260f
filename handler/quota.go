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

// quota is what one call takes of its client's limits. Without limits it is
// empty and everything is allowed.
type quota struct {
	book   *limits.Book
	client *auth.Client
	hold   *limits.Hold
	demand wire.Demand
	// exceeded is the first rule that the call has met the end of.
	exceeded *limits.Exceeded
}

// enter counts the call, before its body is read.
func (q *quota) enter(h *Handler, client *auth.Client) *limits.Exceeded {
	if len(client.Rules) == 0 {
		return nil
	}
	q.book, q.client = h.memory.book, client
	var exceeded *limits.Exceeded
	q.hold, exceeded = h.memory.book.Enter(time.Now(), client.ID, client.Rules, h.ShadowLimits)
	return q.judge(h, exceeded)
}

// reserve holds what the call may take, now that its body is known.
func (q *quota) reserve(h *Handler, model string, demand wire.Demand) *limits.Exceeded {
	if q.hold == nil {
		return nil
	}
	q.demand = demand
	amounts := limits.Amounts{Input: demand.Input, Output: demand.Output}
	if slices.ContainsFunc(q.client.Rules, func(rule limits.Rule) bool { return rule.Kind == limits.Cost }) {
		cost, _ := h.prices.Load().Estimate(model, demand.Input, demand.Output)
		amounts.Cost = int64(cost)
	}
	return q.judge(h, q.hold.Reserve(time.Now(), amounts))
}

// tell returns a writer that states the client's limits in the answer's head.
func (q *quota) tell(w http.ResponseWriter, family *wire.Family) http.ResponseWriter {
	if q.book == nil {
		return w
	}
	return &limitWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		quota:                 q,
		headers:               limitHeadersOf(family),
	}
}

// judge remembers that a limit was met, and returns it if that is to matter.
func (q *quota) judge(h *Handler, exceeded *limits.Exceeded) *limits.Exceeded {
	if q.exceeded == nil && exceeded != nil {
		q.exceeded = exceeded
		metrics.Process.MeetLimit(metrics.LayerUser, exceeded.Rule.Kind.String(), h.ShadowLimits)
		h.tellOfLimit(q.client.ID, exceeded)
	}
	if h.ShadowLimits {
		return nil
	}
	return exceeded
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

// ruleWords names a rule in a message: "tokens per 1m".
func ruleWords(r limits.Rule) string {
	if r.Kind == limits.Concurrent {
		return "concurrent calls"
	}
	return r.Kind.String() + " per " + r.Period.String()
}

// userLayer is the layer of a client's own limits.
var userLayer = layer{code: "user_quota_exceeded", text: text{"quota used up", "用户配额已用完"}}

// longWait is from which wait on an SDK should not try again by itself.
const longWait = time.Minute

// quotaRefusal tells a client which of its limits it has met.
func quotaRefusal(h http.Header, exceeded *limits.Exceeded) *refusal {
	f := userLayer.refuse(h, exceeded.Wait)
	f.Message += " (" + ruleWords(exceeded.Rule) + ")"
	return f
}
