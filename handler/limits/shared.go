// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

const (
	// lease is how long Redis believes that a call is under way without being
	// told so again: as long an instance that has died keeps what its calls
	// held.
	lease = 15 * time.Second
	// renewEvery is how often it is told.
	renewEvery = lease / 3
	// repayEvery is how often it is tried to tell it what it missed.
	repayEvery = time.Second
	// maxDebts bounds of how many counts it may miss something, and maxDrops
	// how much of each that was held.
	maxDebts = 1 << 16
	maxDrops = 1 << 10
	// debtsAtOnce is of how many counts it is told in one step, which holds up
	// all others.
	debtsAtOnce = 64
	// reportEvery is how often a failure is reported.
	reportEvery = 10 * time.Second
)

// Shared counts in a Redis that several instances have in common. A book
// counts along what this instance lets in: it decides as long as Redis is
// away.
//
// A call is let in by Redis in one step for each of its stages. When it is
// settled, nobody waits for Redis: what it is not yet told is owed, and paid
// by one goroutine. Redis believes what a call holds for the time of a lease,
// which the same goroutine renews; so nothing is held for ever, and what Redis
// has lost comes back.
type Shared struct {
	book   *Book
	store  *store.Store
	script *redis.Script
	deny   bool
	report func(error)
	// instance and calls make up names for what calls hold.
	instance string
	calls    atomic.Uint64
	reported atomic.Int64
	// hung says that Redis has let somebody wait in vain. No call asks it
	// again before the goroutine has found it to be back.
	hung atomic.Bool

	mu     sync.Mutex
	closed bool
	// live is what calls under way hold, by name; debts are by the count's
	// path.
	live  map[string]*liveHold
	debts map[string]*debt

	wake, stop, done chan struct{}
}

// liveHold is what a call under way holds of one count.
type liveHold struct {
	subject *Subject
	rule    *Rule
	amount  int64
	// told says that Redis may know of it.
	told bool
}

// Share returns counts that are kept in a store, and in a book along with it.
// With deny, no call is let in while the store is away. Report is told, from
// time to time, what goes wrong with the store besides that it is away. It
// must be closed.
func Share(book *Book, shared *store.Store, deny bool, report func(error)) *Shared {
	s := newShared(book, shared, deny, report)
	go s.keep()
	return s
}

func newShared(book *Book, shared *store.Store, deny bool, report func(error)) *Shared {
	return &Shared{
		book: book, store: shared, script: countScript, deny: deny, report: report,
		instance: rand.Text()[:10],
		live:     map[string]*liveHold{},
		debts:    map[string]*debt{},
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
}

func (s *Shared) take(ctx context.Context, now time.Time, h *Hold) error {
	for p := range h.asked() {
		if p.hold > 0 {
			p.name = s.instance + "." + strconv.FormatUint(s.calls.Add(1), 36) + "." + strconv.FormatInt(p.hold, 10)
		}
	}
	err := store.ErrAway
	if !h.alone && !s.hung.Load() {
		var granted bool
		if granted, err = s.run(ctx, now, h); err == nil {
			s.book.follow(now, h, granted)
			s.track(h, granted)
			return nil
		}
		s.failed(err)
	}
	h.alone = true
	mayKnow := !errors.Is(err, store.ErrAway)
	if s.deny && !h.shadow {
		s.owe(now, h, outcome{refused: true, undone: true, mayKnow: mayKnow})
		return errUnavailable
	}
	if err := s.book.take(ctx, now, h); err != nil {
		return err
	}
	s.owe(now, h, outcome{refused: h.exceeded() != nil && !h.shadow, mayKnow: mayKnow})
	return nil
}

func (s *Shared) settle(now time.Time, h *Hold) {
	s.book.settle(now, h)
	s.owe(now, h, outcome{})
}

// track remembers what Redis holds for the call.
func (s *Shared) track(h *Hold, granted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range h.asked() {
		if p.drop > 0 {
			delete(s.live, p.name)
		}
		if granted && p.hold > 0 {
			s.live[p.name] = &liveHold{p.subject, p.rule, p.hold, true}
		}
	}
}

// failed remembers that Redis hangs, and reports a failure, unless one has just
// been reported. That Redis is away the store says itself.
func (s *Shared) failed(err error) {
	var waited interface{ Timeout() bool }
	if errors.As(err, &waited) && waited.Timeout() || errors.Is(err, redis.ErrPoolTimeout) {
		s.hung.Store(true)
	}
	if errors.Is(err, store.ErrAway) {
		return
	}
	now, last := time.Now().UnixNano(), s.reported.Load()
	if now-last >= int64(reportEvery) && s.reported.CompareAndSwap(last, now) {
		s.report(err)
	}
}
