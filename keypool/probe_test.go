// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"testing"
	"time"
)

// every is how often keys are probed in these tests.
const every = 15 * time.Second

// probe probes the next key that needs it, and returns its id; "" if none does.
func probe(p *Pool, accepts func(id string) Class) string {
	next, ok := p.NextProbe(every)
	if !ok {
		return ""
	}
	next.Report(Verdict{Class: accepts(next.KeyID())})
	return next.KeyID()
}

// probes probes until none is needed, and returns how often each key was.
func probes(p *Pool, accepts func(id string) Class) map[string]int {
	counts := map[string]int{}
	for id := probe(p, accepts); id != ""; id = probe(p, accepts) {
		counts[id]++
	}
	return counts
}

func always(class Class) func(string) Class { return func(string) Class { return class } }

// Each key that was never used is probed once. Those that the provider refuses
// rest, once it has accepted one; so no client's call finds them out.
func TestUnknownKeysAreProbedOnce(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 5, RoundRobin)
	accepts := func(id string) Class {
		return map[bool]Class{true: ClassOK, false: ClassCredential}[id == "k3"]
	}
	for range 4 {
		probes(p, accepts)
		c.advance(every)
	}
	for range 10 {
		lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil || lease.KeyID() != "k3" {
			t.Fatalf("a call got %v, %v", lease, err)
		}
		lease.Report(Outcome{})
	}
	for _, status := range p.Snapshot() {
		if rests := status.State == "open"; rests != (status.ID != "k3") || status.Total > 0 && status.ID != "k3" {
			t.Errorf("%+v", status)
		}
	}
}

// A key that has worked, or been probed well, is left alone.
func TestKnownKeysAreNotProbed(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 3, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassOK})
	if counts := probes(p, always(ClassOK)); len(counts) != 2 || counts["k0"] != 0 {
		t.Errorf("probed: %v", counts)
	}
	c.advance(time.Hour)
	if counts := probes(p, always(ClassOK)); len(counts) != 0 {
		t.Errorf("probed again: %v", counts)
	}
}

// Where no key is accepted, it may be the probe that is wrong: it costs no key
// anything, and is not made again and again.
func TestProbeThatIsNeverAcceptedIsNotBelieved(t *testing.T) {
	for _, class := range []Class{ClassCredential, ClassAccess, ClassCaller, ClassQuota, ClassRegion} {
		c := newClock()
		p := newPool(t, c, 3, RoundRobin)
		total := 0
		for range 20 {
			for _, n := range probes(p, always(class)) {
				total += n
			}
			c.advance(every)
		}
		if total != 3 {
			t.Errorf("%s: %d probes of three keys", class, total)
		}
		for range 3 {
			if id := use(t, p, "m", Verdict{Class: ClassOK}); id == "" {
				t.Errorf("%s: no key is free", class)
			}
		}
	}
}

// When a key is refused before any was accepted, one that works is probed, too.
// So the provider is believed, if it accepts that one.
func TestKeyThatWorksVouchesForTheProbe(t *testing.T) {
	for name, test := range map[string]struct {
		good Class
		rest time.Duration
	}{
		"accepted": {ClassOK, 20 * time.Second},
		"refused":  {ClassCredential, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			p := newPool(t, c, 2, RoundRobin)
			use(t, p, "m", Verdict{Class: ClassOK})
			counts := map[string]int{}
			for range 3 {
				for id, n := range probes(p, func(id string) Class {
					return map[bool]Class{true: test.good, false: ClassCredential}[id == "k0"]
				}) {
					counts[id] += n
				}
				c.advance(every)
			}
			if counts["k0"] != 1 || counts["k1"] == 0 {
				t.Errorf("probed: %v", counts)
			}
			dead, good := p.Snapshot()[1], p.Snapshot()[0]
			if good.State != "closed" || (dead.State == "open") != (test.rest > 0) {
				t.Errorf("%+v, %+v", good, dead)
			}
		})
	}
}

// A probe that could not be made tells nothing, and is made again.
func TestProbeThatFailsTellsNothing(t *testing.T) {
	for _, class := range []Class{ClassNotSent, ClassReset, ClassSlow, ClassUpstream, ClassOverloaded, ClassRateLimited, ClassCanceled} {
		c := newClock()
		p := newPool(t, c, 1, RoundRobin)
		for i := range 3 {
			if counts := probes(p, always(class)); counts["k0"] != 1 {
				t.Errorf("%s, time %d: %v", class, i, counts)
			}
			c.advance(every)
		}
		if got := restOf(p, c, "m"); got != 0 {
			t.Errorf("%s: the key rests %s", class, got)
		}
	}
}

