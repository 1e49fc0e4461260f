// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// hashPrefix marks a secret that is given as its SHA-256 hash.
const hashPrefix = "sha256:"

// Digest is the SHA-256 hash of a secret. Virtual keys are long and random, so
// that a plain hash protects them; passwords are not, and have no place here.
type Digest [sha256.Size]byte

// HashSecret returns the digest under which a secret is stored.
func HashSecret(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// String returns the digest as configs spell it.
func (d Digest) String() string { return hashPrefix + hex.EncodeToString(d[:]) }

// ErrNotHashed is a secret that does not have the form sha256:<64 hex digits>.
var ErrNotHashed = errors.New("a client's secret is given as sha256:<64 hex digits>; 'caddy llm hash-key' makes one")

// ParseDigest reads a digest as configs spell it.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	text, ok := strings.CutPrefix(s, hashPrefix)
	if !ok || len(text) != hex.EncodedLen(len(d)) {
		return d, ErrNotHashed
	}
	if _, err := hex.Decode(d[:], []byte(text)); err != nil {
		return d, ErrNotHashed
	}
	return d, nil
}

// NewSecret makes a secret for a client: 256 random bits behind a prefix that
// secret scanners and people recognise.
func NewSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	return secretPrefix + hex.EncodeToString(random[:])
}
