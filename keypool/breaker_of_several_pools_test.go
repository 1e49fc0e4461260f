// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"testing"
	"time"
)

// What is known of an upstream outlives the pool that learned it, also where
// the new config has other rules.
func TestUpstreamOutlivesPool(t *testing.T) {
	timed(t, func(t *testing.T) {
		upstream := NewUpstream()
		old := newTimedPool(t, 1, Options{Upstream: upstream})
		failTimes(t, old, "m", ClassUpstream, 5)
		if err := upstream.Destruct(); err != nil {
			t.Fatal(err)
		}
		p := newTimedPool(t, 1, Options{Upstream: upstream, Breaker: Breaker{Failures: 1, OpenFor: time.Minute}})
		if got := upstreamRest(t, p, "m"); got != 10*time.Second {
			t.Errorf("rests %s in the new pool", got)
		}
		use(t, p, "n", Verdict{Class: ClassUpstream})
		if got := upstreamRest(t, p, "n"); got != time.Minute {
			t.Errorf("by the new rules it rests %s", got)
		}
	})
}

// A pool that is only made, as for a config that is then refused, changes
// nothing for the others. Each pool judges its own calls, by all that is known.
func TestEachPoolJudgesByItsOwnRules(t *testing.T) {
	timed(t, func(t *testing.T) {
		upstream := NewUpstream()
		patient := newTimedPool(t, 1, Options{Upstream: upstream, Breaker: Breaker{Failures: 8}})
		failTimes(t, patient, "m", ClassUpstream, 2)
		hasty := newTimedPool(t, 1, Options{Upstream: upstream, Breaker: Breaker{Failures: 5, OpenFor: time.Minute}})
		failTimes(t, patient, "m", ClassUpstream, 4)
		if got := upstreamRest(t, patient, "m"); got != 0 {
			t.Errorf("by the rules of a pool without calls it rests %s", got)
		}
		if n := len(patient.UpstreamStatus().Circuits); n != 1 {
			t.Errorf("%d circuits are known", n)
		}
		use(t, hasty, "m", Verdict{Class: ClassUpstream})
		for name, p := range map[string]*Pool{"patient": patient, "hasty": hasty} {
			if got := upstreamRest(t, p, "m"); got != time.Minute {
				t.Errorf("the %s pool finds that it rests %s", name, got)
			}
		}
		time.Sleep(time.Minute + time.Second)
		use(t, patient, "m", Verdict{})
		failTimes(t, patient, "m", ClassUpstream, 7)
		if got := upstreamRest(t, patient, "m"); got != 0 {
			t.Errorf("after it has healed it rests %s", got)
		}
	})
}

// A failure counts for as much, whichever pool's rules the circuit went by.
func TestFailuresAreCountedOverPools(t *testing.T) {
	timed(t, func(t *testing.T) {
		upstream := NewUpstream()
		a := newTimedPool(t, 1, Options{Upstream: upstream, Breaker: Breaker{Window: time.Hour}})
		b := newTimedPool(t, 1, Options{Upstream: upstream, Breaker: Breaker{OpenFor: time.Minute}})
		for range 2 {
			failTimes(t, a, "m", ClassUpstream, 1)
			failTimes(t, b, "m", ClassUpstream, 1)
		}
		if got := upstreamRest(t, a, "m"); got != 0 {
			t.Errorf("after four failures it rests %s", got)
		}
		failTimes(t, b, "m", ClassUpstream, 1)
		if got := upstreamRest(t, a, "m"); got != time.Minute {
			t.Errorf("after five failures it rests %s", got)
		}
	})
}
