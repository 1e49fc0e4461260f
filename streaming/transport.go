// SPDX-License-Identifier: Apache-2.0

// Package streaming holds the transport that carries a call to a provider:
// it picks a key, makes the round trip, judges the outcome, moves on to the
// next key or target where that helps, and reads along the answer while its
// bytes pass untouched.
package streaming

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// Transport is a transport for the reverse_proxy handler that sends each call
// to an LLM provider with one of the provider's keys. When a key is rate
// limited, out of quota or rejected, or the provider fails, it goes on to the
// next key or target before anything has reached the client.
//
// It needs the llm_proxy handler in front of it, which says what the request
// is. The upstream address of reverse_proxy is not used: the providers have
// addresses of their own.
type Transport struct {
	// Providers are the services that calls go to, in order of preference.
	// At least one is needed.
	Providers []*Provider `json:"providers,omitempty"`

	// Models says which model is asked of which provider. The first line that
	// matches decides. An API family that no line sends to needs none: all
	// its models go to its provider.
	Models []*ModelRoute `json:"models,omitempty"`

	// Retry bounds how often and how long a call is tried again.
	Retry Retry `json:"retry,omitzero"`

	// Timeouts bound how long a provider may be silent.
	Timeouts Timeouts `json:"timeouts,omitzero"`

	routes routes
	logger *zap.Logger
	states []string
}

// Retry bounds how often and how long a call is tried again. Going on to
// another key because a key was refused is bounded by the deadline alone.
type Retry struct {
	// Attempts is how many times a call is sent again after a fault of the
	// provider: a broken connection, a 5xx status, an overload. Default: 2.
	// A negative number means never.
	Attempts int `json:"attempts,omitempty"`

	// Delay is the longest pause before such a retry. The pause is a random
	// part of it, doubled for each further retry. Default: 200ms.
	Delay caddy.Duration `json:"delay,omitempty"`

	// Deadline is how long after its start a call may still be sent to
	// another key or target. Default: 60s.
	Deadline caddy.Duration `json:"deadline,omitempty"`
}

// Timeouts bound how long a provider may be silent. Each ends in the next
// target, or in an error that names it.
type Timeouts struct {
	// Headers is how long to wait for the headers of an answer.
	// Default: 60s for a stream, and 10m for an answer that comes whole,
	// whose headers come only when all of it has been generated.
	Headers caddy.Duration `json:"headers,omitempty"`
}

const (
	defaultRetries        = 2
	defaultRetryDelay     = 200 * time.Millisecond
	defaultDeadline       = 60 * time.Second
	defaultHeadersStream  = 60 * time.Second
	defaultHeadersPlain   = 10 * time.Minute
	defaultIdleConnsPerIP = 256
)

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.llm",
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision prepares the providers and the routes between them.
func (t *Transport) Provision(ctx caddy.Context) error {
	t.logger = ctx.Logger()
	if len(t.Providers) == 0 {
		return errors.New("no provider: transport llm needs at least one 'provider' with a key")
	}
	t.applyDefaults()
	for _, p := range t.Providers {
		if err := t.provisionProvider(ctx, p); err != nil {
			return fmt.Errorf("provider %q: %w", p.Name, err)
		}
	}
	routes, err := newRoutes(t.Providers, t.Models)
	if err != nil {
		return err
	}
	t.routes = routes
	return nil
}

func (t *Transport) applyDefaults() {
	if t.Retry.Attempts == 0 {
		t.Retry.Attempts = defaultRetries
	}
	if t.Retry.Delay == 0 {
		t.Retry.Delay = caddy.Duration(defaultRetryDelay)
	}
	if t.Retry.Deadline == 0 {
		t.Retry.Deadline = caddy.Duration(defaultDeadline)
	}
}

// provisionProvider prepares p and remembers the key states it acquired, so
// that Cleanup gives back exactly those even when Provision fails midway.
func (t *Transport) provisionProvider(ctx caddy.Context, p *Provider) error {
	states, err := p.provision(ctx)
	t.states = append(t.states, states...)
	return err
}

// Validate checks what Provision could not make sense of.
func (t *Transport) Validate() error {
	for name, d := range map[string]caddy.Duration{
		"retry delay":      t.Retry.Delay,
		"retry deadline":   t.Retry.Deadline,
		"timeouts headers": t.Timeouts.Headers,
	} {
		if d < 0 {
			return fmt.Errorf("%s: must not be negative", name)
		}
	}
	return nil
}

// Cleanup gives back the shared state of the keys. Calls in flight keep what
// they need.
func (t *Transport) Cleanup() error {
	for _, key := range t.states {
		if _, err := keyStates.Delete(key); err != nil {
			return fmt.Errorf("releasing key state: %w", err)
		}
	}
	t.states = nil
	return nil
}

// RoundTrip carries the call that the llm_proxy handler admitted to a
// provider and returns the answer for the client. The returned body must be
// closed, as always.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call, ok := callFrom(req.Context())
	if !ok {
		return nil, errors.New("transport llm needs the llm_proxy handler in front of its reverse_proxy; add 'llm_proxy' to the same route")
	}
	targets := t.routes.match(call.Request)
	if len(targets) == 0 {
		return refuse(req, call, unknownModel(call.Request)), nil
	}
	r := rotation{transport: t, call: call, in: req}
	return r.run(req.Context(), targets)
}

// headersTimeout returns how long to wait for an answer's headers.
func (t *Transport) headersTimeout(stream bool) time.Duration {
	switch {
	case t.Timeouts.Headers > 0:
		return time.Duration(t.Timeouts.Headers)
	case stream:
		return defaultHeadersStream
	default:
		return defaultHeadersPlain
	}
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Transport)(nil)
	_ caddy.Validator    = (*Transport)(nil)
	_ caddy.CleanerUpper = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)
