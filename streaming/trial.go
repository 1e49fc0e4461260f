// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"slices"
	"sync"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

const (
	// firstPart is what a canary gets of its share when it comes back.
	firstPart = 0.1
	// maxCanaryRest is how long one stays withdrawn at most, unless it is told
	// to for longer.
	maxCanaryRest = time.Hour
)

// trial is what is known of one target of a split: how its calls went lately,
// and whether it is withdrawn. It is safe for concurrent use and outlives
// configs.
type trial struct {
	mu    sync.Mutex
	calls tally
	times times

	// withdrawn says that the target gets no share, until then. returned is
	// when it last came back; the zero time means never.
	withdrawn       bool
	until, returned time.Time
	// strikes is how many times in a row it was withdrawn.
	strikes int
}

// Destruct does nothing: calls in flight may still report. It is there so
// that a caddy.UsagePool can hold trials.
func (t *trial) Destruct() error { return nil }

// outcome is something that a call tells of its target.
type outcome struct {
	// began is when the attempt began that it is about.
	began time.Time
	// call says that the attempt has not been counted before, and fault that
	// the target is to blame.
	call, fault bool
	// firstToken is how long a stream took to begin; 0 for anything else.
	firstToken time.Duration
}

// part returns how much of its weight the target gets, from 0 to 1. back says
// that it has just returned.
func (t *trial) part(now time.Time, rules *Canary) (part float64, back bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.withdrawn {
		if now.Before(t.until) {
			return 0, false
		}
		t.withdrawn, t.returned, back = false, now, true
	}
	grown := float64(now.Sub(t.returned)) / float64(rules.Window)
	return min(1, firstPart+(1-firstPart)*grown), back
}

// note takes an outcome in.
func (t *trial) note(o outcome, now time.Time, rules *Canary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(o, now, rules)
}

func (t *trial) noteLocked(o outcome, now time.Time, rules *Canary) {
	t.calls.add(o, now, time.Duration(rules.Window))
	if o.firstToken > 0 {
		t.times.add(o.firstToken, now)
	}
}

// judge takes an outcome in, and withdraws the target if it stands worse than
// the stable one. It returns how it stood then, and for how long it rests; 0 if
// all is well. What began before the target last came back is no longer news.
func (t *trial) judge(o outcome, stable standing, now time.Time, rules *Canary) (standing, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.withdrawn || o.began.Before(t.returned) {
		return standing{}, 0
	}
	t.noteLocked(o, now, rules)
	own := t.standingLocked(now, rules)
	if !rules.worse(own, stable) {
		return standing{}, 0
	}
	if now.Sub(t.returned) > 2*time.Duration(rules.Window) {
		t.strikes = 0 // it had its whole share for a window
	}
	rest := time.Duration(rules.Rest)
	if rest < maxCanaryRest {
		rest = min(rest<<min(t.strikes, 12), maxCanaryRest)
	}
	t.strikes++
	t.withdrawn, t.until = true, now.Add(rest)
	t.calls, t.times = tally{}, times{}
	return own, rest
}

// standing returns how the target did over the window.
func (t *trial) standing(now time.Time, rules *Canary) standing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.standingLocked(now, rules)
}

func (t *trial) standingLocked(now time.Time, rules *Canary) standing {
	s := standing{times: t.times.since(now.Add(-time.Duration(rules.Window)))}
	s.calls, s.faults = t.calls.sum(now, time.Duration(rules.Window))
	return s
}

// standing is how a target did over a window.
type standing struct {
	calls, faults int
	// times are the first-token times of its latest streams.
	times []time.Duration
}

// errorRate is the share of calls that failed, of at least so many.
func (s standing) errorRate(atLeast int) float64 {
	if s.faults == 0 {
		return 0
	}
	return float64(s.faults) / float64(max(s.calls, atLeast, 1))
}

// median is that of the first-token times; 0 if there are none.
func (s standing) median() time.Duration {
	if len(s.times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.times))
	return sorted[len(sorted)/2]
}

// tallyParts is how finely the window of a tally moves on.
const tallyParts = 10

// tally counts calls and faults over a window of time.
type tally [tallyParts]struct {
	// number is that of the span of time that the part counts.
	number        int64
	calls, faults int
}

func (t *tally) add(o outcome, now time.Time, window time.Duration) {
	number := spanNumber(now, window)
	part := &t[number%tallyParts]
	if part.number != number {
		part.number, part.calls, part.faults = number, 0, 0
	}
	if o.call {
		part.calls++
	}
	if o.fault {
		part.faults++
	}
}

func (t *tally) sum(now time.Time, window time.Duration) (calls, faults int) {
	latest := spanNumber(now, window)
	for _, part := range t {
		if part.number > latest-tallyParts && part.number <= latest {
			calls += part.calls
			faults += part.faults
		}
	}
	return calls, faults
}

func spanNumber(now time.Time, window time.Duration) int64 {
	return now.UnixNano() / int64(window/tallyParts)
}

// times are the latest first-token times.
type times struct {
	ring [64]struct {
		at   time.Time
		took time.Duration
	}
	next int
}

func (t *times) add(took time.Duration, now time.Time) {
	slot := &t.ring[t.next%len(t.ring)]
	slot.at, slot.took = now, took
	t.next++
}

func (t *times) since(start time.Time) []time.Duration {
	var recent []time.Duration
	for _, slot := range t.ring {
		if slot.at.After(start) {
			recent = append(recent, slot.took)
		}
	}
	return recent
}

// blames reports whether a failure speaks against the target that a call was
// given to. named says that the config names the model: if that is unknown, it
// is not the client's doing.
func blames(class keypool.Class, named bool) bool {
	switch class {
	case keypool.ClassUpstream, keypool.ClassOverloaded, keypool.ClassSlow, keypool.ClassBroken,
		keypool.ClassReset, keypool.ClassNotSent, keypool.ClassRegion, keypool.ClassEmpty:
		return true
	case keypool.ClassModel:
		return named
	}
	return false
}
