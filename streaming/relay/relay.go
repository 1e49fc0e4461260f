// SPDX-License-Identifier: Apache-2.0

// Package relay holds the handler that hands calls to the transport, and what
// comes back to the client.
package relay

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
)

func init() {
	caddy.RegisterModule(new(Relay))
}

// Relay passes calls that the llm_proxy handler has admitted on to LLM
// providers, and their answers back. It stands where else a reverse_proxy with
// transport llm would, and does the same for a call at less cost: what
// reverse_proxy prepares for any upstream is not needed here. It flushes each
// piece of a stream, and the pieces of an answer whose length the provider does
// not state.
//
// It has no options of its own. Where an answer or a request is to be changed
// on its way, as header_up and handle_response do, a reverse_proxy serves.
// Informational answers (1xx) and trailers of providers are not passed on.
// Sessions over a WebSocket go through a reverse_proxy that is part of it.
type Relay struct {
	// TransportRaw is what carries calls to providers. It must be of the
	// protocol llm.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// proxy is for what changes the protocol of a connection. Its transport is
	// that of all calls.
	proxy reverseproxy.Handler
}

var errNotLLM = errors.New(`llm_relay: wants a transport with "protocol": "llm"; a reverse_proxy serves for any other`)

// CaddyModule returns the Caddy module information.
func (*Relay) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_relay",
		New: func() caddy.Module { return new(Relay) },
	}
}

// Provision loads the transport.
func (h *Relay) Provision(ctx caddy.Context) error {
	h.proxy.TransportRaw, h.TransportRaw = h.TransportRaw, nil // it holds keys
	h.proxy.Upstreams = reverseproxy.UpstreamPool{{Dial: streaming.NominalUpstream}}
	if err := h.proxy.Provision(ctx); err != nil {
		return err
	}
	if _, ok := h.proxy.Transport.(*streaming.Transport); !ok {
		return errNotLLM
	}
	return nil
}

// Cleanup lets go of sessions, as reverse_proxy does when a config ends.
func (h *Relay) Cleanup() error { return h.proxy.Cleanup() }

// ServeHTTP has the transport carry the call, and passes on the answer.
func (h *Relay) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if websocket.Asked(r) {
		return h.proxy.ServeHTTP(w, r, next)
	}
	res, err := h.proxy.Transport.RoundTrip(r)
	if err != nil {
		return caddyhttp.Error(statusClientGone, err) // for everything else there is an answer
	}
	writeHead(w, res)
	if err := pass(w, res); err != nil {
		// The head is out, so that nothing but the connection can tell the client
		// that this is not all. What it has got so far it should see.
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	return nil
}

// statusClientGone is the status, as other servers have it in their logs, of a
// request whose client did not wait for the answer.
const statusClientGone = 499

// Interface guards
var (
	_ caddy.Provisioner           = (*Relay)(nil)
	_ caddy.CleanerUpper          = (*Relay)(nil)
	_ caddyhttp.MiddlewareHandler = (*Relay)(nil)
)
