// SPDX-License-Identifier: Apache-2.0

// Package caddyfile holds the llm_proxy directive: it expands one block to
// the handlers that do the work.
package caddyfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/handler"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/relay"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	httpcaddyfile.RegisterDirective("llm_proxy", parse)
	httpcaddyfile.RegisterDirectiveOrder("llm_proxy", httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterHandlerDirective("llm_limit_error", parseLimitError)
	httpcaddyfile.RegisterDirectiveOrder("llm_limit_error", httpcaddyfile.Before, "respond")
}

// parse expands the llm_proxy directive. Syntax:
//
//	llm_proxy [<matcher>] {
//		rate_limit ip|global <events> <window>
//		<options of the llm_proxy handler: client, anonymous, ...>
//		<options of the llm transport: provider, model, retry, ...>
//		<options of reverse_proxy>
//	}
//
// With providers it becomes the llm_proxy handler and, behind it, llm_relay
// with transport llm, or a reverse_proxy with it if there are options of that.
// Without them it becomes the handler alone, in front of a reverse_proxy that
// is written by hand. With limits for
// addresses and for all callers together, rate_limit handlers stand in front,
// and all of it in a subroute that puts their refusals into words.
func parse(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume directive name
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	b, err := parseBlock(h.Dispenser)
	if err != nil {
		return nil, err
	}
	handlers := []json.RawMessage{caddyconfig.JSONModuleObject(&b.admission, "handler", "llm_proxy", nil)}
	if len(b.transport.Providers) > 0 {
		carrier, err := b.carrier(h)
		if err != nil {
			return nil, err
		}
		handlers = append(handlers, carrier)
	}
	handlers = b.layers.wrap(h, handlers)
	route := caddyhttp.Route{HandlersRaw: handlers}
	if matcher != nil {
		route.MatcherSetsRaw = []caddy.ModuleMap{matcher}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}, nil
}

// block is the content of one llm_proxy block, sorted by whom it concerns.
type block struct {
	layers    layers
	admission handler.Handler
	transport streaming.Transport
	// proxy holds the tokens that are reverse_proxy's, as a directive of
	// their own.
	proxy []caddyfile.Token
}

func parseBlock(d *caddyfile.Dispenser) (*block, error) {
	var b block
	d.Next() // the directive's name again: looking for a matcher has rewound
	name, line := d.Token(), syntax.At(d)
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var needsProviders string
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if known, err := b.layers.parseOption(d); known || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		if known, err := b.admission.ParseOption(d); known || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		needsProviders = option
		if known, err := b.transport.ParseOption(d); known || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		if why := unfit(option); why != "" {
			return nil, d.Errf("%s: %s", option, why)
		}
		b.proxy = append(b.proxy, d.NextSegment()...)
	}
	if len(b.transport.Providers) == 0 && needsProviders != "" {
		why := "without a 'provider', llm_proxy is only the handler; options of the transport and of reverse_proxy then belong into the reverse_proxy behind it"
		if !slices.Contains(streaming.Options(), needsProviders) {
			why += "; if it is misspelled, known: " + syntax.And(options())
		}
		return nil, d.Errf("%s: %s", needsProviders, why)
	}
	// Limits and what is known of keys are shared over the same Redis.
	b.transport.Redis = b.admission.Redis
	if err := b.admission.FinishCaddyfile(line); err != nil {
		return nil, err
	}
	if err := b.transport.FinishCaddyfile(); err != nil {
		return nil, err
	}
	b.warn()
	if len(b.proxy) > 0 {
		b.proxy = asDirective(name, b.proxy)
	}
	return &b, nil
}

// options are the names of those that may stand in a block, besides the ones of
// reverse_proxy.
func options() []string {
	names := append(handler.Options(), streaming.Options()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// unfit says why an option of reverse_proxy may not stand in the block; "" if
// it may. What acts on its upstream would act on all providers as one.
func unfit(option string) string {
	switch {
	case option == "to", option == "dynamic", option == "transport":
		return "llm_proxy sets this itself; where calls go is said by 'provider', and a 'transport' belongs inside it"
	case strings.HasPrefix(option, "health_"):
		return "health checks of reverse_proxy do not reach providers; 'probe' finds out which of their keys work, and 'breaker' leaves alone what fails"
	case strings.HasPrefix(option, "unhealthy_"), option == "max_fails", option == "fail_duration":
		return "reverse_proxy would take one provider's or key's failures for all; 'breaker' says when a provider is left alone"
	case strings.HasPrefix(option, "lb_"):
		return "reverse_proxy knows nothing of providers and keys; 'retry' says how often a call is tried again, 'model' which provider comes next, and 'select' which key"
	}
	return ""
}

// asDirective makes a reverse_proxy directive of the options, which keep
// their file and line for error messages.
func asDirective(name caddyfile.Token, options []caddyfile.Token) []caddyfile.Token {
	name.Text = "reverse_proxy"
	open := caddyfile.Token{File: name.File, Line: name.Line, Text: "{"}
	last := options[len(options)-1]
	end := caddyfile.Token{File: last.File, Line: last.Line + 1, Text: "}"}
	return append(append([]caddyfile.Token{name, open}, options...), end)
}

// carrier returns the handler that carries calls: llm_relay, or a reverse_proxy
// if it has something to do that only that can.
func (b *block) carrier(h httpcaddyfile.Helper) (json.RawMessage, error) {
	transport := caddyconfig.JSONModuleObject(&b.transport, "protocol", "llm", nil)
	if len(b.proxy) == 0 {
		return caddyconfig.JSONModuleObject(&relay.Relay{TransportRaw: transport}, "handler", "llm_relay", nil), nil
	}
	proxy := reverseproxy.Handler{
		Upstreams:    reverseproxy.UpstreamPool{{Dial: streaming.NominalUpstream}},
		TransportRaw: transport,
	}
	if err := proxy.UnmarshalCaddyfile(caddyfile.NewDispenser(b.proxy)); err != nil {
		if strings.Contains(err.Error(), "unrecognized subdirective") {
			err = fmt.Errorf("%w; known: the options of reverse_proxy, %s", err, syntax.And(options()))
		}
		return nil, err
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(&proxy, "handler", "reverse_proxy", nil), nil
}
