// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// authenticate returns the client that is calling: none, where anyone may. The
// request is nil where it is not for an API.
func (h *Handler) authenticate(r *http.Request, request *wire.Request) (*auth.Client, *refusal) {
	if h.Anonymous && otherOrigin(r, request) {
		return nil, foreignPage()
	}
	if h.Anonymous {
		return nil, nil
	}
	if refused := h.tooManyFailures(r); refused != nil {
		return nil, refused
	}
	if id := h.trustedUser(r); id != "" && otherOrigin(r, request) {
		return nil, foreignPage()
	} else if id != "" {
		return h.named(r, id)
	}
	return h.identify(r)
}
