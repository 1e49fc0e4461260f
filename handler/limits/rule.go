// SPDX-License-Identifier: Apache-2.0

// Package limits counts what clients use and says when it is too much:
// requests, tokens, concurrent calls and cost, over sliding windows and
// calendar periods.
//
// What a call will take is known only when it is over. So a [Book] holds an
// estimate for each call under way, which counts as if it were used, and
// replaces it by the truth when the call is settled. The package has no clock:
// callers say what time it is.
package limits

import (
	"slices"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Kind is what a rule counts.
type Kind uint8

// The kinds of rules.
const (
	// Requests counts calls when they begin, whatever becomes of them.
	Requests Kind = iota
	// Concurrent counts the calls under way. It has no period.
	Concurrent
	// Tokens counts input and output together.
	Tokens
	// InputTokens counts what was read, cached or not.
	InputTokens
	// OutputTokens counts what was generated, reasoning included.
	OutputTokens
	// Cost counts money, in billionths of a US dollar.
	Cost

	// Kinds is how many there are.
	Kinds = iota
)

var kindNames = [Kinds]string{"requests", "concurrent", "tokens", "input_tokens", "output_tokens", "cost"}

// String returns the kind's name in configs.
func (k Kind) String() string { return kindNames[k] }

// ParseKind returns the kind of that name.
func ParseKind(name string) (Kind, bool) {
	for i, known := range kindNames {
		if known == name {
			return Kind(i), true
		}
	}
	return 0, false
}

// Amounts is what a call takes, or is thought to take.
type Amounts struct {
	// Input and Output are tokens.
	Input, Output int64
	// Cost is in billionths of a US dollar.
	Cost int64
}

// maxTaken bounds what one call is believed to have taken of anything, so that
// no answer can make a counter overflow.
const maxTaken = 1 << 42

// of returns the part that a kind counts.
func (a Amounts) of(k Kind) int64 {
	var n int64
	switch k {
	case Tokens:
		n = clamp(a.Input) + clamp(a.Output)
	case InputTokens:
		n = a.Input
	case OutputTokens:
		n = a.Output
	case Cost:
		n = a.Cost
	}
	return clamp(n)
}

func clamp(n int64) int64 { return min(max(n, 0), maxTaken) }

// Rule is one limit.
type Rule struct {
	Kind Kind
	// Amount is how much is allowed within the period, at least 1. For Cost it
	// is in billionths of a US dollar.
	Amount int64
	// Period is not used for Concurrent.
	Period Period
	// Models are patterns of the models that the rule is about, in which an
	// asterisk stands for any text; none means all.
	Models []string
	// Tally says that the rule forbids nothing, and has no amount: it only
	// counts what calls took in the end.
	Tally bool
}

// Counts tells whether two rules count the same thing over the same period,
// whatever their amounts.
func (r *Rule) Counts(other *Rule) bool {
	return r.Kind == other.Kind && r.Tally == other.Tally && r.Period.same(other.Period) && slices.Equal(r.Models, other.Models)
}

// estimated tells whether what a call takes of this kind is known only when it
// is over.
func (r *Rule) estimated() bool { return r.Kind >= Tokens }

// late tells whether the rule can be asked only when the body has been read.
func (r *Rule) late() bool { return r.estimated() || len(r.Models) > 0 }

// covers tells whether the rule is about a call that names these models. An
// empty name stands for any.
func (r *Rule) covers(models []string) bool {
	return len(r.Models) == 0 || slices.ContainsFunc(models, func(model string) bool {
		return model == "" || slices.ContainsFunc(r.Models, func(pattern string) bool { return keypool.Matches(pattern, model) })
	})
}

// need is what a call takes at first of what the rule counts: at least 1, so
// that an amount that is used up lets nothing through. An estimate beyond the
// whole amount is taken for the whole: a guess keeps no call out for ever, but
// it waits until nothing else is counted.
func (r *Rule) need(estimate Amounts) int64 {
	return min(max(estimate.of(r.Kind), 1), max(r.Amount, 1))
}

// Exceeded says which rule a call would break.
type Exceeded struct {
	Subject *Subject
	Rule    *Rule
	// Need is what the call is thought to take, and Left what is left of the
	// amount.
	Need, Left int64
	// Wait is how long it takes until there is room again: a second, where the
	// end of the calls under way would make it.
	Wait time.Duration
}

// State is where a subject stands with one of its rules.
type State struct {
	Subject *Subject
	Rule    *Rule
	// Used is what was used of the amount, what is held for calls under way
	// included.
	Used int64
	// Reset is the time until all that was used is forgotten, if no more is. What
	// is held counts as if it were used now.
	Reset time.Duration
}

// Remaining is what is left of the amount.
func (s State) Remaining() int64 { return max(s.Rule.Amount-s.Used, 0) }
