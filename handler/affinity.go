// SPDX-License-Identifier: Apache-2.0

package handler

import "hash/fnv"

// affinityPrefix is how much of a body tells calls of one session from others:
// what they have in common stands at its beginning.
const affinityPrefix = 1 << 10

// affinity returns what calls that should stay with one key have in common:
// their client or, where nobody knows that, the beginning of their prompt. It
// is the same on every machine.
func affinity(client string, body []byte) uint64 {
	hash := fnv.New64a()
	if client != "" {
		_, _ = hash.Write([]byte(client))
	} else {
		_, _ = hash.Write(body[:min(len(body), affinityPrefix)])
	}
	return hash.Sum64()
}
