// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Duration reads a duration of more than nothing. The error says what it
// should look like.
func Duration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("a duration needs a unit, such as %ss or %sm", text, text)
	}
	length, err := caddy.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is no duration such as 500ms, 10s, 5m, 1h or 1d", text)
	case length <= 0:
		return 0, fmt.Errorf("%s is no duration of more than nothing", text)
	}
	return length, nil
}

// Choice is an option that has only certain values.
type Choice struct {
	// Option is the option's name, and Value what the config says. An empty
	// one stands for the default.
	Option, Value string
	// Known are the values that it may have.
	Known []string
}

// Check refuses a value that an option does not have.
func Check(choices ...Choice) error {
	for _, c := range choices {
		if c.Value != "" && !slices.Contains(c.Known, c.Value) {
			return fmt.Errorf("%s: must be %s, not %q", c.Option, list(c.Known, " or "), c.Value)
		}
	}
	return nil
}

// And lists words that are all there are.
func And(words []string) string { return list(words, " and ") }

func list(words []string, before string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + before + words[last]
}
