// SPDX-License-Identifier: Apache-2.0

// Package auth knows the clients and tells from a secret which one is calling.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Client is somebody who may call us.
type Client struct {
	// ID is the client's name in logs, metrics and limits.
	ID string
}

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
	return "clp-" + hex.EncodeToString(random[:])
}

// Directory finds clients by their secret. It is safe for concurrent use once
// filled.
type Directory struct {
	byDigest map[Digest]*Client
	ids      map[string]bool
}

// Add enters a client with the digests of its secrets.
func (d *Directory) Add(client *Client, digests ...Digest) error {
	if client.ID == "" {
		return errors.New("a client needs an id")
	}
	if d.ids[client.ID] {
		return errors.New("the id is used twice")
	}
	if len(digests) == 0 {
		return errors.New("a client needs a secret")
	}
	if d.ids == nil {
		d.ids, d.byDigest = map[string]bool{}, map[Digest]*Client{}
	}
	d.ids[client.ID] = true
	for _, digest := range digests {
		if other := d.byDigest[digest]; other != nil {
			return fmt.Errorf("the secret is also that of client %q", other.ID)
		}
		d.byDigest[digest] = client
	}
	return nil
}

// Find returns the client whose secret this is. Secrets are compared by their
// hash alone, so that the time it takes says nothing about them.
func (d *Directory) Find(secret string) (*Client, bool) {
	client, ok := d.byDigest[HashSecret(secret)]
	return client, ok
}

// Len returns how many clients there are.
func (d *Directory) Len() int { return len(d.ids) }
