// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

const (
	// folder is where the clients are in a storage.
	folder = "llm_proxy/clients"
	// storageTimeout bounds each access to the storage, and lockTimeout how
	// long others are waited for who write to it.
	storageTimeout = 10 * time.Second
	lockTimeout    = 20 * time.Second
	// lockNames is how many names the lock has in turn.
	lockNames = 1 << 16
)

// storage keeps clients in Caddy's storage: each part as an object, and beside
// them an index that says how often each was written. So little is read when
// nothing has changed, and little is written when one client has. A lock of the
// storage, which each write has anew, lets one write at a time.
type storage struct {
	storages *keep.Storages
	// seen is the index as it was when the parts were last read.
	seen index
}

// index tells of each part how often it was written.
type index struct {
	// Generation names this life of the store.
	Generation string `json:"generation"`
	// Written counts how often each part was written.
	Written [partCount]uint64 `json:"written"`
}

// errNoStorage is that no config that has the storage is alive.
var errNoStorage = errors.New("no config that has the storage is alive")

func (s *storage) read(ctx context.Context) (news, error) {
	at := s.storages.Newest()
	if at == nil {
		return news{}, errNoStorage
	}
	now, err := loadIndex(ctx, at)
	if err != nil || now == s.seen {
		return news{}, err
	}
	if now.Generation != s.seen.Generation {
		s.seen = index{Generation: now.Generation}
		s.forget()
	}
	n := news{texts: map[string][]byte{}}
	var read [partCount]bool
	for part, written := range now.Written {
		if written == s.seen.Written[part] {
			continue
		}
		texts, failed := loadPart(ctx, at, part, written)
		if failed != nil {
			err = failed // the other parts are none the worse
			continue
		}
		for id, text := range texts {
			n.texts[id] = text
		}
		read[part], s.seen.Written[part] = true, written
	}
	n.whole = func(part int) bool { return read[part] }
	return n, err
}

func (s *storage) forget() {
	for part := range s.seen.Written {
		s.seen.Written[part] = unread
	}
}

// unread is what no part is written as often as.
const unread = ^uint64(0)

func (s *storage) write(ctx context.Context, id string, before, after []byte) error {
	return s.locked(ctx, func(at certmagic.Storage, now index) error {
		if now.Generation == "" {
			return errLost
		}
		part := partOf(id)
		texts, err := loadPart(ctx, at, part, now.Written[part])
		if err != nil {
			return err
		}
		if string(texts[id]) != string(before) {
			return errMoved
		}
		if texts[id] = after; after == nil {
			delete(texts, id)
		}
		if err := storePart(ctx, at, part, texts); err != nil {
			return err
		}
		now.Written[part]++
		return save(ctx, at, "index", now)
	})
}

func (s *storage) fill(ctx context.Context, texts map[string][]byte) error {
	return s.locked(ctx, func(at certmagic.Storage, now index) error {
		if now.Generation != "" {
			return nil // somebody else has filled it
		}
		var parts [partCount]map[string]json.RawMessage
		for id, text := range texts {
			part := partOf(id)
			if parts[part] == nil {
				parts[part] = map[string]json.RawMessage{}
			}
			parts[part][id] = text
		}
		made := index{Generation: rand.Text()}
		for part, texts := range parts {
			if texts == nil {
				continue
			}
			if err := storePart(ctx, at, part, texts); err != nil {
				return err
			}
			made.Written[part] = 1
		}
		return save(ctx, at, "index", made)
	})
}

// errOutrun is that somebody else has written before the lock was had.
var errOutrun = errors.New("others keep writing to it")

// locked does something to the storage while nobody else writes to it. do gets
// the index as it is then, the zero one if there is none, and writes it last.
func (s *storage) locked(ctx context.Context, do func(at certmagic.Storage, now index) error) error {
	at := s.storages.Newest()
	if at == nil {
		return errNoStorage
	}
	waiting, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		now, err := loadIndex(ctx, at)
		if err != nil && !errors.Is(err, errLost) {
			return err
		}
		err = lockedFor(ctx, waiting, at, now, do)
		if !errors.Is(err, errOutrun) || waiting.Err() != nil {
			return err
		}
	}
}

// lockedFor does something under the lock for the write that comes after an
// index. It fails with errOutrun if that has been made.
func lockedFor(ctx, waiting context.Context, at certmagic.Storage, now index, do func(certmagic.Storage, index) error) error {
	name := now.lock()
	if err := at.Lock(waiting, name); err != nil {
		return fmt.Errorf("locking the storage: %w", err)
	}
	current, err := loadIndex(ctx, at)
	switch {
	case err != nil && !errors.Is(err, errLost):
	case current != now:
		err = errOutrun
	default:
		err = do(at, now)
	}
	// The lock must be given back also if whoever asked is gone.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	if unlock := at.Unlock(ending, name); unlock != nil && err == nil {
		err = fmt.Errorf("unlocking the storage: %w", unlock)
	}
	return err
}

// lock returns the name of the lock for the write that comes after the index.
// Each has another one: for some seconds after a lock was given back, Caddy's
// file storage keeps whatever lock there is of that name fresh, also one whose
// owner has died. Names come again after so many writes that it has long ended,
// as some storages keep a little of each.
func (i index) lock() string {
	var writes uint64
	for _, written := range i.Written {
		writes += written
	}
	return fmt.Sprintf("llm_proxy_clients_%d", writes%lockNames)
}

// loadIndex reads the index. It fails with errLost if there is none.
func loadIndex(ctx context.Context, at certmagic.Storage) (index, error) {
	var i index
	err := load(ctx, at, "index", &i)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return i, errLost
	case err == nil && i.Generation == "":
		err = errors.New("the index of clients is damaged")
	}
	return i, err
}

// loadPart reads the clients of a part that was written so often. One that was
// never written has none.
func loadPart(ctx context.Context, at certmagic.Storage, part int, written uint64) (map[string]json.RawMessage, error) {
	texts := map[string]json.RawMessage{}
	if written == 0 {
		return texts, nil
	}
	err := load(ctx, at, partName(part), &texts)
	return texts, err
}

func storePart(ctx context.Context, at certmagic.Storage, part int, texts map[string]json.RawMessage) error {
	return save(ctx, at, partName(part), texts)
}

func partName(part int) string { return fmt.Sprintf("%02x", part) }

func load(ctx context.Context, at certmagic.Storage, name string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	text, err := at.Load(ctx, path.Join(folder, name+".json"))
	if err != nil {
		return fmt.Errorf("reading clients: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading clients: %s.json: %w", name, err)
	}
	return nil
}

func save(ctx context.Context, at certmagic.Storage, name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("writing clients: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := at.Store(ctx, path.Join(folder, name+".json"), text); err != nil {
		return fmt.Errorf("writing clients: %w", err)
	}
	return nil
}

// Interface guard
var _ backend = (*storage)(nil)
