// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Limit is how much a client may use.
type Limit struct {
	// Kind is what is counted: requests, tokens, input_tokens, output_tokens,
	// cost, or concurrent for the calls under way.
	Kind string `json:"kind"`

	// Amount is how much is allowed: a whole number, or US dollars for cost.
	Amount float64 `json:"amount"`

	// Window is the length of a sliding window. One of Window and Per is
	// needed, but for concurrent, which has neither.
	Window caddy.Duration `json:"window,omitempty"`

	// Per is a period of the calendar: day or month.
	Per string `json:"per,omitempty"`

	// TimeZone says when a day begins, such as Europe/Berlin. Default: UTC.
	TimeZone string `json:"time_zone,omitempty"`

	// Models are patterns of the models that the limit is about, in which an
	// asterisk stands for any text; they are counted apart, all of them
	// together. Default: all models.
	Models []string `json:"models,omitempty"`

	// Each is for limits of a group: every member may use that much, rather
	// than all members together. Default: false.
	Each bool `json:"each,omitempty"`
}

const (
	// perDollar is the unit in which cost is counted.
	perDollar = 1e9
	// maxAmount bounds the amounts, so that counting cannot overflow.
	maxAmount = 1e15
	// minWindow keeps the parts of a window apart.
	minWindow = time.Second
)

// rule makes the limit ready.
func (l *Limit) rule() (limits.Rule, error) {
	kind, ok := limits.ParseKind(l.Kind)
	if !ok {
		return limits.Rule{}, fmt.Errorf("%s: unknown; there are requests, tokens, input_tokens, output_tokens, concurrent and cost", l.Kind)
	}
	amount := l.Amount
	if kind == limits.Cost {
		amount *= perDollar
	}
	if amount != math.Trunc(amount) && kind != limits.Cost || !(amount >= 1 && amount <= maxAmount) {
		return limits.Rule{}, fmt.Errorf("%s: not an amount: %v; %s", l.Kind, l.Amount, amountWanted(kind))
	}
	period, err := l.period(kind)
	if err != nil {
		return limits.Rule{}, fmt.Errorf("%s: %w", l.Kind, err)
	}
	return limits.Rule{Kind: kind, Amount: int64(amount), Period: period, Models: l.Models}, nil
}

// amountWanted says which amounts a limit may have.
func amountWanted(kind limits.Kind) string {
	if kind == limits.Cost {
		return fmt.Sprintf("wants US dollars above nothing, up to %.0f", maxAmount/perDollar)
	}
	return fmt.Sprintf("wants a whole number from 1 to %.0f", maxAmount)
}

func (l *Limit) period(kind limits.Kind) (limits.Period, error) {
	var p limits.Period
	switch {
	case kind == limits.Concurrent:
		if l.Window != 0 || l.Per != "" || l.TimeZone != "" {
			return p, errors.New("has no period: it counts the calls under way")
		}
		return p, nil
	case l.Window != 0 && l.Per != "":
		return p, errors.New("a window or a calendar period, not both")
	case l.TimeZone != "" && l.Per == "":
		return p, errors.New("a time zone is for day and month only")
	}
	switch l.Per {
	case "":
		if l.Window < caddy.Duration(minWindow) {
			return p, errors.New("a window of at least a second is needed, or day or month")
		}
		p.Window = time.Duration(l.Window)
		return p, nil
	case "day":
		p.Calendar = limits.Day
	case "month":
		p.Calendar = limits.Month
	default:
		return p, fmt.Errorf("unknown period %s; there are day and month", l.Per)
	}
	zone, err := time.LoadLocation(l.TimeZone)
	if err != nil {
		return p, fmt.Errorf("time zone: %w", err)
	}
	p.Zone = zone
	return p, nil
}

