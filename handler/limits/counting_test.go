// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func window(kind Kind, amount int64, length time.Duration) Rule {
	return Rule{Kind: kind, Amount: amount, Period: Period{Window: length}}
}

// try begins a call of the client "app".
func try(b Counts, now time.Time, shadow bool, rules ...Rule) (*Hold, *Exceeded) {
	h := Begin(b, []*Subject{Client("app", rules)}, shadow)
	exceeded, _ := h.Enter(context.Background(), now)
	return h, exceeded
}

// enter begins a call and fails the test if it is refused.
func enter(t *testing.T, b Counts, now time.Time, rules ...Rule) *Hold {
	t.Helper()
	h, exceeded := try(b, now, false, rules...)
	if exceeded != nil {
		t.Fatalf("refused: %+v", exceeded)
	}
	return h
}

// reserve reserves for a call of the model "m".
func (h *Hold) reserve(now time.Time, estimate Amounts) *Exceeded {
	exceeded, _ := h.Reserve(context.Background(), now, []string{"m"}, estimate)
	return exceeded
}

// left returns what is left of the rules for "app".
func left(t *testing.T, b Counts, now time.Time, rules ...Rule) []int64 {
	t.Helper()
	states, err := States(context.Background(), b, now, []*Subject{Client("app", rules)})
	if err != nil {
		t.Fatal(err)
	}
	var left []int64
	for _, state := range states {
		left = append(left, state.Remaining())
	}
	return left
}

// checkRefused checks that a call is refused by a rule, until wait has passed.
func checkRefused(t *testing.T, b Counts, now time.Time, wait time.Duration, rules ...Rule) {
	t.Helper()
	h, exceeded := try(b, now, false, rules...)
	if exceeded == nil {
		t.Fatal("let in")
	}
	for i := range h.parts {
		if h.parts[i].held != 0 {
			t.Error("a refused call holds something")
		}
	}
	if exceeded.Wait < wait || exceeded.Wait > wait+wait/8 {
		t.Errorf("wait %s, want about %s", exceeded.Wait, wait)
	}
}

// Requests are counted when they begin and forgotten when the window has
// passed.
func TestRequestsInASlidingWindow(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := window(Requests, 3, time.Minute)
		for i := range 3 {
			enter(t, b, start.Add(time.Duration(i)*10*time.Second), rule).Settle(start, Amounts{})
		}
		checkRefused(t, b, start.Add(30*time.Second), 30*time.Second, rule)
		// What was refused was not counted.
		checkRefused(t, b, start.Add(30*time.Second), 30*time.Second, rule)
		enter(t, b, start.Add(63*time.Second), rule)
		checkRefused(t, b, start.Add(63*time.Second), 8*time.Second, rule)
	})
}

// A concurrent call frees its place when it ends, and only once.
func TestConcurrentCalls(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := Rule{Kind: Concurrent, Amount: 2}
		first := enter(t, b, start, rule)
		enter(t, b, start, rule)
		checkRefused(t, b, start, time.Second, rule)
		first.Settle(start, Amounts{})
		first.Settle(start, Amounts{})
		enter(t, b, start, rule)
		checkRefused(t, b, start, time.Second, rule)
	})
}

// Tokens count as estimated while the call is under way, and as they were
// when it is over.
func TestTokensAreReservedAndReconciled(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := window(Tokens, 1000, time.Minute)
		remaining := func() int64 { return left(t, b, start, rule)[0] }
		first := enter(t, b, start, rule)
		if exceeded := first.reserve(start, Amounts{Input: 300, Output: 400}); exceeded != nil {
			t.Fatalf("refused: %+v", exceeded)
		}
		if got := remaining(); got != 300 {
			t.Errorf("%d tokens left, want 300", got)
		}
		second := enter(t, b, start, rule)
		exceeded := second.reserve(start, Amounts{Input: 200, Output: 200})
		if exceeded == nil || exceeded.Wait != time.Second {
			t.Fatalf("got %+v; the first call's end may make room", exceeded)
		}
		first.Settle(start, Amounts{Input: 310, Output: 50})
		if got := remaining(); got != 640 {
			t.Errorf("%d tokens left, want 640", got)
		}
		if exceeded := enter(t, b, start, rule).reserve(start, Amounts{Input: 200, Output: 200}); exceeded != nil {
			t.Errorf("refused: %+v", exceeded)
		}
		// The refused call gives back nothing that it never had.
		second.Settle(start, Amounts{Input: 5000})
		if got := remaining(); got != 240 {
			t.Errorf("%d tokens left, want 240", got)
		}
	})
}

