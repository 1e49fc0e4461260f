// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// welcome asks what can be asked of a client before the body is read: whether
// its time and its address are right, and whether there is room for a call of
// its. There is no client where anyone may call.
func (h *Handler) welcome(a *account, r *http.Request, client *auth.Client) *refusal {
	if client == nil {
		return nil
	}
	a.client, a.metadata = client.ID, client.Metadata
	_, a.known = h.directory.Load().Named(client.ID)
	if a.counted = h.MetricsMetadata; len(a.counted) > 0 {
		_, a.configured = h.managed.configured.Load().Named(client.ID)
	}
	if refused := h.mayCome(client, r, a.call.Started); refused != nil {
		return refused
	}
	if len(client.Providers) > 0 {
		a.call.Providers = client.Providers
	}
	return a.quota.enter(h, r, client)
}

// mayCome asks whether a client's groups, time and address are right, as far as
// anything is known of it.
func (who *Callers) mayCome(client *auth.Client, r *http.Request, now time.Time) *refusal {
	if client.Guest && who.managed.blind() {
		metrics.Process.FailAuth(metrics.AuthUnavailable)
		return unavailable()
	}
	if client.Outside {
		metrics.Process.FailAuth(metrics.AuthGroup)
		refused := refuse(http.StatusForbidden, "group_required", "you belong to no group that may use this gateway")
		refused.reason = "no_group"
		return refused
	}
	if client.Disabled {
		metrics.Process.FailAuth(metrics.AuthDisabled)
		return refuse(http.StatusUnauthorized, "disabled_api_key", "this API key is disabled; whoever gave it out can enable it again")
	}
	if client.Expired(now) {
		metrics.Process.FailAuth(metrics.AuthExpired)
		return refuse(http.StatusUnauthorized, "expired_api_key", "this API key has expired")
	}
	if !client.AllowsAddress(clientAddress(r)) {
		metrics.Process.FailAuth(metrics.AuthAddress)
		return refuse(http.StatusForbidden, "address_not_allowed", "this API key may not be used from your address")
	}
	return nil
}

// allow asks what can be asked of a client once the body is known: whether it
// may use the model, and whether there is room for what the call may take.
func (h *Handler) allow(a *account, r *http.Request, client *auth.Client) *refusal {
	if client == nil || !restricted(client) && a.quota.hold == nil {
		return nil
	}
	request := a.call.Request
	if restricted(client) && request.AsksForModels(r.Method) {
		a.call.MayUse = func(model string) bool { return mayUse(client, model) }
	}
	demand := request.Demand(a.call.Body)
	if refused := allowModels(client, r.Method, request, demand); refused != nil {
		return refused
	}
	return a.quota.reserve(h, r, request.Model, demand)
}

// allowModels refuses models that are not the client's, also where they stand
// as alternatives only. What names no model could reach any; so a client that
// has not all models may only read there, such as the list of them.
func allowModels(client *auth.Client, method string, request *wire.Request, demand wire.Demand) *refusal {
	reads := !request.Operation.Session && (method == http.MethodGet || method == http.MethodHead)
	if !restricted(client) || request.Model == "" && reads {
		return nil
	}
	for _, model := range append([]string{request.Model}, demand.Models...) {
		if mayUse(client, model) {
			continue
		}
		if model == "" {
			return refuse(http.StatusForbidden, "model_not_allowed", "this API key is for certain models only, and the request does not name one")
		}
		if request.AsksForModel() { // which no list would show it
			return &refusal{Error: wire.UnknownModel(model)}
		}
		return refuse(http.StatusForbidden, "model_not_allowed", fmt.Sprintf("this API key may not use the model %q", model))
	}
	return nil
}

// restricted tells whether a client has not all models.
func restricted(client *auth.Client) bool {
	return len(client.Models) > 0 || len(client.Narrowing) > 0
}

// mayUse tells whether a model is one of a client's.
func mayUse(client *auth.Client, model string) bool {
	listed := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool { return keypool.Matches(pattern, model) })
	}
	return (len(client.Models) == 0 || listed(client.Models)) &&
		!slices.ContainsFunc(client.Narrowing, func(patterns []string) bool { return !listed(patterns) })
}
