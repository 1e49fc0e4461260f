// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"slices"
	"time"
)

// Class says what an attempt's outcome means. It decides what is penalised,
// for how long, and what the caller should do next.
type Class uint8

// The classes of outcome. Those that blame nobody come first.
const (
	// ClassOK is an answer that is what was asked for.
	ClassOK Class = iota
	// ClassCaller is a request that the provider refuses as the client's fault.
	ClassCaller
	// ClassContext is a prompt longer than the model's window.
	ClassContext
	// ClassPolicy is a refusal by a content filter.
	ClassPolicy
	// ClassCanceled is a call whose client has gone, or whose time is up.
	ClassCanceled
	// ClassTier is a request too large for this key's tier of service.
	ClassTier
	// ClassEmpty is an answer that ended well with nothing in it.
	ClassEmpty

	// ClassRateLimited is a key that has used up its rate.
	ClassRateLimited
	// ClassQuota is a key without money or quota left.
	ClassQuota
	// ClassStale is a credential that has expired.
	ClassStale
	// ClassCredential is a key that the provider rejects.
	ClassCredential
	// ClassAccess is a key that may not use this model.
	ClassAccess
	// ClassModel is a model that this key's account does not know.
	ClassModel

	// ClassNotSent is a connection that failed before the request left.
	ClassNotSent
	// ClassReset is a connection that broke before the answer began.
	ClassReset
	// ClassUpstream is a fault of the provider's servers.
	ClassUpstream
	// ClassOverloaded is a provider that says it has too much to do.
	ClassOverloaded
	// ClassSlow is a provider that did not answer in time.
	ClassSlow
	// ClassBroken is an answer that stopped before its end.
	ClassBroken
	// ClassRegion is a provider that does not serve our location.
	ClassRegion

	// ClassDisabled is a key that an operator has taken out. It is the outcome
	// of no attempt, but why a key is not used.
	ClassDisabled
)

// String returns the word that logs and metrics use.
func (c Class) String() string { return rules[c].word }

// ClassNamed returns the class of that word, which must be one of a failure.
func ClassNamed(word string) (Class, bool) {
	class := slices.IndexFunc(rules[:], func(known rule) bool { return known.word == word })
	return Class(max(class, 0)), class > int(ClassOK)
}

// Scope is what a class of failure penalises.
type Scope uint8

// The scopes, from nothing to the whole upstream.
const (
	ScopeNone Scope = iota
	ScopeKeyModel
	ScopeKey
	ScopeUpstreamModel
	ScopeUpstream
)

// Next is what to do after an attempt.
type Next uint8

// What to do next.
const (
	// Answer gives the client what came.
	Answer Next = iota
	// NextKey tries another key of the same provider.
	NextKey
	// Retry tries again, with another key if there is one; a bounded number
	// of times, then the next target.
	Retry
	// NextTarget goes on to the next target at once.
	NextTarget
)

// Verdict is the judgement of one attempt.
type Verdict struct {
	Class Class
	// Wait is how long the provider asked to be left alone; 0 where it did
	// not say.
	Wait time.Duration
	// Detail is the provider's own short code (such as "insufficient_quota"
	// or "overloaded_error"), for logs. It never holds a whole message.
	Detail string
	// Ordered says that Wait is an operator's: it holds as it is, also for what
	// is the upstream's fault.
	Ordered bool
	// Stop says that what came is the client's answer, whatever the class.
	Stop bool
	// Excess says that it is for the size of the request: a smaller one would
	// have been served, so the key is not penalised.
	Excess bool
}

// Scope returns what v penalises.
func (v Verdict) Scope() Scope {
	if v.Excess {
		return ScopeNone
	}
	return rules[v.Class].scope
}

// Next returns what to do after v.
func (v Verdict) Next() Next {
	if v.Stop {
		return Answer
	}
	return rules[v.Class].next
}

// orderedOr returns the operator's wait, or the usual one if there is none.
func (v Verdict) orderedOr(usual time.Duration) time.Duration {
	if v.Ordered {
		return v.Wait
	}
	return usual
}

// rule is what follows from a class. First and most bound the cool-down where
// the provider states no wait: it doubles from first to most with each
// failure in a row. For an upstream's faults that is the rest of a key that
// meets them alone.
type rule struct {
	word        string
	scope       Scope
	next        Next
	first, most time.Duration
}

var rules = [...]rule{
	ClassOK:       {"ok", ScopeNone, Answer, 0, 0},
	ClassCaller:   {"caller", ScopeNone, Answer, 0, 0},
	ClassContext:  {"context", ScopeNone, Answer, 0, 0},
	ClassPolicy:   {"policy", ScopeNone, Answer, 0, 0},
	ClassCanceled: {"canceled", ScopeNone, Answer, 0, 0},
	ClassTier:     {"tier", ScopeNone, NextKey, 0, 0},
	// Static keys cannot be refreshed: a stale one is as good as rejected.
	ClassStale:       {"stale", ScopeKey, NextKey, 30 * time.Second, 10 * time.Minute},
	ClassEmpty:       {"empty", ScopeNone, Retry, 0, 0},
	ClassRateLimited: {"rate_limited", ScopeKeyModel, NextKey, time.Second, time.Minute},
	ClassQuota:       {"quota", ScopeKey, NextKey, 10 * time.Minute, time.Hour},
	ClassCredential:  {"credential", ScopeKey, NextKey, 30 * time.Second, 10 * time.Minute},
	ClassAccess:      {"access", ScopeKeyModel, NextKey, time.Hour, time.Hour},
	// Clients name models: a key must not rest for what does not exist.
	ClassModel:      {"model", ScopeNone, NextKey, 0, 0},
	ClassNotSent:    {"not_sent", ScopeUpstream, Retry, 0, 0},
	ClassReset:      {"reset", ScopeUpstream, Retry, 10 * time.Second, 10 * time.Minute},
	ClassUpstream:   {"upstream", ScopeUpstreamModel, Retry, 10 * time.Second, 10 * time.Minute},
	ClassOverloaded: {"overloaded", ScopeUpstreamModel, Retry, 0, 0},
	ClassSlow:       {"slow", ScopeUpstreamModel, NextTarget, 10 * time.Second, 10 * time.Minute},
	ClassBroken:     {"broken", ScopeUpstream, Answer, 10 * time.Second, 10 * time.Minute},
	ClassRegion:     {"region", ScopeUpstream, NextTarget, 0, 0},
	ClassDisabled:   {"disabled", ScopeNone, NextKey, 0, 0},
}
