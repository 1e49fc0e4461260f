// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	llm_proxy {
//		client <id> <sha256:hex|placeholder>... {
//			group    <name>...
//			models   <pattern>...
//			limit    <kind> <n> [<window>|day|month [<time zone>]] [models <pattern>...]
//			expires  <date>
//			allow_ip <address or CIDR range>...
//		}
//		group <name> {
//			models <pattern>...
//			limit  <kind> <n> [<window>|day|month [<time zone>]] [each] [models <pattern>...]
//		}
//		clients <file>
//		jwt {
//			jwks     <URL or file>
//			issuer   <issuer>
//			audience <name>...
//			claim    <name>
//			leeway   <duration>
//		}
//		trust_user [<placeholder>]
//		anonymous
//		rate_limit user <kind> <n> [<window>|day|month [<time zone>]] [models <pattern>...]
//		shadow_limits
//		usage_endpoint [<path>]
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
	d.Next() // consume directive name
	line := syntax.At(d)
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := h.ParseOption(d)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unrecognized subdirective %s", d.Val())
		}
	}
	return h.FinishCaddyfile(line)
}

// ParseOption parses the option that d stands at, if it is one of the
// handler's. The llm_proxy directive hands its options on through it.
func (h *Handler) ParseOption(d *caddyfile.Dispenser) (known bool, err error) {
	line := syntax.At(d)
	switch d.Val() {
	case "client":
		err = h.parseClient(d)
	case "group":
		err = h.parseGroup(d)
	case "clients":
		err = h.parseClients(d)
	case "jwt":
		err = h.parseJWT(d)
	case "trust_user":
		err = h.parseTrustUser(d)
	case "anonymous":
		err = parseFlag(d, &h.Anonymous)
	case "rate_limit":
		err = h.parseUserLimit(d)
	case "shadow_limits":
		err = parseFlag(d, &h.ShadowLimits)
	case "usage_endpoint":
		err = h.parseUsageEndpoint(d)
	case "auth_failures":
		err = h.parseAuthFailures(d)
	case "ledger":
		err = h.parseLedger(d)
	case "ledger_strangers":
		err = parseFlag(d, &h.LedgerStrangers)
	case "price":
		err = h.parsePrice(d)
	case "prices":
		err = h.parsePrices(d)
	case "redis":
		err = streaming.ParseRedis(d, &h.Redis)
	case "max_request_body":
		err = h.parseMaxRequestBody(d)
	case "heartbeat":
		err = h.parseHeartbeat(d)
	default:
		return false, nil
	}
	if err == nil {
		err = line.Wrap(h.checkOptions())
	}
	return true, err
}

// FinishCaddyfile checks what can be told only when all options are parsed; the
// line is the directive's, which calls it behind the last of them. Nothing is
// opened or read for that, and no placeholder evaluated.
func (h *Handler) FinishCaddyfile(line syntax.Line) error {
	var err error
	if h.rules, err = rulesOf(h.UserLimits); err != nil {
		return line.Wrap(fmt.Errorf("rate_limit user: %w", err))
	}
	if err := h.openGroups(); err != nil {
		return err
	}
	if err := h.fillDirectory(nil, asWritten); err != nil {
		return err
	}
	for _, c := range h.Clients {
		c.warn(time.Now())
	}
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

// parseAuthFailures parses "auth_failures <n> <window>".
func (h *Handler) parseAuthFailures(d *caddyfile.Dispenser) error {
	if h.AuthFailures != nil {
		return d.Err("auth_failures: already specified")
	}
	var limit, window string
	if !d.AllArgs(&limit, &window) {
		return d.Err("auth_failures: wants a number and a window, such as 'auth_failures 20 1m'")
	}
	n, err := strconv.Atoi(limit)
	if err != nil {
		return d.Errf("auth_failures: not a number: %s", limit)
	}
	length, err := syntax.Duration(window)
	if err != nil {
		return d.Errf("auth_failures: window: %v", err)
	}
	h.AuthFailures = &AuthFailures{Limit: n, Window: caddy.Duration(length)}
	return nil
}

func (h *Handler) parseClients(d *caddyfile.Dispenser) error {
	if h.ClientsFile != "" {
		return d.Err("clients: already specified")
	}
	if !d.AllArgs(&h.ClientsFile) {
		return d.Err("clients: wants one file")
	}
	return nil
}

func (h *Handler) parseTrustUser(d *caddyfile.Dispenser) error {
	if h.TrustUser != "" {
		return d.Err("trust_user: already specified")
	}
	h.TrustUser = "{http.auth.user.id}"
	if d.NextArg() {
		h.TrustUser = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// parseFlag parses an option without arguments.
func parseFlag(d *caddyfile.Dispenser, into *bool) error {
	if *into {
		return d.Errf("%s: already specified", d.Val())
	}
	*into = true
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func (h *Handler) parseMaxRequestBody(d *caddyfile.Dispenser) error {
	if h.MaxRequestBody != 0 {
		return d.Err("max_request_body: already specified")
	}
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
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
