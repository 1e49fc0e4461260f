// SPDX-License-Identifier: Apache-2.0

package caddyfile

import (
	"encoding/json"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	caddyrl "github.com/mholt/caddy-ratelimit"

	"github.com/seed83435595/caddy-llm-proxy/handler"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// layers are the limits that stand in front of authentication: that of each
// address, and then that of all callers together.
type layers struct {
	ip, global *caddyrl.RateLimit
}

// parseOption parses rate_limit for the layers that stand in front.
func (l *layers) parseOption(d *caddyfile.Dispenser) (known bool, err error) {
	if d.Val() != "rate_limit" || !d.NextArg() {
		return false, nil
	}
	switch d.Val() {
	case "ip":
		return true, parseLayer(d, &l.ip, "{llm.address}")
	case "global":
		return true, parseLayer(d, &l.global, "all")
	}
	d.Prev()
	return false, nil
}

func parseLayer(d *caddyfile.Dispenser, into **caddyrl.RateLimit, key string) error {
	name := d.Val()
	if *into != nil {
		return d.Errf("rate_limit %s: already specified", name)
	}
	var events, window string
	if !d.AllArgs(&events, &window) {
		return d.Errf("rate_limit %s: wants a number of events and a window, such as 'rate_limit %s 100 1m'", name, name)
	}
	limit := &caddyrl.RateLimit{Key: key}
	n, err := strconv.Atoi(events)
	if err != nil || n <= 0 {
		return d.Errf("rate_limit %s: not a number of events: %s", name, events)
	}
	limit.MaxEvents = n
	length, err := syntax.Duration(window)
	if err != nil {
		return d.Errf("rate_limit %s: window: %v", name, err)
	}
	limit.Window = caddy.Duration(length)
	*into = limit
	return nil
}

// wrap puts the layers in front of the handlers.
func (l *layers) wrap(h httpcaddyfile.Helper, handlers []json.RawMessage) []json.RawMessage {
	if l.ip == nil && l.global == nil {
		return handlers
	}
	prefix := zonePrefix(h)
	var front []json.RawMessage
	var refusals handler.LimitError
	if l.ip != nil {
		address := caddyconfig.JSONModuleObject(new(handler.Address), "handler", "llm_address", nil)
		front = append(front, address, rateLimit(prefix+"ip", l.ip))
	}
	if l.global != nil {
		front = append(front, rateLimit(prefix+"global", l.global))
		refusals.GlobalZones = []string{prefix + "global"}
	}
	words := caddyconfig.JSONModuleObject(&refusals, "handler", "llm_limit_error", nil)
	return []json.RawMessage{caddyconfig.JSONModuleObject(inWords(append(front, handlers...), words), "handler", "subroute", nil)}
}

// rateLimit returns a handler with one zone. Each layer has a handler of its
// own, since the zones of one are asked in the order of their strictness.
func rateLimit(zone string, limit *caddyrl.RateLimit) json.RawMessage {
	zones := caddyrl.Handler{RateLimits: map[string]*caddyrl.RateLimit{zone: limit}}
	return caddyconfig.JSONModuleObject(zones, "handler", "rate_limit", nil)
}

// zonePrefix returns what the names of a block's zones begin with. Zones have
// one name space for all of Caddy, so blocks after the first are numbered;
// the same config always gets the same names, and a reload keeps the counts.
func zonePrefix(h httpcaddyfile.Helper) string {
	prefix := "llm_"
	if h.IsNamedRoute() {
		prefix += "route_"
	}
	blocks, _ := h.State[prefix].(int)
	h.State[prefix] = blocks + 1
	if blocks > 0 {
		prefix += strconv.Itoa(blocks+1) + "_"
	}
	return prefix
}

// parseLimitError parses the llm_limit_error directive, which gives the
// refusals of a rate_limit that is written by hand the same words.
func parseLimitError(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	var l handler.LimitError
	if err := l.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return &l, nil
}
