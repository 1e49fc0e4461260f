// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// AuthFailures bounds how often an address may come with a wrong key. One
// that has come too often is refused until the window since its first failure
// is over, and its keys are not looked at.
type AuthFailures struct {
	// Limit is the number of wrong keys, at least 1.
	Limit int `json:"limit"`

	// Window is how long they are remembered, at least a second.
	Window caddy.Duration `json:"window"`
}

// authenticate returns the client that is calling: none, where anyone may.
func (h *Handler) authenticate(r *http.Request) (*auth.Client, *refusal) {
	if h.Anonymous {
		return nil, nil
	}
	if wait := h.failureWait(r); wait > 0 {
		return nil, addressLayer.refuse(r.Header, wait)
	}
	failed := false
	for secret := range wire.Credentials(r.Header, r.URL) {
		if client, ok := h.directory.Find(secret); ok {
			return client, nil
		}
		failed = true
	}
	// Who brings no key at all has not guessed one.
	if failed && h.AuthFailures != nil {
		h.memory.failures.Add(time.Now(), clientAddress(r), time.Duration(h.AuthFailures.Window))
	}
	return nil, unauthorized()
}

// failureWait returns how long the caller's address has to wait because it
// came with too many wrong keys.
func (h *Handler) failureWait(r *http.Request) time.Duration {
	if h.AuthFailures == nil {
		return 0
	}
	return h.memory.failures.Wait(time.Now(), clientAddress(r), h.AuthFailures.Limit, time.Duration(h.AuthFailures.Window))
}
