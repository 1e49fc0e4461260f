// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Canary says when a canary of a split is withdrawn, so that it gets no share
// of the calls: when it does worse than the stable target by a margin. After a
// rest it comes back with a tenth of its share, which grows to the whole within
// a Window.
//
// Only what the provider is to blame for counts as an error; what is the
// client's does not, nor does a key that is refused while another one serves.
type Canary struct {
	// ErrorMargin is by how much its error rate may be over that of the stable
	// target, from 0 to 1. Default: 0.05. With a negative value errors do not
	// matter.
	ErrorMargin float64 `json:"error_margin,omitempty"`

	// FirstTokenMargin is by which part its streams may begin later than those
	// of the stable target: with 0.5, two thirds of them must not take longer
	// than one and a half times the stable target's median, and 50ms.
	// Default: 0.5. With a negative value that does not matter.
	FirstTokenMargin float64 `json:"first_token_margin,omitempty"`

	// MinCalls is over how many calls an error rate is taken at least: as long
	// as there were fewer in the window, the missing ones count as served.
	// Default: 50.
	MinCalls int `json:"min_calls,omitempty"`

	// Window is the time over which the two are compared. Default: 5m.
	Window caddy.Duration `json:"window,omitempty"`

	// Rest is how long a canary stays withdrawn. It doubles each time that the
	// canary is withdrawn again soon after its return, up to an hour.
	// Default: 1m.
	Rest caddy.Duration `json:"rest,omitempty"`
}

const (
	defaultErrorMargin      = 0.05
	defaultFirstTokenMargin = 0.5
	defaultMinCalls         = 50
	defaultCanaryWindow     = 5 * time.Minute
	defaultCanaryRest       = time.Minute
	// maxFirstTokenMargin keeps products of it far from overflowing.
	maxFirstTokenMargin = 1000
)

// withDefaults returns the rules in which nothing is left open.
func (c Canary) withDefaults() Canary {
	if c.ErrorMargin == 0 {
		c.ErrorMargin = defaultErrorMargin
	}
	if c.FirstTokenMargin == 0 {
		c.FirstTokenMargin = defaultFirstTokenMargin
	}
	if c.MinCalls == 0 {
		c.MinCalls = defaultMinCalls
	}
	if c.Window == 0 {
		c.Window = caddy.Duration(defaultCanaryWindow)
	}
	if c.Rest == 0 {
		c.Rest = caddy.Duration(defaultCanaryRest)
	}
	return c
}

func (c Canary) validate() error {
	c = c.withDefaults()
	switch {
	case c.ErrorMargin > 1:
		return errors.New("canary error_margin: must be a share up to 1")
	case c.FirstTokenMargin > maxFirstTokenMargin:
		return fmt.Errorf("canary first_token_margin: must be a factor up to %d", maxFirstTokenMargin)
	case c.MinCalls < 0:
		return errors.New("canary min_calls: must not be negative")
	case !isCanaryTime(c.Window) || !isCanaryTime(c.Rest):
		return errors.New("canary window and rest: must be from a second to 30 days")
	}
	return nil
}

func isCanaryTime(d caddy.Duration) bool {
	return time.Duration(d) >= time.Second && time.Duration(d) <= 30*24*time.Hour
}

// worse reports whether a canary stands worse than the stable target by more
// than the margins.
func (c *Canary) worse(canary, stable standing) bool {
	return c.failsMore(canary, stable) || c.beginsLater(canary, stable)
}

func (c *Canary) failsMore(canary, stable standing) bool {
	return c.ErrorMargin > 0 && canary.errorRate(c.MinCalls) > stable.errorRate(c.MinCalls)+c.ErrorMargin
}

// What it takes to call a canary slow.
const (
	// enoughTimes is how many streams of each there must have been.
	enoughTimes = 20
	// leastDelay is what a client does not notice.
	leastDelay = 50 * time.Millisecond
)

// beginsLater compares by counting, and not by averages: a few prompts may take
// a hundred times as long as most.
func (c *Canary) beginsLater(canary, stable standing) bool {
	if c.FirstTokenMargin < 0 || len(canary.times) < enoughTimes || len(stable.times) < enoughTimes {
		return false
	}
	median := stable.median()
	limit := median + max(leastDelay, time.Duration(float64(median)*c.FirstTokenMargin))
	later := 0
	for _, took := range canary.times {
		if took > limit {
			later++
		}
	}
	return 3*later > 2*len(canary.times)
}

func (c *Canary) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "error_margin":
		return parseShare(d, &c.ErrorMargin)
	case "first_token_margin":
		return parseRatio(d, &c.FirstTokenMargin)
	case "min_calls":
		return syntax.PositiveOnce(d, &c.MinCalls)
	case "window":
		return parseDuration(d, &c.Window)
	case "rest":
		return parseDuration(d, &c.Rest)
	}
	return syntax.Unknown(d, "canary", d.Val(), "error_margin", "first_token_margin", "min_calls", "window", "rest")
}
