// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// contest is a stable target and a canary, with a clock of its own.
type contest struct {
	now            time.Time
	rules          Canary
	stable, canary trial
}

func newContest(rules Canary) *contest {
	return &contest{now: time.Unix(1_800_000_000, 0), rules: rules.withDefaults()}
}

func (c *contest) served(t *trial, n int, firstToken time.Duration) {
	for range n {
		c.note(t, outcome{call: true, firstToken: firstToken})
	}
}

func (c *contest) failed(t *trial, n int) {
	for range n {
		c.note(t, outcome{call: true, fault: true})
	}
}

// note returns for how long the canary is withdrawn by the outcome.
func (c *contest) note(t *trial, o outcome) time.Duration {
	if o.began.IsZero() {
		o.began = c.now
	}
	if t == &c.stable {
		t.note(o, c.now, &c.rules)
		return 0
	}
	_, rest := t.judge(o, c.stable.standing(c.now, &c.rules), c.now, &c.rules)
	return rest
}

func (c *contest) part() float64 {
	part, _ := c.canary.part(c.now, &c.rules)
	return part
}

func TestCanaryIsWithdrawnWhenItDoesWorse(t *testing.T) {
	const quick, slow = 300 * time.Millisecond, 600 * time.Millisecond
	for name, test := range map[string]struct {
		rules     Canary
		happens   func(c *contest)
		withdrawn bool
	}{
		"nothing happens":        {Canary{}, func(*contest) {}, false},
		"all is well":            {Canary{}, func(c *contest) { c.served(&c.stable, 900, quick); c.served(&c.canary, 100, quick) }, false},
		"two faults are chance":  {Canary{}, func(c *contest) { c.failed(&c.canary, 2) }, false},
		"three are too many":     {Canary{}, func(c *contest) { c.failed(&c.canary, 3) }, true},
		"fewer calls are wanted": {Canary{MinCalls: 20}, func(c *contest) { c.failed(&c.canary, 2) }, true},
		"a wider margin":         {Canary{ErrorMargin: 0.1}, func(c *contest) { c.failed(&c.canary, 5) }, false},
		"within the margin": {Canary{}, func(c *contest) {
			c.served(&c.canary, 190, quick)
			c.failed(&c.canary, 10)
		}, false},
		"over the margin": {Canary{}, func(c *contest) {
			c.served(&c.canary, 190, quick)
			c.failed(&c.canary, 11)
		}, true},
		"both fail": {Canary{}, func(c *contest) {
			c.served(&c.stable, 50, quick)
			c.failed(&c.stable, 50)
			c.served(&c.canary, 50, quick)
			c.failed(&c.canary, 50)
		}, false},
		"few calls of the stable one prove little": {Canary{}, func(c *contest) {
			c.failed(&c.stable, 1)
			c.failed(&c.canary, 4)
		}, true},
		"errors do not matter": {Canary{ErrorMargin: -1}, func(c *contest) { c.failed(&c.canary, 100) }, false},
		"answers break": {Canary{}, func(c *contest) {
			c.served(&c.canary, 10, quick)
			for range 3 {
				c.note(&c.canary, outcome{fault: true})
			}
		}, true},
		"faults are long past": {Canary{}, func(c *contest) {
			c.failed(&c.canary, 2)
			c.now = c.now.Add(6 * time.Minute)
			c.failed(&c.canary, 2)
		}, false},

		"slow":                                 {Canary{}, func(c *contest) { c.served(&c.stable, 20, quick); c.served(&c.canary, 20, slow) }, true},
		"slow, but too few to say":             {Canary{}, func(c *contest) { c.served(&c.stable, 20, quick); c.served(&c.canary, 19, slow) }, false},
		"slow, but nothing to hold it against": {Canary{}, func(c *contest) { c.served(&c.stable, 19, quick); c.served(&c.canary, 60, slow) }, false},
		"not slow by the margin":               {Canary{FirstTokenMargin: 1}, func(c *contest) { c.served(&c.stable, 20, quick); c.served(&c.canary, 60, slow) }, false},
		"slowness does not matter":             {Canary{FirstTokenMargin: -1}, func(c *contest) { c.served(&c.stable, 20, quick); c.served(&c.canary, 60, slow) }, false},
		"nobody notices": {Canary{}, func(c *contest) {
			c.served(&c.stable, 20, time.Millisecond)
			c.served(&c.canary, 60, 50*time.Millisecond)
		}, false},
		"a few prompts are very long": {Canary{}, func(c *contest) {
			c.served(&c.stable, 60, quick)
			c.served(&c.canary, 24, quick)
			c.served(&c.canary, 40, time.Hour)
		}, false},
		"slow long ago": {Canary{}, func(c *contest) {
			c.served(&c.stable, 20, quick)
			c.served(&c.canary, 19, slow)
			c.now = c.now.Add(6 * time.Minute)
			c.served(&c.stable, 20, quick)
			c.served(&c.canary, 10, quick)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContest(test.rules)
			test.happens(c)
			if withdrawn := c.part() == 0; withdrawn != test.withdrawn {
				t.Errorf("withdrawn: %t, want %t", withdrawn, test.withdrawn)
			}
		})
	}
}

