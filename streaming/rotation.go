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

// rotation carries one call over its attempts until one of them is an answer
// for the client, or nothing is left to try.
type rotation struct {
	transport *Transport
	call      *Call
	in        *http.Request

	// retries counts the repetitions after faults of the upstream, over all
	// targets.
	retries int
	// once holds the classes that are worth one other key and no more.
	once map[keypool.Class]bool
	// best is the failure that tells the client most, should all fail.
	best *failure
	// cooling is the earliest time at which some key comes free again, of
	// those that were passed over because they are cooling.
	cooling *keypool.CoolingError
}

// run tries the targets in order.
func (r *rotation) run(ctx context.Context, targets []target) (*http.Response, error) {
	for _, to := range targets {
		res, err := r.runTarget(ctx, to)
		if res != nil || err != nil {
			return res, err
		}
		if r.expired() {
			break
		}
	}
	return r.exhausted(), nil
}

// runTarget tries the keys of one target. It returns neither a response nor
// an error when the next target should be tried.
func (r *rotation) runTarget(ctx context.Context, to target) (*http.Response, error) {
	var tried keypool.Tried
	for {
		lease, err := to.provider.pool.Acquire(to.modelFor(r.call.Request.Model), &tried)
		if err != nil {
			r.noteCooling(err)
			return nil, nil
		}
		res, failed := r.attempt(ctx, to, lease)
		if res != nil {
			return res, nil
		}
		if err := ctx.Err(); err != nil {
			r.call.Outcome = OutcomeCanceled
			return nil, err
		}
		next := r.next(failed)
		if next == keypool.Answer {
			return failed.response(r.in, r.call), nil
		}
		if next == keypool.NextTarget || r.expired() {
			return nil, nil
		}
		if next == keypool.Retry && !r.pause(ctx) {
			return nil, ctx.Err()
		}
	}
}

// next decides what follows a failed attempt, and keeps the failure if it
// tells the client more than those before.
func (r *rotation) next(f *failure) keypool.Next {
	if r.best == nil || f.rank() > r.best.rank() {
		r.best = f
	}
	switch f.verdict.Class {
	case keypool.ClassTier, keypool.ClassModel:
		// Another account may serve it. If the second says the same, it is so.
		if r.once[f.verdict.Class] {
			return keypool.Answer
		}
		if r.once == nil {
			r.once = map[keypool.Class]bool{}
		}
		r.once[f.verdict.Class] = true
	case keypool.ClassReset:
		if !r.call.Request.Operation.Repeatable && r.in.Method != http.MethodGet {
			// It may have created something, which asking again would double.
			return keypool.Answer
		}
	}
	next := f.verdict.Next()
	if next == keypool.Retry {
		if r.retries >= r.transport.Retry.Attempts {
			return keypool.NextTarget
		}
		r.retries++
	}
	return next
}

// expired reports whether the call may not be sent anywhere else any more.
func (r *rotation) expired() bool {
	return time.Since(r.call.Started) >= time.Duration(r.transport.Retry.Deadline)
}

// pause waits a random part of the retry delay, which doubles with each
// retry. It reports false if the client went away meanwhile.
func (r *rotation) pause(ctx context.Context) bool {
	most := time.Duration(r.transport.Retry.Delay) << min(r.retries-1, 6)
	timer := time.NewTimer(rand.N(most + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		r.call.Outcome = OutcomeCanceled
		return false
	}
}

func (r *rotation) noteCooling(err error) {
	var cooling *keypool.CoolingError
	if !errors.As(err, &cooling) {
		return
	}
	if r.cooling == nil || cooling.Until.Before(r.cooling.Until) {
		r.cooling = cooling
	}
}

// report closes a failed attempt: the pool learns the verdict, and the log
// says why the call moves on.
func (r *rotation) report(to target, lease keypool.Lease, verdict keypool.Verdict, took time.Duration) {
	lease.Report(keypool.Outcome{Verdict: verdict, Latency: took})
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
			zap.Duration("wait", verdict.Wait),
			zap.Duration("took", took),
		)
	}
}
