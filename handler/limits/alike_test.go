// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

// A Redis and a book that are asked the same say the same, whatever it is:
// which rule refuses a call and for how long, what was used, and when that is
// forgotten. And when all calls are settled nothing is held by either.
func TestRedisCountsAsTheBookDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no servers")
	}
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	rules := []Rule{
		window(Requests, 60, 32*time.Second),
		window(Tokens, 4000, 8*time.Second),
		{Kind: Concurrent, Amount: 8},
		{Kind: Cost, Amount: 8000, Period: Period{Calendar: Day, Zone: tokyo}},
		{Kind: Requests, Amount: 4, Period: Period{Window: 3 * time.Second}, Models: []string{"o*"}},
		{Kind: OutputTokens, Period: Period{Calendar: Month}, Tally: true},
	}
	subjects := []*Subject{Client("app", rules), Group("app", rules[:3])}
	book, shared := NewBook(), newClocked(t, redistest.Start(t), "alike")
	both := [2]Counts{book, shared}
	random := rand.New(rand.NewPCG(1, 2))
	var open [][2]*Hold
	now := start
	settle := func(i int) {
		taken := Amounts{Input: random.Int64N(400), Output: random.Int64N(400), Cost: random.Int64N(500)}
		for _, h := range open[i] {
			h.Settle(now, taken)
		}
		open[i] = open[len(open)-1]
		open = open[:len(open)-1]
	}
	refusals := 0
	for step := range 2000 {
		now = now.Add(time.Duration(random.Int64N(400)) * time.Millisecond)
		if step%100 == 0 {
			now = now.Add(time.Duration(random.Int64N(5)) * 7 * time.Hour)
		}
		shared.at(now)
		shared.renew(now)
		if len(open) > 0 && random.IntN(2) == 0 {
			settle(random.IntN(len(open)))
		} else {
			model := []string{"o3", "gpt-4o"}[random.IntN(2)]
			estimate := Amounts{Input: random.Int64N(500), Output: random.Int64N(500), Cost: random.Int64N(500)}
			var holds [2]*Hold
			var refusal [2]Exceeded
			for i, counts := range both {
				h, exceeded := ask(counts, now, model, estimate, subjects...)
				if holds[i] = h; exceeded != nil {
					refusal[i] = *exceeded
				}
			}
			if refusal[0] != refusal[1] {
				t.Fatalf("step %d: the book says %+v, Redis %+v", step, refusal[0], refusal[1])
			}
			if refusal[0].Rule != nil {
				refusals++
			}
			open = append(open, holds)
		}
		compare(t, step, now, both, subjects)
	}
	if refusals < 100 || refusals > 900 {
		t.Errorf("%d calls were refused: the test is no test", refusals)
	}
	for len(open) > 0 {
		settle(0)
	}
	compare(t, -1, now, both, subjects)
	checkNothingHeld(t, shared.Shared)
}

func compare(t *testing.T, step int, now time.Time, both [2]Counts, subjects []*Subject) {
	t.Helper()
	var states [2][]State
	for i, counts := range both {
		var err error
		if states[i], err = States(context.Background(), counts, now, subjects); err != nil {
			t.Fatal(err)
		}
	}
	for i, state := range states[0] {
		if other := states[1][i]; state != other {
			t.Fatalf("step %d: %s of %s: the book says %d used, reset in %s; Redis says %d, %s",
				step, state.Rule.Kind, state.Subject.Name, state.Used, state.Reset, other.Used, other.Reset)
		}
	}
}

// checkNothingHeld checks that neither Redis nor the book holds anything.
func checkNothingHeld(t *testing.T, s *Shared) {
	t.Helper()
	ctx, client := context.Background(), s.store.Client()
	keys, err := client.Keys(ctx, s.store.Key(hashTag, "*")).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if kind := client.Type(ctx, key).Val(); kind == "zset" {
			t.Errorf("%s holds %v", key, client.ZRange(ctx, key, 0, -1).Val())
		} else if held := client.HGet(ctx, key, "h").Val(); held != "" && held != "0" {
			t.Errorf("%s: the sum of what is held is %s", key, held)
		}
	}
	if len(s.live) != 0 || len(s.debts) != 0 {
		t.Errorf("%d holds are thought to be live, %d debts open", len(s.live), len(s.debts))
	}
	for i := range s.book.shards {
		for key, a := range s.book.shards[i].accounts {
			for _, c := range a.counters {
				if c.held != 0 {
					t.Errorf("%q: %d %s held", key, c.held, c.rule.Kind)
				}
			}
		}
	}
}