// A failed call costs no tokens.
func TestFailureReleases(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := window(OutputTokens, 100, time.Hour)
		for range 1000 {
			h := enter(t, b, start, rule)
			if exceeded := h.reserve(start, Amounts{Output: 100}); exceeded != nil {
				t.Fatalf("refused: %+v", exceeded)
			}
			h.Settle(start, Amounts{})
		}
	})
}

// An estimate that is larger than the limit is a guess: the call is let in
// when nothing else counts, and no other beside it.
func TestEstimateBeyondTheLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := window(Tokens, 1000, time.Minute)
		h := enter(t, b, start, rule)
		if exceeded := h.reserve(start, Amounts{Output: 32000}); exceeded != nil {
			t.Fatalf("refused: %+v", exceeded)
		}
		if exceeded := enter(t, b, start, rule).reserve(start, Amounts{Input: 1}); exceeded == nil {
			t.Error("a second call was let in beside it")
		}
	})
}

// An amount that is used up lets nothing through, even if nothing can be
// estimated.
func TestUsedUpCost(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := Rule{Kind: Cost, Amount: 5e9, Period: Period{Calendar: Day}}
		h := enter(t, b, start, rule)
		if exceeded := h.reserve(start, Amounts{}); exceeded != nil {
			t.Fatalf("refused: %+v", exceeded)
		}
		h.Settle(start, Amounts{Cost: 7e9})
		exceeded := enter(t, b, start, rule).reserve(start, Amounts{})
		if exceeded == nil {
			t.Fatal("let in")
		}
		if want := time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC).Sub(start); exceeded.Wait != want {
			t.Errorf("wait %s, want %s", exceeded.Wait, want)
		}
	})
}

// Days and months begin when they do in the zone, also where a day has 23
// hours.
func TestCalendarPeriods(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		newYork, err := time.LoadLocation("America/New_York")
		if err != nil {
			t.Skip(err)
		}
		for name, test := range map[string]struct {
			period    Period
			now, next time.Time
		}{
			"day, UTC":       {Period{Calendar: Day}, start, time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC)},
			"month, UTC":     {Period{Calendar: Month}, start, time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)},
			"december":       {Period{Calendar: Month}, time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
			"day, New York":  {Period{Calendar: Day, Zone: newYork}, start, time.Date(2026, 3, 15, 0, 0, 0, 0, newYork)},
			"a day of 23 h":  {Period{Calendar: Day, Zone: newYork}, time.Date(2026, 3, 8, 0, 0, 0, 0, newYork), time.Date(2026, 3, 8, 0, 0, 0, 0, newYork).Add(23 * time.Hour)},
			"month, the 31.": {Period{Calendar: Month}, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
		} {
			t.Run(name, func(t *testing.T) {
				b, rule := fresh(), Rule{Kind: Requests, Amount: 1, Period: test.period}
				enter(t, b, test.now, rule)
				checkRefused(t, b, test.now, max(test.next.Sub(test.now), time.Second), rule)
				checkRefused(t, b, test.next.Add(-1), time.Second, rule)
				enter(t, b, test.next, rule)
			})
		}
	})
}