// A canary comes back after its rest with a small share that grows, and rests
// longer each time that it fails again soon.
func TestCanaryComesBackGently(t *testing.T) {
	c := newContest(Canary{})
	for i, rest := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		c.failed(&c.canary, 3)
		c.now = c.now.Add(rest*time.Minute - time.Millisecond)
		if c.part() != 0 {
			t.Errorf("withdrawal %d: the canary is back before %d minutes are over", i+1, rest)
		}
		c.now = c.now.Add(time.Millisecond)
		if part := c.part(); part != firstPart {
			t.Errorf("withdrawal %d: the canary comes back with %.2f of its share", i+1, part)
		}
	}
	c.now = c.now.Add(150 * time.Second)
	if part := c.part(); math.Abs(part-0.55) > 1e-9 {
		t.Errorf("halfway up, the part is %.2f", part)
	}
	c.now = c.now.Add(150 * time.Second)
	if part := c.part(); part != 1 {
		t.Errorf("at the end, the part is %.2f", part)
	}
	c.now = c.now.Add(5*time.Minute + time.Second)
	c.failed(&c.canary, 3)
	c.now = c.now.Add(time.Minute)
	if c.part() == 0 {
		t.Error("a canary that had done well for a window rests longer than at first")
	}
}

// What a canary left behind when it was withdrawn does not count when it is
// back.
func TestOldCallsSayNothingOfACanaryThatIsBack(t *testing.T) {
	c := newContest(Canary{})
	before := c.now
	c.failed(&c.canary, 3)
	c.now = c.now.Add(30 * time.Second)
	c.failed(&c.canary, 3) // while it is withdrawn
	c.now = c.now.Add(30 * time.Second)
	c.part()
	for range 10 {
		c.note(&c.canary, outcome{began: before, call: true, fault: true})
	}
	c.failed(&c.canary, 2)
	if c.part() == 0 {
		t.Error("withdrawn for what is past")
	}
}

// Whatever happens: a part is between nothing and all, a withdrawn canary gets
// nothing until its rest is over and something then, and one that is as good
// as the stable target is never withdrawn.
func TestCanaryInvariants(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := newContest(Canary{
			ErrorMargin: 0.01 + random.Float64()/5, FirstTokenMargin: 0.1 + random.Float64(),
			MinCalls: 1 + random.IntN(100), Window: caddy.Duration(time.Second + time.Duration(random.Int64N(int64(10*time.Minute)))),
			Rest: caddy.Duration(time.Second + time.Duration(random.Int64N(int64(2*time.Hour)))),
		})
		good := random.IntN(2) == 0 // the canary fails whenever the stable one does, and no more
		var until time.Time
		for step := range 1000 {
			c.now = c.now.Add(time.Duration(random.ExpFloat64() * float64(time.Second)))
			part := c.part()
			if part < 0 || part > 1 {
				t.Fatalf("seed %d, step %d: the part is %f", seed, step, part)
			}
			if resting := c.now.Before(until); resting != (part == 0) {
				t.Fatalf("seed %d, step %d: the part is %f, and the rest over: %t", seed, step, part, !resting)
			}
			firstToken := time.Duration(random.Int64N(int64(time.Second)))
			fault := random.IntN(8) == 0
			c.note(&c.stable, outcome{call: true, fault: fault, firstToken: firstToken})
			if !good {
				fault = random.IntN(3) == 0
				firstToken *= time.Duration(random.IntN(4))
			}
			rest := c.note(&c.canary, outcome{call: true, fault: fault, firstToken: firstToken})
			switch {
			case rest == 0:
			case good:
				t.Fatalf("seed %d, step %d: a canary as good as the stable target is withdrawn", seed, step)
			case part == 0, rest < time.Duration(c.rules.Rest), rest > max(time.Duration(c.rules.Rest), maxCanaryRest):
				t.Fatalf("seed %d, step %d: with a part of %f, withdrawn for %s", seed, step, part, rest)
			default:
				until = c.now.Add(rest)
			}
		}
	}
}

// A tally forgets what is older than its window, also when the window changes.
func TestTallyForgets(t *testing.T) {
	var counts tally
	now := time.Unix(1_800_000_000, 0)
	call := outcome{call: true}
	counts.add(call, now, time.Minute)
	counts.add(call, now.Add(30*time.Second), time.Minute)
	for after, want := range map[time.Duration]int{30 * time.Second: 2, 53 * time.Second: 2, 61 * time.Second: 1, 91 * time.Second: 0} {
		if calls, _ := counts.sum(now.Add(after), time.Minute); calls != want {
			t.Errorf("after %s: %d calls, want %d", after, calls, want)
		}
	}
	for _, window := range []time.Duration{time.Second, time.Hour} {
		if calls, _ := counts.sum(now.Add(30*time.Second), window); calls > 2 {
			t.Errorf("within %s: %d calls", window, calls)
		}
	}
}
