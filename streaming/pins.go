// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"slices"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

const (
	// maxPins bounds how many stored objects a provider's keys are remembered
	// for. All of them take about 20 MB.
	maxPins = 1 << 16
	// pinTime is how long one is remembered that nobody asks for. OpenAI keeps
	// responses for as long.
	pinTime = 30 * 24 * time.Hour
)

// stored is the memory of who made what; see [keypool.Pins]. It is there so
// that a caddy.UsagePool can hold it.
type stored struct{ *keypool.Pins }

func newStored() stored { return stored{keypool.NewPins(maxPins, pinTime, time.Now)} }

// Destruct does nothing: calls in flight may still make something.
func (stored) Destruct() error { return nil }

// pin keeps a call to the provider, and the key, that made what it refers to:
// nobody else could find it. If nobody is known to have, that is the first
// provider.
func (r *rotation) pin() {
	objects := r.call.Request.Objects
	if len(objects) == 0 {
		return
	}
	r.pinTo(objects)
	if r.owner == nil {
		r.owner = r.chain.targets[0].provider
	}
	r.chain = r.chain.at(r.owner)
}

// pinTo does so for the first of the objects that is known.
func (r *rotation) pinTo(objects []string) {
	providers := r.transport.routes.providers(r.call.Request, r.chain)
	for _, object := range objects {
		for _, p := range providers {
			if !allowed(r.call.Providers).allows(p) {
				continue
			}
			if key, known := p.stored.Get(object); known && p.pool.Load().Has(key) {
				r.owner, r.ownerKey = p, key
				return
			}
		}
	}
}

// owned returns the id of the only key of a target that will do; "" is any.
func (r *rotation) owned(to target, want keypool.Want) string {
	if r.owner == nil || r.ownerKey != "" {
		return r.ownerKey
	}
	return r.pool.Owner(r.call.Request.Objects[0], want)
}

// found notes that the key of a leg has found what the call refers to.
func (r *rotation) found(l *leg) {
	if r.owner == nil || r.ownerKey != "" || l.response.StatusCode >= 300 {
		return
	}
	for _, object := range r.call.Request.Objects {
		r.owner.stored.Put(object, l.lease.KeyID())
	}
}

// keep notes what the key of the leg has made, as soon as the answer names it
// and before the client can ask for it.
func (l *leg) keep() {
	named := l.scan.Named()
	if named == l.kept {
		return
	}
	l.kept = named
	for _, object := range l.call.Request.Made(l.scan) {
		l.to.provider.stored.Put(object, l.lease.KeyID())
	}
}

// at returns the chain with the targets of one provider only. There is always
// one.
func (c *chain) at(p *Provider) *chain {
	only := func(targets []target) []target {
		return slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return t.provider != p })
	}
	narrow := &chain{targets: only(c.targets), contextLength: only(c.contextLength), contentFilter: only(c.contentFilter)}
	if len(narrow.targets) == 0 {
		narrow.targets = []target{{provider: p}} // of a call that names no model
	}
	return narrow
}
