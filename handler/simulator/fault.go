// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// The faults.
const (
	// FaultRateLimited is a 429; with a duration, Retry-After says so.
	FaultRateLimited = "rate_limited"
	// FaultQuota is a key without money.
	FaultQuota = "quota"
	// FaultInvalidKey is a key that is rejected.
	FaultInvalidKey = "invalid_key"
	// FaultNoPermission is a 403.
	FaultNoPermission = "no_permission"
	// FaultNotFound is an unknown model.
	FaultNotFound = "not_found"
	// FaultError is a 500.
	FaultError = "error"
	// FaultUnavailable is a 503.
	FaultUnavailable = "unavailable"
	// FaultOverloaded is a 529, where a family has it, otherwise a 503.
	FaultOverloaded = "overloaded"
	// FaultContextLength is a prompt that is too long.
	FaultContextLength = "context_length"
	// FaultContentFilter is a prompt that a filter refuses.
	FaultContentFilter = "content_filter"
	// FaultReset breaks the connection before the headers.
	FaultReset = "reset"
	// FaultSilence accepts the request and says nothing.
	FaultSilence = "silence"
	// FaultSlow delays the first token.
	FaultSlow = "slow"
	// FaultCut breaks the connection after some chunks.
	FaultCut = "cut"
	// FaultStall falls silent after some chunks, and then goes on.
	FaultStall = "stall"
	// FaultMalformed makes the event after some chunks unreadable.
	FaultMalformed = "malformed"
	// FaultNoTerminator leaves out the event that ends the stream.
	FaultNoTerminator = "no_terminator"
	// FaultErrorEvent reports an error after some chunks of a stream.
	FaultErrorEvent = "error_event"
)

// arguments say what a fault takes behind its name.
type arguments struct {
	count, duration bool
	// needed says that the first of them must be given.
	needed bool
}

var faults = map[string]arguments{
	FaultRateLimited: {duration: true}, FaultQuota: {}, FaultInvalidKey: {}, FaultNoPermission: {},
	FaultNotFound: {}, FaultError: {}, FaultUnavailable: {}, FaultOverloaded: {}, FaultContextLength: {},
	FaultContentFilter: {}, FaultReset: {}, FaultSilence: {duration: true},
	FaultSlow: {duration: true, needed: true}, FaultCut: {count: true, needed: true},
	FaultStall: {count: true, duration: true, needed: true}, FaultMalformed: {count: true, needed: true},
	FaultNoTerminator: {}, FaultErrorEvent: {count: true},
}

// Fault is something that goes wrong. The zero value is nothing. Only one that
// [ParseFault] made heals.
type Fault struct {
	// Name is one of the constants above.
	Name string
	// Count is after how many chunks.
	Count int
	// Duration is how long; 0 means until the client goes, or not stated.
	Duration time.Duration
	// Times is how many calls it strikes before it heals; 0 means all.
	Times int

	struck *atomic.Int64
}

// ParseFault reads a fault: its name, its arguments, and "times <n>" if it is
// to heal after n calls.
func ParseFault(words []string) (Fault, error) {
	if len(words) == 0 {
		return Fault{}, fmt.Errorf("a fault needs a name")
	}
	f := Fault{Name: words[0], struck: new(atomic.Int64)}
	takes, ok := faults[f.Name]
	if !ok {
		return f, fmt.Errorf("unknown fault %q", f.Name)
	}
	rest := words[1:]
	if n := len(rest); n >= 2 && rest[n-2] == "times" {
		times, err := strconv.Atoi(rest[n-1])
		if err != nil || times < 1 {
			return f, fmt.Errorf("fault %s: times: not a whole number above 0: %s", f.Name, rest[n-1])
		}
		f.Times, rest = times, rest[:n-2]
	}
	if takes.needed && len(rest) == 0 {
		return f, fmt.Errorf("fault %s: an argument is missing", f.Name)
	}
	if takes.count && len(rest) > 0 {
		count, err := strconv.Atoi(rest[0])
		if err != nil || count < 0 {
			return f, fmt.Errorf("fault %s: not a count: %s", f.Name, rest[0])
		}
		f.Count, rest = count, rest[1:]
	}
	if takes.duration && len(rest) > 0 {
		duration, err := syntax.Duration(rest[0])
		if err != nil {
			return f, fmt.Errorf("fault %s: %w", f.Name, err)
		}
		f.Duration, rest = duration, rest[1:]
	}
	if len(rest) > 0 {
		return f, fmt.Errorf("fault %s: too many arguments: %s", f.Name, rest[0])
	}
	return f, nil
}

// strikes reports whether the fault happens to this call, and counts it.
func (f Fault) strikes() bool {
	if f.Name == "" {
		return false
	}
	return f.Times == 0 || f.struck == nil || f.struck.Add(1) <= int64(f.Times)
}

// isStatus reports whether the fault is an answer with an error's status.
func (f Fault) isStatus() bool {
	_, ok := openaiErrors[f.Name]
	return ok
}
