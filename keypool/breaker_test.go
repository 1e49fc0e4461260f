// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// timed runs a test in a bubble of its own time, which passes when all sleep:
// breakers read the clock of the process.
func timed(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// newTimedPool makes a pool of n keys, called k0, k1, …, by the bubble's clock.
func newTimedPool(t testing.TB, n int, opts Options) *Pool {
	t.Helper()
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key{ID: fmt.Sprintf("k%d", i)}
	}
	return newPoolOf(t, opts, keys...)
}

// newPoolOf makes a pool of keys, whose secrets need not be given.
func newPoolOf(t testing.TB, opts Options, keys ...Key) *Pool {
	t.Helper()
	states := make([]*State, len(keys))
	for i := range keys {
		keys[i].Secret = NewSecret("secret of " + keys[i].ID)
		states[i] = NewState()
	}
	p, err := New(keys, states, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// upstreamRest returns how long the upstream is closed to a model; 0 if a call
// may pass.
func upstreamRest(t *testing.T, p *Pool, model string) time.Duration {
	t.Helper()
	lease, err := p.Acquire(Want{Model: model}, new(Tried))
	if err == nil {
		lease.Report(Outcome{Verdict: Verdict{Class: ClassCanceled}})
		return 0
	}
	var cooling *CoolingError
	if !errors.As(err, &cooling) || !cooling.Upstream {
		t.Fatalf("it is not the upstream: %v", err)
	}
	return time.Until(cooling.Until)
}

func failTimes(t *testing.T, p *Pool, model string, class Class, n int) {
	t.Helper()
	for range n {
		use(t, p, model, Verdict{Class: class})
	}
}

// A few faults do not take an upstream out; five in a row do, for ten seconds,
// and only for the model that they were of.
func TestFaultsInARowOpenTheModel(t *testing.T) {
	for _, class := range []Class{ClassUpstream, ClassSlow, ClassBroken, ClassReset} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 1, Options{})
				failTimes(t, p, "m", class, 4)
				if got := upstreamRest(t, p, "m"); got != 0 {
					t.Errorf("after four faults: rests %s", got)
				}
				use(t, p, "m", Verdict{})
				failTimes(t, p, "m", class, 5)
				if got := upstreamRest(t, p, "m"); got != 10*time.Second {
					t.Errorf("after five faults in a row: rests %s, want 10s", got)
				}
				if got := upstreamRest(t, p, "other"); got != 0 {
					t.Errorf("another model rests %s", got)
				}
				if status := p.Snapshot()[0]; !status.CoolingUntil.IsZero() || status.CoolingModels != nil {
					t.Errorf("the key rests for it: %+v", status)
				}
			})
		})
	}
}

// An outage of one model, whatever it looks like, while another is served over
// the same host: only the one is taken out.
func TestOutageDoesNotSpillOver(t *testing.T) {
	for _, class := range []Class{ClassUpstream, ClassSlow, ClassBroken, ClassReset, ClassOverloaded} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 1, Options{})
				asked := 0
				for range 100 {
					for range 3 {
						if lease, err := p.Acquire(Want{Model: "primary"}, new(Tried)); err == nil {
							lease.Report(Outcome{Verdict: Verdict{Class: class}})
							asked++
						}
					}
					use(t, p, "fallback", Verdict{})
					time.Sleep(time.Second)
				}
				if asked > 15 {
					t.Errorf("the primary was asked %d times in 100 seconds", asked)
				}
			})
		})
	}
}

// An outage of a minute, with a call every four seconds that asks three times:
// few attempts are wasted, and within 16 seconds of its end the model is in
// use again.
func TestOutageOfAMinute(t *testing.T) {
	for _, class := range []Class{ClassUpstream, ClassReset, ClassNotSent, ClassOverloaded, ClassSlow} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 1, Options{})
				start, wasted := time.Now(), 0
				var back time.Duration
				for back == 0 {
					verdict := Verdict{Class: class}
					if time.Since(start) >= time.Minute {
						verdict.Class = ClassOK
					}
					for range 3 {
						lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
						if err != nil {
							break
						}
						lease.Report(Outcome{Verdict: verdict})
						if verdict.Class == ClassOK {
							back = time.Since(start)
							break
						}
						wasted++
					}
					time.Sleep(4 * time.Second)
				}
				if back > 76*time.Second {
					t.Errorf("back after %s", back)
				}
				if wasted > 10 {
					t.Errorf("%d attempts were wasted", wasted)
				}
			})
		})
	}
}

// A half-open circuit lets one probe through at a time. Its failure closes the
// way again, its success opens it; a 429 says nothing and gives the place back.
func TestProbes(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 2, Options{})
		failTimes(t, p, "m", ClassUpstream, 5)
		time.Sleep(10*time.Second + time.Millisecond)
		probe, err := p.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		if got := upstreamRest(t, p, "m"); got != 10*time.Second {
			t.Errorf("beside a probe the others wait %s", got)
		}
		probe.Report(Outcome{Verdict: Verdict{Class: ClassRateLimited, Wait: time.Second}})
		if got := upstreamRest(t, p, "m"); got != 0 {
			t.Errorf("after a neutral probe the others wait %s", got)
		}
		use(t, p, "m", Verdict{Class: ClassUpstream})
		if got := upstreamRest(t, p, "m"); got != 10*time.Second {
			t.Errorf("after a failed probe it rests %s", got)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		// A probe that never ends keeps nobody away for long.
		if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		use(t, p, "m", Verdict{})
		if got := upstreamRest(t, p, "m"); got != 0 {
			t.Errorf("after a good probe it rests %s", got)
		}
	})
}

