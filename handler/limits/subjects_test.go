// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// ask begins a call of subjects and, if it may enter, reserves for a model.
func ask(b Counts, now time.Time, model string, estimate Amounts, subjects ...*Subject) (*Hold, *Exceeded) {
	h := Begin(b, subjects, false)
	exceeded, _ := h.Enter(context.Background(), now)
	if exceeded == nil {
		exceeded, _ = h.Reserve(context.Background(), now, []string{model}, estimate)
	}
	return h, exceeded
}

// usedBy returns what a subject has used, by rule.
func usedBy(t *testing.T, b Counts, now time.Time, s *Subject) []int64 {
	t.Helper()
	states, err := States(context.Background(), b, now, []*Subject{s})
	if err != nil {
		t.Fatal(err)
	}
	var used []int64
	for _, state := range states {
		used = append(used, state.Used)
	}
	return used
}

func checkUsed(t *testing.T, b Counts, now time.Time, s *Subject, want ...int64) {
	t.Helper()
	if got := usedBy(t, b, now, s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s has used %v, want %v", s.Name, got, want)
	}
}

// The members of a group share what it may use, and each has its own besides.
// A group is not the client of the same name.
func TestMembersShareTheirGroup(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		group := Group("staff", []Rule{window(Tokens, 1000, time.Hour)})
		one, two := Client("one", []Rule{window(Tokens, 700, time.Hour)}), Client("two", []Rule{window(Tokens, 700, time.Hour)})
		if _, exceeded := ask(b, start, "m", Amounts{Input: 600}, one, group); exceeded != nil {
			t.Fatalf("refused: %+v", exceeded)
		}
		if _, exceeded := ask(b, start, "m", Amounts{Input: 200}, one, group); exceeded == nil || exceeded.Subject != one {
			t.Errorf("got %+v, want the member's own limit", exceeded)
		}
		if _, exceeded := ask(b, start, "m", Amounts{Input: 500}, two, group); exceeded == nil || exceeded.Subject != group {
			t.Errorf("got %+v, want the group's limit", exceeded)
		}
		// What one of two has refused counts for neither.
		checkUsed(t, b, start, two, 0)
		checkUsed(t, b, start, group, 600)
		if _, exceeded := ask(b, start, "m", Amounts{Input: 400}, two, group); exceeded != nil {
			t.Errorf("refused: %+v", exceeded)
		}
		checkUsed(t, b, start, Client("staff", []Rule{window(Tokens, 1000, time.Hour)}), 0)
	})
}

// A rule about models counts the calls that name one of them, and no others.
func TestRulesAboutModels(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		app := Client("app", []Rule{
			window(Requests, 10, time.Hour),
			{Kind: Requests, Amount: 1, Period: Period{Window: time.Hour}, Models: []string{"o3", "gpt-5*"}},
			{Kind: Tokens, Amount: 100, Period: Period{Window: time.Hour}, Models: []string{"o3"}},
			{Kind: Concurrent, Amount: 1, Models: []string{"slow-*"}},
		})
		call := func(model string, want *Rule) *Hold {
			t.Helper()
			h, exceeded := ask(b, start, model, Amounts{Input: 10}, app)
			if exceeded == nil && want != nil || exceeded != nil && exceeded.Rule != want {
				t.Errorf("%s: got %+v, want %+v", model, exceeded, want)
			}
			return h
		}
		call("gpt-5-mini", nil).Settle(start, Amounts{Input: 50})
		call("o3", &app.Rules[1])
		call("gpt-4o", nil)
		slow := call("slow-1", nil)
		call("slow-2", &app.Rules[3])
		slow.Settle(start, Amounts{})
		call("slow-2", nil)
		// The two that were refused count for nothing, not as requests either.
		checkUsed(t, b, start, app, 4, 1, 0, 1)

		// A model that stands as an alternative only counts as well, and a name
		// that is not known may be any.
		for _, models := range [][]string{{"gpt-4o", "o3"}, {"gpt-4o", ""}} {
			h := Begin(b, []*Subject{app}, false)
			_, _ = h.Enter(context.Background(), start)
			if exceeded, _ := h.Reserve(context.Background(), start, models, Amounts{}); exceeded == nil {
				t.Errorf("%q: let in", models)
			}
		}
	})
}

// A tally counts what was taken in the end and forbids nothing. It is not the
// count of a limit for the same thing.
func TestRulesThatOnlyCount(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		day := Period{Calendar: Day}
		app := Client("app", []Rule{{Kind: Requests, Period: day, Tally: true}, {Kind: OutputTokens, Period: day, Tally: true}, {Kind: Requests, Amount: 2, Period: day}})
		for i := range int64(2) {
			h, exceeded := ask(b, start, "m", Amounts{Output: 1000}, app)
			if exceeded != nil {
				t.Fatalf("refused: %+v", exceeded)
			}
			checkUsed(t, b, start, app, i, 7*i, i+1)
			h.Settle(start, Amounts{Output: 7})
		}
		h, exceeded := ask(b, start, "m", Amounts{}, app)
		if exceeded == nil {
			t.Error("let in")
		}
		h.Settle(start, Amounts{Output: 7})
		checkUsed(t, b, start, app, 2, 14, 2)
	})
}

// Calls of clients in several groups, whose locks overlap in any order, get
// into nobody's way; and when all are settled nothing is held.
func TestManySubjectsAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rules := []Rule{window(Requests, 1e9, time.Hour), window(Tokens, 5000, time.Hour), {Kind: Concurrent, Amount: 30}}
		subjects := make([]*Subject, 20)
		for i := range subjects {
			subjects[i] = Group(fmt.Sprint(i), rules)
		}
		var mu sync.Mutex
		want := map[*Subject][2]int64{}
		var wg sync.WaitGroup
		for seed := range uint64(30) {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(seed, 0))
				for range 50 {
					random := random.Perm(len(subjects))[:3]
					mine := []*Subject{subjects[random[0]], subjects[random[1]], subjects[random[2]]}
					h, exceeded := ask(b, start, "m", Amounts{Input: 10}, mine...)
					h.Settle(start, Amounts{Input: 3})
					if exceeded != nil {
						continue
					}
					mu.Lock()
					for _, s := range mine {
						w := want[s]
						want[s] = [2]int64{w[0] + 1, w[1] + 3}
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for _, s := range subjects {
			checkUsed(t, b, start, s, want[s][0], want[s][1], 0)
		}
	})
}
