// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// parseBlock reads the options of a block that may stand only once. What it
// fills in is of no value before.
func parseBlock[T comparable](d *caddyfile.Dispenser, into *T, option func(*caddyfile.Dispenser) error) error {
	name := d.Val()
	if *into != *new(T) {
		return d.Errf("%s: already specified; put all of its options into one block", name)
	}
	if d.NextArg() {
		return d.Errf("%s: its options stand in a block, so not %s behind it", name, d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := option(d); err != nil {
			return err
		}
	}
	return nil
}

// parsePercent reads a share such as 50%.
func parsePercent(d *caddyfile.Dispenser, into *float64) error {
	option := d.Val()
	if err := parseShare(d, into); err != nil {
		return err
	}
	if *into < 0 {
		return d.Errf("%s: cannot be switched off", option)
	}
	return nil
}

// parseShare reads a share up to 100%, or "off", for which a negative one
// stands.
func parseShare(d *caddyfile.Dispenser, into *float64) error {
	option := d.Val()
	if err := parseRatio(d, into); err != nil {
		return err
	}
	if *into > 1 {
		return d.Errf("%s: more than 100%%", option)
	}
	return nil
}

// parseRatio reads a percentage of any size, or "off", for which a negative
// number stands.
func parseRatio(d *caddyfile.Dispenser, into *float64) error {
	option := d.Val()
	text, err := syntax.ArgumentOnce(d, *into != 0)
	if err != nil {
		return err
	}
	if text == "off" {
		*into = -1
		return nil
	}
	number, isPercent := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(number, 64)
	if !isPercent || err != nil || !(value > 0 && value < math.Inf(1)) {
		return d.Errf("%s: not a percentage above 0%%, such as 20%%: %s", option, text)
	}
	*into = value / 100
	return nil
}

func parseDuration(d *caddyfile.Dispenser, into *caddy.Duration) error {
	option := d.Val()
	if err := parseLimit(d, into); err != nil {
		return err
	}
	if *into < 0 {
		return d.Errf("%s: cannot be switched off", option)
	}
	return nil
}

// parseLimit reads a duration, or "off", for which a negative one stands.
func parseLimit(d *caddyfile.Dispenser, into *caddy.Duration) error {
	option := d.Val()
	text, err := syntax.ArgumentOnce(d, *into != 0)
	if err != nil {
		return err
	}
	if text == "off" {
		*into = -1
		return nil
	}
	value, err := syntax.Duration(text)
	if err != nil {
		return d.Errf("%s: %v", option, err)
	}
	*into = caddy.Duration(value)
	return nil
}
