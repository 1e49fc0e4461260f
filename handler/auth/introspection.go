// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	// secretPrefix is what the keys begin with that [NewSecret] makes.
	secretPrefix = "clp-"
	// minOpaque is the length of the shortest token that an issuer is asked
	// about, in bytes. A token that nobody can guess is longer.
	minOpaque = 16
	// failuresInRow are so many that the issuer is taken for away, and
	// awayFor is for how long it is then left alone.
	failuresInRow = 5
	awayFor       = 5 * time.Second
)

// ErrStrange is for what asks an issuer: it answers, but will not say anything
// about this token. That is no sign of its being away.
var ErrStrange = errors.New("the issuer does not judge this token")

// Introspector tells whether a token is good by asking its issuer (RFC 7662),
// as far as it does not remember the answer. Make one with [Introspector.Init];
// it is safe for concurrent use.
type Introspector struct {
	// Ask returns the issuer's answer, as JSON.
	Ask func(ctx context.Context, token string) ([]byte, error)
	// Timeout is how long a call waits for its turn to ask, and then for an answer.
	Timeout time.Duration
	// MaxInFlight is how many questions may be under way, and MaxRate how many
	// there may be in a second.
	MaxInFlight, MaxRate int
	// Fresh is for how long an answer that a token is good is believed without
	// asking again, Stale for how long where the issuer cannot be asked, and
	// Refused for how long one that it is not.
	Fresh, Stale, Refused time.Duration
	// Report is told when the issuer cannot be asked any more and why, and
	// with nil when it can again.
	Report func(error)
	// Now is the clock.
	Now func() time.Time

	answers answers
	flight  singleflight.Group
	slots   chan struct{}
	shares  *shares
	pace    *rate.Limiter
	breaker *gobreaker.CircuitBreaker[answer]
}

// Init prepares the introspector. It must be called first.
func (i *Introspector) Init() {
	i.slots = make(chan struct{}, i.MaxInFlight)
	i.shares = newShares(i.MaxInFlight, i.MaxRate)
	i.pace = rate.NewLimiter(rate.Limit(i.MaxRate), i.MaxRate)
	var last error
	i.breaker = gobreaker.NewCircuitBreaker[answer](gobreaker.Settings{
		Timeout: awayFor,
		IsSuccessful: func(err error) bool {
			if err != nil {
				last = err // the breaker holds its lock
			}
			return err == nil || errors.Is(err, ErrStrange)
		},
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= failuresInRow },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
				i.Report(last)
			case to == gobreaker.StateClosed:
				i.Report(nil)
			}
		},
	})
}

// Introspect returns what the issuer says of a token. It fails with
// [ErrUnjudged] if it cannot be asked, and otherwise if the token is not good.
func (i *Introspector) Introspect(ctx context.Context, token string) (Claims, error) {
	if !mayBeOpaque(token) {
		return nil, errors.New("does not look like a token")
	}
	digest := HashSecret(token)
	known, ok := i.answers.find(digest)
	if ok && i.Now().Before(known.fresh) {
		return known.judge()
	}
	answer, err := i.askTogether(ctx, digest, token)
	switch {
	case err == nil:
		return answer.judge()
	case ok && i.Now().Before(known.until):
		return known.judge()
	}
	return nil, fmt.Errorf("%w: %w", ErrUnjudged, err)
}

// mayBeOpaque tells whether a text may be a token as OAuth knows them (RFC
// 6750): others, and our own keys, are nothing to tell an issuer.
func mayBeOpaque(token string) bool {
	if len(token) < minOpaque || len(token) > maxToken || strings.HasPrefix(token, secretPrefix) {
		return false
	}
	return !strings.ContainsFunc(strings.TrimRight(token, "="), func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		return !letter && !strings.ContainsRune("-._~+/", c)
	})
}

// askTogether asks the issuer once for all who come with the same token. The
// question goes on when who asked first has gone.
func (i *Introspector) askTogether(ctx context.Context, digest Digest, token string) (answer, error) {
	shared := i.flight.DoChan(string(digest[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.Timeout)
		defer cancel()
		answer, err := i.askInTurn(ctx, token)
		if err == nil {
			i.answers.remember(digest, answer)
		}
		return answer, err
	})
	select {
	case result := <-shared:
		return result.Val.(answer), result.Err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// askInTurn asks the issuer, if it may be asked.
func (i *Introspector) askInTurn(ctx context.Context, token string) (answer, error) {
	if i.breaker.State() == gobreaker.StateOpen {
		return answer{}, gobreaker.ErrOpenState
	}
	from := callerOf(ctx).from
	leave, err := i.shares.enter(ctx, from, i.Now)
	if err != nil {
		return answer{}, err
	}
	defer leave()
	if !i.pace.Allow() {
		return answer{}, errors.New("there are too many tokens to ask about")
	}
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return answer{}, errCrowded
	}
	said, err := i.breaker.Execute(func() (answer, error) {
		// The time that was spent on waiting is not the issuer's.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.Timeout)
		defer cancel()
		text, err := i.Ask(ctx, token)
		if err != nil {
			return answer{}, err
		}
		return i.read(text)
	})
	if err == nil && said.claims == nil || errors.Is(err, ErrStrange) {
		i.shares.judged(from, i.Now())
	}
	return said, err
}

// read reads the issuer's answer.
func (i *Introspector) read(text []byte) (answer, error) {
	now := i.Now()
	var claims Claims
	if err := json.Unmarshal(text, &claims); err != nil {
		return answer{}, errors.New("the issuer does not answer with a JSON object")
	}
	var active bool
	if json.Unmarshal(claims["active"], &active) != nil {
		return answer{}, errors.New("the issuer's answer does not say whether the token is active")
	}
	ends, endErr := claims.time("exp")
	begins, beginErr := claims.time("nbf")
	if err := errors.Join(endErr, beginErr); err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrStrange, err)
	}
	if !active || !ends.IsZero() && !now.Before(ends) || now.Before(begins) {
		return answer{fresh: now.Add(i.Refused)}, nil
	}
	good := answer{claims: claims, fresh: now.Add(i.Fresh), until: now.Add(max(i.Fresh, i.Stale))}
	if !ends.IsZero() {
		good.fresh, good.until = earlier(good.fresh, ends), earlier(good.until, ends)
	}
	return good, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
