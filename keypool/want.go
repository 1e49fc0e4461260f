// SPDX-License-Identifier: Apache-2.0

package keypool

import "strings"

// Want is what an attempt needs a key for.
type Want struct {
	// Model is what the provider is asked for; "" where it is no model.
	Model string
	// Tokens is how many tokens the call is thought to take; 0 if nobody
	// knows.
	Tokens int
	// Tier is the lowest tier of key that will do. After [ClassTier] it is one
	// above that of the key which was too small.
	Tier int
	// Affinity is a hash of what should stay with one key, such as the client
	// or the start of the prompt: the sticky policy goes by it. 0 is nothing.
	Affinity uint64
	// KeyID is the only key that will do, such as the one that made the
	// object which is asked for; "" is any.
	KeyID string
	// Insist asks also an upstream that rests after an overload: for a call
	// that has no other target to go to.
	Insist bool
}

// Matches reports whether a model's name fits a pattern, in which an asterisk
// stands for any text, also none.
func Matches(pattern, name string) bool {
	prefix, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, prefix) {
		return false
	}
	name = name[len(prefix):]
	for {
		middle, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(name, rest)
		}
		at := strings.Index(name, middle)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(middle):], more
	}
}
