// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"math"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	llm_proxy {
//		client <id> <sha256:hex|placeholder>... {
//			group      <name>...
//			models     <pattern>...
//			providers  <pattern>...
//			limit      <kind> <n> [<window>|day|month [<time zone>]] [models <pattern>...]
//			expires    <date>
//			allow_ip   <address or CIDR range>...
//			old_secret <sha256:hex|placeholder> <date>
//			metadata   <name> <value>
//			disabled
//		}
//		group <name> {
//			models    <pattern>...
//			providers <pattern>...
//			limit     <kind> <n> [<window>|day|month [<time zone>]] [each] [models <pattern>...]
//		}
//		clients <file>|storage|redis
//		jwt {
//			jwks         <URL or file>
//			issuer       <issuer>
//			audience     <name>...
//			leeway       <duration>
//			claim        <claim>
//			id_prefix    <text>
//			groups_claim <claim>
//			models_claim <claim>
//			limits_claim <claim>
//			group        <name>...
//			map_group    <name> <group>
//			require_group
//		}
//		introspection <URL> {
//			client_id     <id>
//			client_secret <secret>
//			issuer        <issuer>
//			audience      <name>...
//			cache         <duration>
//			stale         <duration>
//			timeout       <duration>
//			max_in_flight <n>
//			max_rate      <n>
//			claim|id_prefix|groups_claim|models_claim|limits_claim|group|map_group|require_group ...
//		}
//		trust_user [<placeholder>] {
//			groups_from <placeholder>
//			group       <name>...
//			map_group   <name> <group>
//			require_group
//		}
//		anonymous
//		rate_limit user <kind> <n> [<window>|day|month [<time zone>]] [models <pattern>...]
//		shadow_limits
//		usage_endpoint [<path>]
//		metrics_metadata <name>...
//		auth_failures <n> <window>
//		price [<provider>/]<model pattern> {
//			<unit> <US dollars>
//			above <n> {
//				<unit> <US dollars>
//			}
//			batch|flex|priority {
//				<unit> <US dollars>
//			}
//		}
//		prices <file>
//		max_request_body <size>
//		heartbeat        <duration>
//		ledger log|file|redis ...
//		ledger_strangers
//		redis <address>... { ... }
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return parseDirective(d, h.ParseOption, h.FinishCaddyfile, Options()...)
}

// parseDirective parses a directive that is a block of these options, and checks
// them when all are there.
func parseDirective(d *caddyfile.Dispenser, parseOption func(*caddyfile.Dispenser) (known bool, err error), finish func(syntax.Line) error, options ...string) error {
	d.Next() // consume directive name
	line := syntax.At(d)
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := parseOption(d)
		if err != nil {
			return err
		}
		if !known {
			return syntax.Unknown(d, "", d.Val(), options...)
		}
	}
	return finish(line)
}

// ParseOption parses the option that d stands at, if it is one of the
// handler's. The llm_proxy directive hands its options on through it.
func (h *Handler) ParseOption(d *caddyfile.Dispenser) (known bool, err error) {
	line := syntax.At(d)
	switch d.Val() {
	case "trust_user":
		err = h.parseTrustUser(d)
	case "anonymous":
		err = syntax.FlagOnce(d, &h.Anonymous)
	case "rate_limit":
		err = h.parseUserLimit(d)
	case "shadow_limits":
		err = syntax.FlagOnce(d, &h.ShadowLimits)
	case "usage_endpoint":
		err = h.parseUsageEndpoint(d)
	case "metrics_metadata":
		err = h.parseMetricsMetadata(d)
	case "ledger":
		err = h.parseLedger(d)
	case "ledger_strangers":
		err = syntax.FlagOnce(d, &h.LedgerStrangers)
	case "price":
		err = h.parsePrice(d)
	case "prices":
		err = h.parsePrices(d)
	case "max_request_body":
		err = h.parseMaxRequestBody(d)
	case "heartbeat":
		err = syntax.DurationOnce(d, &h.Heartbeat)
	default:
		return h.Callers.parseOption(d)
	}
	if err == nil {
		err = line.Wrap(h.checkOptions())
	}
	return true, err
}

// Options are the names of those that ParseOption knows.
func Options() []string {
	return append(callersOptions(),
		"trust_user", "anonymous", "rate_limit", "shadow_limits", "usage_endpoint", "metrics_metadata", "ledger", "ledger_strangers",
		"price", "prices", "max_request_body", "heartbeat")
}

// FinishCaddyfile checks what can be told only when all options are parsed; the
// line is the directive's, which calls it behind the last of them. Nothing is
// opened or read for that, and no placeholder evaluated.
func (h *Handler) FinishCaddyfile(line syntax.Line) error {
	var err error
	if h.rules, err = rulesOf(h.UserLimits); err != nil {
		return line.Wrap(fmt.Errorf("rate_limit user: %w", err))
	}
	if _, err = rowsOf(h.Prices); err != nil {
		return err
	}
	h.trusting = h.TrustUser != nil
	if err := h.finishCaddyfile(line); err != nil {
		return err
	}
	if err := h.checkTrust(); err != nil {
		return err
	}
	h.warnOfMetricsMetadata()
	return line.Wrap(h.checkCallers())
}

// parseUserLimit parses "rate_limit user <kind> <n> <period>". The other
// layers stand in front of the handler and are the directive's.
func (h *Handler) parseUserLimit(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || args[0] != "user" {
		return d.Err("rate_limit: of whom? There are 'rate_limit ip', 'rate_limit global' and 'rate_limit user'")
	}
	limit, err := parseLimit(d, "rate_limit user", args[1:])
	if err != nil {
		return err
	}
	h.UserLimits = append(h.UserLimits, limit)
	if _, err := rulesOf(h.UserLimits); err != nil {
		return d.Errf("rate_limit user: %v", err)
	}
	return nil
}

func (h *Handler) parseMaxRequestBody(d *caddyfile.Dispenser) error {
	text, err := syntax.ArgumentOnce(d, h.MaxRequestBody != 0)
	if err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > math.MaxInt64 {
		return d.Errf("max_request_body: not a size such as 32MiB: %s", text)
	}
	h.MaxRequestBody = int64(size)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
