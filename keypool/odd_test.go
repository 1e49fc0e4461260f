// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"testing"
	"time"
)

// callFor makes ten calls a second for a time.
func callFor(p *Pool, d time.Duration, verdict func(id string) Class) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		call(p, "m", verdict)
	}
}

// A provider that fails for one account alone: that key rests, for longer each
// time, the others are in use, and the key comes back once it is served.
func TestFaultsOfOneKey(t *testing.T) {
	for _, class := range []Class{ClassUpstream, ClassSlow, ClassReset, ClassBroken} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 4, Options{})
				asked, broken := 0, true
				play := func(d time.Duration) {
					callFor(p, d, func(id string) Class {
						if id == "k2" {
							asked++
							if broken {
								return class
							}
						}
						return ClassOK
					})
				}
				play(time.Minute)
				// Five times, then after 10 s and 20 s.
				if asked != 7 {
					t.Errorf("the failing key was asked %d times in a minute", asked)
				}
				if status := p.Snapshot()[2]; status.CoolingModels["m"].Until.IsZero() || !status.CoolingUntil.IsZero() {
					t.Errorf("the key does not rest for the model alone: %+v", status)
				}
				broken = false
				play(2 * time.Minute)
				asked = 0
				play(time.Minute)
				if asked < 100 {
					t.Errorf("once it worked the key was asked %d times in a minute", asked)
				}
			})
		})
	}
}

// A provider that serves one account badly, though never failing often in a row:
// its share of successes gives that key away.
func TestOneKeyIsServedBadly(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 4, Options{})
		asked, bad := 0, true
		play := func(d time.Duration) {
			callFor(p, d, func(id string) Class {
				if id != "k2" {
					return ClassOK
				}
				if asked++; bad && asked%3 != 0 {
					return ClassUpstream
				}
				return ClassOK
			})
		}
		play(time.Minute)
		if asked < enoughCalls || asked > 60 {
			t.Errorf("the bad key was asked %d times in a minute", asked)
		}
		if status := p.Snapshot()[2]; status.CoolingModels["m"].Until.IsZero() || !status.CoolingUntil.IsZero() {
			t.Errorf("the key does not rest for the model alone: %+v", status)
		}
		if open := !p.UpstreamStatus().Circuits[0].Until.IsZero(); open {
			t.Error("the model is taken out for one key's sake")
		}
		bad = false
		play(2 * time.Minute)
		asked = 0
		play(time.Minute)
		if asked < 100 {
			t.Errorf("once it was served well the key was asked %d times in a minute", asked)
		}
	})
}

// A key that is the only one is never to blame, however suddenly it is served
// badly.
func TestOnlyKeyIsNotToBlame(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1, Options{Breaker: Breaker{MinSuccess: 0.3}})
		for i := range 3000 {
			lease, err := p.Acquire(Want{Model: "m"}, nil)
			if err == nil {
				bad := i > 1000 && i%4 != 0
				lease.Report(Outcome{Verdict: Verdict{Class: map[bool]Class{true: ClassUpstream}[bad]}})
			}
			if status := p.Snapshot()[0]; len(status.CoolingModels) > 0 {
				t.Fatalf("after %d calls the key rests: %+v", i, status)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// When all are served badly, no key is to blame.
func TestAllKeysAreServedBadly(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 4, Options{Breaker: Breaker{MinSuccess: 0.9, Failures: 100}})
		for i := range 2000 {
			if lease, err := p.Acquire(Want{Model: "m"}, nil); err == nil {
				lease.Report(Outcome{Verdict: Verdict{Class: map[bool]Class{true: ClassUpstream}[i%4 == 0]}})
			}
			time.Sleep(50 * time.Millisecond)
		}
		for _, status := range p.Snapshot() {
			if len(status.CoolingModels) > 0 {
				t.Errorf("%s rests", status.ID)
			}
		}
	})
}

// When all fail, no key is to blame, also beside another model that is served.
func TestFaultsOfAllKeys(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 4, Options{})
		for range 300 {
			call(p, "down", func(string) Class { return ClassUpstream })
			use(t, p, "up", Verdict{})
			time.Sleep(time.Second)
		}
		for _, status := range p.Snapshot() {
			if status.CoolingModels != nil || status.State != "closed" {
				t.Errorf("%s rests: %+v", status.ID, status)
			}
		}
	})
}

// Answers that were on their way when an outage began are no sign that others
// are served.
func TestAnswersFromBeforeAnOutage(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 2, Options{})
		var streams []Lease
		for range 5 {
			lease, _ := p.Acquire(Want{Model: "m", KeyID: "k1"}, new(Tried))
			streams = append(streams, lease)
		}
		for _, stream := range streams {
			time.Sleep(time.Second)
			lease, _ := p.Acquire(Want{Model: "m", KeyID: "k0"}, new(Tried))
			lease.Report(Outcome{Verdict: Verdict{Class: ClassUpstream}})
			stream.Report(Outcome{})
		}
		if status := p.Snapshot()[0]; status.CoolingModels != nil {
			t.Errorf("the key rests: %+v", status)
		}
	})
}

// The status tells whether a key is in use, rests or is being tried.
func TestKeyState(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	states := []string{p.Snapshot()[0].State}
	use(t, p, "m", Verdict{Class: ClassCredential})
	states = append(states, p.Snapshot()[0].State)
	c.advance(30 * time.Second)
	states = append(states, p.Snapshot()[0].State)
	use(t, p, "m", Verdict{})
	states = append(states, p.Snapshot()[0].State)
	for i, want := range []string{"closed", "open", "half-open", "closed"} {
		if states[i] != want {
			t.Errorf("got %v", states)
		}
	}
}
