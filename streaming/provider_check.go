// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// check refuses options that cannot be meant as they stand.
func (p *Provider) check() error {
	if err := syntax.Check(
		syntax.Choice{Option: "api", Value: p.API, Known: wire.Names()},
		syntax.Choice{Option: "select", Value: p.Select, Known: keypool.Policies()},
		syntax.Choice{Option: "prefill", Value: p.Prefill, Known: []string{"on", "off"}},
		syntax.Choice{Option: "usage", Value: p.Usage, Known: usageModes},
	); err != nil {
		return err
	}
	return checkProbe(p.Probe)
}

// checkWritten finds in a Caddyfile what Provision would refuse. Placeholders
// are not evaluated: what they stand for is known to the Caddy that runs.
func (p *Provider) checkWritten() error {
	p.settleFamily()
	base, err := p.baseURL()
	if err == nil && !syntax.HasPlaceholder(base) {
		if err = p.setBase(base); err == nil {
			p.recognize()
		}
	}
	if err != nil {
		return p.line.Wrap(p.named(err))
	}
	if keyless, err := p.keylessAs(); keyless != nil || err != nil {
		return p.named(err)
	}
	if len(p.Keys) == 0 && len(p.KeyLists) == 0 && p.KeysFile == "" {
		return p.line.Wrap(p.named(errNoKeys))
	}
	return p.checkWrittenKeys()
}

// checkWrittenKeys does so for the keys. Two that are the same placeholder are
// the same key.
func (p *Provider) checkWrittenKeys() error {
	var keys []keypool.Key
	for i, key := range p.Keys {
		secret := key.Secret
		if key.CredentialsRaw != nil {
			secret = string(key.CredentialsRaw)
		}
		ready, err := key.ready(secret)
		if err == nil && !syntax.HasPlaceholder(secret) {
			err = p.checkSecret(secret)
		}
		if err != nil {
			return key.line.Wrap(p.named(fmt.Errorf("key %d: %w", i+1, err)))
		}
		keys = append(keys, ready)
	}
	for _, list := range p.KeyLists {
		if syntax.HasPlaceholder(list) {
			keys = append(keys, keypool.Key{Secret: keypool.NewSecret(list)})
			continue
		}
		more, err := p.splitKeys(list)
		if err != nil {
			return p.line.Wrap(p.named(fmt.Errorf("keys: %w", err)))
		}
		keys = append(keys, more...)
	}
	if len(keys) == 0 { // they stand in a file
		return nil
	}
	return p.place(keypool.CheckKeys(keys))
}

// place adds to what is wrong with one of the keys where it stands, and where
// the other one does with which it cannot be told apart.
func (p *Provider) place(err error) error {
	var wrong *keypool.KeyError
	if !errors.As(err, &wrong) {
		return p.line.Wrap(p.named(err))
	}
	if other := wrong.Other; other >= 0 && other < len(p.Keys) && p.line.Known() {
		err = fmt.Errorf("%w, which stands at %s", err, p.Keys[other].line)
	}
	return p.keyLine(wrong.Index).Wrap(p.named(err))
}

// keyLine returns where a key stands; those of lists stand somewhere behind the
// provider's own line.
func (p *Provider) keyLine(index int) syntax.Line {
	if index < len(p.Keys) {
		return p.Keys[index].line
	}
	return p.line
}

// named adds to an error which provider it is about. There may be none.
func (p *Provider) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("provider %q: %w", p.Name, err)
}
