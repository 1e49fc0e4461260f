// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// reborn returns a pool whose only key knows what was written down of p's.
func reborn(t *testing.T, p *Pool, c *clock) *Pool {
	t.Helper()
	text, err := json.Marshal(p.members[0].state.Remember(c.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var m Memory
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	next := newPool(t, c, 1, RoundRobin)
	next.members[0].state.Recall(m, c.Now())
	return next
}

// After a restart a key rests as long as it would have, for the same models.
func TestRestsAreRecalled(t *testing.T) {
	for name, test := range map[string]struct {
		verdicts     []Verdict
		model, other time.Duration
	}{
		"nothing":        {nil, 0, 0},
		"a rate limit":   {[]Verdict{{Class: ClassRateLimited, Wait: time.Hour}}, time.Hour, 0},
		"no access":      {[]Verdict{{Class: ClassAccess}}, time.Hour, 0},
		"rejected":       {[]Verdict{{Class: ClassCredential}, {Class: ClassCredential}}, time.Minute, time.Minute},
		"out of quota":   {[]Verdict{{Class: ClassQuota, Wait: 5 * time.Hour}}, 5 * time.Hour, 5 * time.Hour},
		"several things": {[]Verdict{{Class: ClassRateLimited, Wait: 2 * time.Hour}, {Class: ClassCredential}}, 2 * time.Hour, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			p := newPool(t, c, 1, RoundRobin)
			for _, v := range test.verdicts {
				lease := Lease{pool: p, model: "m", began: c.Now()}
				p.members[0].state.mu.Lock()
				p.members[0].state.follow(&lease, v, c.Now(), DefaultMaxWait)
				p.members[0].state.mu.Unlock()
				c.advance(time.Nanosecond)
			}
			next := reborn(t, p, c)
			near := func(got, want time.Duration) bool { return got <= want && want-got < time.Microsecond }
			if got := restOf(next, c, "m"); !near(got, test.model) {
				t.Errorf("rests %s for the model, want %s", got, test.model)
			}
			if got := restOf(next, c, "other"); !near(got, test.other) {
				t.Errorf("rests %s for others, want %s", got, test.other)
			}
			if !reflect.DeepEqual(next.members[0].state.Remember(c.Now()), p.members[0].state.Remember(c.Now())) {
				t.Error("what is written down again is not the same")
			}
		})
	}
}

// A failure after a restart is one more in a row.
func TestFailuresInARowAreRecalled(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		p = reborn(t, p, c)
		use(t, p, "m", Verdict{Class: ClassCredential})
		if got := restOf(p, c, "m"); got != want {
			t.Errorf("rests %s, want %s", got, want)
		}
		c.advance(want)
	}
}

// What an operator has taken out stays out, and what has healed in the meantime
// is told of.
func TestOperatorsAndNoticesAreRecalled(t *testing.T) {
	c, l := newClock(), new(listener)
	p := newPool(t, c, 1, RoundRobin)
	p.Disable("k0")
	next := reborn(t, p, c)
	if _, err := next.Acquire(Want{Model: "m"}, nil); err == nil {
		t.Error("a key that was taken out is used")
	}
	p.Enable("k0")
	use(t, p, "m", Verdict{Class: ClassCredential})
	next = reborn(t, p, c)
	next.opts.Notify = l.notify
	c.advance(time.Minute)
	use(t, next, "m", Verdict{})
	if got := l.take(); got != "recovered k0" {
		t.Errorf("heard %q", got)
	}
}

