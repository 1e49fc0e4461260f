// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// UnmarshalCaddyfile sets up the transport from Caddyfile tokens. Syntax:
//
//	transport llm {
//		provider <name> [<base URL>] {
//			api         openai|anthropic|gemini|azure|bedrock|vertex|cohere|ollama|dashscope|llama|tgi
//			key         [<secret>|none] {
//				credentials   <source> { ... }
//				id            <id>
//				weight        <n>
//				tier          <n>
//				account       <name>
//				models        <pattern>...
//				max_in_flight <n>
//				requests      <n> [<window>]
//				tokens        <n> [<window>]
//				expires       <date>
//			}
//			keys        <secret>...
//			keys_file   <file>
//			select      round_robin|weighted|least_busy|fastest|headroom|sticky
//			prefill     on|off
//			usage       inject|observe
//			auth_header <name> [<scheme>]
//			header      <name> <value>
//			verdict     <class> { ... }
//			probe       <interval>|off
//			transport   <module> { ... }
//		}
//		model <pattern> <provider>[/<upstream model>]... {
//			split          <weight>...
//			canary {
//				error_margin       <percent>|off
//				first_token_margin <percent>|off
//				min_calls          <n>
//				window             <duration>
//				rest               <duration>
//			}
//			context_length <provider>[/<upstream model>]...
//			content_filter <provider>[/<upstream model>]...
//		}
//		retry {
//			attempts     <n>
//			delay        <duration>
//			budget       <percent>|off
//			deadline     <duration>
//			wait_for_key <duration>|off
//			max_wait     <duration>
//		}
//		timeouts {
//			connect     <duration>
//			headers     <duration>|off
//			first_token <duration>|off
//			idle        <duration>|off
//			total       <duration>|off
//		}
//		breaker {
//			failures    <n>
//			min_success <percent>
//			window      <duration>
//			open_for    <duration>
//		}
//		verdict <class> {
//			status <status>|<n>xx...
//			header <name> <regexp>
//			body   <regexp>
//			wait   <duration>
//			stop
//		}
//		probe         <interval>|off
//		redis         <address>... { ... }
//		state         memory|persist
//		rescue        off|resume
//		usage         inject|observe
//		on_disconnect cancel|drain
//		trail_header  [<name>]
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume transport name
	line := syntax.At(d)
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := t.ParseOption(d)
		if err != nil {
			return err
		}
		if !known {
			return syntax.Unknown(d, "", d.Val(), Options()...)
		}
	}
	if len(t.Providers) == 0 {
		return line.Wrap(errNoProvider)
	}
	return t.FinishCaddyfile()
}

// ParseOption parses the option that d stands at, if it is one of the
// transport's. The llm_proxy directive hands its options on through it.
func (t *Transport) ParseOption(d *caddyfile.Dispenser) (known bool, err error) {
	line := syntax.At(d)
	switch d.Val() {
	case "provider":
		err = t.parseProvider(d)
	case "model":
		line := new(ModelRoute)
		if err = line.parse(d); err == nil {
			t.Models = append(t.Models, line)
		}
	case "retry":
		err = parseBlock(d, &t.Retry, t.Retry.parseOption)
	case "timeouts":
		err = parseBlock(d, &t.Timeouts, t.Timeouts.parseOption)
	case "breaker":
		err = parseBlock(d, &t.Breaker, t.Breaker.parseOption)
	case "verdict":
		err = parseVerdict(d, &t.Verdicts)
	case "probe":
		err = parseLimit(d, &t.Probe)
	case "redis":
		err = redisconf.Parse(d, &t.Redis)
	case "state":
		err = syntax.TextOnce(d, &t.State)
	case "rescue":
		err = syntax.TextOnce(d, &t.Rescue)
	case "usage":
		err = syntax.TextOnce(d, &t.Usage)
	case "on_disconnect":
		err = syntax.TextOnce(d, &t.OnDisconnect)
	case "trail_header":
		err = t.parseTrail(d)
	default:
		return false, nil
	}
	if err == nil {
		err = line.Wrap(t.check())
	}
	return true, err
}

// Options are the names of those that ParseOption knows.
func Options() []string {
	return []string{
		"provider", "model", "retry", "timeouts", "breaker", "verdict", "probe", "redis", "state", "rescue", "usage", "on_disconnect", "trail_header",
	}
}

// FinishCaddyfile checks what can be told only when all options are parsed. The
// llm_proxy directive calls it behind the last of them.
func (t *Transport) FinishCaddyfile() error {
	if _, err := t.newRoutes(); err != nil {
		return err
	}
	t.warn(time.Now())
	return nil
}

func (t *Transport) parseProvider(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.ArgErr()
	}
	p := &Provider{Name: args[0], line: syntax.At(d)}
	if strings.Contains(p.Name, "/") {
		return d.Errf("provider name %s: must not contain a slash, which 'model' lines put between provider and model", p.Name)
	}
	if slices.ContainsFunc(t.Providers, func(other *Provider) bool { return other.Name == p.Name }) {
		return d.Errf("provider %s: already specified; a provider has several keys by several 'key' lines in its block", p.Name)
	}
	if len(args) == 2 {
		p.BaseURL = args[1]
	}
	if err := p.parseBlock(d); err != nil {
		return err
	}
	if err := p.checkWritten(); err != nil {
		return err
	}
	t.Providers = append(t.Providers, p)
	return nil
}

func (p *Provider) parseBlock(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		line := syntax.At(d)
		var err error
		switch d.Val() {
		case "api":
			err = syntax.TextOnce(d, &p.API)
		case "select":
			err = syntax.TextOnce(d, &p.Select)
		case "prefill":
			err = syntax.TextOnce(d, &p.Prefill)
		case "usage":
			err = syntax.TextOnce(d, &p.Usage)
		case "auth_header":
			err = p.parseAuthHeader(d)
		case "header":
			err = p.parseHeader(d)
		case "key":
			err = p.parseKey(d)
		case "keys":
			lists := d.RemainingArgs()
			if len(lists) == 0 {
				return d.ArgErr()
			}
			p.KeyLists = append(p.KeyLists, lists...)
		case "keys_file":
			err = syntax.TextOnce(d, &p.KeysFile)
		case "verdict":
			err = parseVerdict(d, &p.Verdicts)
		case "probe":
			err = parseLimit(d, &p.Probe)
		case "transport":
			err = p.parseTransport(d)
		default:
			return syntax.Unknown(d, "provider "+p.Name, d.Val(),
				"api", "select", "prefill", "usage", "auth_header", "header", "key", "keys", "keys_file", "verdict", "probe", "transport")
		}
		if err == nil {
			err = line.Wrap(p.named(p.check()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Provider) parseTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	if p.TransportRaw != nil {
		return d.Err("transport: already specified")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return err
	}
	if err := checkTransport(module); err != nil {
		return d.WrapErr(err)
	}
	p.TransportRaw = caddyconfig.JSONModuleObject(module, "protocol", name, nil)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Transport)(nil)
