// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Timeouts bound how long a provider may be silent. Each ends in the next
// target where one is left and nothing has reached the client yet, otherwise
// in an error that names it. A negative value switches a limit off, but for
// Connect.
type Timeouts struct {
	// Connect is how long to wait for a connection. It is the default of the
	// dial_timeout of each provider's transport. Default: 3s.
	Connect caddy.Duration `json:"connect,omitempty"`

	// Headers is how long to wait for the headers of an answer.
	// Default: 60s for a stream, and 10m for an answer that comes whole,
	// whose headers come only when all of it has been generated.
	Headers caddy.Duration `json:"headers,omitempty"`

	// FirstToken is how long a stream may take, from the sending of the
	// request, until it has generated something: text, reasoning, a tool
	// call. It does not hold for the last target, which is waited for.
	// Default: 60s.
	FirstToken caddy.Duration `json:"first_token,omitempty"`

	// Idle is how long an answer may pause once it has begun. Anything that
	// comes ends the pause, pings included. Models that think between their
	// words may pause for minutes. Default: 5m.
	Idle caddy.Duration `json:"idle,omitempty"`

	// Total is how long a call may take, over all its attempts, until its
	// last byte. Default: no limit.
	Total caddy.Duration `json:"total,omitempty"`
}

const (
	defaultConnect       = 3 * time.Second
	defaultHeadersStream = 60 * time.Second
	defaultHeadersPlain  = 10 * time.Minute
	defaultFirstToken    = 60 * time.Second
	defaultIdle          = 5 * time.Minute
	// endGrace is how long an answer that is complete may still go on: some
	// state the usage behind the last word, some never close the connection.
	endGrace = time.Second
)

// timeoutError is why an attempt was given up.
type timeoutError struct{ message string }

func (e *timeoutError) Error() string { return e.message }

// Timeout and Temporary make it a net.Error, as the transport's own are.
func (e *timeoutError) Timeout() bool { return true }

// Temporary is there for the sake of net.Error.
func (e *timeoutError) Temporary() bool { return true }

var (
	errHeadersTimeout    = &timeoutError{"the provider sent no response headers in time (timeouts headers)"}
	errFirstTokenTimeout = &timeoutError{"the provider generated nothing in time (timeouts first_token)"}
	errNothingTimeout    = &timeoutError{"the provider sent the head of an answer and then nothing in time (timeouts idle)"}
	errIdleTimeout       = &timeoutError{"the provider fell silent in the middle of its answer (timeouts idle)"}
	errTotalTimeout      = &timeoutError{"the answer was not complete in time (timeouts total)"}
	// errEnded is no fault: the answer is complete, and nothing more came.
	errEnded = &timeoutError{"the answer is complete"}
)

func (t *Timeouts) applyDefaults() {
	for _, limit := range []struct {
		of    *caddy.Duration
		value time.Duration
	}{
		{&t.Connect, defaultConnect}, {&t.FirstToken, defaultFirstToken}, {&t.Idle, defaultIdle},
	} {
		if *limit.of == 0 {
			*limit.of = caddy.Duration(limit.value)
		}
	}
}

func (t *Timeouts) validate() error {
	if t.FirstToken > 0 && t.Total > 0 && t.Total < t.FirstToken {
		return fmt.Errorf("timeouts total: %s is shorter than first_token, %s", time.Duration(t.Total), time.Duration(t.FirstToken))
	}
	return nil
}

// headers returns how long to wait for an answer's headers.
func (t *Timeouts) headers(stream bool) time.Duration {
	switch {
	case t.Headers != 0:
		return time.Duration(t.Headers)
	case stream:
		return defaultHeadersStream
	default:
		return defaultHeadersPlain
	}
}

// watch gives an attempt up when the provider has been silent for too long.
// It is armed before each wait and disarmed after it, so that the time that a
// slow client takes does not count.
//
// There is a wait for every event of a stream, so that a wait only notes when
// it must be over. The timer looks at that when it fires, and goes on if there
// is time left.
type watch struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	why    atomic.Pointer[timeoutError]
	// until is when the whole call must be over; the zero time means never.
	until time.Time
	// begun is what the times below are counted from, in nanoseconds; 0 means
	// none. The wait must be over at due, and the timer fires at fires.
	begun      time.Time
	due, fires atomic.Int64
}

func newWatch(cancel context.CancelCauseFunc, until time.Time) *watch {
	w := &watch{cancel: cancel, until: until, begun: time.Now()}
	w.timer = time.AfterFunc(math.MaxInt64, w.look)
	return w
}

// arm begins a wait. There is no limit if it is not positive.
func (w *watch) arm(limit time.Duration, why *timeoutError) {
	if !w.until.IsZero() {
		if left := time.Until(w.until); limit <= 0 || left < limit {
			limit, why = max(left, 1), errTotalTimeout
		}
	}
	if limit <= 0 {
		return
	}
	due := int64(time.Since(w.begun) + limit)
	w.why.Store(why)
	w.due.Store(due)
	if fires := w.fires.Load(); fires == 0 || fires > due {
		w.fires.Store(due)
		w.timer.Reset(limit)
	}
}

// look ends the attempt if a wait has taken too long. Who arms the watch from
// here on finds that the timer fires no more, or else is seen here.
func (w *watch) look() {
	w.fires.Store(0)
	due := w.due.Load()
	if due == 0 {
		return
	}
	if left := due - int64(time.Since(w.begun)); left <= 0 {
		w.cancel(w.why.Load())
	} else if w.fires.CompareAndSwap(0, due) {
		w.timer.Reset(time.Duration(left))
	}
}

// disarm ends a wait.
func (w *watch) disarm() { w.due.Store(0) }

// end ends the watch, and with it the attempt.
func (w *watch) end(cause error) {
	w.disarm()
	w.timer.Stop()
	w.cancel(cause)
}

func (t *Timeouts) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "connect":
		return parseDuration(d, &t.Connect)
	case "headers":
		return parseLimit(d, &t.Headers)
	case "first_token":
		return parseLimit(d, &t.FirstToken)
	case "idle":
		return parseLimit(d, &t.Idle)
	case "total":
		return parseLimit(d, &t.Total)
	}
	return syntax.Unknown(d, "timeouts", d.Val(), "connect", "headers", "first_token", "idle", "total")
}
