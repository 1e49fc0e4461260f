// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("llm_simulator", parse)
	// It answers by itself, as respond does, and stands in its place. The
	// anchor reverse_proxy is left to llm_proxy: two directives on one anchor
	// have no order between them.
	httpcaddyfile.RegisterDirectiveOrder("llm_simulator", httpcaddyfile.After, "respond")
}

func parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Handler)
	return s, s.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	llm_simulator [<matcher>] {
//		first_token <duration>
//		delay       <duration>
//		chunks      <n>
//		chunk_size  <bytes>
//		models      <name>...
//		fault       <name> [<args>...]
//		key         <secret> [<fault> [<args>...]]
//		model       <pattern> [<fault> [<args>...]] {
//			fault       <name> [<args>...]
//			first_token <duration>
//			delay       <duration>
//			chunks      <n>
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "first_token":
			err = syntax.DurationOnce(d, &h.FirstToken)
		case "delay":
			err = syntax.DurationOnce(d, &h.Delay)
		case "chunks":
			err = parseCount(d, &h.Chunks)
		case "chunk_size":
			err = parseCount(d, &h.ChunkSize)
		case "models":
			err = h.parseModels(d)
		case "fault":
			err = parseFaultOption(d, &h.Fault, d.RemainingArgs())
		case "key":
			err = h.parseKey(d)
		case "model":
			err = h.parseRule(d)
		default:
			err = syntax.Unknown(d, "", d.Val(), "first_token", "delay", "chunks", "chunk_size", "models", "fault", "key", "model")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) parseModels(d *caddyfile.Dispenser) error {
	models := d.RemainingArgs()
	if len(models) == 0 {
		return d.ArgErr()
	}
	h.Models = append(h.Models, models...)
	return nil
}

func (h *Handler) parseKey(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || args[0] == "" {
		return d.Err("key: a secret is needed")
	}
	if slices.ContainsFunc(h.Keys, func(other KeyConfig) bool { return other.Secret == args[0] }) {
		return d.Err("key: already specified")
	}
	key := KeyConfig{Secret: args[0]}
	if len(args) > 1 {
		if err := parseFaultOption(d, &key.Fault, args[1:]); err != nil {
			return err
		}
	}
	h.Keys = append(h.Keys, key)
	return nil
}

func (h *Handler) parseRule(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("model: a pattern is needed")
	}
	rule := RuleConfig{Match: args[0]}
	if _, err := path.Match(rule.Match, ""); err != nil || rule.Match == "" {
		return d.Errf("model: not a pattern: %s", rule.Match)
	}
	if len(args) > 1 {
		if err := parseFaultOption(d, &rule.Fault, args[1:]); err != nil {
			return err
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "fault":
			err = parseFaultOption(d, &rule.Fault, d.RemainingArgs())
		case "first_token":
			err = syntax.DurationOnce(d, &rule.FirstToken)
		case "delay":
			err = syntax.DurationOnce(d, &rule.Delay)
		case "chunks":
			err = parseCount(d, &rule.Chunks)
		default:
			err = syntax.Unknown(d, "model", d.Val(), "fault", "first_token", "delay", "chunks")
		}
		if err != nil {
			return err
		}
	}
	h.Rules = append(h.Rules, rule)
	return nil
}

func parseFaultOption(d *caddyfile.Dispenser, into *string, words []string) error {
	if *into != "" {
		return d.Err("fault: already specified")
	}
	if _, err := ParseFault(words); err != nil {
		return d.Err(err.Error())
	}
	*into = strings.Join(words, " ")
	return nil
}

func parseCount(d *caddyfile.Dispenser, into *int) error {
	option := d.Val()
	text, err := syntax.ArgumentOnce(d, *into != 0)
	if err != nil {
		return err
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 || !validCount(value) {
		return d.Errf("%s: not a number from 1 to %d: %s", option, maxCount, text)
	}
	*into = value
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
