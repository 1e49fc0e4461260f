// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// maxReturns is how many times a call comes back to keys that have said that
// they are rate limited.
const maxReturns = 3

// rotation carries one call over its attempts until one of them is an answer
// for the client, or nothing is left to try.
type rotation struct {
	transport *Transport
	call      *Call
	in        *http.Request
	chain     *chain
	// owner is the provider that has stored what the call refers to, or is
	// taken for it, and ownerKey the key that made it, if it is known. Both are
	// zero if the call refers to nothing.
	owner    *Provider
	ownerKey string
	// targets are those of the chain that are being asked; elsewhere says that
	// these are the ones for a prompt that the others refused.
	targets   []target
	elsewhere bool
	// prefilled is sent in place of the client's body, if there is one.
	prefilled []byte
	// plain says that the target at hand is not asked for the usage, since it
	// seems to mind that.
	plain bool
	// tried are the keys of pool that were asked as asked, the target at hand.
	tried keypool.Tried
	asked target
	pool  *keypool.Pool
	// since is when the search for an answer began, and until when the call
	// must be over; the zero time means never.
	since, until time.Time

	// retries counts the repetitions after faults of the upstream, over all
	// targets, and waited the time spent on waiting for keys.
	retries int
	waited  time.Duration
	// limited counts the answers that were rate limits, by target.
	limited int
	// once holds the classes that are worth one other key and no more, and
	// emptied says that an answer with nothing in it was asked for again.
	once    map[keypool.Class]bool
	emptied bool
	// best is the failure that tells the client most, should all fail.
	best *failure
	// cooling is the earliest time at which some key comes free again, of
	// those that were passed over because they are cooling.
	cooling *keypool.CoolingError
}

// run finds an answer for the client.
func (r *rotation) run(ctx context.Context) (*http.Response, error) {
	r.pin()
	r.targets = r.chain.order()
	l, final := r.find(ctx)
	if final != nil {
		// Another target may be able to take what this one cannot.
		if others := r.chain.after(final.verdict); len(others) > 0 {
			r.best = final.withoutRest()
			r.targets, r.elsewhere = others, true
			l, final = r.find(ctx)
		}
	}
	switch {
	case l != nil && l.session != nil:
		return l.session.open(r), nil
	case l != nil:
		return r.deliver(l), nil
	case ctx.Err() != nil:
		r.call.Outcome = OutcomeCanceled
		return nil, ctx.Err()
	case final != nil:
		return final.response(r.in, r.call), nil
	default:
		return r.exhausted(), nil
	}
}

// find asks the targets in order. It returns an answer that has begun well, or
// a failure that is the answer, or neither if nothing is left.
func (r *rotation) find(ctx context.Context) (*leg, *failure) {
	for i, to := range r.targets {
		l, final := r.ask(ctx, to, i == len(r.targets)-1)
		if l != nil || final != nil || ctx.Err() != nil || r.expired() {
			return l, final
		}
	}
	return nil, nil
}

