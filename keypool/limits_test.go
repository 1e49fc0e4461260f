// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// hold acquires a key without reporting.
func hold(t *testing.T, p *Pool, want Want) (Lease, *CoolingError) {
	t.Helper()
	lease, err := p.Acquire(want, new(Tried))
	var cooling *CoolingError
	if err != nil && !errors.As(err, &cooling) {
		t.Fatalf("acquiring: %v", err)
	}
	return lease, cooling
}

// Keys of one account share its rate limits and its quota, and nothing else.
func TestAccountsShareLimits(t *testing.T) {
	for class, shared := range map[Class]bool{
		ClassRateLimited: true, ClassQuota: true, ClassCredential: false, ClassAccess: false,
	} {
		t.Run(class.String(), func(t *testing.T) {
			c := newClock()
			p := newPoolOf(t, Options{Now: c.Now}, Key{ID: "a1", Account: "a"}, Key{ID: "a2", Account: "a"}, Key{ID: "b1", Account: "b"})
			use(t, p, "m", Verdict{Class: class, Wait: time.Minute})
			used := map[string]int{}
			for range 4 {
				used[use(t, p, "m", Verdict{})]++
			}
			if (used["a2"] == 0) != shared || used["a1"] != 0 || used["b1"] == 0 {
				t.Errorf("used %v", used)
			}
			c.advance(time.Minute)
			for range 3 {
				used[use(t, p, "m", Verdict{})]++
			}
			if used["a1"] == 0 || used["a2"] == 0 {
				t.Errorf("after the rest: used %v", used)
			}
		})
	}
}

// A higher tier serves only when the lower has no key free, or when a call
// asks for it.
func TestTiers(t *testing.T) {
	for policy := RoundRobin; policy <= Sticky; policy++ {
		t.Run(policy.String(), func(t *testing.T) {
			c := newClock()
			p := newPoolOf(t, Options{Now: c.Now, Policy: policy},
				Key{ID: "spare", Tier: 7}, Key{ID: "k0"}, Key{ID: "big", Tier: 1}, Key{ID: "k1"})
			want := Want{Model: "m", Affinity: 3}
			for range 10 {
				lease, _ := p.Acquire(want, new(Tried))
				if lease.Tier() != 0 {
					t.Errorf("%s was used though the lower tier is free", lease.KeyID())
				}
				lease.Report(Outcome{})
			}
			// An upstream's fault is not the keys': the tier has some free still.
			var tried Tried
			for range 4 {
				lease, _ := p.Acquire(want, &tried)
				if lease.Tier() != 0 {
					t.Errorf("%s was used for a retry", lease.KeyID())
				}
				lease.Report(Outcome{Verdict: Verdict{Class: ClassEmpty}})
			}
			want.Tier = 1
			lease, _ := p.Acquire(want, new(Tried))
			if lease.KeyID() != "big" {
				t.Errorf("asked for tier 1: got %s", lease.KeyID())
			}
			lease.Report(Outcome{})
			want.Tier = 8
			if _, err := p.Acquire(want, new(Tried)); !errors.Is(err, errNoKey) || errors.As(err, new(*CoolingError)) {
				t.Errorf("asked for tier 8: %v", err)
			}
			want.Tier = 0
			for _, id := range []string{"", "", "big", "spare"} {
				lease, _ := p.Acquire(want, new(Tried))
				if id != "" && lease.KeyID() != id {
					t.Errorf("got %s, want %s", lease.KeyID(), id)
				}
				lease.Report(Outcome{Verdict: Verdict{Class: ClassRateLimited}})
			}
			if ids := p.Snapshot(); ids[0].ID != "spare" || ids[3].ID != "k1" {
				t.Errorf("the status is not in the order of the config: %v", ids)
			}
		})
	}
}

// A key has no more calls in flight than it may, also when many come at once.
func TestMaxInFlight(t *testing.T) {
	for policy := RoundRobin; policy <= Sticky; policy++ {
		p := newPoolOf(t, Options{Policy: policy}, Key{ID: "a", MaxInFlight: 2}, Key{ID: "b", MaxInFlight: 3})
		var wg sync.WaitGroup
		leases := make(chan Lease, 1000)
		for range 1000 {
			wg.Go(func() {
				if lease, err := p.Acquire(Want{Affinity: 1}, new(Tried)); err == nil {
					leases <- lease
				}
			})
		}
		wg.Wait()
		close(leases)
		if len(leases) != 5 {
			t.Errorf("%s: %d calls are in flight, want 5", policy, len(leases))
		}
		if _, cooling := hold(t, p, Want{}); cooling == nil || cooling.Upstream {
			t.Errorf("%s: got %v", policy, cooling)
		}
		for lease := range leases {
			lease.Report(Outcome{})
		}
		if _, cooling := hold(t, p, Want{}); cooling != nil {
			t.Errorf("%s: after their end: %v", policy, cooling)
		}
	}
}

