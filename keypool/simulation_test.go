// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// limitsOfKeys are requests and tokens per minute as real keys have them: some
// new accounts, some grown ones.
var limitsOfKeys = [][2]int{
	{60, 60_000}, {60, 60_000}, {60, 60_000}, {60, 60_000}, {120, 100_000}, {120, 100_000},
	{120, 100_000}, {240, 200_000}, {240, 200_000}, {480, 400_000},
}

// newService makes a provider with these keys, whose weights are in proportion
// to their limits.
func newService(t *testing.T, policy Policy, random *rand.Rand, limits [][2]int) *service {
	s := &service{accounts: map[string]*account{}, attempts: map[Class]int{}}
	var keys []Key
	for i, limit := range limits {
		id := fmt.Sprintf("k%d", i)
		requests, tokens := float64(limit[0]), float64(limit[1])
		s.accounts[id] = &account{
			requests: bucket{requests, requests, time.Now()},
			tokens:   bucket{tokens, tokens, time.Now()},
		}
		keys = append(keys, Key{ID: id, Weight: limit[1] / 20_000})
	}
	s.pool = newPoolOf(t, Options{Policy: policy, Random: random.Uint64}, keys...)
	return s
}

// atLoad plays half an hour at a share of what the keys allow.
func atLoad(t *testing.T, policy Policy, load float64) (c *caller) {
	timed(t, func(t *testing.T) {
		c = &caller{random: rand.New(rand.NewPCG(1, uint64(policy))), patience: 5 * time.Second}
		c.services = []*service{newService(t, policy, c.random, limitsOfKeys)}
		tokens := 0
		for _, limit := range limitsOfKeys {
			tokens += limit[1]
		}
		c.arrive(load*float64(tokens)/1000/60, 30*time.Minute, 0)
		c.timeline.run()
	})
	return c
}

// atFault plays half an hour in which everything goes wrong at some time.
func atFault(t *testing.T, policy Policy) (c *caller) {
	timed(t, func(t *testing.T) {
		c = &caller{random: rand.New(rand.NewPCG(2, uint64(policy))), patience: 5 * time.Second}
		limits := [][2]int{{600, 1_000_000}, {600, 1_000_000}, {600, 1_000_000}, {600, 1_000_000}, {600, 1_000_000}, {600, 1_000_000}}
		primary, fallback := newService(t, policy, c.random, limits), newService(t, policy, c.random, limits[:3])
		c.services = []*service{primary, fallback}
		primary.accounts["k1"].dead = true
		primary.accounts["k2"].requests.limit, primary.accounts["k2"].requests.left = 6, 6
		primary.accounts["k3"].slow = true
		outage := time.Now().Add(10 * time.Minute)
		primary.down = [2]time.Time{outage, outage.Add(time.Minute)}
		c.arrive(8, 30*time.Minute, 0)
		// The storm of clients' errors.
		c.timeline.after(20*time.Minute, func() { c.arrive(16, 2*time.Minute, 1) })
		c.timeline.run()
	})
	return c
}

// The pool keeps keys from being limited, and calls from being lost. The table
// is part of the documentation; UPDATE_GOLDEN=1 writes it anew.
func TestSimulation(t *testing.T) {
	var b strings.Builder
	b.WriteString(pageHead)
	limited := map[string]int{}
	for _, load := range []float64{0.5, 0.8, 0.95} {
		for policy := RoundRobin; policy <= Sticky; policy++ {
			c := atLoad(t, policy, load)
			n := c.services[0].attempts[ClassRateLimited]
			limited[fmt.Sprint(policy, load)] = n
			fmt.Fprintf(&b, "| %.0f %% | %s | %d | %d | %.1f | %d |\n", load*100, policy, c.calls, n, 1000*float64(n)/float64(c.calls), c.lost)
		}
	}
	b.WriteString(faultsHead)
	for policy := RoundRobin; policy <= Sticky; policy++ {
		c := atFault(t, policy)
		primary := c.services[0]
		servable := c.served + c.lost
		share := float64(c.served) / float64(servable)
		fmt.Fprintf(&b, "| %s | %d | %d | %.2f %% | %.3f | %d | %d |\n", policy, c.calls, servable, 100*share,
			float64(c.sent)/float64(c.calls), primary.attempts[ClassCredential], primary.inOutage)
		if share <= 0.99 {
			t.Errorf("%s: %.2f %% of the calls that could be served were", policy, 100*share)
		}
		if c.served+c.lost+c.refused != c.calls {
			t.Errorf("%s: %d calls, but %d served, %d lost, %d refused", policy, c.calls, c.served, c.lost, c.refused)
		}
		if primary.inOutage > 60 {
			t.Errorf("%s: %d attempts in the outage", policy, primary.inOutage)
		}
	}
	inTurn, most := limited[fmt.Sprint(RoundRobin, 0.8)], limited[fmt.Sprint(LargestHeadroom, 0.8)]
	if inTurn < 1000 || most*10 > inTurn {
		t.Errorf("at 80 %% load: %d times limited in turn, %d times by headroom", inTurn, most)
	}
	compareGolden(t, "../docs/pool-simulation.md", b.String())
}

const pageHead = `# Simulation of the pool

Written by ` + "`TestSimulation`" + ` in ` + "`keypool`" + `, which plays these scenes with the real pool, in simulated time and with seeded chance. ` + "`UPDATE_GOLDEN=1 go test ./keypool -run TestSimulation`" + ` writes it anew.

## Limits

Ten keys of one provider, with limits from 60 requests and 60,000 tokens to 480 requests and 400,000 tokens in a minute, as new and grown accounts have them. The provider refills them evenly and tells what is left with each answer. Calls come in at random for half an hour, of 200 sessions, and take 1,000 tokens on average, which is guessed with an error of up to 30 %. The load is the share of all keys' tokens that they ask for. Weights are in proportion to the limits.

A call that meets a 429 goes on to the next key; it is lost if none comes free within five seconds.

| load | policy | calls | 429s of the provider | per 1,000 calls | lost |
|---|---|---|---|---|---|
`

const faultsHead = `
## Faults

Half an hour with eight calls a second. Of the provider's six keys one is rejected, one is limited to six requests a minute and one is ten times as slow as the others. After ten minutes the provider fails for a minute. After twenty, a storm of sixteen faulty requests a second lasts for two minutes. There is a fallback provider with three keys.

Servable are all calls but the faulty ones. In the outage about 480 calls come in.

| policy | calls | servable | served of these | attempts per call | attempts with the rejected key | attempts in the outage |
|---|---|---|---|---|---|---|
`

// compareGolden compares with a file, or writes it. Other processors round in
// other ways, and chance does the rest.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if runtime.GOARCH != "amd64" {
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what the simulation says; UPDATE_GOLDEN=1 writes it anew. Now it would be:\n%s", path, got)
	}
}
