// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const (
	// patience is how long a start waits for a store. One that takes longer is
	// read while calls are served already.
	patience = time.Second
	// anew is after how many looks the store is read as a whole again.
	anew = 600
)

// start begins to look at the store. It waits a little for the first look.
func (r *Roster) start() {
	go r.run()
	select {
	case <-r.first:
	case <-time.After(patience):
	}
}

// close ends that.
func (r *Roster) close() {
	close(r.stop)
	<-r.done
}

func (r *Roster) run() {
	defer close(r.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	told := false
	for n := 0; ; n++ {
		if n%anew == 0 {
			r.anew()
		}
		err := r.Sync(ctx)
		if n == 0 {
			close(r.first)
		}
		logger := caddy.Log().Named("llm.clients").With(zap.String("store", r.name))
		switch {
		case err != nil && !told && ctx.Err() == nil:
			logger.Warn("the store of clients cannot be read; what is known of it holds", zap.Error(err))
			told = true
		case err == nil && told:
			logger.Info("the store of clients is read again")
			told = false
		}
		select {
		case <-r.stop:
			return
		case <-ticker.C:
		}
	}
}

// anew has the store read as a whole, for what it has not told.
func (r *Roster) anew() {
	r.store.Lock()
	defer r.store.Unlock()
	r.backend.forget()
}

// Sync brings what is known up to date. Calls never need it.
func (r *Roster) Sync(ctx context.Context) error {
	r.store.Lock()
	defer r.store.Unlock()
	return r.syncLocked(ctx)
}

func (r *Roster) syncLocked(ctx context.Context) error {
	n, err := r.backend.read(ctx)
	if errors.Is(err, errLost) {
		n, err = r.refill(ctx)
	}
	r.fresh.Store(err == nil)
	r.take(n, err == nil)
	return err
}

// refill gives a store that has lost its clients those back that are known. If
// another instance has done so already, its word counts. A config that is not
// in force writes nothing.
func (r *Roster) refill(ctx context.Context) (news, error) {
	known := r.Texts()
	if len(known) == 0 {
		return news{}, nil
	}
	if len(r.InForce()) == 0 {
		return news{}, errLost
	}
	caddy.Log().Named("llm.clients").Warn("the store has lost its clients; it gets those back that are known",
		zap.String("store", r.name), zap.Int("clients", len(known)))
	if err := r.backend.fill(ctx, known); err != nil {
		return news{}, err
	}
	return r.backend.read(ctx)
}

// take puts news in force.
func (r *Roster) take(n news, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all {
		r.read = true
		r.heard.Store(true)
	}
	var changes []Change
	for id, text := range n.texts {
		if !bytes.Equal(r.texts[partOf(id)][id], text) {
			changes = append(changes, Change{id, text})
		}
	}
	for _, id := range n.gone {
		if r.texts[partOf(id)][id] != nil {
			changes = append(changes, Change{ID: id})
		}
	}
	for part := range r.texts {
		if n.whole == nil || !n.whole(part) {
			continue
		}
		for id := range r.texts[part] {
			if n.texts[id] == nil {
				changes = append(changes, Change{ID: id})
			}
		}
	}
	r.putLocked(changes)
}

// putLocked remembers changes and tells the members.
func (r *Roster) putLocked(changes []Change) {
	if len(changes) == 0 {
		return
	}
	for _, change := range changes {
		part := partOf(change.ID)
		if r.changed[part] = true; change.Text == nil {
			delete(r.texts[part], change.ID)
			continue
		}
		r.texts[part][change.ID] = change.Text
	}
	for _, member := range r.members {
		member.Take(changes)
	}
}
