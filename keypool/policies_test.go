// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The names of policies are those of the config.
func TestPolicyNames(t *testing.T) {
	for policy := RoundRobin; policy <= Sticky; policy++ {
		if got, err := ParsePolicy(policy.String()); err != nil || got != policy {
			t.Errorf("%s: %v, %v", policy, got, err)
		}
	}
	if _, err := ParsePolicy("random"); err == nil {
		t.Error("an unknown policy is accepted")
	}
}

// The least busy key is taken, by its weight.
func TestLeastBusy(t *testing.T) {
	p := newPoolOf(t, Options{Policy: LeastBusy}, Key{ID: "a"}, Key{ID: "b"}, Key{ID: "c", Weight: 2})
	var leases []Lease
	for range 40 {
		lease, _ := p.Acquire(Want{}, new(Tried))
		leases = append(leases, lease)
	}
	for i, want := range []int{10, 10, 20} {
		if got := p.Snapshot()[i].InFlight; got != want {
			t.Errorf("key %d has %d calls, want %d", i, got, want)
		}
	}
	for _, lease := range leases {
		if lease.KeyID() == "b" {
			lease.Report(Outcome{})
		}
	}
	for range 10 {
		if lease, _ := p.Acquire(Want{}, new(Tried)); lease.KeyID() != "b" {
			t.Errorf("%s was taken while b was idle", lease.KeyID())
		}
	}
}

// Fast keys get more calls than slow ones, and a key that was slow is given
// another chance.
func TestFastest(t *testing.T) {
	c := newClock()
	random := rand.New(rand.NewPCG(1, 1))
	p := newPoolOf(t, Options{Policy: Fastest, Now: c.Now, Random: random.Uint64}, Key{ID: "a"}, Key{ID: "b"}, Key{ID: "slow"}, Key{ID: "d"})
	run := func(wait map[string]time.Duration) map[string]int {
		used := map[string]int{}
		for range 400 {
			lease, _ := p.Acquire(Want{}, new(Tried))
			used[lease.KeyID()]++
			lease.Report(Outcome{Latency: time.Minute, FirstToken: wait[lease.KeyID()]})
			c.advance(10 * time.Millisecond)
		}
		return used
	}
	waits := map[string]time.Duration{"a": 100 * time.Millisecond, "b": 100 * time.Millisecond, "d": 100 * time.Millisecond, "slow": 2 * time.Second}
	if used := run(waits); used["slow"] > 40 || used["a"] < 80 {
		t.Errorf("used %v", used)
	}
	waits["slow"] = 50 * time.Millisecond
	c.advance(5 * time.Minute)
	if used := run(waits); used["slow"] < 80 {
		t.Errorf("after it became fast: used %v", used)
	}
}

