// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// Keys are taken in turn.
func TestRoundRobin(t *testing.T) {
	p := newPool(t, newClock(), 3, RoundRobin)
	var order []string
	for range 6 {
		order = append(order, use(t, p, "m", Verdict{}))
	}
	if got := strings.Join(order, " "); got != "k0 k1 k2 k0 k1 k2" {
		t.Errorf("got %s", got)
	}
}

// Weights hold over a round, and are spread evenly within it.
func TestWeighted(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 3, Weighted)
	p.members[0].key.Weight = 5
	p.tiers = nil
	p.makeTiers()
	var order []string
	for range 7 {
		order = append(order, use(t, p, "m", Verdict{}))
	}
	if got := strings.Join(order, " "); got != "k0 k0 k2 k0 k0 k1 k0" {
		t.Errorf("got %s", got)
	}

	// A key that rested does not come back to a debt of the others.
	use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: time.Minute})
	for range 100 {
		use(t, p, "m", Verdict{})
	}
	c.advance(time.Hour)
	counts := map[string]int{}
	for range 70 {
		counts[use(t, p, "m", Verdict{})]++
	}
	if counts["k0"] < 49 || counts["k0"] > 51 {
		t.Errorf("after a rest: %v", counts)
	}

	// Neither do many that rested at a time.
	p = newPool(t, c, 20, Weighted)
	for range 19 {
		use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: time.Minute})
	}
	for range 1000 {
		use(t, p, "m", Verdict{})
	}
	c.advance(time.Hour)
	clear(counts)
	for range 40 {
		counts[use(t, p, "m", Verdict{})]++
	}
	for id, n := range counts {
		if n > 3 || len(counts) != 20 {
			t.Errorf("%s had %d of 40 calls, which went to %d keys", id, n, len(counts))
		}
	}
}

// What resting keys leave undone is shared by all others alike.
func TestSharesAreFairBesideRestingKeys(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, Weighted} {
		p := newPool(t, newClock(), 1000, policy)
		for i := range p.members {
			if i%250 > 1 {
				p.members[i].state.rests.Store(&rests{key: coolDown{until: p.opts.Now().Add(time.Hour), strikes: 1, class: ClassQuota}})
			}
		}
		counts := map[string]int{}
		for range 800 {
			counts[use(t, p, "m", Verdict{})]++
		}
		for id, n := range counts {
			if n != 100 || len(counts) != 8 {
				t.Errorf("%v: %s had %d of 800 calls, with %d keys free", policy, id, n, len(counts))
			}
		}
	}
}

// A call is given keys that it has not tried, and one that it has only when
// nothing else is left and the key is not to blame.
func TestTriedKeysComeLast(t *testing.T) {
	for _, n := range []int{3, 200, 1500} {
		p := newPool(t, newClock(), n, RoundRobin)
		var tried Tried
		seen := map[string]bool{}
		for range n {
			lease, err := p.Acquire(Want{Model: "m"}, &tried)
			if err != nil || seen[lease.KeyID()] {
				t.Fatalf("%d keys: %s again after %d, %v", n, lease.KeyID(), len(seen), err)
			}
			seen[lease.KeyID()] = true
			lease.Report(Outcome{Verdict: Verdict{Class: ClassEmpty}})
		}
		lease, err := p.Acquire(Want{Model: "m"}, &tried)
		if err != nil {
			t.Errorf("%d keys: an upstream's fault kept a key from being used again: %v", n, err)
		}
		lease.Report(Outcome{Verdict: Verdict{Class: ClassRateLimited}})
	}
}

// When all keys rest, the error says when the first comes free, and why.
func TestEarliest(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 3, RoundRobin)
	use(t, p, "m", Verdict{Class: ClassQuota, Wait: time.Hour})
	use(t, p, "m", Verdict{Class: ClassRateLimited, Wait: 5 * time.Second})
	use(t, p, "m", Verdict{Class: ClassCredential})
	_, err := p.Acquire(Want{Model: "m"}, new(Tried))
	var cooling *CoolingError
	if !errors.As(err, &cooling) || cooling.Until.Sub(c.Now()) != 5*time.Second || cooling.Class != ClassRateLimited {
		t.Errorf("got %v", err)
	}
}

