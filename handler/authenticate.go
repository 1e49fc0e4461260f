// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
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

// maxCredentials bounds how many keys of one request are looked at. SDKs send
// one or two; a guesser would send as many as fit a head.
const maxCredentials = 8

// authenticate returns the client that is calling: none, where anyone may. The
// request is nil where it is not for an API.
func (h *Handler) authenticate(r *http.Request, request *wire.Request) (*auth.Client, *refusal) {
	if h.Anonymous && otherOrigin(r, request) {
		return nil, foreignPage()
	}
	if h.Anonymous {
		return nil, nil
	}
	if wait := h.failureWait(r); wait > 0 {
		metrics.Process.MeetLimit(metrics.LayerIP, "auth_failures", false)
		return nil, addressLayer.refuse(r.Header, wait)
	}
	if id := h.trustedUser(r); id != "" && otherOrigin(r, request) {
		return nil, foreignPage()
	} else if id != "" {
		return h.named(id)
	}
	refused, reason := unauthorized(), metrics.AuthMissing
	tried, failed := 0, false
	ctx := r.Context()
	if h.JWT != nil {
		ctx = auth.WithTries(ctx)
	}
	for secret := range wire.Credentials(r.Header, r.URL) {
		if tried++; tried > maxCredentials {
			break
		}
		client, err := h.find(ctx, secret)
		switch {
		case err == nil:
			return client, nil
		case errors.Is(err, auth.ErrNoKeys):
			refused, reason = unavailable(), metrics.AuthUnavailable
		default:
			failed = true
			if reason == metrics.AuthMissing {
				reason = metrics.AuthWrong
			}
			if c := h.logger.Check(zapcore.DebugLevel, "a key was refused"); c != nil {
				c.Write(zap.Error(err))
			}
		}
	}
	// Who brings no key at all has not guessed one.
	if failed && h.AuthFailures != nil {
		h.memory.failures.Add(time.Now(), clientAddress(r), time.Duration(h.AuthFailures.Window))
	}
	metrics.Process.FailAuth(reason)
	return nil, refused
}

var errUnknownKey = errors.New("no client has this key")

// find returns the client whose key or token a secret is.
func (h *Handler) find(ctx context.Context, secret string) (*auth.Client, error) {
	if client, ok := h.directory.Load().Find(secret); ok {
		return client, nil
	}
	if h.JWT == nil || !auth.IsToken(secret) {
		return nil, errUnknownKey
	}
	id, err := h.JWT.verifier.Verify(ctx, time.Now(), secret)
	if err != nil {
		return nil, err
	}
	return h.vouchedFor(id), nil
}

// trustedUser returns who a handler in front says is calling.
func (h *Handler) trustedUser(r *http.Request) string {
	if h.TrustUser == "" {
		return ""
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl.ReplaceAll(h.TrustUser, "")
}

// named returns the client that a trusted handler has named.
func (h *Handler) named(id string) (*auth.Client, *refusal) {
	if !auth.ValidID(id) {
		metrics.Process.FailAuth(metrics.AuthWrong)
		return nil, unauthorized()
	}
	return h.vouchedFor(id), nil
}

// vouched tells whether somebody else may say who is calling.
func (h *Handler) vouched() bool { return h.JWT != nil || h.TrustUser != "" }

// vouchedFor returns the client of that id: the one that the config knows or,
// for whom it does not know, one with what applies to everybody.
func (h *Handler) vouchedFor(id string) *auth.Client {
	if client, ok := h.directory.Load().Named(id); ok {
		return client
	}
	client := &auth.Client{ID: id}
	h.join(client, nil)
	return client
}

// failureWait returns how long the caller's address has to wait because it
// came with too many wrong keys.
func (h *Handler) failureWait(r *http.Request) time.Duration {
	if h.AuthFailures == nil {
		return 0
	}
	return h.memory.failures.Wait(time.Now(), clientAddress(r), h.AuthFailures.Limit, time.Duration(h.AuthFailures.Window))
}
