// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

const (
	// storageEvery is how often Caddy's storage is looked at, redisEvery how
	// often Redis is.
	storageEvery = time.Second
	redisEvery   = 500 * time.Millisecond
	// copyEvery is how often what is known of Redis is copied to the storage.
	copyEvery = time.Second
)

// rosters holds those that are open, by their store. They outlive the configs,
// so that a reload asks no store.
var rosters = caddy.NewUsagePool()

// pooled is a roster in the pool.
type pooled struct {
	*Roster
	// storages are where the roster is; keeper copies one that is elsewhere.
	// One of them is nil.
	storages *keep.Storages
	keeper   *keep.Keeper
}

// Destruct ends the roster.
func (p *pooled) Destruct() error {
	p.close()
	if p.keeper != nil {
		p.keeper.Close()
	}
	return nil
}

// Lease is a roster that a config has opened. It must be closed.
type Lease struct {
	*Roster
	pooled  *pooled
	key     any
	storage certmagic.Storage
	// release lets go of Redis.
	release func() error
}

// OpenStorage opens the clients in Caddy's storage.
func OpenStorage(at certmagic.Storage) (*Lease, error) {
	l := &Lease{key: "storage", storage: at, release: func() error { return nil }}
	err := l.open(func() *pooled {
		storages := new(keep.Storages)
		storages.Lend(l, at)
		return &pooled{Roster: newRoster("storage", &storage{storages: storages}, storageEvery), storages: storages}
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// OpenRedis opens the clients in Redis, of which a copy is kept in Caddy's
// storage. release is called when they are closed, also if that is at once.
func OpenRedis(in *store.Store, at certmagic.Storage, release func() error) (*Lease, error) {
	l := &Lease{key: in, storage: at, release: release}
	err := l.open(func() *pooled {
		r := newRoster("redis "+in.Name(), &shared{store: in}, redisEvery)
		place := sha256.Sum256([]byte(in.Name()))
		return &pooled{Roster: r, keeper: &keep.Keeper{
			Book: book{r}, Groups: partCount, Folder: "clients_copy/" + hex.EncodeToString(place[:8]), What: "the copy of clients",
			Logger: "llm.clients", Every: copyEvery,
		}}
	})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return l, nil
}

func (l *Lease) open(make func() *pooled) error {
	opened, _, err := rosters.LoadOrNew(l.key, func() (caddy.Destructor, error) {
		made := make()
		if made.keeper != nil {
			keep.Await(made.keeper.Lend(l, l.storage))
		}
		made.start()
		return made, nil
	})
	if err != nil {
		return err
	}
	l.pooled = opened.(*pooled)
	l.Roster = l.pooled.Roster
	return nil
}

// Begin says that the lease's config is in force. From now on its storage is
// used; the first one was from the beginning.
func (l *Lease) Begin() {
	if l.pooled.keeper != nil {
		l.pooled.keeper.Lend(l, l.storage)
	} else {
		l.pooled.storages.Lend(l, l.storage)
	}
}

// Close gives the roster back.
func (l *Lease) Close() error {
	_, err := rosters.Delete(l.key)
	if l.pooled.keeper != nil {
		l.pooled.keeper.GiveBack(l)
	} else {
		l.pooled.storages.GiveBack(l)
	}
	return errors.Join(err, l.release())
}

// All returns the rosters of the configs in force, by their names.
func All() []*Roster {
	var all []*Roster
	rosters.Range(func(_, value any) bool {
		if r := value.(*pooled).Roster; len(r.InForce()) > 0 {
			all = append(all, r)
		}
		return true
	})
	slices.SortFunc(all, func(a, b *Roster) int { return cmp.Compare(a.name, b.name) })
	return all
}
