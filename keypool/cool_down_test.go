// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that stands still until it is moved.
type clock struct{ passed atomic.Int64 }

func newClock() *clock { return new(clock) }

func (c *clock) Now() time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.passed.Load()))
}

func (c *clock) advance(d time.Duration) { c.passed.Add(int64(d)) }

// newPool makes a pool of n keys, called k0, k1, …
func newPool(t testing.TB, c *clock, n int, policy Policy) *Pool {
	t.Helper()
	keys, states := make([]Key, n), make([]*State, n)
	for i := range keys {
		keys[i] = Key{ID: fmt.Sprintf("k%d", i), Secret: NewSecret(fmt.Sprintf("secret-%d", i))}
		states[i] = NewState()
	}
	p, err := New(keys, states, Options{Policy: policy, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// use acquires a key for model and reports the class.
func use(t testing.TB, p *Pool, model string, v Verdict) string {
	t.Helper()
	lease, err := p.Acquire(Want{Model: model}, new(Tried))
	if err != nil {
		t.Fatalf("acquiring: %v", err)
	}
	lease.Report(Outcome{Verdict: v})
	return lease.KeyID()
}

// restOf returns how long the only key of a pool rests for model.
func restOf(p *Pool, c *clock, model string) time.Duration {
	lease, err := p.Acquire(Want{Model: model}, new(Tried))
	if err == nil {
		lease.Report(Outcome{Verdict: Verdict{Class: ClassCanceled}})
		return 0
	}
	var cooling *CoolingError
	if !errors.As(err, &cooling) || !errors.Is(err, errNoKey) {
		return -1
	}
	return cooling.Until.Sub(c.Now())
}

// What each class of failure costs the only key and its upstream, for the model
// asked and for others.
func TestWhatRests(t *testing.T) {
	for class, want := range map[Class]struct{ model, other time.Duration }{
		ClassOK:          {0, 0},
		ClassCaller:      {0, 0},
		ClassContext:     {0, 0},
		ClassPolicy:      {0, 0},
		ClassCanceled:    {0, 0},
		ClassTier:        {0, 0},
		ClassEmpty:       {0, 0},
		ClassRateLimited: {time.Second, 0},
		ClassQuota:       {10 * time.Minute, 10 * time.Minute},
		ClassStale:       {30 * time.Second, 30 * time.Second},
		ClassCredential:  {30 * time.Second, 30 * time.Second},
		ClassAccess:      {time.Hour, 0},
		ClassModel:       {0, 0},
		ClassNotSent:     {0, 0},
		ClassReset:       {0, 0},
		ClassUpstream:    {0, 0},
		ClassOverloaded:  {10 * time.Second, 0},
		ClassSlow:        {0, 0},
		ClassBroken:      {0, 0},
		ClassRegion:      {time.Minute, time.Minute},
	} {
		t.Run(class.String(), func(t *testing.T) {
			c := newClock()
			p := newPool(t, c, 1, RoundRobin)
			use(t, p, "m", Verdict{Class: class})
			if got := restOf(p, c, "m"); got != want.model {
				t.Errorf("rests %s for the model, want %s", got, want.model)
			}
			if got := restOf(p, c, "other"); got != want.other {
				t.Errorf("rests %s for others, want %s", got, want.other)
			}
		})
	}
}

// Without a stated wait the rest doubles with each failure in a row, up to a
// bound, and a success resets it.
func TestRestDoublesAndResets(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		use(t, p, "m", Verdict{Class: ClassRateLimited})
		if got := restOf(p, c, "m"); got != time.Duration(seconds)*time.Second {
			t.Errorf("rests %s, want %ds", got, seconds)
		}
		c.advance(restOf(p, c, "m"))
	}
	c.advance(time.Second)
	use(t, p, "m", Verdict{Class: ClassOK})
	use(t, p, "m", Verdict{Class: ClassRateLimited})
	if got := restOf(p, c, "m"); got != time.Second {
		t.Errorf("after a success: rests %s, want 1s", got)
	}
}

// A stated wait is kept, within the cap.
func TestStatedWait(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: 2 * time.Hour})
	if got := restOf(p, c, "m"); got != 2*time.Hour {
		t.Errorf("rests %s", got)
	}
	use(t, p, "n", Verdict{Class: ClassQuota, Wait: 400 * time.Hour})
	if got := restOf(p, c, "n"); got != DefaultMaxWait {
		t.Errorf("rests %s", got)
	}
}