// A key is used as often as its window allows, which refills evenly, and the
// error tells when it may be used again.
func TestRequestsPerWindow(t *testing.T) {
	c := newClock()
	p := newPoolOf(t, Options{Now: c.Now}, Key{ID: "a", Requests: Rate{N: 6}})
	for range 6 {
		use(t, p, "m", Verdict{})
	}
	_, cooling := hold(t, p, Want{Model: "n"})
	if cooling == nil || cooling.Until.Sub(c.Now()) != 10*time.Second || cooling.Class != ClassRateLimited {
		t.Fatalf("got %+v", cooling)
	}
	c.advance(10 * time.Second)
	use(t, p, "m", Verdict{})
	if _, cooling := hold(t, p, Want{}); cooling == nil {
		t.Error("used seven times in ten seconds")
	}
	c.advance(time.Hour)
	for range 6 {
		use(t, p, "m", Verdict{})
	}
	if _, cooling := hold(t, p, Want{}); cooling == nil {
		t.Error("an idle hour was saved up")
	}
}

// Tokens count as they are thought to be when a call begins, and as they were
// when it is over. One call that is larger than the window may be made.
func TestTokensPerWindow(t *testing.T) {
	c := newClock()
	p := newPoolOf(t, Options{Now: c.Now}, Key{ID: "a", Tokens: Rate{N: 6000, Per: time.Minute}})
	lease, _ := hold(t, p, Want{Tokens: 1000})
	if _, cooling := hold(t, p, Want{Tokens: 5500}); cooling == nil || cooling.Until.Sub(c.Now()) != 5*time.Second {
		t.Errorf("got %+v", cooling)
	}
	lease.Report(Outcome{Tokens: 400})
	lease, cooling := hold(t, p, Want{Tokens: 5500})
	if cooling != nil {
		t.Fatalf("600 tokens were not given back: %+v", cooling)
	}
	lease.Report(Outcome{Tokens: 11600})
	if _, cooling := hold(t, p, Want{Tokens: 1}); cooling == nil || cooling.Until.Sub(c.Now()).Round(time.Second) != time.Minute {
		t.Errorf("6000 tokens too many: %+v", cooling)
	}
	c.advance(2 * time.Minute)
	if _, cooling := hold(t, p, Want{Tokens: 1_000_000}); cooling != nil {
		t.Errorf("a call larger than the window can never be made: %+v", cooling)
	}
}

// A key serves the models it is for, until it expires. What no key is for is
// told apart from what must wait.
func TestModelsAndExpiry(t *testing.T) {
	c := newClock()
	p := newPoolOf(t, Options{Now: c.Now},
		Key{ID: "gpt", Models: []string{"gpt-*", "o1"}},
		Key{ID: "claude", Models: []string{"claude-*"}, Expires: c.Now().Add(time.Hour)})
	for model, want := range map[string]string{"gpt-5": "gpt", "o1": "gpt", "claude-x": "claude"} {
		for range 3 {
			if got := use(t, p, model, Verdict{}); got != want {
				t.Errorf("%s: served by %s", model, got)
			}
		}
	}
	use(t, p, "", Verdict{}) // such as a list of models
	if _, err := p.Acquire(Want{Model: "o1-mini"}, new(Tried)); !errors.Is(err, errNoKey) || errors.As(err, new(*CoolingError)) {
		t.Errorf("a model that no key is for: %v", err)
	}
	c.advance(time.Hour)
	if _, err := p.Acquire(Want{Model: "claude-x"}, new(Tried)); !errors.Is(err, errNoKey) || errors.As(err, new(*CoolingError)) {
		t.Errorf("an expired key: %v", err)
	}
}

// What belongs to a key goes to that key or to none.
func TestWantedKey(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 5, RoundRobin)
	for range 3 {
		lease, err := p.Acquire(Want{KeyID: "k3"}, new(Tried))
		if err != nil || lease.KeyID() != "k3" {
			t.Fatalf("got %s, %v", lease.KeyID(), err)
		}
		lease.Report(Outcome{})
	}
	lease, _ := p.Acquire(Want{KeyID: "k3"}, new(Tried))
	lease.Report(Outcome{Verdict: Verdict{Class: ClassRateLimited, Wait: time.Minute}})
	if _, cooling := hold(t, p, Want{KeyID: "k3"}); cooling == nil || cooling.Until.Sub(c.Now()) != time.Minute {
		t.Errorf("got %+v", cooling)
	}
	if _, err := p.Acquire(Want{KeyID: "gone"}, new(Tried)); !errors.Is(err, errNoKey) {
		t.Errorf("a key that is not there: %v", err)
	}
}

// Limits that cannot be are refused.
func TestRefusedLimits(t *testing.T) {
	for name, key := range map[string]Key{
		"requests": {Requests: Rate{N: -1}}, "window": {Tokens: Rate{N: 1, Per: -1}},
		"tier": {Tier: -1}, "in flight": {MaxInFlight: -1},
	} {
		key.Secret = NewSecret("canary")
		if _, err := New([]Key{key}, []*State{NewState()}, Options{}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*b", "ab", true}, {"*", "", true},
		{"a*c", "abc", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "acb", false}, {"ab*ba", "aba", false},
	} {
		if got := Matches(test.pattern, test.name); got != test.want {
			t.Errorf("%s, %s: %t", test.pattern, test.name, got)
		}
	}
}