// A thousand calls at once, while time passes: no key is used that was known
// to rest before the call began, and no slot leaks.
func TestConcurrentUse(t *testing.T) {
	classes := []Class{ClassOK, ClassOK, ClassOK, ClassUpstream, ClassCanceled, ClassRateLimited, ClassModel}
	for policy := RoundRobin; policy <= Sticky; policy++ {
		timed(t, func(t *testing.T) { callsAtOnce(t, newTimedPool(t, 7, Options{Policy: policy}), classes) })
	}
}

func callsAtOnce(t *testing.T, p *Pool, classes []Class) {
	var mu sync.Mutex
	known := map[string]time.Time{}
	var wg sync.WaitGroup
	for i := range uint64(1000) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(i, 2))
			var tried Tried
			for range 5 {
				mu.Lock()
				before := maps.Clone(known)
				mu.Unlock()
				lease, err := p.Acquire(Want{Model: "m", Affinity: i}, &tried)
				if err != nil {
					time.Sleep(time.Second)
					continue
				}
				if until := before[lease.KeyID()]; lease.began.Before(until) {
					t.Errorf("%s was used %s too early", lease.KeyID(), until.Sub(lease.began))
				}
				time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
				verdict := Verdict{Class: classes[random.IntN(len(classes))]}
				if verdict.Scope() == ScopeKey || verdict.Scope() == ScopeKeyModel {
					verdict.Wait = time.Duration(1+random.IntN(10)) * time.Second
				}
				sent := time.Now()
				lease.Report(Outcome{Verdict: verdict})
				mu.Lock()
				if until := sent.Add(verdict.Wait); verdict.Wait > 0 && until.After(known[lease.KeyID()]) {
					known[lease.KeyID()] = until
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, status := range p.Snapshot() {
		if status.InFlight != 0 || status.Total == 0 {
			t.Errorf("%s: %d slots have leaked after %d calls", status.ID, status.InFlight, status.Total)
		}
	}
}

// Calls at the same moment get different keys as long as there are any.
func TestConcurrentCallsAreSpread(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, Weighted} {
		p := newPool(t, newClock(), 50, policy)
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				if _, err := p.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, status := range p.Snapshot() {
			if status.InFlight != 10 {
				t.Errorf("%s has %d of 500 calls, want 10", status.ID, status.InFlight)
			}
		}
	}
}

// A secret prints as REDACTED, however it is printed.
func TestSecretNeverPrints(t *testing.T) {
	key := Key{ID: "a", Secret: NewSecret("canary")}
	text := fmt.Sprintf("%v %+v %#v %s %q %x %d %v", key, key, key, key.Secret, key.Secret, key.Secret, key.Secret, &key)
	encoded, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	text += string(encoded)
	// Where fmt cannot call a method: unexported fields and wrong verbs.
	p, _ := New([]Key{key}, []*State{NewState()}, Options{})
	lease, _ := p.Acquire(Want{Model: "m"}, new(Tried))
	wrong := strings.Join([]string{"%p", "%w", "%!"}, " ") // put together, so that no linter mends it
	text += fmt.Sprintf("%+v %#v %v %+v", p, p, lease, struct{ s Secret }{key.Secret}) + fmt.Sprintf(wrong, key.Secret, key.Secret, key.Secret)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", key, "secret", key.Secret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", key, "secret", key.Secret)
	text += log.String()
	for _, leak := range []string{"canary", fmt.Sprintf("%x", "canary"), "[99 97 110"} {
		if strings.Contains(text, leak) {
			t.Errorf("the secret shows: %s", text)
		}
	}
	if !key.Secret.Equal(NewSecret("canary")) || key.Secret.Equal(NewSecret("canar")) {
		t.Error("Equal is wrong")
	}
}
