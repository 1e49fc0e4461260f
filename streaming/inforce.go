// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"cmp"
	"slices"
	"sync"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// inForce are the transports of the configs in force. A config that is only
// validated, or refused, never gets in.
var inForce transports

// transports is a list of transports, the newest first.
type transports struct {
	mu   sync.Mutex
	list []*Transport
}

func (l *transports) add(t *Transport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.Insert(slices.Clone(l.list), 0, t)
}

func (l *transports) remove(t *Transport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(slices.Clone(l.list), func(other *Transport) bool { return other == t })
}

// providers returns the providers of all transports.
func (l *transports) providers() (all []*Provider) {
	l.mu.Lock()
	list := l.list
	l.mu.Unlock()
	for _, t := range list {
		all = append(all, t.Providers...)
	}
	return all
}

// PoolStatus is what operators may see of a provider's pool of keys. It holds
// no secret.
type PoolStatus struct {
	// Provider is the provider's name, API its API family, and BaseURL where
	// it is.
	Provider, API, BaseURL string
	// Keys are the keys in the order of the config.
	Keys []keypool.KeyStatus
	// Upstream is what is known of the provider's servers.
	Upstream keypool.UpstreamStatus
}

// Pools returns the pools of all configs in force, in the order of their names.
// Providers of the same name and place are one, wherever in the config they
// are; so are their keys of the same id.
func Pools() []PoolStatus {
	var pools []PoolStatus
	type place struct{ provider, base string }
	type key struct {
		at place
		id string
	}
	at, seen := map[place]int{}, map[key]bool{}
	for _, p := range inForce.providers() {
		pool, here := p.pool.Load(), place{p.Name, p.base.String()}
		i, known := at[here]
		if !known {
			i = len(pools)
			at[here] = i
			pools = append(pools, PoolStatus{Provider: p.Name, API: p.family.Name, BaseURL: here.base, Upstream: pool.UpstreamStatus()})
		}
		for _, status := range pool.Snapshot() {
			if this := (key{here, status.ID}); !seen[this] {
				seen[this] = true
				pools[i].Keys = append(pools[i].Keys, status)
			}
		}
	}
	slices.SortFunc(pools, func(a, b PoolStatus) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.BaseURL, b.BaseURL))
	})
	return pools
}

// OperateKey has something done to a key in every pool in force of a provider.
// It reports false if there is no such key.
func OperateKey(provider, keyID string, do func(pool *keypool.Pool, keyID string) (known bool)) bool {
	known := false
	for _, p := range inForce.providers() {
		if p.Name == provider && do(p.pool.Load(), keyID) {
			known = true
		}
	}
	return known
}