// What was written down may be old, long, or nonsense.
func TestSenselessMemoriesAreLeftOut(t *testing.T) {
	c := newClock()
	now := c.Now()
	for name, m := range map[string]Memory{
		"an old rest":      {Key: &KeptRest{Class: "credential", Until: now.Add(-25 * time.Hour), Strikes: 1}},
		"an unknown class": {Key: &KeptRest{Class: "odd", Until: now.Add(time.Hour), Strikes: 1}},
		"no class":         {Key: &KeptRest{Class: "ok", Until: now.Add(time.Hour), Strikes: 1}},
		"no strike":        {Key: &KeptRest{Class: "quota", Until: now.Add(time.Hour)}},
		"a long name":      {Models: map[string]KeptRest{strings.Repeat("m", 300): {Class: "quota", Until: now.Add(time.Hour), Strikes: 1}}},
	} {
		p := newPool(t, c, 1, RoundRobin)
		p.members[0].state.Recall(m, now)
		if got := p.members[0].state.Remember(now); !got.Over(now) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	p := newPool(t, c, 1, RoundRobin)
	many := map[string]KeptRest{}
	for i := range 1000 {
		many[fmt.Sprint(i)] = KeptRest{Class: "access", Until: now.Add(time.Hour), Strikes: 1}
	}
	p.members[0].state.Recall(Memory{Key: &KeptRest{Class: "quota", Until: now.Add(1000 * 24 * time.Hour), Strikes: 1 << 40}, Models: many}, now)
	if got := p.members[0].state.Remember(now); got.Key.Until.After(now.Add(maxRecalled)) || got.Key.Strikes > maxStrikes || len(got.Models) > maxModels {
		t.Errorf("%+v", got)
	}
	fresh := newPool(t, c, 1, RoundRobin)
	use(t, fresh, "m", Verdict{})
	fresh.members[0].state.Recall(Memory{Key: &KeptRest{Class: "quota", Until: now.Add(time.Hour), Strikes: 1}}, now)
	if restOf(fresh, c, "m") != 0 {
		t.Error("what was written down counts more than what is known")
	}
}

// Pins are written down group by group, and only where something has changed.
func TestPinsAreRecalled(t *testing.T) {
	c := newClock()
	pins := NewPins(1000, time.Hour, c.Now)
	for i := range 300 {
		pins.Put(fmt.Sprintf("resp_%d", i), fmt.Sprintf("k%d", i%3))
	}
	next, groups := NewPins(200, time.Hour, c.Now), 0
	next.Put("resp_7", "newer")
	for group := range PinGroups {
		written, changed := pins.Remember(group)
		if changed {
			groups++
		}
		if _, again := pins.Remember(group); again {
			t.Error("nothing has changed, but it is written down")
		}
		next.Recall(written)
	}
	if groups < PinGroups*3/4 || next.Len() != 200 {
		t.Errorf("%d groups, %d pins", groups, next.Len())
	}
	if key, _ := next.Get("resp_7"); key != "newer" {
		t.Errorf("resp_7 is of %s", key)
	}
	if key, ok := next.Get("resp_1"); ok && key != "k1" {
		t.Errorf("resp_1 is of %s", key)
	}
	next.Put("resp_new", "k0")
	if _, ok := next.Get("resp_7"); !ok {
		t.Error("the latest used is forgotten first")
	}
	pins.Put("resp_1", "k1")
	if _, changed := pins.Remember(groupOf("resp_1")); changed {
		t.Error("to use a pin is no change")
	}
	pins.Put("resp_1", "k2")
	if _, changed := pins.Remember(groupOf("resp_1")); !changed {
		t.Error("another owner is a change")
	}
	pins.Changed(3)
	if _, changed := pins.Remember(3); !changed {
		t.Error("what was not kept is not written down again")
	}
	c.advance(2 * time.Hour)
	pins.Changed(3)
	if written, _ := pins.Remember(3); len(written) > 0 {
		t.Error("what has been forgotten is written down")
	}
	empty := NewPins(10, time.Hour, c.Now)
	empty.Recall([]Pin{{"", "k", c.Now().Add(time.Hour)}, {strings.Repeat("x", 300), "k", c.Now().Add(time.Hour)}, {"old", "k", c.Now().Add(-1)}})
	if empty.Len() != 0 {
		t.Errorf("%d senseless pins are recalled", empty.Len())
	}
}
