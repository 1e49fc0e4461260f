// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"testing"
	"time"
)

// A model that one instance has found to fail is left alone by the others for
// as long as a breaker stays open, then they find out for themselves.
func TestOpeningsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		failTimes(t, a.Pool, "m", ClassUpstream, 5)
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 10*time.Second {
			t.Errorf("rests %s", got)
		}
		if got := upstreamRest(t, b.Pool, "n"); got != 0 {
			t.Errorf("another model rests %s", got)
		}
		if _, upstream := b.news(); len(upstream) != 0 {
			t.Errorf("what was heard is told: %v", upstream)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		failTimes(t, a.Pool, "m", ClassUpstream, 1) // a's probe
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("failures that go on close it again: rests %s", got)
		}
		use(t, b.Pool, "m", Verdict{}) // b's probe
		b.tells(a)
		if got := upstreamRest(t, a.Pool, "m"); got == 0 {
			t.Error("what an instance has seen itself is lifted by hearsay")
		}
		time.Sleep(20 * time.Second)
		use(t, a.Pool, "m", Verdict{})
	})
}

// One that has only heard that a model fails hears as well when it is served
// again.
func TestClosingsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		failTimes(t, a.Pool, "m", ClassUpstream, 5)
		time.Sleep(5 * time.Second)
		a.tells(b)
		time.Sleep(5*time.Second + time.Millisecond)
		use(t, a.Pool, "m", Verdict{})
		if upstreamRest(t, b.Pool, "m") == 0 {
			t.Fatal("b does not leave it alone")
		}
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("rests %s", got)
		}
	})
}

// What may be due to the teller's way to the provider makes the others careful,
// unless an answer has come since: one call at a time until one is served.
func TestDoubtsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		sick := newInstance(newTimedPool(t, 1, Options{}))
		idle, busy := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		call, err := busy.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 5 {
			use(t, sick.Pool, "m", Verdict{Class: ClassNotSent})
		}
		time.Sleep(time.Second)
		call.Answering(Headroom{})
		keys, upstream := sick.news()
		if n := busy.hear(keys, upstream); n != 0 || len(upstream) != 1 {
			t.Errorf("%d of %v is believed although an answer has come since", n, upstream)
		}
		call.Report(Outcome{})

		idle.hear(keys, upstream)
		first, err := idle.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatalf("nobody may find out: %v", err)
		}
		if acquirable(idle.Pool) == nil {
			t.Error("two calls find out at once")
		}
		first.Answering(Headroom{})
		for range 10 {
			if err := acquirable(idle.Pool); err != nil {
				t.Fatalf("after an answer: %v", err)
			}
		}
		first.Report(Outcome{})
	})
}

// Failures that go on at one instance open the others' breakers once, also where
// it was a third that has found the model to be served.
func TestARunOfFailuresIsHeardOnce(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b, third := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		failTimes(t, a.Pool, "m", ClassUpstream, 5)
		keys, upstream := a.news()
		b.hear(keys, upstream)
		third.hear(keys, upstream)
		time.Sleep(10*time.Second + time.Millisecond)
		use(t, third.Pool, "m", Verdict{})
		third.tells(b)
		failTimes(t, a.Pool, "m", ClassUpstream, 1)
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("rests %s", got)
		}
	})
}

// An instance that cannot reach a provider, or whose address is refused, does
// not keep the others away from it: they find out by one call.
func TestASickInstanceHurtsNobody(t *testing.T) {
	for _, class := range []Class{ClassNotSent, ClassReset, ClassSlow, ClassRegion} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				sick, well := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
				for range 50 {
					lease, err := sick.Acquire(Want{Model: "m"}, new(Tried))
					if err == nil {
						lease.Report(Outcome{Verdict: Verdict{Class: class}})
					}
					sick.tells(well)
					if err := acquirable(well.Pool); err != nil {
						t.Fatalf("the well instance cannot call: %v", err)
					}
					use(t, well.Pool, "m", Verdict{})
					well.tells(sick)
					time.Sleep(time.Second)
				}
			})
		})
	}
	// What may be the provider's fault costs one that has little to do a few
	// seconds, but once, however long it goes on.
	for every, want := range map[int]int{1: 0, 7: 2, 60: 1} {
		t.Run(fmt.Sprintf("a call every %d seconds", every), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				sick, well := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
				refused := 0
				for second := range 600 {
					if lease, err := sick.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
						lease.Report(Outcome{Verdict: Verdict{Class: ClassUpstream}})
					}
					sick.tells(well)
					if second%every == 0 {
						if lease, err := well.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
							lease.Report(Outcome{})
						} else {
							refused++
						}
					}
					well.tells(sick)
					time.Sleep(time.Second)
				}
				if refused > want {
					t.Errorf("%d calls were refused by hearsay, want %d at most", refused, want)
				}
			})
		})
	}
}

// An overload is the provider's own word, and is heard as such.
func TestOverloadsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		use(t, a.Pool, "m", Verdict{Class: ClassOverloaded})
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 10*time.Second {
			t.Errorf("rests %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("rests %s longer", got)
		}
	})
}
