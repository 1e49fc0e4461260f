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

// KeyError is what is wrong with one of several keys. It names keys by where
// they stand, since two may have the same id, and never shows a secret.
type KeyError struct {
	// Index is where the key stands, from 0.
	Index int
	// Other is where the key before it stands from which it cannot be told
	// apart, and -1 if the key is wrong by itself.
	Other int
	// Err is what is wrong.
	Err error
}

// Error names both keys.
func (e *KeyError) Error() string {
	if e.Other < 0 {
		return fmt.Sprintf("key %d: %v", e.Index+1, e.Err)
	}
	return fmt.Sprintf("key %d: %v key %d", e.Index+1, e.Err, e.Other+1)
}

// Unwrap returns what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// CheckKeys refuses keys that cannot be used or told apart. Of those that a key
// is to blame for the error is a [*KeyError].
func CheckKeys(keys []Key) error {
	_, err := checkKeys(keys)
	return err
}

// checkKeys does so and fills in defaults.
func checkKeys(keys []Key) ([]Key, error) {
	if len(keys) == 0 {
		return nil, errors.New("a pool needs at least one key")
	}
	checked := make([]Key, len(keys))
	ids, secrets := map[string]int{}, map[string]int{}
	for i, key := range keys {
		if err := key.check(); err != nil {
			return nil, &KeyError{i, -1, err}
		}
		if other, twice := secrets[key.Secret.Reveal()]; twice {
			return nil, &KeyError{i, other, errors.New("the secret is also that of")}
		}
		if other, twice := ids[key.ID]; twice {
			return nil, &KeyError{i, other, fmt.Errorf("the id %q is also that of", key.ID)}
		}
		ids[key.ID], secrets[key.Secret.Reveal()] = i, i
		checked[i] = key
	}
	return checked, nil
}

// check refuses a key that is wrong by itself, and fills in defaults.
func (k *Key) check() error {
	if k.Secret.Empty() {
		return errors.New("the secret is empty")
	}
	if k.ID == "" {
		k.ID = "key-" + Fingerprint(k.Secret.Reveal())
	}
	if k.Weight == 0 {
		k.Weight = 1
	}
	if k.Weight < 0 || k.Weight > maxWeight {
		return fmt.Errorf("the weight must be between 1 and %d", maxWeight)
	}
	return k.checkLimits()
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
