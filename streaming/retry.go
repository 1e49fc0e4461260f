// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Retry bounds how often and how long a call is tried again. Going on to
// another key because a key was refused is bounded by the deadline alone.
type Retry struct {
	// Attempts is how many times a call is sent again after a fault of the
	// provider: a broken connection, a 5xx status, an overload. Default: 2.
	// A negative number means never.
	Attempts int `json:"attempts,omitempty"`

	// Delay is the longest pause before such a retry. The pause is a random
	// part of it, doubled for each further retry. Default: 200ms.
	Delay caddy.Duration `json:"delay,omitempty"`

	// Deadline is how long after its start a call may still be sent to
	// another key or target. Default: 60s.
	Deadline caddy.Duration `json:"deadline,omitempty"`

	// WaitForKey is how long a call may wait, in all, for a key that comes
	// free again when all of a target's keys are rate limited. Such a wait
	// comes before the next target, which is another model as a rule; a
	// longer one does not. Default: 5s. A negative value means never.
	WaitForKey caddy.Duration `json:"wait_for_key,omitempty"`
}

const (
	defaultRetries    = 2
	defaultRetryDelay = 200 * time.Millisecond
	defaultDeadline   = 60 * time.Second
	defaultWaitForKey = 5 * time.Second
)

func (r *Retry) applyDefaults() {
	if r.Attempts == 0 {
		r.Attempts = defaultRetries
	}
	if r.Delay == 0 {
		r.Delay = caddy.Duration(defaultRetryDelay)
	}
	if r.Deadline == 0 {
		r.Deadline = caddy.Duration(defaultDeadline)
	}
	if r.WaitForKey == 0 {
		r.WaitForKey = caddy.Duration(defaultWaitForKey)
	}
}

func (r *Retry) validate() error {
	if r.Delay < 0 {
		return errors.New("retry delay: must not be negative")
	}
	if r.Deadline < 0 {
		return errors.New("retry deadline: must not be negative")
	}
	return nil
}
