// SPDX-License-Identifier: Apache-2.0

// Package keypool holds the keys of a provider and what is known of their
// health: which key a call may use, how long one that failed must rest, and
// when it may be tried again.
//
// A [Pool] is made anew for each config; the [State] of a key outlives it.
package keypool

import (
	"errors"
	"fmt"
	"time"
)

// Key is one provider credential.
type Key struct {
	// ID is what the key is called wherever people read of it. Default: "key-"
	// and the secret's [Fingerprint].
	ID string
	// Secret is the credential.
	Secret Secret
	// Weight is the key's share of the calls under the weighted policy, at most
	// a million. Default: 1; a key cannot be given no share at all.
	Weight int
	// Tier is the key's tier of service, from 0. A key of a higher tier is used
	// only when the lower ones have none that is free, or if a call asks for
	// it. Default: 0.
	Tier int
	// Account is whose key it is: keys of one account share its rate limits
	// and its quota. Default: none is shared.
	Account string
	// MaxInFlight is how many calls may use the key at a time. Default: any
	// number.
	MaxInFlight int
	// Requests and Tokens are the key's limits, where the provider does not
	// tell what is left of them. Default: none.
	Requests, Tokens Rate
	// Models are patterns, as of [Matches], of the models that the key may be
	// used for.
	// Default: all.
	Models []string
	// Expires is when the key ceases to be used. Default: never.
	Expires time.Time
}

// bounded reports whether anything but its rests and its tier limits the use of
// the key.
func (k *Key) bounded() bool {
	return k.MaxInFlight != 0 || k.Requests.N != 0 || k.Tokens.N != 0 || len(k.Models) != 0 || !k.Expires.IsZero()
}

// maxWeight keeps sums of weights far from overflowing.
const maxWeight = 1_000_000

// checkKeys fills in defaults, and refuses keys that cannot be used or told
// apart. Errors name ids and positions, never secrets.
func checkKeys(keys []Key) ([]Key, error) {
	if len(keys) == 0 {
		return nil, errors.New("a pool needs at least one key")
	}
	checked := make([]Key, len(keys))
	ids, secrets := map[string]bool{}, map[string]string{}
	for i, key := range keys {
		if key.Secret.Empty() {
			return nil, fmt.Errorf("key %d: the secret is empty", i+1)
		}
		if key.ID == "" {
			key.ID = "key-" + Fingerprint(key.Secret.Reveal())
		}
		if key.Weight == 0 {
			key.Weight = 1
		}
		if key.Weight < 0 || key.Weight > maxWeight {
			return nil, fmt.Errorf("key %q: the weight must be between 1 and %d", key.ID, maxWeight)
		}
		if err := key.checkLimits(); err != nil {
			return nil, fmt.Errorf("key %q: %w", key.ID, err)
		}
		if other, twice := secrets[key.Secret.Reveal()]; twice {
			return nil, fmt.Errorf("key %q: the secret is also that of key %q", key.ID, other)
		}
		if ids[key.ID] {
			return nil, fmt.Errorf("key %q: the id is used twice", key.ID)
		}
		ids[key.ID], secrets[key.Secret.Reveal()] = true, key.ID
		checked[i] = key
	}
	return checked, nil
}

func (k *Key) checkLimits() error {
	for _, rate := range []*Rate{&k.Requests, &k.Tokens} {
		if rate.N < 0 || rate.Per < 0 {
			return errors.New("a limit cannot be negative")
		}
		if rate.Per == 0 {
			rate.Per = usualWindow
		}
	}
	if k.Tier < 0 || k.MaxInFlight < 0 {
		return errors.New("neither the tier nor the number of calls in flight can be negative")
	}
	return nil
}