// A key that was refused is probed until it is accepted, and used at once then,
// however long it was to rest.
func TestProbeLiftsARest(t *testing.T) {
	for class, model := range map[Class]string{ClassCredential: "", ClassStale: "", ClassQuota: "", ClassAccess: "m"} {
		t.Run(class.String(), func(t *testing.T) {
			c := newClock()
			p := newPool(t, c, 1, RoundRobin)
			probes(p, always(ClassOK))
			use(t, p, "m", Verdict{Class: class})
			c.advance(every)
			for i := range 40 {
				if i == 20 && restOf(p, c, "m") == 0 {
					t.Errorf("it does not rest after %d probes", i)
				}
				next, ok := p.NextProbe(every)
				if !ok || next.Model() != model {
					t.Fatalf("probe %d: %t, of %q", i, ok, next.Model())
				}
				if _, again := p.NextProbe(every); again {
					t.Fatal("it is probed twice at once")
				}
				next.Report(Verdict{Class: class})
				c.advance(every)
			}
			probes(p, always(ClassOK))
			if got := restOf(p, c, "m"); got != 0 {
				t.Errorf("it still rests %s", got)
			}
			use(t, p, "m", Verdict{Class: ClassOK})
			if status := p.Snapshot()[0]; status.State != "closed" || status.Total != 2 {
				t.Errorf("%+v", status)
			}
		})
	}
}

// A probe that calls a key good which is not is not believed again, until the
// key has worked. The rest ends by time then.
func TestMisleadingProbeIsBelievedOnce(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	asked := 0
	for c.passed.Load() < int64(time.Hour) {
		probes(p, always(ClassOK))
		if lease, err := p.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
			asked++
			lease.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
		}
		c.advance(time.Second)
	}
	// By time alone it would be asked 30 s, 1, 2, 4, 8 and then 10 minutes apart.
	if asked > 12 {
		t.Errorf("a dead key was asked %d times in an hour", asked)
	}
	c.advance(10 * time.Minute)
	use(t, p, "m", Verdict{Class: ClassOK})
	use(t, p, "m", Verdict{Class: ClassCredential})
	c.advance(every)
	if _, ok := p.NextProbe(every); !ok {
		t.Error("it is not probed any more although it has worked since")
	}
}

// What somebody has stated the end of is not probed.
func TestStatedWaitIsNotProbed(t *testing.T) {
	for name, v := range map[string]Verdict{
		"by the provider": {Class: ClassQuota, Wait: time.Hour},
		"by an operator":  {Class: ClassCredential, Wait: time.Hour, Ordered: true},
		"a rate limit":    {Class: ClassRateLimited},
	} {
		c := newClock()
		p := newPool(t, c, 1, RoundRobin)
		use(t, p, "m", v)
		c.advance(500 * time.Millisecond)
		if _, ok := p.NextProbe(time.Millisecond); ok {
			t.Errorf("%s: it is probed", name)
		}
	}
}

// A rest that was set while a probe was under way stays.
func TestLateProbeLiftsNothing(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	next, _ := p.NextProbe(every)
	c.advance(time.Second)
	use(t, p, "m", Verdict{Class: ClassCredential})
	next.Report(Verdict{Class: ClassOK})
	if restOf(p, c, "m") == 0 {
		t.Error("the rest was lifted by a probe from before")
	}
}

// Keys that are probed and refused alike are cleared, and the upstream rests.
func TestProbesThatFailAlikeBlameTheUpstream(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 5, Options{})
		probes(p, always(ClassOK))
		for range 5 {
			lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
			if err != nil {
				break
			}
			lease.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
		}
		for range 8 {
			time.Sleep(every)
			probes(p, always(ClassCredential))
		}
		for _, status := range p.Snapshot() {
			if status.State != "closed" {
				t.Errorf("%s rests", status.ID)
			}
		}
		_, err := p.Acquire(Want{Model: "m"}, nil)
		if cooling := new(CoolingError); errors.As(err, &cooling) && !cooling.Upstream {
			t.Errorf("a call got %v", err)
		}
	})
}

// Operators hear of what probes find out, and what they have taken out is left
// alone.
func TestProbesAreToldOf(t *testing.T) {
	c, l := newClock(), new(listener)
	p := newPool(t, c, 2, RoundRobin)
	p.opts.Notify = l.notify
	dead := func(id string) Class { return map[bool]Class{true: ClassOK, false: ClassCredential}[id == "k0"] }
	for range 3 {
		probes(p, dead)
		c.advance(every)
	}
	if got := l.take(); got != "disabled k1 credential" {
		t.Errorf("heard %q", got)
	}
	probes(p, always(ClassOK))
	if got := l.take(); got != "recovered k1" {
		t.Errorf("heard %q", got)
	}
	use(t, p, "m", Verdict{})
	use(t, p, "m", Verdict{Class: ClassCredential})
	p.Disable("k0")
	p.Disable("k1")
	c.advance(every)
	if counts := probes(p, always(ClassOK)); len(counts) != 0 {
		t.Errorf("probed: %v", counts)
	}
}

// A key that has expired is not probed, and one that is in use is, without
// taking a place.
func TestProbesTakeNoPlace(t *testing.T) {
	p := newPoolOf(t, Options{}, Key{ID: "a", Expires: time.Unix(1, 0)}, Key{ID: "b", MaxInFlight: 1})
	lease, err := p.Acquire(Want{Model: "m"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if counts := probes(p, always(ClassOK)); len(counts) != 0 {
		t.Errorf("probed: %v", counts)
	}
	lease.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
	if counts := probes(p, always(ClassOK)); counts["b"] != 1 || counts["a"] != 0 {
		t.Errorf("probed: %v", counts)
	}
	if status := p.Snapshot()[1]; status.InFlight != 0 || status.Total != 1 {
		t.Errorf("%+v", status)
	}
}
