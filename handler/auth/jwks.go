// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxKeys bounds how many keys an issuer may have.
	maxKeys = 256
	// minRSABits is the size of the smallest RSA key that is believed.
	minRSABits = 2048
	// minRefresh is how long after one fetch a token with an unknown key may
	// cause another: anybody can invent key ids.
	minRefresh = 30 * time.Second
	// minOther is the same where the token is from another address than the one
	// that has caused the last fetch: who invents ids must not keep others from
	// having new keys fetched.
	minOther = 5 * time.Second
	// maxKeyWait is how long a call waits for a fetch.
	maxKeyWait = 5 * time.Second
)

// KeySet holds the public keys of an issuer of tokens. Its owner is
// [KeySet.Run], which fetches them; when that fails, the known ones stay. It is safe for
// concurrent use.
type KeySet struct {
	// Fetch gets the keys as a JSON Web Key Set.
	Fetch func(context.Context) ([]byte, error)
	// Every is how often they are fetched again, and Again how soon after a
	// failure.
	Every, Again time.Duration
	// Report is told of each failure.
	Report func(error)
	// Now is the clock.
	Now func() time.Time

	// wake tells the owner that a fetch is wanted.
	wake chan struct{}

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time
	// asker is the address that has caused a fetch last.
	asker netip.Addr
	// round is closed when the fetch that is wanted or under way is over; nil
	// when there is none.
	round chan struct{}
}

// Init prepares the set. It must be called first.
func (k *KeySet) Init() { k.wake = make(chan struct{}, 1) }

// Run keeps the keys fresh until ctx ends.
func (k *KeySet) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.wake:
		}
		next := k.Every
		if err := k.Load(ctx); err != nil && ctx.Err() == nil {
			k.Report(err)
			next = k.Again
		}
		timer.Reset(next)
	}
}

// Load fetches the keys once. If that fails the known ones stay.
func (k *KeySet) Load(ctx context.Context) error {
	text, err := k.Fetch(ctx)
	var keys []jose.JSONWebKey
	if err == nil {
		keys, err = parseKeys(text)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.keys = keys
	}
	k.fetched = k.Now()
	if k.round != nil {
		close(k.round)
		k.round = nil
	}
	return err
}

// find returns the keys that may have signed a token. If it knows none, it
// waits for a fetch, unless there was one just now. It fails if no keys have
// ever come.
func (k *KeySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	found, known := k.lookUp(id)
	if len(found) > 0 {
		return found, nil
	}
	if round := k.ask(callerOf(ctx).from); round != nil {
		ctx, cancel := context.WithTimeout(ctx, maxKeyWait)
		defer cancel()
		select {
		case <-round:
		case <-ctx.Done():
		}
		found, known = k.lookUp(id)
	}
	if !known {
		return nil, errNoKeys
	}
	return found, nil
}

// lookUp returns the keys of that id, or all if the token names none, and
// whether there are keys at all.
func (k *KeySet) lookUp(id string) (found []jose.JSONWebKey, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" {
		return k.keys, len(k.keys) > 0
	}
	for _, key := range k.keys {
		if key.KeyID == id {
			found = append(found, key)
		}
	}
	return found, len(k.keys) > 0
}

// ask wants a fetch for a token from an address. It returns nil if the last one
// is too recent.
func (k *KeySet) ask(from netip.Addr) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.round == nil {
		least := minRefresh
		if from != k.asker {
			least = minOther
		}
		if !k.fetched.IsZero() && k.Now().Sub(k.fetched) < least {
			return nil
		}
		k.asker = from
		k.round = make(chan struct{})
		// The first fetch is under way already.
		if !k.fetched.IsZero() {
			select {
			case k.wake <- struct{}{}:
			default: // the owner is to wake already
			}
		}
	}
	return k.round
}

// parseKeys reads a JSON Web Key Set. Keys that cannot verify a signature, or
// are of an unknown type, are left out.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || key.Use != "" && key.Use != "sig" {
			continue
		}
		if key = key.Public(); !key.Valid() || isWeak(key) {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key to verify signatures with")
	}
	return keys, nil
}

func isWeak(key jose.JSONWebKey) bool {
	public, ok := key.Key.(*rsa.PublicKey)
	return ok && public.N.BitLen() < minRSABits
}
