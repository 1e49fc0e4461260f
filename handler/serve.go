// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// ServeHTTP admits the call and hands it on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.UsageEndpoint != "" && r.URL.Path == h.UsageEndpoint {
		return h.serveOwnUsage(w, r)
	}
	a := account{
		logger:  h.logger,
		events:  h.events,
		call:    &streaming.Call{Started: time.Now(), Outcome: streaming.OutcomeRefused},
		ledgers: h.records.hold(),
		kept:    h.LedgerStrangers,
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Map(a.placeholder)
	a.call.ID, _ = repl.GetString("http.request.uuid")
	defer a.settle(r, h.prices.Load())

	refused := h.admit(&a, w, r)
	w = a.quota.tell(w, a.family())
	if refused != nil {
		a.call.Status, a.call.Refusal, a.reason = refused.Status, refused.Code, refused.reason
		if a.call.Body == nil {
			skipBody(w, r)
		}
		return refused.write(w, a.family(), a.call.ID)
	}
	r = r.WithContext(streaming.WithCall(r.Context(), a.call))
	handOn(w, r, a.call)
	clean(r)
	a.call.Outcome = ""
	a.begin()
	if h.Heartbeat > 0 && a.call.Request.Stream {
		beating := &heartbeat{ResponseWriter: w, every: time.Duration(h.Heartbeat), takes: a.call.TakesComments}
		defer beating.stop()
		w = beating
	}
	if err := next.ServeHTTP(w, r); err != nil {
		return a.unserved(w, r, err)
	}
	return nil
}

// clean takes out of the request what must not go on. Nothing behind us needs
// the client's credentials, and reverse_proxy logs the request it was given.
func clean(r *http.Request) {
	wire.StripCredentials(r.Header)
	if stripped := wire.StripKey(r.URL); stripped != r.URL {
		r.URL, r.RequestURI = stripped, stripped.RequestURI()
	}
}

// admit finds out all that must be known of the call before it is handed on.
// The cheap questions come first: a caller without a key costs no body.
func (h *Handler) admit(a *account, w http.ResponseWriter, r *http.Request) *refusal {
	request, refused := recognize(r)
	if refused != nil {
		return refused
	}
	a.call.Request = request

	client, refused := h.authenticate(r, request)
	if refused != nil {
		return refused
	}
	a.kept = true
	if refused := h.welcome(a, r, client); refused != nil {
		return refused
	}

	if !websocket.Extended(r) {
		if refused := h.readBody(w, r, a.call); refused != nil {
			return refused
		}
	}
	if err := request.ReadBody(r.Header.Get("Content-Type"), a.call.Body); err != nil {
		return refuseRequest(err)
	}
	a.understood = true
	a.call.Affinity = affinity(a.client, a.call.Body)
	return h.allow(a, r, client)
}