// A stream that has begun well is proof enough; nobody waits for its end.
func TestAnsweringProbeOpensTheWay(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		failTimes(t, p, "m", ClassUpstream, 5)
		time.Sleep(10*time.Second + time.Millisecond)
		probe, err := p.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		probe.Answering(Headroom{})
		if got := upstreamRest(t, p, "m"); got != 0 {
			t.Errorf("rests %s while the probe is answering", got)
		}
		probe.Report(Outcome{})

		use(t, p, "m", Verdict{Class: ClassCredential})
		time.Sleep(30 * time.Second)
		probe, err = p.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		probe.Answering(Headroom{})
		if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
			t.Errorf("the key has not proved itself: %v", err)
		}
	})
}

// After its recovery an upstream is not met by everyone at once.
func TestRecoveryRampsUp(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		failTimes(t, p, "m", ClassUpstream, 5)
		time.Sleep(10*time.Second + time.Millisecond)
		use(t, p, "m", Verdict{})
		for second, want := range []int{2, 4, 8, 16, 32, 64, 1000} {
			var leases []Lease
			for range 1000 {
				lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
				if err != nil {
					break
				}
				leases = append(leases, lease)
			}
			if len(leases) != want {
				t.Errorf("in second %d: %d calls at a time, want %d", second, len(leases), want)
			}
			for _, lease := range leases {
				lease.Report(Outcome{Verdict: Verdict{Class: ClassCanceled}})
			}
			time.Sleep(time.Second)
		}
	})
}

// What fails every other time never fails five times in a row, and is taken
// out all the same once it has failed often enough.
func TestShareOfSuccesses(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{Breaker: Breaker{MinSuccess: 0.6}})
		use(t, p, "m", Verdict{Class: ClassUpstream})
		attempts := 1
		for upstreamRest(t, p, "m") == 0 && attempts < 100 {
			use(t, p, "m", Verdict{Class: []Class{ClassUpstream, ClassOK}[attempts%2]})
			attempts++
		}
		if attempts < 20 || attempts > 21 {
			t.Errorf("taken out after %d attempts", attempts)
		}
		for range 100 {
			use(t, p, "good", Verdict{Class: ClassOK})
			use(t, p, "good", Verdict{Class: ClassOK})
			use(t, p, "good", Verdict{Class: ClassUpstream})
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// What is the client's or the key's fault is none of the upstream's.
func TestNeutralToBreakers(t *testing.T) {
	for _, class := range []Class{ClassCaller, ClassContext, ClassPolicy, ClassCanceled, ClassTier, ClassEmpty, ClassRateLimited, ClassModel} {
		timed(t, func(t *testing.T) {
			p := newTimedPool(t, 1, Options{})
			failTimes(t, p, "m", ClassUpstream, 4)
			for range 50 {
				use(t, p, "m", Verdict{Class: class})
				time.Sleep(restOf(p, &clock{}, "m"))
				if lease, err := p.Acquire(Want{Model: "n"}, new(Tried)); err != nil {
					t.Fatalf("%s took the upstream out: %v", class, err)
				} else {
					lease.Report(Outcome{})
				}
				time.Sleep(61 * time.Second)
			}
		})
	}
}

// An overload is a fixed rest of the model, and none of the key. A call that
// has nowhere else to go may ask all the same.
func TestOverload(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		for range 5 {
			use(t, p, "m", Verdict{Class: ClassOverloaded})
			if got := upstreamRest(t, p, "m"); got != 10*time.Second {
				t.Errorf("rests %s, want 10s", got)
			}
			if got := upstreamRest(t, p, "other"); got != 0 {
				t.Errorf("another model rests %s", got)
			}
			lease, err := p.Acquire(Want{Model: "m", Insist: true}, new(Tried))
			if err != nil {
				t.Fatalf("insisting: %v", err)
			}
			lease.Report(Outcome{Verdict: Verdict{Class: ClassCanceled}})
			time.Sleep(10 * time.Second)
		}
	})
}

// Servers that refuse connections are closed to every model. Any answer opens
// them again.
func TestUnreachableServers(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		failTimes(t, p, "a", ClassNotSent, 5)
		if got := upstreamRest(t, p, "c"); got != 10*time.Second {
			t.Errorf("an unasked model rests %s, want 10s", got)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		use(t, p, "c", Verdict{Class: ClassCaller})
		if got := upstreamRest(t, p, "d"); got != 0 {
			t.Errorf("after an answer: rests %s", got)
		}
	})
}

