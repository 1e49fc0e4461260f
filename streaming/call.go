// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// Call is one client request, from admission to the settled account, over all
// its attempts. The handler makes it and puts it into the request's context;
// the transport takes it from there and writes down what happened.
//
// A Call belongs to the goroutine that serves the request. It needs no lock.
type Call struct {
	// ID is the request id that logs and error answers carry.
	ID string
	// Request is what the client asks for.
	Request *wire.Request
	// Body is the client's request body, whole. It is never changed, and given
	// up as soon as an answer is passed on.
	Body []byte
	// Buffer is the memory of Body, if it is to be used again.
	Buffer *Buffer
	// Started is when the request came in.
	Started time.Time

	// Affinity is a hash of what should stay with one key under the sticky
	// policy, such as who is calling; 0 is nothing.
	Affinity uint64

	// Provider, KeyID and TargetModel name the target of the last attempt.
	Provider, KeyID, TargetModel string
	// Service is what that provider is known to be, or else its API family.
	Service string
	// ModelConfigured says that the config itself names TargetModel, and not
	// the client alone.
	ModelConfigured bool
	// Attempts are the round trips made so far, of more than maxAttempts the
	// first and the last; Unlisted counts the others.
	Attempts []Attempt
	Unlisted int
	// Sent is the time from Started to the first attempt; 0 where there was
	// none.
	Sent time.Duration
	// Status is the HTTP status that the client was given.
	Status int
	// Refusal is the code of the error that the gateway itself has given the
	// client; "" if it has given none.
	Refusal string
	// FirstToken is the time from Started to the first generated event; 0
	// where there was none.
	FirstToken time.Duration
	// LastToken is the time from Started to the last generated event.
	LastToken time.Duration
	// Result is what was read along the answer.
	Result wire.Result
	// Outcome says how the call ended.
	Outcome Outcome
	// Cause is why the answer broke; nil if it did not, or was taken up again.
	Cause error

	// HearUntil bounds until when the client of a session is heard; nil where
	// nobody can.
	HearUntil func(deadline time.Time) error

	// answer is what is still to be settled, once there is an answer.
	answer interface {
		settle()
		// isEvents reports whether it is a stream of server-sent events, or may
		// be one for all that has come of it.
		isEvents() bool
	}
	// size is the length of Body, also when that has been given up.
	size int
}

// maxAttempts bounds how many attempts a call remembers, so that rotating
// over a pool of a thousand dead keys does not grow the log line with it.
const maxAttempts = 32

// Attempt is one round trip: one target, one key.
type Attempt struct {
	Provider string
	KeyID    string
	Verdict  keypool.Verdict
	// Duration is the time until the verdict was clear. For an answer that is
	// passed on, that is the time until its headers.
	Duration time.Duration
}

// Outcome is how a call ended, as logs and metrics spell it.
type Outcome string

// The outcomes of a call.
const (
	// OutcomeOK is an answer that was delivered whole.
	OutcomeOK Outcome = "ok"
	// OutcomeRefused is a call that the gateway itself turned down.
	OutcomeRefused Outcome = "refused"
	// OutcomeError is an error answer from the provider, passed on.
	OutcomeError Outcome = "error"
	// OutcomeExhausted is a call for which no key was left.
	OutcomeExhausted Outcome = "exhausted"
	// OutcomeBroken is an answer that stopped before its end.
	OutcomeBroken Outcome = "broken"
	// OutcomeCanceled is a call whose client went away.
	OutcomeCanceled Outcome = "canceled"
)

// Close settles what the transport still holds for the call: the answer's
// body, the key's slot and the memory of the request. It must be called once
// the request is over, whatever the way out; calling it again does nothing.
func (c *Call) Close() {
	if c.answer != nil {
		c.answer.settle()
	}
	c.dropBody()
}

// dropBody gives up the request's body: it will not be sent again. A stream
// would otherwise hold its prompt to its end.
func (c *Call) dropBody() {
	c.Body = nil
	if c.Buffer != nil {
		c.Buffer.Release()
		c.Buffer = nil
	}
}

// errDropped is a body that is to be sent when it has been given up.
var errDropped = errors.New("the request's body is gone")

// opener returns what opens body, which is the client's or made from it, for
// one attempt.
func (c *Call) opener(body []byte) func() (io.ReadCloser, error) {
	buffer := c.Buffer
	if buffer == nil || &body[0] != &c.Body[0] {
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	return func() (io.ReadCloser, error) {
		if c.Buffer != buffer {
			return nil, errDropped
		}
		return buffer.reader(), nil
	}
}

// TakesComments reports whether comments may stand in the answer that is being
// passed on, as far as it was read: a stream of server-sent events, of a kind
// whose SDKs skip them.
func (c *Call) TakesComments() bool {
	return c.answer != nil && c.answer.isEvents() && !c.Request.Operation.NoComments
}

// PerToken returns the time that a stream took for each token behind the first.
// It says false where that cannot be told: of what came at once, or whole.
func (c *Call) PerToken() (each time.Duration, known bool) {
	took, tokens := c.LastToken-c.FirstToken, c.Result.Usage.OutputTotal()-1
	if c.Request == nil || !c.Request.Stream || took <= 0 || tokens < 1 {
		return 0, false
	}
	return took / time.Duration(tokens), true
}

// record notes an attempt and returns its place.
func (c *Call) record(a Attempt) int {
	if len(c.Attempts) == maxAttempts {
		c.Attempts[maxAttempts-1] = a
		c.Unlisted++
	} else {
		c.Attempts = append(c.Attempts, a)
	}
	return len(c.Attempts) - 1
}

// judge notes what came of an attempt in the end.
func (c *Call) judge(attempt int, v keypool.Verdict) { c.Attempts[attempt].Verdict = v }

type callKey struct{}

// WithCall returns a context that carries call to the transport.
func WithCall(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

func callFrom(ctx context.Context) (*Call, bool) {
	call, ok := ctx.Value(callKey{}).(*Call)
	return call, ok
}
