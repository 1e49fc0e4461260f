// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// Secret is what a client proves by that it is the one.
type Secret struct {
	Digest Digest
	// Until is when it is no longer valid; zero means never.
	Until time.Time
}

// parts is into how many parts a directory is divided. To change it copies the
// parts that change: of 100,000 clients that is about one in 256.
const parts = 256

// Directory finds clients by their secret. It never changes, so that it is safe
// for concurrent use: [Directory.Edit] makes another one. The zero value has no
// clients.
type Directory struct {
	bySecret [parts]map[Digest]holder
	byID     [parts]map[string]entry
	clients  int
}

// holder is whose a secret is, and until when, in seconds since 1970; 0 is for
// ever.
type holder struct {
	client *Client
	until  int64
}

// entry is a client together with the digests of its secrets.
type entry struct {
	client  *Client
	digests []Digest
}

// partOf returns the part that a client is in.
func partOf(id string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id))
	return int(hash.Sum32() % parts)
}

// Find returns the client whose secret this is. Secrets are compared by their
// hash alone, so that the time it takes says nothing about them.
func (d *Directory) Find(secret string, now time.Time) (*Client, bool) {
	digest := HashSecret(secret)
	found, ok := d.bySecret[digest[0]][digest]
	if !ok || found.until != 0 && now.Unix() >= found.until {
		return nil, false
	}
	return found.client, true
}

// Has tells whether a secret is, or has been, that of a client.
func (d *Directory) Has(secret string) bool {
	digest := HashSecret(secret)
	_, has := d.bySecret[digest[0]][digest]
	return has
}

// Named returns the client of that id, for callers whom somebody else has
// vouched for.
func (d *Directory) Named(id string) (*Client, bool) {
	found, ok := d.byID[partOf(id)][id]
	return found.client, ok
}

// Len returns how many clients there are.
func (d *Directory) Len() int { return d.clients }

// Edit begins a directory that differs from this one.
func (d *Directory) Edit() *Edit {
	made := *d
	return &Edit{made: &made}
}

// Edit makes a directory out of another one. What does not differ, both share.
type Edit struct {
	made *Directory
	// ownSecrets and ownIDs tell which parts are not shared.
	ownSecrets, ownIDs [parts]bool
}

// Done returns the directory. The edit must not be used any more.
func (e *Edit) Done() *Directory { return e.made }

// has tells whether there is a client of that id so far.
func (e *Edit) has(id string) bool {
	_, ok := e.made.Named(id)
	return ok
}

// Add enters a client with its secrets. It has none if it is known by other
// means than a secret. After an error nothing has changed.
func (e *Edit) Add(client *Client, secrets ...Secret) error {
	if !ValidID(client.ID) {
		return fmt.Errorf("a client needs an id of at most %d bytes, without control characters", maxID)
	}
	if e.has(client.ID) {
		return errors.New("the id is used twice; a client has several secrets on one line")
	}
	entered := entry{client: client, digests: make([]Digest, 0, len(secrets))}
	for _, secret := range secrets {
		if other, used := e.made.bySecret[secret.Digest[0]][secret.Digest]; used {
			return fmt.Errorf("the secret is also that of client %q", other.client.ID)
		}
		if slices.Contains(entered.digests, secret.Digest) {
			return errors.New("a secret is given twice")
		}
		entered.digests = append(entered.digests, secret.Digest)
	}
	ids := own(&e.made.byID, &e.ownIDs, partOf(client.ID))
	ids[client.ID] = entered
	for _, secret := range secrets {
		until := int64(0)
		if !secret.Until.IsZero() {
			until = max(1, secret.Until.Unix())
		}
		own(&e.made.bySecret, &e.ownSecrets, int(secret.Digest[0]))[secret.Digest] = holder{client, until}
	}
	e.made.clients++
	return nil
}

// Remove takes a client out, if there is one of that id.
func (e *Edit) Remove(id string) {
	part := partOf(id)
	removed, ok := e.made.byID[part][id]
	if !ok {
		return
	}
	delete(own(&e.made.byID, &e.ownIDs, part), id)
	for _, digest := range removed.digests {
		delete(own(&e.made.bySecret, &e.ownSecrets, int(digest[0])), digest)
	}
	e.made.clients--
}

// own returns a part that may be changed.
func own[K comparable, V any](all *[parts]map[K]V, owned *[parts]bool, part int) map[K]V {
	if !owned[part] {
		if all[part] = maps.Clone(all[part]); all[part] == nil {
			all[part] = map[K]V{}
		}
		owned[part] = true
	}
	return all[part]
}
