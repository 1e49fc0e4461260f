// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// parseIntrospection parses "introspection <URL> { … }".
func (who *Callers) parseIntrospection(d *caddyfile.Dispenser) error {
	if who.Introspection != nil {
		return d.Err("introspection: already specified")
	}
	i := &Introspection{line: syntax.At(d)}
	if !d.AllArgs(&i.URL) {
		return d.Err("introspection: wants the URL of an introspection endpoint, such as https://id.example.com/oauth2/introspect")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := i.parseOption(d); err != nil {
			return err
		}
	}
	who.Introspection = i
	return nil
}

func (i *Introspection) parseOption(d *caddyfile.Dispenser) error {
	const of = "introspection"
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s: %s: wants an argument", of, option)
	}
	switch option {
	case "client_id":
		return parseText(d, of, option, args, &i.ClientID)
	case "client_secret":
		return parseText(d, of, option, args, &i.ClientSecret)
	case "issuer":
		return parseText(d, of, option, args, &i.Issuer)
	case "audience":
		i.Audience = append(i.Audience, args...)
		return nil
	case "cache":
		return parseDuration(d, of, option, args, &i.Cache)
	case "stale":
		return parseDuration(d, of, option, args, &i.Stale)
	case "timeout":
		return parseDuration(d, of, option, args, &i.Timeout)
	case "max_in_flight":
		return parseCount(d, of, option, args, &i.MaxInFlight)
	case "max_rate":
		return parseCount(d, of, option, args, &i.MaxRate)
	}
	known, err := i.Claims.parseOption(d, of, option, args)
	if err == nil && !known {
		err = d.Errf("%s: unrecognized option %s", of, option)
	}
	return err
}