// An operator's wait holds as it is: it neither grows nor is it bounded, and
// the upstream rests for it, too.
func TestOrderedWait(t *testing.T) {
	for class, want := range map[Class]struct{ model, other time.Duration }{
		ClassRateLimited: {72 * time.Hour, 0},
		ClassCredential:  {72 * time.Hour, 72 * time.Hour},
		ClassUpstream:    {72 * time.Hour, 0},
		ClassOverloaded:  {72 * time.Hour, 0},
		ClassRegion:      {72 * time.Hour, 72 * time.Hour},
	} {
		c := newClock()
		p := newPool(t, c, 1, RoundRobin)
		use(t, p, "m", Verdict{Class: class, Wait: 72 * time.Hour, Ordered: true})
		if got := restOf(p, c, "m"); got != want.model {
			t.Errorf("%s: rests %s for the model", class, got)
		}
		if got := restOf(p, c, "other"); got != want.other {
			t.Errorf("%s: rests %s for others", class, got)
		}
	}
}

// Ten calls at once that all meet the same limit are one failure, and none of
// them shortens what another has learned.
func TestConcurrentFailuresCountOnce(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	var leases []Lease
	for range 10 {
		lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, lease)
	}
	c.advance(time.Millisecond)
	leases[0].Report(Outcome{Verdict: Verdict{Class: ClassRateLimited, Wait: 20 * time.Second}})
	for i := range leases[1:] {
		leases[1+i].Report(Outcome{Verdict: Verdict{Class: ClassRateLimited}})
	}
	if got := restOf(p, c, "m"); got != 20*time.Second {
		t.Errorf("rests %s, want the 20s that were stated", got)
	}
	c.advance(20 * time.Second)
	use(t, p, "m", Verdict{Class: ClassRateLimited})
	if got := restOf(p, c, "m"); got != 2*time.Second {
		t.Errorf("the second failure rests %s, want 2s", got)
	}
}

// A success that began before the failure does not lift the rest.
func TestLateSuccessDoesNotLiftRest(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	slow, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	c.advance(time.Second)
	use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: time.Minute})
	slow.Report(Outcome{Verdict: Verdict{Class: ClassOK}})
	if got := restOf(p, c, "m"); got != time.Minute {
		t.Errorf("rests %s, want 1m", got)
	}
}

// A rejected key is tried by one call at a time until it has proved itself,
// and a probe that is given up gives its place back.
func TestRejectedKeyIsProbed(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassCredential})
	c.advance(30 * time.Second)
	probe, err := p.Acquire(Want{Model: "m"}, new(Tried))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
		t.Error("a second call may use the suspect key")
	}
	probe.Report(Outcome{Verdict: Verdict{Class: ClassCanceled}})
	if got := restOf(p, c, "m"); got != 0 {
		t.Errorf("after a probe that was given up the key rests %s", got)
	}
	c.advance(time.Second)
	use(t, p, "m", Verdict{Class: ClassOK})
	for range 2 {
		if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
			t.Errorf("after the proof: %v", err)
		}
	}
}

// A probe that neither fails nor ends, such as a long stream, or one whose
// report is lost, does not keep the others away.
func TestEndlessProbeHoldsNobodyUp(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassQuota, Wait: time.Hour})
	c.advance(time.Hour)
	if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
		t.Fatal(err)
	}
	if got := restOf(p, c, "m"); got != proofTime {
		t.Errorf("the others wait %s, want %s", got, proofTime)
	}
	c.advance(proofTime)
	use(t, p, "m", Verdict{Class: ClassOK})
	for range 3 {
		if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
			t.Errorf("after the proof: %v", err)
		}
	}
}

// A probe that meets a rate limit proves nothing of the key: the ramp stays
// where it was, and the next call is a probe again.
func TestRateLimitIsNeutralToProbe(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassCredential})
	c.advance(30 * time.Second)
	use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: 5 * time.Second})
	if got := restOf(p, c, "m"); got != 5*time.Second {
		t.Errorf("rests %s, want 5s", got)
	}
	use(t, p, "other", Verdict{Class: ClassCredential})
	if got := restOf(p, c, "other"); got != time.Minute {
		t.Errorf("the second rejection rests %s, want 1m", got)
	}
}

