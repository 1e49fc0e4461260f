// SPDX-License-Identifier: Apache-2.0

package redisconf

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// UnmarshalCaddyfile sets up Redis from Caddyfile tokens. Syntax:
//
//	redis <address>... {
//		master            <name>
//		cluster
//		username          <name>
//		password          <secret>
//		sentinel_username <name>
//		sentinel_password <secret>
//		db                <n>
//		key_prefix        <prefix>
//		tls {
//			ca   <file>
//			cert <file> <key file>
//		}
//		timeout           <duration>
//		on_failure        allow|deny
//	}
func (r *Redis) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return r.ParseCaddyfile(d, func(*caddyfile.Dispenser) (bool, error) { return false, nil })
}

// Parse parses the option redis, which may stand only once.
func Parse(d *caddyfile.Dispenser, into **Redis) error {
	if *into != nil {
		return d.Err("redis: already specified")
	}
	*into = new(Redis)
	return (*into).UnmarshalCaddyfile(d.NewFromNextSegment())
}

// ParseCaddyfile does the same for what has further options in the same block:
// more is asked for those that are not Redis's, which have these names.
func (r *Redis) ParseCaddyfile(d *caddyfile.Dispenser, more func(*caddyfile.Dispenser) (known bool, err error), names ...string) error {
	d.Next() // consume the option's name
	r.Addresses = d.RemainingArgs()
	if len(r.Addresses) == 0 {
		return d.Err("redis: an address is needed, such as redis://localhost:6379")
	}
	for _, address := range r.Addresses {
		if syntax.HasPlaceholder(address) {
			continue
		}
		if _, err := readAddress(address, new(store.Options)); err != nil {
			return d.Errf("redis: %v", err)
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if known, err := more(d); err != nil {
			return err
		} else if known {
			continue
		}
		line := syntax.At(d)
		if err := r.parseOption(d, names); err != nil {
			return err
		}
		if err := r.check(); err != nil {
			return line.Wrap(fmt.Errorf("redis: %w", err))
		}
	}
	return nil
}

func (r *Redis) parseOption(d *caddyfile.Dispenser, beside []string) error {
	option := d.Val()
	if into := map[string]*string{
		"master": &r.Master, "username": &r.Username, "password": &r.Password,
		"sentinel_username": &r.SentinelUsername, "sentinel_password": &r.SentinelPassword,
		"key_prefix": &r.KeyPrefix, "on_failure": &r.OnFailure,
	}[option]; into != nil {
		return syntax.TextOnce(d, into)
	}
	switch option {
	case "cluster":
		return syntax.FlagOnce(d, &r.Cluster)
	case "db":
		text, err := syntax.ArgumentOnce(d, r.DB != 0)
		if err == nil {
			r.DB, err = syntax.WholeNumber(d, option, text)
		}
		return err
	case "timeout":
		return syntax.DurationOnce(d, &r.Timeout)
	case "tls":
		return r.parseTLS(d)
	}
	return syntax.Unknown(d, "redis", option, append([]string{
		"master", "username", "password", "sentinel_username", "sentinel_password", "key_prefix", "on_failure", "cluster", "db", "timeout", "tls",
	}, beside...)...)
}

func (r *Redis) parseTLS(d *caddyfile.Dispenser) error {
	if err := syntax.FlagOnce(d, &r.TLS); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "ca":
			if err := syntax.TextOnce(d, &r.CAFile); err != nil {
				return err
			}
		case "cert":
			if r.CertFile != "" {
				return d.Err("cert: already specified")
			}
			if !d.AllArgs(&r.CertFile, &r.KeyFile) {
				return d.Err("cert: wants the file of the certificate and that of its key")
			}
		default:
			return syntax.Unknown(d, "redis tls", d.Val(), "ca", "cert")
		}
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Redis)(nil)
