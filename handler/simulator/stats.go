// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"sync"
)

// statsPath is where the simulator tells how often it was asked.
const statsPath = "/simulator/stats"

// maxCounted bounds how many keys and models are counted apart, maxName how
// many bytes of a model's name are kept.
const (
	maxCounted = 1000
	maxName    = 128
)

// Stats tells how often the simulator was asked.
type Stats struct {
	// Keys counts calls by key: the first eight hex digits of the SHA-256
	// hash of its secret, as the gateway's default key ids have them. Calls
	// without a key count as the empty secret.
	Keys map[string]int `json:"keys"`
	// Models counts calls by model; those that name none are left out.
	Models map[string]int `json:"models"`
}

type stats struct {
	mu           sync.Mutex
	keys, models map[string]int
}

// Stats returns how often the simulator was asked so far.
func (s *Simulator) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	return Stats{Keys: maps.Clone(s.stats.keys), Models: maps.Clone(s.stats.models)}
}

// Fingerprint is what stats call a secret.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:4])
}

func (s *stats) count(secret, model string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	increment(s.keys, Fingerprint(secret))
	if model != "" {
		increment(s.models, strings.ToValidUTF8(model[:min(len(model), maxName)], ""))
	}
}

func increment(counts map[string]int, name string) {
	if _, known := counts[name]; known || len(counts) < maxCounted {
		counts[name]++
	}
}