// rulesOf makes limits ready. Two that count the same would count twice.
func rulesOf(all []*Limit) ([]limits.Rule, error) {
	rules := make([]limits.Rule, 0, len(all))
	for _, l := range all {
		if l == nil {
			return nil, errors.New("limit: null")
		}
		rule, err := l.rule()
		if err != nil {
			return nil, fmt.Errorf("limit %w", err)
		}
		if l.Each {
			return nil, fmt.Errorf("limit %s: each: only a limit of a group says this", l.Kind)
		}
		if slices.ContainsFunc(rules, func(other limits.Rule) bool { return other.Counts(&rule) }) {
			return nil, fmt.Errorf("limit %s: given twice for the same period", l.Kind)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// withDefaults returns a client's rules together with the default ones for
// the kinds and models that it has no rule of its own for.
func withDefaults(own, defaults []limits.Rule) []limits.Rule {
	if len(own) == 0 {
		return defaults
	}
	rules := slices.Clip(own)
	for _, rule := range defaults {
		if !slices.ContainsFunc(own, func(r limits.Rule) bool {
			return r.Kind == rule.Kind && slices.Equal(r.Models, rule.Models)
		}) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// ParseLimit parses a client's limit, as it stands in a Caddyfile behind the
// word.
func ParseLimit(text string) (*Limit, error) {
	tokens, err := caddyfile.Tokenize([]byte("limit "+text), text)
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	return parseLimit(d, "limit", d.RemainingArgs())
}

// String spells the limit as in a Caddyfile.
func (l *Limit) String() string {
	words := []string{l.Kind, strconv.FormatFloat(l.Amount, 'f', -1, 64)}
	if l.Window > 0 {
		words = append(words, time.Duration(l.Window).String())
	}
	if l.Per != "" {
		words = append(words, l.Per)
	}
	if l.TimeZone != "" {
		words = append(words, l.TimeZone)
	}
	if len(l.Models) > 0 {
		words = append(append(words, "models"), l.Models...)
	}
	return strings.Join(words, " ")
}

// parseGroupLimit parses a limit of a group, which may be one of each member:
// "each" stands before the models.
func parseGroupLimit(d *caddyfile.Dispenser, option string, args []string) (*Limit, error) {
	at := slices.Index(args, "each")
	if models := slices.Index(args, "models"); at < 0 || models >= 0 && models < at {
		return parseLimit(d, option, args)
	}
	l, err := parseLimit(d, option, slices.Delete(slices.Clone(args), at, at+1))
	if err == nil {
		l.Each = true
	}
	return l, err
}

// parseLimit parses "<kind> <n> [<window>|day|month [<time zone>]] [models
// <pattern>...]".
func parseLimit(d *caddyfile.Dispenser, option string, args []string) (*Limit, error) {
	l := new(Limit)
	if at := slices.Index(args, "models"); at >= 0 {
		if args, l.Models = args[:at], args[at+1:]; len(l.Models) == 0 {
			return nil, d.Errf("%s: models: wants patterns, such as 'models gpt-4o*'", option)
		}
	}
	if slices.Contains(args, "each") {
		return nil, d.Errf("%s: each: only a limit of a group says this, once", option)
	}
	if len(args) < 2 || len(args) > 4 {
		return nil, d.Errf("%s: wants a kind, an amount and a period, such as '%s tokens 100000 1h' or '%s cost 5 day'", option, option, option)
	}
	l.Kind = args[0]
	amount, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return nil, d.Errf("%s %s: not an amount such as 100000: %s", option, l.Kind, args[1])
	}
	l.Amount = amount
	if len(args) > 2 {
		if args[2] == "day" || args[2] == "month" {
			l.Per = args[2]
		} else {
			window, err := syntax.Duration(args[2])
			if err != nil {
				return nil, d.Errf("%s %s: the period is day, month or a duration: %v", option, l.Kind, err)
			}
			l.Window = caddy.Duration(window)
		}
	}
	if len(args) > 3 {
		l.TimeZone = args[3]
	}
	if _, err := l.rule(); err != nil {
		return nil, d.Errf("%s %v", option, err)
	}
	return l, nil
}
