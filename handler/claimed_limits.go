// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// maxClaimedLimits bounds how many limits a token may state.
const maxClaimedLimits = 16

// windows are the periods in the names of claimed limits that are no days or
// months of the calendar.
var windows = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour}

// readLimits reads the limits that a token states: an object whose names say
// what is limited, or a list of limits as in a config.
func readLimits(text json.RawMessage) ([]limits.Rule, error) {
	var all []*Limit
	if strings.HasPrefix(string(text), "[") {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&all); err != nil {
			return nil, fmt.Errorf("reading limits: %w", err)
		}
	} else {
		var amounts map[string]float64
		if err := json.Unmarshal(text, &amounts); err != nil {
			return nil, errors.New(`neither an object such as {"requests_per_minute": 60} nor a list of limits`)
		}
		for _, name := range slices.Sorted(maps.Keys(amounts)) {
			limit, err := namedLimit(name, amounts[name])
			if err != nil {
				return nil, err
			}
			all = append(all, limit)
		}
	}
	if len(all) > maxClaimedLimits {
		return nil, fmt.Errorf("there are %d limits, more than %d", len(all), maxClaimedLimits)
	}
	return rulesOf(all)
}

// namedLimit returns the limit that a name such as tokens_per_day stands for.
func namedLimit(name string, amount float64) (*Limit, error) {
	kind, period, periodic := strings.Cut(name, "_per_")
	l := &Limit{Kind: kind, Amount: amount}
	switch {
	case !periodic:
	case windows[period] > 0:
		l.Window = caddy.Duration(windows[period])
	case period == "day" || period == "month":
		l.Per = period
	default:
		return nil, fmt.Errorf("limit %s: there are second, minute, hour, day and month", name)
	}
	return l, nil
}