// All rules hold at once, and the one that takes longest is named. What one
// refuses is not counted by the others.
func TestAllRulesHold(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		minute, day := window(Requests, 1, time.Minute), Rule{Kind: Requests, Amount: 2, Period: Period{Calendar: Day}}
		enter(t, b, start, minute, day)
		for range 5 {
			checkRefused(t, b, start, time.Minute, minute, day)
		}
		enter(t, b, start.Add(2*time.Minute), minute, day)
		_, exceeded := try(b, start.Add(2*time.Minute), false, minute, day)
		if exceeded == nil || !exceeded.Rule.Counts(&day) {
			t.Errorf("got %+v, want the day", exceeded)
		}
	})
}

// In shadow all is counted and reported, and nothing refused.
func TestShadow(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rules := []Rule{window(Requests, 1, time.Minute), window(Tokens, 10, time.Minute)}
		for i := range 3 {
			h, exceeded := try(b, start, true, rules...)
			if (exceeded != nil) != (i > 0) {
				t.Fatalf("call %d: %+v", i, exceeded)
			}
			if exceeded := h.reserve(start, Amounts{Input: 10}); (exceeded != nil) != (i > 0) {
				t.Errorf("call %d: %+v", i, exceeded)
			}
			h.Settle(start, Amounts{Input: 10})
		}
		h, _ := try(b, start, true, rules...)
		if exceeded := h.reserve(start, Amounts{Input: 1}); exceeded == nil {
			t.Error("30 tokens of 10 are not reported")
		}
	})
}

// New rules go on from what the old ones have counted, if they count the same.
func TestRulesMayChange(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		enter(t, b, start, window(Requests, 5, time.Minute))
		checkRefused(t, b, start, time.Minute, window(Requests, 1, time.Minute))
		enter(t, b, start, window(Requests, 1, time.Hour))
	})
}

// A thousand calls at once on one quota: what they take together never
// exceeds it, and all that was held comes back.
func TestThousandConcurrentCalls(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		const amount, each = 1000, 7
		rules := []Rule{window(Tokens, amount, time.Hour), {Kind: Concurrent, Amount: 50}}
		var let, underWay, most atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				h, exceeded := try(b, start, false, rules...)
				if exceeded != nil {
					return
				}
				most.Store(max(most.Load(), underWay.Add(1)))
				var taken Amounts
				if h.reserve(start, Amounts{Input: each}) == nil {
					taken.Input = each
					let.Add(1)
				}
				underWay.Add(-1)
				h.Settle(start, taken)
			})
		}
		wg.Wait()
		if got := let.Load() * each; got > amount {
			t.Errorf("%d tokens of %d", got, amount)
		}
		if most.Load() > 50 {
			t.Errorf("%d calls at once", most.Load())
		}
		if n := left(t, b, start, rules...)[0]; n != amount-let.Load()*each {
			t.Errorf("%d tokens left after %d calls", n, let.Load())
		}
	})
}

// No answer can claim so much that a counter overflows.
func TestAbsurdUsage(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		b := fresh()
		rule := window(Tokens, 1000, time.Hour)
		for range 1000 {
			h, _ := try(b, start, true, rule)
			h.reserve(start, Amounts{Input: math.MaxInt64, Output: math.MaxInt64})
			h.Settle(start, Amounts{Input: math.MaxInt64, Output: math.MinInt64})
		}
		h := enter(t, b, start, rule)
		if exceeded := h.reserve(start, Amounts{}); exceeded == nil {
			t.Error("let in")
		}
	})
}

// However long a client was away, what it used then is forgotten, and what it
// used lately is not.
func TestLongPauses(t *testing.T) {
	everywhere(t, func(t *testing.T, fresh func() Counts) {
		const slot = time.Second
		rule := window(Requests, 10, slots*slot)
		for pause := range 3 * (slots + 1) {
			b := fresh()
			enter(t, b, start, rule)
			want := int64(10)
			if pause <= slots {
				want = 9
			}
			now := start.Add(time.Duration(pause) * slot)
			if got := left(t, b, now, rule)[0]; got != want {
				t.Errorf("after %d parts of the window: %d left, want %d", pause, got, want)
			}
		}
	})
}
