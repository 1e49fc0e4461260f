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

	"github.com/seed83435595/caddy-llm-proxy/streaming/events"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
	"github.com/seed83435595/caddy-llm-proxy/streaming/startup"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// Transport is a transport for llm_relay and reverse_proxy that sends each call
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

	// Breaker says when a provider that fails is left alone for a while.
	Breaker Breaker `json:"breaker,omitzero"`

	// Verdicts are rules of what an answer means, whichever provider gives it.
	// The first that fits holds, before what is known of providers.
	Verdicts []*VerdictRule `json:"verdicts,omitempty"`

	// Probe is how often a key is tried by a call that costs nothing, such as
	// for the list of models, while it rests as the provider has refused it:
	// as soon as it is accepted, it is used again. Keys that were never used
	// are tried once. Default: 15s. A negative value means never.
	Probe caddy.Duration `json:"probe,omitempty"`

	// Rescue says what happens when a stream breaks after some of it has
	// reached the client: off ends it with an error; resume has another key
	// or target take it up, so that the client gets one whole answer. With
	// resume a stream is passed on by whole events, and up to 4 MiB of it are
	// kept in memory while it lasts. Default: off.
	Rescue string `json:"rescue,omitempty"`

	// Usage says what is done so that the usage of a chat's stream is known if
	// its client does not ask for it. With inject the provider is asked for
	// it, unless it states it by itself, and what comes of that is taken out
	// of the stream again; observe changes nothing, and what is not stated is
	// estimated. Default: inject for services that are known to need it and
	// to take it, observe for all others.
	Usage string `json:"usage,omitempty"`

	// OnDisconnect says what happens when the client of an answer goes away:
	// cancel breaks off the provider's work at once; drain reads the answer to
	// its end, for at most 30s and 16 MiB, so that its usage is known.
	// Default: cancel.
	OnDisconnect string `json:"on_disconnect,omitempty"`

	// TrailHeader is the name of a response header that tells the client of the
	// attempts made up to its answer: key-id:class:milliseconds for each, with
	// commas between them, at most 4 KiB. It shows the ids of provider keys,
	// never a key. Default: none is set.
	TrailHeader string `json:"trail_header,omitempty"`

	// Redis is where instances of Caddy tell each other what they know of keys
	// and of how providers stand. It is never asked on the way of a call. Its
	// OnFailure means nothing here. Default: each goes by what it knows itself.
	Redis *redisconf.Redis `json:"redis,omitempty"`

	// State is where what is known of keys is kept: memory is over reloads,
	// persist also over restarts, in Caddy's storage: what keys rest from, and
	// which of them made which stored object. Default: memory.
	State string `json:"state,omitempty"`

	routes routes
	logger *zap.Logger
	events *events.Emitter
	// probers are at work, for the providers that have one, while the config is
	// in force.
	probers []*prober
	trials  []trialKey
	// unshare ends the sharing of what is known; nil if there is none.
	unshare func() error
}

var errNoProvider = errors.New("no provider: transport llm needs at least one 'provider' with a key")

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
	start := startup.Of(ctx.GetMetricsRegistry())
	defer start.Module()()
	if len(t.Providers) == 0 {
		return errNoProvider
	}
	if err := checkProxy(ctx); err != nil {
		return err
	}
	var err error
	if t.events, err = events.New(ctx, t.comeIntoForce); err != nil {
		return err
	}
	t.Retry.applyDefaults()
	t.Timeouts.applyDefaults()
	if err := start.Do("providers", func() error { return t.provisionProviders(ctx) }); err != nil {
		return err
	}
	routes, err := t.newRoutes()
	if err != nil {
		return err
	}
	if err := t.openSplits(routes); err != nil {
		return err
	}
	t.routes = routes
	if err := t.shareState(); err != nil {
		return err
	}
	t.newProbers()
	return nil
}

// comeIntoForce is called when the config has started: what is seen or felt
// outside does not begin before.
func (t *Transport) comeIntoForce() {
	inForce.add(t)
	t.startProbes()
}

// provisionProviders prepares the providers one after the other: they load
// modules, for which a caddy.Context must not be used by two at a time. What is
// remembered of their keys is read meanwhile.
func (t *Transport) provisionProviders(ctx caddy.Context) error {
	var recalled []keep.Restored
	for i, p := range t.Providers {
		if p == nil {
			return fmt.Errorf("provider %d: null", i+1)
		}
		if err := p.provision(ctx, t); err != nil {
			return fmt.Errorf("provider %q: %w", p.Name, err)
		}
		recalled = append(recalled, p.recalled)
	}
	keep.Await(recalled...)
	return nil
}

// Validate checks what Provision could not make sense of.
func (t *Transport) Validate() error { return t.check() }

// check refuses options that cannot be meant as they stand.
func (t *Transport) check() error {
	if err := syntax.Check(
		syntax.Choice{Option: "rescue", Value: t.Rescue, Known: []string{rescueOff, rescueResume}},
		syntax.Choice{Option: "usage", Value: t.Usage, Known: usageModes},
		syntax.Choice{Option: "on_disconnect", Value: t.OnDisconnect, Known: []string{disconnectCancel, disconnectDrain}},
		syntax.Choice{Option: "state", Value: t.State, Known: []string{stateMemory, statePersist}},
	); err != nil {
		return err
	}
	return errors.Join(t.Retry.validate(), t.Breaker.validate(), t.Timeouts.validate(), t.validateTrail(), checkProbe(t.Probe))
}

// Cleanup gives back the shared state of keys and splits, exactly what was
// borrowed, also when Provision failed midway. Calls in flight keep what they
// need.
func (t *Transport) Cleanup() error {
	t.stopProbes()
	inForce.remove(t)
	t.events.Close()
	errs := []error{t.unshareState()}
	for _, p := range t.Providers {
		errs = append(errs, p.release())
	}
	for _, key := range t.trials {
		if _, err := trials.Delete(key); err != nil {
			errs = append(errs, fmt.Errorf("releasing the state of a split: %w", err))
		}
	}
	t.trials = nil
	return errors.Join(errs...)
}

// RoundTrip carries the call that the llm_proxy handler admitted to a
// provider and returns the answer for the client. The returned body must be
// closed, as always.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call, ok := callFrom(req.Context())
	if !ok {
		return notAdmitted(req), nil
	}
	if list := t.listModels(req, call); list != nil {
		return list, nil
	}
	chain := t.routes.match(call.Request)
	if chain == nil {
		return refuse(req, call, t.routes.unknownModel(call.Request)), nil
	}
	chain, ok = allowed(call.Providers).narrow(t.routes, call.Request, chain)
	if !ok {
		return refuse(req, call, notAllowed(call.Request)), nil
	}
	call.size = len(call.Body)
	r := &rotation{
		transport: t, call: call, in: req,
		chain: chain, since: call.Started,
	}
	if total := time.Duration(t.Timeouts.Total); total > 0 {
		r.until = call.Started.Add(total)
	}
	res, err := r.run(req.Context())
	if err == nil {
		t.showTrail(res.Header, call)
	}
	return res, err
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Transport)(nil)
	_ caddy.Validator    = (*Transport)(nil)
	_ caddy.CleanerUpper = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)
