// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"testing"
	"time"
)

// A key that an operator has taken out is not used, whatever time passes and
// whatever its calls report, until it is enabled again.
func TestDisabledKeyIsNotUsed(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 2, RoundRobin)
	running, err := p.Acquire(Want{Model: "m", KeyID: "k0"}, new(Tried))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Disable("k0") || p.Disable("nothing") || p.Enable("nothing") || p.Reset("nothing") {
		t.Error("a key was not found, or one that is none was")
	}
	running.Report(Outcome{}) // a success forgives rests, but no operator
	c.advance(1000 * time.Hour)
	for range 3 {
		if id := use(t, p, "m", Verdict{}); id != "k1" {
			t.Errorf("%s was used", id)
		}
	}
	if !p.Reset("k0") {
		t.Error("k0 was not found")
	}
	status := p.Snapshot()[0]
	if status.State != "disabled" || status.Available() || status.Successes != 1 {
		t.Errorf("got %+v", status)
	}

	p.Disable("k1")
	_, err = p.Acquire(Want{Model: "m"}, new(Tried))
	var cooling *CoolingError
	if !errors.As(err, &cooling) || cooling.Class != ClassDisabled || !cooling.Until.Equal(Never) || cooling.Class.String() != "disabled" {
		t.Errorf("got %v", err)
	}
	p.Enable("k0")
	if id := use(t, p, "m", Verdict{}); id != "k0" {
		t.Errorf("%s was used", id)
	}
}

// A key that rests comes back before one that an operator has taken out: the
// error says when.
func TestDisabledKeyIsNotWaitedFor(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 2, RoundRobin)
	p.Disable("k0")
	use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: 5 * time.Second})
	_, err := p.Acquire(Want{Model: "m"}, new(Tried))
	var cooling *CoolingError
	if !errors.As(err, &cooling) || cooling.Class != ClassRateLimited || cooling.Until.Sub(c.Now()) != 5*time.Second {
		t.Errorf("got %v", err)
	}
}

// Disabling a key keeps what it rests from, and resetting lifts it.
func TestResetLiftsRests(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassAccess})
	use(t, p, "n", Verdict{Class: ClassCredential})
	p.Disable("k0")
	p.Enable("k0")
	if rest := restOf(p, c, "n"); rest != 30*time.Second {
		t.Errorf("rests %s after it was disabled and enabled", rest)
	}
	p.Reset("k0")
	for _, model := range []string{"m", "n"} {
		if rest := restOf(p, c, model); rest != 0 {
			t.Errorf("rests %s for %s", rest, model)
		}
	}
	if p.members[0].state.rests.Load() != nil {
		t.Error("a key that rests from nothing is not what it was")
	}
	use(t, p, "n", Verdict{Class: ClassCredential})
	if rest := restOf(p, c, "n"); rest != 30*time.Second {
		t.Errorf("rests %s: the failures before the reset count", rest)
	}
}
