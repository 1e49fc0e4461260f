// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
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

	// Budget bounds such retries over all calls, as a share of the calls to a
	// provider from 0 to 1, so that an outage is not made worse by asking
	// again and again. A hundred more are allowed in ten seconds.
	// Default: 0.2. A negative number is no bound.
	Budget float64 `json:"budget,omitempty"`

	// Deadline is how long after its start a call may still be sent to
	// another key or target. Default: 60s.
	Deadline caddy.Duration `json:"deadline,omitempty"`

	// WaitForKey is how long a call may wait, in all, for a key that comes
	// free again when all of a target's keys are rate limited. Such a wait
	// comes before the next target, which is another model as a rule; a
	// longer one does not. Default: 5s. A negative value means never.
	WaitForKey caddy.Duration `json:"wait_for_key,omitempty"`

	// MaxWait is the longest that a key is left alone because the provider
	// has asked for it. Default: 24h.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`
}

const (
	defaultRetries    = 2
	defaultRetryDelay = 200 * time.Millisecond
	defaultBudget     = 0.2
	defaultDeadline   = 60 * time.Second
	defaultWaitForKey = 5 * time.Second
	// retryReserve is how many retries in ten seconds are always allowed.
	retryReserve = 100
)

func (r *Retry) applyDefaults() {
	if r.Attempts == 0 {
		r.Attempts = defaultRetries
	}
	if r.Delay == 0 {
		r.Delay = caddy.Duration(defaultRetryDelay)
	}
	if r.Budget == 0 {
		r.Budget = defaultBudget
	}
	if r.Deadline == 0 {
		r.Deadline = caddy.Duration(defaultDeadline)
	}
	if r.WaitForKey == 0 {
		r.WaitForKey = caddy.Duration(defaultWaitForKey)
	}
	if r.MaxWait == 0 {
		r.MaxWait = caddy.Duration(keypool.DefaultMaxWait)
	}
}

// newBudget returns the budget for one provider; nil is no bound.
func (r *Retry) newBudget() *keypool.Budget {
	if r.Budget < 0 {
		return nil
	}
	return keypool.NewBudget(r.Budget, retryReserve, time.Now)
}

func (r *Retry) validate() error {
	if r.Delay < 0 {
		return errors.New("retry delay: must not be negative")
	}
	if r.Deadline < 0 {
		return errors.New("retry deadline: must not be negative")
	}
	if r.Budget > 1 {
		return errors.New("retry budget: must be a share from 0 to 1")
	}
	if r.MaxWait < 0 {
		return errors.New("retry max_wait: must not be negative")
	}
	return nil
}

func (r *Retry) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "attempts":
		text, err := syntax.ArgumentOnce(d, r.Attempts != 0)
		if err != nil {
			return err
		}
		if r.Attempts, err = syntax.WholeNumber(d, "attempts", text); r.Attempts == 0 {
			r.Attempts = -1 // the zero value means the default
		}
		return err
	case "delay":
		return parseDuration(d, &r.Delay)
	case "budget":
		return parseShare(d, &r.Budget)
	case "deadline":
		return parseDuration(d, &r.Deadline)
	case "wait_for_key":
		return parseLimit(d, &r.WaitForKey)
	case "max_wait":
		return parseDuration(d, &r.MaxWait)
	}
	return syntax.Unknown(d, "retry", d.Val(), "attempts", "delay", "budget", "deadline", "wait_for_key", "max_wait")
}
