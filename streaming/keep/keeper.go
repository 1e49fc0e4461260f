// SPDX-License-Identifier: Apache-2.0

// Package keep writes what is known at run time to Caddy's storage, so that a
// restart forgets as little as a reload.
package keep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	// again is how long after a failure it is tried again.
	again = 5 * time.Second
	// maxRestoreWait is how long a start waits for what was written down.
	maxRestoreWait = time.Second
	// readsAtOnce is how many groups are read at the same time.
	readsAtOnce = 8
	// timeout bounds each access to the storage.
	timeout = 10 * time.Second
)

// Book is what is kept. It is divided into groups, so that little is written
// when little has changed.
type Book interface {
	// Snapshot writes a group down. It reports whether the group has changed
	// since it was last asked.
	Snapshot(now time.Time, group int) (text []byte, changed bool, err error)
	// Changed takes back that a group was asked for: it has not been kept.
	Changed(group int)
	// Restore takes in what Snapshot has written, of any group, beside what has
	// come since the start.
	Restore(now time.Time, text []byte) error
}

// Keeper keeps a book. Each instance of Caddy has its own place in the storage.
// The first to lend it a storage sets it to work.
type Keeper struct {
	Book Book
	// Groups is how many groups the book has.
	Groups int
	// Folder is where the book is kept, below the folder llm_proxy, and What
	// what it holds, in messages.
	Folder, What string
	// Logger is the name of the logger that hears of failures.
	Logger string
	// Every is how often what has changed is written: as much is lost when the
	// process is killed.
	Every time.Duration

	storages Storages

	mu             sync.Mutex
	stop, restored chan struct{}
	done           chan struct{}
}

// Lend gives the keeper the storage of the config that by belongs to. What was
// written down is then read, unless it has been; [Await] waits for that.
func (k *Keeper) Lend(by any, storage certmagic.Storage) Restored {
	k.storages.Lend(by, storage)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stop != nil {
		return nil
	}
	k.stop, k.restored, k.done = make(chan struct{}), make(chan struct{}), make(chan struct{})
	go k.run()
	return k.restored
}

// Restored is closed when a keeper has read what was written down; nil if
// nobody need wait for that.
type Restored <-chan struct{}

// Await waits until all have been read, but not long: a storage that takes
// longer is read while calls are served already.
func Await(all ...Restored) {
	over := time.After(maxRestoreWait)
	for _, restored := range all {
		if restored == nil {
			continue
		}
		select {
		case <-restored:
		case <-over:
			return
		}
	}
}

// GiveBack takes the storage that by has lent away again.
func (k *Keeper) GiveBack(by any) { k.storages.GiveBack(by) }

// Close writes what is left and ends the keeper's work.
func (k *Keeper) Close() {
	k.mu.Lock()
	begun := k.stop != nil
	k.mu.Unlock()
	if begun {
		close(k.stop)
		<-k.done
	}
}

// run is the keeper's work: it reads what was written down, and from then on
// writes down what changes. Before it has read, it writes nothing over it.
func (k *Keeper) run() {
	defer close(k.done)
	if !k.retry("reading", k.restore) {
		return
	}
	close(k.restored)
	for {
		select {
		case <-k.stop:
			if err := k.keep(); err != nil {
				k.complain("writing", err)
			}
			return
		case <-time.After(k.Every):
			if !k.retry("writing", k.keep) {
				return
			}
		}
	}
}

// retry does something until it succeeds. It returns false if the keeper is
// to end before that.
func (k *Keeper) retry(doing string, do func() error) bool {
	for {
		err := do()
		if err == nil {
			return true
		}
		k.complain(doing, err)
		select {
		case <-k.stop:
			return false
		case <-time.After(again):
		}
	}
}

func (k *Keeper) complain(doing string, err error) {
	caddy.Log().Named(k.Logger).Warn(doing+" "+k.What+" failed; it goes on in memory", zap.Error(err))
}

// instanceID guards the instance's id: the first who asks for it in a new
// installation makes one, so no two may ask at a time.
var instanceID sync.Mutex

// place returns where the book is kept.
func (k *Keeper) place() (string, error) {
	instanceID.Lock()
	defer instanceID.Unlock()
	instance, err := caddy.InstanceID()
	if err != nil {
		return "", fmt.Errorf("finding the instance's id: %w", err)
	}
	return path.Join("llm_proxy", k.Folder, instance.String()), nil
}

// keyOf returns where a group is kept in a place.
func keyOf(place string, group int) string { return path.Join(place, fmt.Sprintf("%d.json", group)) }

// restore reads all that was written down. What cannot be understood is lost,
// and said to be.
func (k *Keeper) restore() error {
	storage := k.storages.Newest()
	if storage == nil {
		return errors.New("no config that has it is alive")
	}
	place, err := k.place()
	if err != nil {
		return err
	}
	texts, errs := make([][]byte, k.Groups), make([]error, k.Groups)
	var reads sync.WaitGroup
	room := make(chan struct{}, readsAtOnce)
	for group := range texts {
		room <- struct{}{}
		reads.Go(func() {
			texts[group], errs[group] = load(storage, keyOf(place, group))
			<-room
		})
	}
	reads.Wait()
	if failed := slices.IndexFunc(errs, func(err error) bool { return err != nil }); failed >= 0 {
		return errs[failed]
	}
	for _, text := range texts {
		if len(text) == 0 {
			continue
		}
		if err := k.Book.Restore(time.Now(), text); err != nil {
			k.complain("reading", err)
		}
	}
	return nil
}

// load reads what is kept under a key; nil if there is nothing.
func load(storage certmagic.Storage, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	text, err := storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// keep writes down the groups that have changed.
func (k *Keeper) keep() error {
	storage := k.storages.Newest()
	if storage == nil {
		return nil
	}
	for group := range k.Groups {
		text, changed, err := k.Book.Snapshot(time.Now(), group)
		if !changed {
			continue
		}
		var place string
		if err == nil {
			place, err = k.place()
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			err = storage.Store(ctx, keyOf(place, group), text)
			cancel()
		}
		if err != nil {
			k.Book.Changed(group)
			return err
		}
	}
	return nil
}
