// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

var (
	errCrowded = errors.New("too many questions are under way")
	errFlooded = errors.New("too many tokens from this address are not good")
)

// shares keep one address from taking all the questions that may be asked, by
// tokens that it invents: it has half of those under way, and half of those of
// a second for tokens that are not good. Good ones may be as many as may be
// asked about. What is of no address has no share.
type shares struct {
	// underWay is how many questions of an address may be, wrong how many
	// answers that a token is not good it may have in a second, and waiting how
	// many of its tokens may be asked about or wait for that.
	underWay, wrong, waiting int

	mu sync.Mutex
	// taken are those of the addresses with questions.
	taken map[netip.Addr]*share
	bad   Failures
}

// share is that of one address.
type share struct {
	turns   chan struct{}
	waiting int
}

// newShares returns those of so many questions at a time, and in a second.
func newShares(inFlight, rate int) *shares {
	return &shares{
		underWay: max(inFlight/2, 1), wrong: max(rate/2, 1), waiting: rate,
		taken: map[netip.Addr]*share{},
	}
}

// enter waits until an address may ask. After that it has to leave.
func (s *shares) enter(ctx context.Context, from netip.Addr, now func() time.Time) (leave func(), err error) {
	if !from.IsValid() {
		return func() {}, nil
	}
	mine := s.join(from)
	if mine == nil {
		return nil, errCrowded
	}
	select {
	case mine.turns <- struct{}{}:
	case <-ctx.Done():
		s.part(from, mine)
		return nil, errCrowded
	}
	leave = func() {
		<-mine.turns
		s.part(from, mine)
	}
	if s.bad.Wait(now(), from, s.wrong, time.Second) > 0 {
		leave()
		return nil, errFlooded
	}
	return leave, nil
}

// judged counts an answer that a token was not good.
func (s *shares) judged(from netip.Addr, now time.Time) {
	if from.IsValid() {
		s.bad.Add(now, from, time.Second)
	}
}

// join returns the share of an address; nil if too many wait for it.
func (s *shares) join(from netip.Addr) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.taken[from]
	switch {
	case mine == nil:
		mine = &share{turns: make(chan struct{}, s.underWay)}
		s.taken[from] = mine
	case mine.waiting >= s.waiting:
		return nil
	}
	mine.waiting++
	return mine
}

// part forgets the share of an address that has no question any more.
func (s *shares) part(from netip.Addr, mine *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mine.waiting--; mine.waiting == 0 {
		delete(s.taken, from)
	}
}
