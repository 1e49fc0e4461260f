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

import "time"

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
)

var kindNames = []string{"requests", "concurrent", "tokens", "input_tokens", "output_tokens", "cost"}

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
	// Amount is how much is allowed within the period, at least 1. For Cost
	// it is in billionths of a US dollar.
	Amount int64
	// Period is not used for Concurrent.
	Period Period
}

// reserved tells whether what a call takes of this kind is known only when it
// is over.
func (r Rule) reserved() bool { return r.Kind >= Tokens }

// Exceeded says which rule a call would break.
type Exceeded struct {
	Rule Rule
	// Wait is how long it takes until there is room again: a second, where the
	// end of the calls under way would make it.
	Wait time.Duration
}

// State is where a client stands with one rule.
type State struct {
	Rule Rule
	// Remaining is what is left of the amount.
	Remaining int64
	// Reset is the time until all that was used is forgotten.
	Reset time.Duration
}

// Counts tells whether two rules count the same thing over the same period,
// whatever their amounts.
func (r Rule) Counts(other Rule) bool { return r.Kind == other.Kind && r.Period.same(other.Period) }
