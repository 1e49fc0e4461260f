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

// Breaker says when a provider is taken out that fails, whichever key asks it:
// for the model that fails, or as a whole when it cannot be reached. It is
// then probed by one call at a time, and after it has recovered it gets its
// calls back over a few seconds.
type Breaker struct {
	// Failures is how many failures in a row take it out, or a key that meets
	// them while others are served. Default: 5.
	Failures int `json:"failures,omitempty"`

	// MinSuccess is the share of successes, from 0 to 1, below which it is
	// taken out, once there were 20 calls in the window, or a key that is
	// served worse than the others. Default: 0.5.
	MinSuccess float64 `json:"min_success,omitempty"`

	// Window is the time over which that share is taken. Default: 1m.
	Window caddy.Duration `json:"window,omitempty"`

	// OpenFor is how long it rests before a call may probe it, and how long
	// after it has said that it is overloaded. Default: 10s.
	OpenFor caddy.Duration `json:"open_for,omitempty"`
}

func (b *Breaker) validate() error {
	switch {
	case b.Failures < 0:
		return errors.New("breaker failures: must not be negative")
	case b.MinSuccess < 0 || b.MinSuccess > 1:
		return errors.New("breaker min_success: must be a share from 0 to 1")
	case b.Window < 0 || b.OpenFor < 0:
		return errors.New("breaker window and open_for: must not be negative")
	}
	return nil
}

// rules returns the pool's, in which nothing stands for the defaults.
func (b *Breaker) rules() keypool.Breaker {
	return keypool.Breaker{
		Failures: b.Failures, MinSuccess: b.MinSuccess,
		Window: time.Duration(b.Window), OpenFor: time.Duration(b.OpenFor),
	}
}

func (b *Breaker) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "failures":
		return syntax.PositiveOnce(d, &b.Failures)
	case "min_success":
		return parsePercent(d, &b.MinSuccess)
	case "window":
		return parseDuration(d, &b.Window)
	case "open_for":
		return parseDuration(d, &b.OpenFor)
	}
	return syntax.Unknown(d, "breaker", d.Val(), "failures", "min_success", "window", "open_for")
}