// ask tries the keys of one target. It returns neither an answer nor a failure
// when the next target should be asked; last says that there is none.
func (r *rotation) ask(ctx context.Context, to target, last bool) (*leg, *failure) {
	if r.asked != to {
		r.asked, r.pool, r.tried, r.limited, r.plain = to, to.provider.pool.Load(), keypool.Tried{}, 0, false
		to.provider.budget.Call()
	}
	want := keypool.Want{Model: to.modelFor(r.call.Request.Model), Affinity: r.call.Affinity, Insist: last}
	want.KeyID = r.owned(to, want)
	refused := "" // the key that does not know the model
	for {
		lease, err := r.pool.Acquire(want, &r.tried)
		if err != nil {
			if want.Tier > 0 {
				// There is no key of a higher tier. One of the same may do.
				want.Tier = 0
				continue
			}
			if r.waitForKey(ctx, err, last) {
				continue
			}
			if ctx.Err() == nil {
				to.share.keyless()
			}
			return nil, nil
		}
		if refused == lease.KeyID() {
			// There is no other that could tell more.
			lease.Return(time.Time{})
			return nil, nil
		}
		l, failed := r.attempt(ctx, to, lease, last)
		if l != nil {
			if r.plain {
				to.provider.asks.refuse(want.Model)
			}
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if failed.mindsAsking() {
			// If it answers without, that was it. A client may have made it
			// say so.
			failed.withoutRest()
			r.plain = true
			continue
		}
		next := r.next(failed, last)
		switch {
		case failed.verdict.Class == keypool.ClassTier:
			want.Tier, refused = lease.Tier()+1, lease.KeyID()
		case failed.verdict.Class == keypool.ClassModel, failed.verdict.Excess:
			refused = lease.KeyID()
		}
		if next == keypool.Answer {
			return nil, failed
		}
		if next == keypool.NextTarget || r.expired() {
			return nil, nil
		}
		if next == keypool.Retry && !r.pause(ctx) {
			return nil, nil
		}
	}
}

// next decides what follows a failed attempt, and keeps the failure if it
// tells the client more than those before. last says that there is no other
// target.
func (r *rotation) next(f *failure, last bool) keypool.Next {
	if r.best == nil || f.rank() > r.best.rank() {
		r.best = f
	}
	class := f.verdict.Class
	switch {
	case f.verdict.Stop:
		return keypool.Answer
	case class == keypool.ClassCanceled: // as the call's time is up
		return keypool.NextTarget
	case class == keypool.ClassTier, class == keypool.ClassModel, f.verdict.Excess:
		// Another account may serve it. If the second says the same, it is so.
		if r.once[class] {
			return keypool.NextTarget
		}
		if r.once == nil {
			r.once = map[keypool.Class]bool{}
		}
		r.once[class] = true
	case class == keypool.ClassRateLimited:
		// Each key may say so, and some of them once more after a wait.
		if r.limited++; r.limited >= r.pool.Size()+maxReturns {
			return keypool.NextTarget
		}
	case class == keypool.ClassReset, class == keypool.ClassSlow, class == keypool.ClassUpstream:
		if !r.call.Request.Operation.Repeatable && r.in.Method != http.MethodGet {
			// It may have created something, which asking again would double.
			return keypool.Answer
		}
	}
	next := f.verdict.Next()
	switch {
	case next != keypool.Retry, class == keypool.ClassEmpty: // which has been counted
		return next
	case class == keypool.ClassOverloaded && !last, !r.takeRetry():
		return keypool.NextTarget
	}
	return next
}

// takeRetry reports whether the call may be sent again after a fault of the
// provider, and counts it.
func (r *rotation) takeRetry() bool {
	if r.retries >= r.transport.Retry.Attempts || r.expired() {
		return false
	}
	if !r.asked.provider.budget.Retry() {
		if c := r.transport.logger.Check(zapcore.InfoLevel, "not tried again: the budget for retries is used up"); c != nil {
			c.Write(zap.String("request_id", r.call.ID), zap.String("provider", r.asked.provider.Name))
		}
		return false
	}
	r.retries++
	return true
}

// expired reports whether the call may not be sent anywhere else any more.
func (r *rotation) expired() bool { return r.expiresWithin(0) }

// expiresWithin reports whether that will be so after a wait.
func (r *rotation) expiresWithin(wait time.Duration) bool {
	then := time.Now().Add(wait)
	return then.Sub(r.since) >= time.Duration(r.transport.Retry.Deadline) || !r.until.IsZero() && !then.Before(r.until)
}

// pause waits a random part of the retry delay, which doubles with each
// retry. It reports false if the client went away meanwhile.
func (r *rotation) pause(ctx context.Context) bool {
	most := time.Duration(r.transport.Retry.Delay) << min(r.retries-1, 6)
	return sleep(ctx, rand.N(most+1))
}

// waitForKey waits until a key comes free, if that is soon enough. It is not
// worth it where another target may serve the call at once, unless the key is
// only rate limited: then the wait is sure to be over in time, and the other
// target is another model as a rule.
func (r *rotation) waitForKey(ctx context.Context, err error, last bool) bool {
	var cooling *keypool.CoolingError
	if !errors.As(err, &cooling) {
		return false
	}
	wait := time.Until(cooling.Until)
	if (last || cooling.Class == keypool.ClassRateLimited) &&
		wait <= time.Duration(r.transport.Retry.WaitForKey)-r.waited && !r.expiresWithin(wait) {
		r.waited += wait
		return sleep(ctx, wait)
	}
	if r.cooling == nil || cooling.Until.Before(r.cooling.Until) {
		r.cooling = cooling
	}
	return false
}

// sleep reports false if the client went away meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// report closes a failed attempt: the pool learns the verdict, and the log
// says why the call moves on.
func (r *rotation) report(to target, lease keypool.Lease, f *failure, took time.Duration) {
	lease.Report(keypool.Outcome{Verdict: f.verdict, Latency: took})
	r.note(to, lease, f.verdict, f.cause, took)
}

// note writes down a failed attempt; cause is nil if the provider answered.
func (r *rotation) note(to target, lease keypool.Lease, verdict keypool.Verdict, cause error, took time.Duration) {
	r.call.record(Attempt{
		Provider: to.provider.Name,
		KeyID:    lease.KeyID(),
		Verdict:  verdict,
		Duration: took,
	})
	level := zapcore.InfoLevel
	if verdict.Class == keypool.ClassCredential || verdict.Class == keypool.ClassQuota {
		level = zapcore.WarnLevel
	}
	if c := r.transport.logger.Check(level, "attempt failed"); c != nil {
		c.Write(
			zap.String("request_id", r.call.ID),
			zap.String("provider", to.provider.Name),
			zap.String("key", lease.KeyID()),
			zap.Stringer("class", verdict.Class),
			zap.String("detail", verdict.Detail),
			zap.NamedError("cause", cause),
			zap.Duration("wait", verdict.Wait),
			zap.Duration("took", took),
		)
	}
}