// A failure that was under way when the key came to rest may lengthen the
// rest, never shorten it, whatever its class.
func TestRestIsNeverShortened(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	first, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	second, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	third, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	c.advance(time.Second)
	first.Report(Outcome{Verdict: Verdict{Class: ClassQuota, Wait: time.Hour}})
	second.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
	if got := p.Snapshot()[0]; got.CoolingUntil.Sub(c.Now()) != time.Hour || got.CoolingClass != ClassQuota {
		t.Errorf("rests until %s for %s", got.CoolingUntil, got.CoolingClass)
	}
	third.Report(Outcome{Verdict: Verdict{Class: ClassCredential, Wait: 2 * time.Hour}})
	if got := p.Snapshot()[0]; got.CoolingUntil.Sub(c.Now()) != 2*time.Hour || got.CoolingClass != ClassCredential {
		t.Errorf("rests until %s for %s", got.CoolingUntil, got.CoolingClass)
	}
}

// What is known of a key outlives the pool that learned it.
func TestStateOutlivesPool(t *testing.T) {
	c := newClock()
	old := newPool(t, c, 1, RoundRobin)
	running, _ := old.Acquire(Want{Model: "m"}, new(Tried))
	use(t, old, "m", Verdict{Class: ClassRateLimited, Wait: time.Minute})
	state := old.members[0].state
	if err := state.Destruct(); err != nil {
		t.Fatal(err)
	}
	p, err := New([]Key{old.members[0].key}, []*State{state}, Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if got := restOf(p, c, "m"); got != time.Minute {
		t.Errorf("rests %s in the new pool, want 1m", got)
	}
	running.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
	if got := p.Snapshot()[0]; got.InFlight != 0 || got.CoolingClass != ClassCredential {
		t.Errorf("a call of the old pool is not seen in the new one: %+v", got)
	}
}

// Names of models come from outside: they may not grow a key's memory, nor
// drive out a rest that still matters before one that does not.
func TestModelsAreBounded(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "precious", Verdict{Class: ClassRateLimited, Wait: time.Hour})
	for i := range 10 * maxModels {
		use(t, p, fmt.Sprintf("m%d", i), Verdict{Class: ClassRateLimited, Wait: time.Second})
	}
	if n := len(p.Snapshot()[0].CoolingModels); n != maxModels {
		t.Errorf("%d models are remembered, want %d", n, maxModels)
	}
	if got := restOf(p, c, "precious"); got != time.Hour {
		t.Errorf("rests %s, want 1h", got)
	}

	long := strings.Repeat("x", 1<<20)
	use(t, p, long, Verdict{Class: ClassRateLimited, Wait: time.Minute})
	if got := restOf(p, c, long); got != time.Minute {
		t.Errorf("rests %s for the long name, want 1m", got)
	}
	for model := range p.Snapshot()[0].CoolingModels {
		if len(model) > maxModelName {
			t.Errorf("%d bytes of a name are kept", len(model))
		}
	}
}

// A second report changes nothing, whichever copy of the lease makes it, and
// even if its slot has since been taken by another call.
func TestReportOnce(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	lease, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	copied := lease
	lease.Report(Outcome{})
	lease.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
	other, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	copied.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
	status := p.Snapshot()[0]
	if status.InFlight != 1 || status.Total != 1 || !status.CoolingUntil.IsZero() {
		t.Errorf("got %+v", status)
	}
	other.Report(Outcome{})
	if status = p.Snapshot()[0]; status.InFlight != 0 || status.Total != 2 {
		t.Errorf("got %+v", status)
	}
	new(Lease).Report(Outcome{})
}

// The client's own faults say nothing of a key's health, in either direction.
func TestHealthIgnoresTheClientsFaults(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassOK})
	use(t, p, "m", Verdict{Class: ClassUpstream})
	for _, class := range []Class{ClassCaller, ClassContext, ClassPolicy, ClassTier, ClassCanceled} {
		use(t, p, "m", Verdict{Class: class})
	}
	got := p.Snapshot()[0]
	if got.Total != 6 || got.Successes != 1 || got.ConsecutiveFailures != 1 || got.SuccessRate != 0.5 || got.LastErrorClass != ClassUpstream {
		t.Errorf("got %+v", got)
	}
}

// Keys that could not be used or told apart are refused, and the error names
// no secret.
func TestRefusedKeys(t *testing.T) {
	for name, keys := range map[string][]Key{
		"none":            nil,
		"empty":           {{ID: "a"}},
		"same secret":     {{ID: "a", Secret: NewSecret("canary")}, {ID: "b", Secret: NewSecret("canary")}},
		"same id":         {{ID: "a", Secret: NewSecret("canary")}, {ID: "a", Secret: NewSecret("canary2")}},
		"negative weight": {{ID: "a", Secret: NewSecret("canary"), Weight: -1}},
		"huge weight":     {{ID: "a", Secret: NewSecret("canary"), Weight: 1 << 40}},
	} {
		states := make([]*State, len(keys))
		_, err := New(keys, states, Options{})
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}
