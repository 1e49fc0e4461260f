// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// noKey is what stands in the place of the key where none is needed: in a
// Caddyfile, and for the pool, which knows everything by its key. It is never
// sent.
const noKey = "none"

// resolveKeyless finds out whether the provider is asked without a key, because
// the config says so, or because it is a server that anybody may run and the
// config names no key. It returns what the pool has for one then.
func (p *Provider) resolveKeyless() (keys []keypool.Key, err error) {
	said := len(p.Keys) + len(p.KeyLists)
	if p.KeysFile != "" {
		said++
	}
	hosted := p.service != nil && !p.service.Runnable()
	key := new(Key)
	at := slices.IndexFunc(p.Keys, func(key *Key) bool { return key != nil && key.None })
	switch {
	case at >= 0:
		key = p.Keys[at]
	case said > 0 || p.service == nil || hosted:
		return nil, nil
	}
	switch {
	case said > 1:
		return nil, errors.New("with 'key none' there are no other keys")
	case key.Secret != "" || key.CredentialsRaw != nil:
		return nil, errors.New("key none: has neither a secret nor credentials")
	case hosted:
		return nil, fmt.Errorf("key none: %s answers nobody without a key", p.service.Name)
	}
	ready, err := key.ready(noKey)
	if ready.ID == "" {
		ready.ID = noKey
	}
	p.keyless = true
	return []keypool.Key{ready}, err
}

// findKeys returns the keys of the config.
func (p *Provider) findKeys(ctx caddy.Context) ([]keypool.Key, error) {
	if keyless, err := p.resolveKeyless(); keyless != nil || err != nil {
		return keyless, err
	}
	return p.resolveKeys(ctx)
}
