// SPDX-License-Identifier: Apache-2.0

// Package shared has instances tell each other over Redis what they know of the
// keys and servers of the same providers: what rests, what works again, what an
// operator has done, which key made what, and what was taken of keys' limits.
//
// No call waits for any of this. One goroutine looks at what has changed, adds
// it to streams, and follows what the others add. What cannot be told yet is not
// queued: it is what differs from what was told last, however long that takes.
package shared

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

const (
	// first is how long after the start Redis is first asked: a config that is
	// only validated must not cause any traffic.
	first = 100 * time.Millisecond
	// follow is how long the others are listened to before it is looked again
	// whether there is something to tell, and pause how long that takes at
	// least.
	follow = 200 * time.Millisecond
	pause  = 50 * time.Millisecond
	// lookEvery is how often it is looked whether Redis has forgotten, and
	// again how long after a failure it is tried again.
	lookEvery = time.Second
	again     = 500 * time.Millisecond
	// retellEvery is how often what still holds is told once more, for those
	// who have come since.
	retellEvery = 2 * time.Minute
	// patience is how many failures in a row are reported, of a Redis that is
	// there.
	patience = 3
)

// Source is a provider of a config.
type Source struct {
	// Provider is its name, and Place stands for where it is; "" is a place
	// that each instance has for itself, of which nothing is told.
	Provider, Place string
	// Keyless says that it is asked without a key: then what is known of that
	// which stands for one is known of the place.
	Keyless bool
	// Pool returns its keys, of which there may be others the next time.
	Pool func() *keypool.Pool
	// Pins are which key made what.
	Pins *keypool.Pins
}

// Options are what a sharer needs.
type Options struct {
	// Store is the Redis. The sharer holds it until it ends.
	Store *store.Store
	// Report is told, once, of what goes wrong while Redis is there, and with
	// nil when that is over.
	Report func(error)
	// Heard is told of each fact that has changed something here. key is the
	// fingerprint of the key that it is about; "" is the upstream.
	Heard func(provider, key string, f keypool.Fact)
}

// Sharer tells and hears for the providers of all configs that share a Redis.
type Sharer struct {
	opts Options
	// name is the instance's.
	name       string
	stop, done chan struct{}

	mu      sync.Mutex
	sources []*Source

	// What follows belongs to the goroutine.
	scope  scope
	clock  clock
	cursor cursor
	// epoch is the name of what Redis remembers: it has another when it has
	// forgotten.
	epoch              string
	looked, retold     time.Time
	failures           int
	reported, caughtUp bool
}

// Start starts to share. The sharer must be closed.
func Start(o Options) (*Sharer, error) {
	if !o.Store.Hold() {
		return nil, errors.New("sharing over a Redis that was let go of")
	}
	s := newSharer(o)
	go s.run()
	return s, nil
}

func newSharer(o Options) *Sharer {
	return &Sharer{opts: o, name: rand.Text()[:10], stop: make(chan struct{}), done: make(chan struct{}), cursor: newCursor(o.Store)}
}

// Add has a provider share what is known.
func (s *Sharer) Add(source *Source) {
	source.Pins.Share()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = append(slices.Clone(s.sources), source)
}

// Remove ends that.
func (s *Sharer) Remove(source *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = slices.DeleteFunc(slices.Clone(s.sources), func(other *Source) bool { return other == source })
}

// Close tells what is left and ends the sharing. It waits for the commands under
// way, of which each has a short time.
func (s *Sharer) Close() {
	close(s.stop)
	<-s.done
}

// Destruct closes the sharer, so that a caddy.UsagePool can hold it.
func (s *Sharer) Destruct() error {
	s.Close()
	return nil
}

func (s *Sharer) run() {
	defer close(s.done)
	defer func() { _ = s.opts.Store.Release() }()
	for wait := first; ; {
		select {
		case <-s.stop:
			if s.caughtUp && s.failures == 0 {
				_ = s.tell(time.Now())
			}
			return
		case <-time.After(wait):
		}
		err := s.round()
		s.judge(err)
		switch wait = pause; {
		case err != nil:
			s.looked, wait = time.Time{}, again
		case !s.caughtUp:
			wait = 0
		}
	}
}

// round is one turn of telling and listening.
func (s *Sharer) round() error {
	s.mu.Lock()
	sources := s.sources
	s.mu.Unlock()
	now := time.Now()
	s.scope.update(sources)
	if now.Sub(s.looked) >= lookEvery {
		if err := s.look(); err != nil {
			return err
		}
		s.looked = now
	}
	// A newcomer first learns what has been told before.
	if s.caughtUp {
		if now.Sub(s.retold) >= retellEvery {
			s.scope.again(now, retellEvery)
			s.retold = now
		}
		if err := s.tell(time.Now()); err != nil {
			return err
		}
	}
	return s.listen()
}

// lookScript names what Redis remembers, if it has no name, and returns the
// name and the time. Only this clock is compared with that of instances.
var lookScript = redis.NewScript(`
redis.call('SET', KEYS[1], ARGV[1], 'NX')
local t = redis.call('TIME')
return {redis.call('GET', KEYS[1]), t[1], t[2]}`)

// look finds out what time it is for Redis, and whether it has forgotten what
// it was told. Then it is told anew.
func (s *Sharer) look() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Store.Timeout())
	defer cancel()
	asked := time.Now()
	answer, err := lookScript.Run(ctx, s.opts.Store.Client(), []string{keyOf(s.opts.Store, "epoch")}, rand.Text()).StringSlice()
	if err != nil {
		return err
	}
	if err := s.clock.set(answer, asked, time.Now()); err != nil {
		return err
	}
	switch epoch := answer[0]; s.epoch {
	case epoch:
	case "":
		s.epoch = epoch
	default:
		s.epoch, s.caughtUp = epoch, false
		s.cursor = newCursor(s.opts.Store)
		s.scope.again(time.Now(), 0)
	}
	return nil
}

// judge reports what goes wrong, unless that is that Redis is away: then the
// store says so.
func (s *Sharer) judge(err error) {
	switch {
	case err == nil:
		s.failures = 0
		if s.reported {
			s.reported = false
			s.opts.Report(nil)
		}
	case errors.Is(err, store.ErrAway) || s.opts.Store.Away():
		s.failures = max(s.failures, 1)
	default:
		if s.failures++; s.failures == patience && !s.reported {
			s.reported = true
			s.opts.Report(err)
		}
	}
}
