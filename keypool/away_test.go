// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"testing"
	"time"
)

// A key whose token cannot be had is passed over for a while. Nothing is held
// against it: its health, its breaker and its limits are as if it had not been
// asked for.
func TestKeyThatCannotBeUsedIsOnlyPassedOver(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 2, RoundRobin)
	p.members[0].key.Requests, p.members[0].bounded = Rate{N: 1, Per: time.Minute}, true

	var tried Tried
	lease, err := p.Acquire(Want{Model: "m", Tokens: 10}, &tried)
	if err != nil || lease.KeyID() != "k0" {
		t.Fatalf("got %v, %v", lease, err)
	}
	before := p.Snapshot()[0]
	lease.Return(c.Now().Add(3 * time.Second))
	lease.Return(c.Now().Add(time.Hour)) // only the first counts

	status := p.Snapshot()[0]
	if status.State != "open" || status.CoolingClass != ClassStale || !status.CoolingUntil.Equal(c.Now().Add(3*time.Second)) {
		t.Errorf("the key is %s for %s until %s", status.State, status.CoolingClass, status.CoolingUntil)
	}
	if status.InFlight != 0 || status.Total != before.Total || status.ConsecutiveFailures != 0 || !status.LastError.IsZero() || status.SuccessRate != 1 {
		t.Errorf("something is held against the key: %+v", status)
	}
	if spent := p.members[0].state.requestGauge.spent.Load(); spent != 0 {
		t.Errorf("%d requests are counted", spent)
	}
	for range 3 {
		if id := use(t, p, "m", Verdict{Class: ClassOK}); id != "k1" {
			t.Errorf("got %s while k0 is passed over", id)
		}
	}

	c.advance(3 * time.Second)
	first, err1 := p.Acquire(Want{Model: "m", KeyID: "k0"}, new(Tried))
	if err1 != nil {
		t.Fatalf("afterwards: %v", err1)
	}
	if first.proof {
		t.Error("the key has to prove itself, though it has not failed")
	}
	first.Report(Outcome{Verdict: Verdict{Class: ClassOK}})
	if r := p.members[0].state.rests.Load(); r != nil {
		t.Errorf("something of it is left: %+v", r)
	}
}

// A key that is given back at once is free at once.
func TestKeyThatIsGivenBack(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	p.members[0].key.Requests, p.members[0].bounded = Rate{N: 1, Per: time.Minute}, true
	for range 3 {
		lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		lease.Return(time.Time{})
	}
	if status := p.Snapshot()[0]; status.State != "closed" || status.InFlight != 0 {
		t.Errorf("the key is %s, %d in flight", status.State, status.InFlight)
	}
}

// When no key of a pool can be used, it is said when the first will be worth
// another look, and never now: the caller would come back at once, for ever.
func TestPoolOfKeysThatCannotBeUsed(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 3, RoundRobin)
	var tried Tried
	for i := range 3 {
		lease, err := p.Acquire(Want{}, &tried)
		if err != nil {
			t.Fatal(err)
		}
		lease.Return(c.Now().Add(-time.Duration(i) * time.Second))
	}
	_, err := p.Acquire(Want{}, &tried)
	var cooling *CoolingError
	if !errors.As(err, &cooling) || cooling.Upstream || cooling.Class != ClassStale || !cooling.Until.Equal(c.Now().Add(leastWait)) {
		t.Errorf("got %v", err)
	}
}

// A rejected key that could not be used either rests for as long as both say,
// and still has to prove itself.
func TestPassingOverDoesNotLiftARest(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassCredential})
	c.advance(30 * time.Second)
	lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
	if err != nil || !lease.proof {
		t.Fatalf("got %v, %v", lease, err)
	}
	lease.Return(c.Now().Add(time.Second))
	c.advance(time.Second)
	lease, err = p.Acquire(Want{Model: "m"}, new(Tried))
	if err != nil || !lease.proof {
		t.Errorf("got %v, %v", lease, err)
	}
}