// What breaks off may be a model's own doing: others stay in use.
func TestResetsAreTheModels(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		failTimes(t, p, "a", ClassReset, 5)
		failTimes(t, p, "b", ClassReset, 3)
		if upstreamRest(t, p, "a") == 0 {
			t.Error("the model is still in use")
		}
		if got := upstreamRest(t, p, "other"); got != 0 {
			t.Errorf("another model rests %s", got)
		}
	})
}

// Servers that are restarted break all their connections at once. That is one
// failure, not as many as there were calls.
func TestConnectionsBrokenAtOnceAreOneFailure(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		for round := range 5 {
			var leases [8]Lease
			for i := range leases {
				lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
				if err != nil {
					t.Fatalf("after %d restarts: %v", round, err)
				}
				leases[i] = lease
			}
			time.Sleep(time.Millisecond)
			for i := range leases {
				leases[i].Report(Outcome{Verdict: Verdict{Class: ClassReset}})
			}
		}
		if upstreamRest(t, p, "m") == 0 {
			t.Error("a server that breaks every connection is still in use after five times")
		}
	})
}

// A probe's place is not lost to a call that does not get as far as to probe:
// as the model rests, or all keys do.
func TestUnusedProbeIsGivenBack(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		overloaded, _ := p.Acquire(Want{Model: "m"}, new(Tried))
		failTimes(t, p, "n", ClassNotSent, 5)
		time.Sleep(5 * time.Second)
		overloaded.Report(Outcome{Verdict: Verdict{Class: ClassOverloaded}})
		time.Sleep(5*time.Second + time.Millisecond)
		if got := upstreamRest(t, p, "m").Round(time.Second); got != 5*time.Second {
			t.Errorf("the overloaded model rests %s", got)
		}
		if got := upstreamRest(t, p, "n"); got != 0 {
			t.Errorf("the probe waits %s", got)
		}
	})
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		failTimes(t, p, "m", ClassUpstream, 5)
		use(t, p, "n", Verdict{Class: ClassQuota, Wait: 11 * time.Second})
		time.Sleep(10*time.Second + time.Millisecond)
		if got := restOf(p, newClock(), "m"); got == 0 {
			t.Error("a resting key was used")
		}
		time.Sleep(time.Second)
		use(t, p, "m", Verdict{})
	})
}

// Calls that hung through an outage and fail when it is over do not bring it
// back.
func TestLateFailuresAreOfTheOldOutage(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		var hanging []Lease
		for range 20 {
			lease, _ := p.Acquire(Want{Model: "m"}, new(Tried))
			hanging = append(hanging, lease)
		}
		time.Sleep(time.Second)
		failTimes(t, p, "m", ClassUpstream, 5)
		time.Sleep(11 * time.Second)
		use(t, p, "m", Verdict{})
		for _, lease := range hanging {
			lease.Report(Outcome{Verdict: Verdict{Class: ClassSlow}})
		}
		if got := upstreamRest(t, p, "m"); got != 0 {
			t.Errorf("rests %s", got)
		}
	})
}

// Names of models come from outside: they may not grow an upstream's memory,
// nor drive out a circuit that is open; and one that has healed is forgotten.
func TestCircuitsAreBounded(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		failTimes(t, p, "down", ClassUpstream, 5)
		for i := range 10 * maxModels {
			use(t, p, fmt.Sprintf("m%d", i), Verdict{Class: ClassUpstream})
		}
		if n := len(p.UpstreamStatus().Circuits); n != maxModels {
			t.Errorf("%d circuits are kept, want %d", n, maxModels)
		}
		if upstreamRest(t, p, "down") == 0 {
			t.Error("the open circuit was driven out")
		}
		time.Sleep(2 * time.Minute)
		for _, circuit := range p.UpstreamStatus().Circuits {
			use(t, p, circuit.Model, Verdict{})
		}
		time.Sleep(2 * time.Minute)
		use(t, p, "down", Verdict{})
		if circuits := p.UpstreamStatus().Circuits; len(circuits) != 0 {
			t.Errorf("healed circuits are kept: %+v", circuits)
		}
	})
}

// The status tells operators how the ways stand.
func TestUpstreamStatus(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{})
		use(t, p, "m", Verdict{})
		use(t, p, "n", Verdict{Class: ClassRateLimited})
		failTimes(t, p, "m", ClassUpstream, 5)
		status := p.UpstreamStatus()
		if status.Total != 7 || status.SuccessRate != 1.0/6 || status.Successes != 1 || status.ConsecutiveFailures != 5 || status.LastErrorClass != ClassUpstream {
			t.Errorf("got %+v", status)
		}
		want := CircuitStatus{Model: "m", State: "open", Until: time.Now().Add(10 * time.Second), LastFailure: time.Now(), Class: ClassUpstream}
		if len(status.Circuits) != 1 || !status.Circuits[0].Until.Equal(want.Until) || status.Circuits[0].State != "open" || status.Circuits[0].Class != ClassUpstream {
			t.Errorf("got %+v, want %+v", status.Circuits, want)
		}
		time.Sleep(11 * time.Second)
		if state := p.UpstreamStatus().Circuits[0].State; state != "half-open" {
			t.Errorf("after its rest it is %s", state)
		}
	})
}
