// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a call waits for a credential that is being obtained;
// then another key may serve it sooner.
const patience = 3 * time.Second

// another is when a call should look again for a credential that is still
// being obtained when nobody has the patience to wait for it any more.
const another = time.Second

// State is what is held at run time of one source's credentials. It is safe
// for concurrent use and outlives configs, so that a reload asks for nothing.
type State struct {
	// lent is the grant that calls get; nil if there is none that is good. It
	// is changed under mu and read without.
	lent atomic.Pointer[lent]

	mu sync.Mutex
	// last is the latest grant that was obtained, good or not.
	last *Grant
	// flight is the one attempt to obtain a grant that is under way, or nil.
	flight *flight
	// failures are those in a row, failed is the latest of them, and retry is
	// when to try again.
	failures int
	failed   error
	retry    time.Time
}

// lent is a grant and how long it is lent.
type lent struct {
	*Grant
	// renew is from when on the next one is to be obtained, and until when
	// this one is good. The zero time means never, and for ever.
	renew, until time.Time
}

func (l *lent) good(now time.Time) bool {
	return l != nil && (l.until.IsZero() || now.Before(l.until))
}

// NewState returns the state of credentials that were never asked for.
func NewState() *State { return new(State) }

// Destruct does nothing: an attempt that is under way ends by itself. It is
// there so that a caddy.UsagePool can hold states.
func (s *State) Destruct() error { return nil }

// Keeper lends out what a source has obtained. It is made anew for each
// config, over a [State]. It runs nothing in the background but the attempt to
// obtain a grant, which a call sets off and which ends in time.
type Keeper struct {
	source Source
	state  *State
	report func(Event)
}

// NewKeeper returns a keeper of what source obtains. It tells report, which
// may be nil, when that begins to fail and when it works again.
func NewKeeper(source Source, state *State, report func(Event)) *Keeper {
	if report == nil {
		report = func(Event) {}
	}
	return &Keeper{source: source, state: state, report: report}
}

// Get returns a grant that is good now. Where it expires soon the next one is
// obtained meanwhile. If there is none, it waits a while for one: all calls
// for the same. It fails with an [*UnavailableError], or when ctx is over.
func (k *Keeper) Get(ctx context.Context) (*Grant, error) {
	now := time.Now()
	held := k.state.lent.Load()
	if !held.good(now) {
		return k.wait(ctx, now)
	}
	if !held.renew.IsZero() && !now.Before(held.renew) {
		k.renewAhead(now)
	}
	return held.Grant, nil
}

// ErrSame is that what was obtained in place of a credential is the same.
var ErrSame = errors.New("the credential that was obtained anew is the same as before")

// Renew returns a grant in place of one that was refused, which is not lent
// out any more. Only the first of those that come with the same grant has a
// new one obtained. It fails like Get, and with [ErrSame] if there is no other.
func (k *Keeper) Renew(ctx context.Context, refused *Grant) (*Grant, error) {
	if held := k.state.lent.Load(); held != nil && held.Grant == refused {
		k.state.lent.CompareAndSwap(held, nil)
	}
	grant, err := k.Get(ctx)
	if err == nil && grant.Secret.Equal(refused.Secret) {
		return nil, ErrSame
	}
	return grant, err
}

// renewAhead has the next grant obtained while the present one is good.
func (k *Keeper) renewAhead(now time.Time) {
	s := k.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.lent.Load(); s.flight == nil && !now.Before(s.retry) && held != nil && !now.Before(held.renew) {
		k.departLocked(now)
	}
}

// wait returns the grant that is being obtained, or is worth trying to obtain.
func (k *Keeper) wait(ctx context.Context, now time.Time) (*Grant, error) {
	f, grant, err := k.board(now)
	if f == nil {
		return grant, err
	}
	timer := time.NewTimer(f.began.Add(patience).Sub(now))
	defer timer.Stop()
	select {
	case <-f.landed:
		return f.grant, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, &UnavailableError{Until: time.Now().Add(another)}
	}
}

// board returns the attempt to wait for. Once one has failed nobody waits for
// the next but the call that sets it off.
func (k *Keeper) board(now time.Time) (*flight, *Grant, error) {
	s := k.state
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.lent.Load()
	switch {
	case held.good(now):
		return nil, held.Grant, nil // it has just come
	case s.flight == nil && now.Before(s.retry):
		return nil, nil, &UnavailableError{Until: s.retry, Err: s.failed}
	case s.flight == nil:
		return k.departLocked(now), nil, nil
	case s.failures > 0 || now.Sub(s.flight.began) >= patience:
		return nil, nil, &UnavailableError{Until: now.Add(another), Err: s.failed}
	default:
		return s.flight, nil, nil
	}
}