// The key with the most left is taken; what is not known is thought to be
// there, and what has been used since counts.
func TestHeadroom(t *testing.T) {
	c := newClock()
	p := newPoolOf(t, Options{Policy: LargestHeadroom, Now: c.Now}, Key{ID: "a"}, Key{ID: "b"})
	tell := func(id string, requests, tokens int64) {
		lease, err := p.Acquire(Want{KeyID: id}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		full := c.Now().Add(time.Minute)
		lease.Report(Outcome{Headroom: Headroom{
			Requests: Allowance{Remaining: requests, Limit: 100, ResetAt: full},
			Tokens:   Allowance{Remaining: tokens, Limit: 10000, ResetAt: full},
		}})
	}
	take := func(want Want, id string) {
		t.Helper()
		lease, err := p.Acquire(want, new(Tried))
		if err != nil || lease.KeyID() != id {
			t.Errorf("got %s, %v, want %s", lease.KeyID(), err, id)
		}
		lease.Report(Outcome{})
	}
	tell("a", 10, 10000)
	take(Want{}, "b")
	tell("b", 5, 10000)
	take(Want{}, "a")
	for range 6 {
		lease, _ := p.Acquire(Want{KeyID: "a"}, new(Tried)) // 3 are left then
		lease.Report(Outcome{})
	}
	take(Want{}, "b")

	tell("a", 90, 500)
	tell("b", 50, 9000)
	take(Want{Tokens: 600}, "b")
	tell("b", 50, 100)
	take(Want{Tokens: 600}, "a") // no key has enough: the better one is asked
	c.advance(time.Minute)
	tell("b", 50, 9000)
	take(Want{Tokens: 600}, "a") // refilled by now

	// What was said earlier and is heard later is of no use.
	lease, _ := p.Acquire(Want{KeyID: "a"}, new(Tried))
	lease.Answering(Headroom{Requests: Allowance{Remaining: 90, Limit: 100, ResetAt: c.Now().Add(time.Minute)}})
	lease.Report(Outcome{Headroom: Headroom{At: c.Now().Add(-time.Second), Requests: Allowance{Remaining: 1, Limit: 100, ResetAt: c.Now().Add(time.Minute)}}})
	take(Want{}, "a")
}

// What is sticky stays with its key; a key that is gone moves only its own;
// and a key that is too busy lets others help.
func TestSticky(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 10, Sticky)
	home := map[uint64]string{}
	share := map[string]int{}
	for affinity := uint64(1); affinity <= 1000; affinity++ {
		for range 3 {
			lease, _ := p.Acquire(Want{Affinity: affinity}, new(Tried))
			if home[affinity] != "" && home[affinity] != lease.KeyID() {
				t.Fatalf("%d moved from %s to %s", affinity, home[affinity], lease.KeyID())
			}
			home[affinity] = lease.KeyID()
			lease.Report(Outcome{})
		}
		share[home[affinity]]++
	}
	for id, n := range share {
		if n < 60 || n > 140 || len(share) != 10 {
			t.Errorf("%s is home to %d of 1000", id, n)
		}
	}

	lease, _ := p.Acquire(Want{KeyID: "k4"}, new(Tried))
	lease.Report(Outcome{Verdict: Verdict{Class: ClassQuota}})
	heirs := map[string]int{}
	for affinity, was := range home {
		lease, _ := p.Acquire(Want{Affinity: affinity}, new(Tried))
		if was != "k4" && lease.KeyID() != was {
			t.Errorf("%d moved from %s, which is free, to %s", affinity, was, lease.KeyID())
		}
		if was == "k4" {
			heirs[lease.KeyID()]++
		}
		lease.Report(Outcome{})
	}
	if len(heirs) < 8 {
		t.Errorf("what was k4's fell to %v", heirs)
	}

	for range 1000 {
		if _, err := p.Acquire(Want{Affinity: 1}, new(Tried)); err != nil {
			t.Fatal(err)
		}
	}
	for _, status := range p.Snapshot() {
		if status.InFlight > 1000/2 {
			t.Errorf("%s has %d of 1000 calls", status.ID, status.InFlight)
		}
	}
}

// An object of which nothing is known has one owner, also in a pool made anew
// with its keys in another order.
func TestOwner(t *testing.T) {
	p := newPoolOf(t, Options{}, Key{ID: "a"}, Key{ID: "b"}, Key{ID: "c"})
	other := newPoolOf(t, Options{}, Key{ID: "c"}, Key{ID: "b", Tier: 2}, Key{ID: "a"})
	owners := map[string]bool{}
	for _, id := range []string{"resp_1", "resp_2", "file-3", "batch_4", "resp_5", "resp_6", "resp_7", "resp_8"} {
		if p.Owner(id, Want{}) != other.Owner(id, Want{}) {
			t.Errorf("%s is owned by %s and by %s", id, p.Owner(id, Want{}), other.Owner(id, Want{}))
		}
		owners[p.Owner(id, Want{})] = true
	}
	if len(owners) != 3 {
		t.Errorf("only %v own anything", owners)
	}
}

// A key that could never serve the call owns nothing.
func TestOwnerServesTheCall(t *testing.T) {
	p := newPoolOf(t, Options{}, Key{ID: "a", Models: []string{"gpt-*"}}, Key{ID: "b", Expires: time.Unix(1, 0)}, Key{ID: "c"})
	for _, id := range []string{"resp_1", "resp_2", "file-3", "batch_4", "resp_5", "resp_6", "resp_7", "resp_8"} {
		if owner := p.Owner(id, Want{Model: "o1"}); owner != "c" {
			t.Errorf("%s is owned by %s", id, owner)
		}
		if owner := p.Owner(id, Want{Model: "gpt-4o"}); owner == "b" {
			t.Errorf("%s is owned by a key that has expired", id)
		}
	}
	if owner := newPoolOf(t, Options{}, Key{ID: "a", Models: []string{"gpt-*"}}).Owner("resp_1", Want{Model: "o1"}); owner != "" {
		t.Errorf("%s owns what it cannot serve", owner)
	}
	if !p.Has("a") || p.Has("d") {
		t.Error("the pool does not know its keys")
	}
}
