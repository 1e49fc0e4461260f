// SPDX-License-Identifier: Apache-2.0

package handler

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

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

const (
	// keepEvery is how often what has changed is written down: as much is
	// lost when the process is killed.
	keepEvery = time.Second
	// keepRetry is how long after a failure it is tried again.
	keepRetry = 5 * time.Second
	// maxRestoreWait is how long a start waits for what was written down. A
	// storage that takes longer is read while calls are served already.
	maxRestoreWait = time.Second
	// keepTimeout bounds each access to the storage.
	keepTimeout = 10 * time.Second
)

// keeper writes the book of limits to Caddy's storage, so that a restart
// forgets as little as a reload. Each instance of Caddy has its own place.
type keeper struct {
	book           *limits.Book
	stop, restored chan struct{}
	done           chan struct{}

	mu sync.Mutex
	// storages are those of the configs that are alive. A storage may end
	// with its config, so the newest is used.
	storages []lentStorage
}

type lentStorage struct {
	by      *Handler
	storage certmagic.Storage
}

// lend gives the keeper a config's storage. The first one sets it to work.
func (k *keeper) lend(by *Handler, storage certmagic.Storage) {
	k.mu.Lock()
	k.storages = append(k.storages, lentStorage{by, storage})
	begin := k.stop == nil
	if begin {
		k.stop, k.restored, k.done = make(chan struct{}), make(chan struct{}), make(chan struct{})
		go k.run()
	}
	k.mu.Unlock()
	if begin {
		select {
		case <-k.restored:
		case <-time.After(maxRestoreWait):
		}
	}
}

// giveBack takes a config's storage away again.
func (k *keeper) giveBack(by *Handler) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.storages = slices.DeleteFunc(k.storages, func(l lentStorage) bool { return l.by == by })
}

// storage returns the newest storage, or nil if there is none.
func (k *keeper) storage() certmagic.Storage {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.storages) == 0 {
		return nil
	}
	return k.storages[len(k.storages)-1].storage
}

// close writes what is left and ends the keeper's work.
func (k *keeper) close() {
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
func (k *keeper) run() {
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
		case <-time.After(keepEvery):
			if !k.retry("writing", k.keep) {
				return
			}
		}
	}
}

// retry does something until it succeeds. It returns false if the keeper is
// to end before that.
func (k *keeper) retry(doing string, do func() error) bool {
	for {
		err := do()
		if err == nil {
			return true
		}
		k.complain(doing, err)
		select {
		case <-k.stop:
			return false
		case <-time.After(keepRetry):
		}
	}
}

func (k *keeper) complain(doing string, err error) {
	caddy.Log().Named("http.handlers.llm_proxy").Warn(doing+" what clients have used failed; limits go on in memory", zap.Error(err))
}

// keyOf returns where a part of the book is kept.
func keyOf(part int) (string, error) {
	instance, err := caddy.InstanceID()
	if err != nil {
		return "", fmt.Errorf("finding the instance's id: %w", err)
	}
	return path.Join("llm_proxy", "limits", instance.String(), fmt.Sprintf("%d.json", part)), nil
}

// restore reads all that was written down. What cannot be understood is lost,
// and said to be.
func (k *keeper) restore() error {
	storage := k.storage()
	if storage == nil {
		return errors.New("no config with limits is alive")
	}
	texts := make([][]byte, limits.Parts)
	for part := range texts {
		key, err := keyOf(part)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
		texts[part], err = storage.Load(ctx, key)
		cancel()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, text := range texts {
		if len(text) == 0 {
			continue
		}
		if err := k.book.Restore(time.Now(), text); err != nil {
			k.complain("reading", err)
		}
	}
	return nil
}

// keep writes down the parts that have changed.
func (k *keeper) keep() error {
	storage := k.storage()
	if storage == nil {
		return nil
	}
	for part := range limits.Parts {
		text, changed, err := k.book.Snapshot(time.Now(), part)
		if !changed {
			continue
		}
		var key string
		if err == nil {
			key, err = keyOf(part)
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
			err = storage.Store(ctx, key, text)
			cancel()
		}
		if err != nil {
			k.book.Changed(part)
			return err
		}
	}
	return nil
}
