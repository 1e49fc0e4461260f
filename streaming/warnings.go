// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// shortKey is the length, in bytes, below which a key is part of much that is
// no key, so that it cannot be hidden without hiding that.
const shortKey = 8

// warn tells of what is allowed in a Caddyfile but comes to nothing, or to
// something that can hardly be meant.
func (t *Transport) warn(now time.Time) {
	for _, p := range t.Providers {
		p.warnOfBase()
		p.warnOfShortKeys()
		p.warnOfExpiry(now)
	}
	t.warnOfUnnamed()
}

// warnOfBase tells of a base URL where the service at that host is not.
func (p *Provider) warnOfBase() {
	if p.base == nil || p.service == nil || p.service.Family != p.family {
		return
	}
	if instead := p.service.Instead(p.base); instead != "" {
		p.line.Warn("provider %s: base URL %s: %s is known to be at %s; write that, or nothing if the provider is named %s",
			p.Name, p.BaseURL, p.service.Name, instead, p.service.Name)
	}
}

// warnOfShortKeys tells of keys that cannot be hidden.
func (p *Provider) warnOfShortKeys() {
	warn := func(line syntax.Line, secret string) {
		if secret == "" || syntax.HasPlaceholder(secret) || len(secret) >= shortKey {
			return
		}
		instead := "use a longer key, or 'key none' if the provider wants none"
		if p.service != nil && !p.service.Runnable() {
			instead = "write the key as " + p.service.Name + " gave it"
		}
		line.Warn("provider %s: a key of fewer than %d characters: it is looked for in the provider's errors to hide it, and would be found in harmless words, which are then mangled; %s",
			p.Name, shortKey, instead)
	}
	for _, key := range p.Keys {
		warn(key.line, key.Secret)
	}
	for _, list := range p.KeyLists {
		if syntax.HasPlaceholder(list) {
			continue
		}
		keys, _ := p.splitKeys(list) // which have been checked
		for _, key := range keys {
			warn(p.line, key.Secret.Reveal())
		}
	}
}

// warnOfExpiry tells of a provider that has no key any more.
func (p *Provider) warnOfExpiry(now time.Time) {
	if len(p.Keys) == 0 || len(p.KeyLists) > 0 || p.KeysFile != "" {
		return
	}
	var last *Key
	var ended time.Time
	for _, key := range p.Keys {
		expires, _ := parseDate(key.Expires) // which has been checked
		if expires.IsZero() || now.Before(expires) {
			return
		}
		if expires.After(ended) {
			last, ended = key, expires
		}
	}
	last.line.Warn("provider %s: its keys have expired, the last at %s, so it serves nobody; set 'expires' to a later date, add a key, or take the provider out",
		p.Name, last.Expires)
}

// warnOfUnnamed tells of providers that no line of models sends to, while there
// are lines for their family.
func (t *Transport) warnOfUnnamed() {
	named, routed := map[string]bool{}, map[*wire.Family]bool{}
	for _, line := range t.Models {
		for _, targets := range [][]Target{line.Targets, line.ContextLength, line.ContentFilter} {
			for _, to := range targets {
				named[to.Provider] = true
			}
		}
	}
	for _, p := range t.Providers {
		routed[p.family] = routed[p.family] || named[p.Name]
	}
	for _, p := range t.Providers {
		if routed[p.family] && !named[p.Name] {
			p.line.Warn("provider %s: no 'model' line names it, while others of the API %s are named, so no model is asked of it; name it in one, such as 'model <pattern> %s', or take it out",
				p.Name, p.family.Name, p.Name)
		}
	}
}
