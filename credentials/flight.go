// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// obtainTimeout bounds one attempt to obtain a grant.
	obtainTimeout = 30 * time.Second
	// firstRetry is how long it takes to the next attempt after one that has
	// failed. It doubles with each further one, up to lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// aheadMost is how long before it expires a grant is renewed: a fifth of
	// its time, but no longer than this.
	aheadMost = 5 * time.Minute
	// lateMost is how long before it expires a grant is lent last: a twentieth
	// of its time, but no longer than this. A request takes a while to arrive.
	lateMost = 5 * time.Second
)

// flight is one attempt to obtain a grant.
type flight struct {
	began time.Time
	// landed is closed when it is over; then grant or err is set.
	landed chan struct{}
	grant  *Grant
	err    error
}

// Event is that a source's credentials have ceased to be had, or can be had
// again.
type Event struct {
	// Err is why not; nil when they can be had again.
	Err error
	// Retry is when the next attempt will be made if it is needed.
	Retry time.Time
	// Until is how long the present credential is good; the zero time if there
	// is none.
	Until time.Time
}

// departLocked sets off an attempt.
func (k *Keeper) departLocked(now time.Time) *flight {
	f := &flight{began: now, landed: make(chan struct{})}
	k.state.flight = f
	go k.fly(f, k.state.last)
	return f
}

// fly makes an attempt. It has a time of its own: the call that set it off may
// go away, others wait for it.
func (k *Keeper) fly(f *flight, last *Grant) {
	ctx, cancel := context.WithTimeout(context.Background(), obtainTimeout)
	defer cancel()
	grant, err := k.source.Obtain(ctx, last)
	if err == nil {
		err = grant.check(time.Now())
	}
	if event, tell := k.state.land(f, grant, err, time.Now()); tell {
		k.report(event) // before the next attempt may have news of its own
	}
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.flight = nil
	close(f.landed)
}

// check refuses what is no credential.
func (g *Grant) check(now time.Time) error {
	switch {
	case g == nil || g.Secret.Empty():
		return errors.New("the credential that was obtained is empty")
	case !g.Expires.IsZero() && !now.Before(g.Expires):
		return errors.New("the credential that was obtained has expired already: is the clock right?")
	}
	return nil
}

// land notes how an attempt went, and says whether that is news.
func (s *State) land(f *flight, grant *Grant, err error, now time.Time) (event Event, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failures++
		s.failed, s.retry = err, now.Add(retryAfter(s.failures))
		f.err = &UnavailableError{Until: s.retry, Err: err}
		event = Event{Err: err, Retry: s.retry}
		if held := s.lent.Load(); held.good(now) {
			event.Until = held.until
		}
		return event, s.failures == 1
	}
	tell = s.failures > 0
	s.failures, s.retry, s.failed = 0, time.Time{}, nil
	s.last, f.grant = grant, grant
	s.lent.Store(lend(grant, now))
	return Event{Until: grant.Expires}, tell
}

// lend settles how long a grant is lent. When it is renewed is left to chance
// a little, so that what was obtained together is not renewed together.
func lend(g *Grant, now time.Time) *lent {
	l := &lent{Grant: g}
	if g.Expires.IsZero() {
		return l
	}
	// Time passes also while a machine sleeps, which only the wall clock sees.
	expires := g.Expires.Round(0)
	left := expires.Sub(now)
	ahead := min(left/5, aheadMost)
	l.renew = expires.Add(-ahead - rand.N(ahead/5+1))
	l.until = expires.Add(-min(left/20, lateMost))
	return l
}

// retryAfter is how long to wait after so many failures in a row: up to half
// of it is left to chance.
func retryAfter(failures int) time.Duration {
	most := min(firstRetry<<min(failures-1, 10), lastRetry)
	return most/2 + rand.N(most/2+1)
}
