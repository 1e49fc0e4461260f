// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// ArgumentOnce reads the one argument of the option that d stands at. Given
// says that the option has stood before, which is an error.
func ArgumentOnce(d *caddyfile.Dispenser, given bool) (string, error) {
	var text string
	switch {
	case given:
		return "", d.Errf("%s: already specified", d.Val())
	case !d.AllArgs(&text):
		return "", d.ArgErr()
	}
	return text, nil
}

// TextOnce reads the one argument, which is not empty, of an option that may
// stand only once.
func TextOnce(d *caddyfile.Dispenser, into *string) error {
	option := d.Val()
	text, err := ArgumentOnce(d, *into != "")
	if err == nil && text == "" {
		err = d.Errf("%s: must not be empty", option)
	}
	*into = text
	return err
}

// DurationOnce reads the duration of an option that may stand only once.
func DurationOnce(d *caddyfile.Dispenser, into *caddy.Duration) error {
	option := d.Val()
	text, err := ArgumentOnce(d, *into != 0)
	if err != nil {
		return err
	}
	value, err := Duration(text)
	if err != nil {
		return d.Errf("%s: %v", option, err)
	}
	*into = caddy.Duration(value)
	return nil
}

// PositiveOnce reads the whole number, at least 1, of an option that may stand
// only once.
func PositiveOnce(d *caddyfile.Dispenser, into *int) error {
	option := d.Val()
	text, err := ArgumentOnce(d, *into != 0)
	if err != nil {
		return err
	}
	*into, err = WholeNumber(d, option, text)
	if err == nil && *into == 0 {
		err = d.Errf("%s: must be at least 1", option)
	}
	return err
}

// FlagOnce reads an option without arguments that may stand only once.
func FlagOnce(d *caddyfile.Dispenser, into *bool) error {
	if *into {
		return d.Errf("%s: already specified", d.Val())
	}
	*into = true
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// WholeNumber reads a whole number that is not negative, an argument of an
// option.
func WholeNumber(d *caddyfile.Dispenser, option, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, d.Errf("%s: not a whole number: %s", option, text)
	}
	return n, nil
}

// Unknown is the error for an option that there is not, and says which there
// are. of is what they belong to; it is empty for a directive.
func Unknown(d *caddyfile.Dispenser, of, option string, known ...string) error {
	what := "unrecognized subdirective"
	if of != "" {
		what = of + ": unrecognized option"
	}
	return d.Errf("%s %s; known: %s", what, option, And(known))
}

// HasPlaceholder tells whether a text may mean something else when it is
// evaluated.
func HasPlaceholder(text string) bool { return strings.Contains(text, "{") }
