// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"math/rand/v2"
	"testing"
	"time"
)

// instance is a pool as one instance has it, and what it has told and heard.
type instance struct {
	*Pool
	keys     []Told
	upstream Told
}

func newInstance(p *Pool) *instance {
	i := &instance{Pool: p, keys: make([]Told, p.Size())}
	p.Upstream().Share()
	i.news() // what there is at the start
	return i
}

// news returns what the instance tells now, and notes that it was told.
func (i *instance) news() (keys [][]Fact, upstream []Fact) {
	now := i.opts.Now()
	for k, m := range i.Members() {
		facts := m.State.News(&i.keys[k], now)
		for _, f := range facts {
			i.keys[k].Done(f, now)
		}
		keys = append(keys, facts)
	}
	upstream = i.Upstream().News(&i.upstream, now)
	for _, f := range upstream {
		i.upstream.Done(f, now)
	}
	return keys, upstream
}

// hear takes in what another instance tells. It returns how much has changed.
func (i *instance) hear(keys [][]Fact, upstream []Fact) (changed int) {
	now := i.opts.Now()
	for k, m := range i.Members() {
		for _, f := range keys[k] {
			if m.State.Hear(&i.keys[k], f, now, i.MaxWait()) {
				changed++
			}
		}
	}
	for _, f := range upstream {
		if i.Pool.Upstream().Hear(&i.upstream, f, now, i.MaxWait()) {
			changed++
		}
	}
	return changed
}

// tells tells another instance what is new, and hears what is new there.
func (i *instance) tells(other *instance) { other.hear(i.news()) }

// pair is two instances of one clock.
func pair(t *testing.T, c *clock, n int) (a, b *instance) {
	t.Helper()
	return newInstance(newPool(t, c, n, RoundRobin)), newInstance(newPool(t, c, n, RoundRobin))
}

// fails has a key of the instance fail.
func (i *instance) fails(t *testing.T, key string, v Verdict) {
	t.Helper()
	lease, err := i.Acquire(Want{Model: "m", KeyID: key}, new(Tried))
	if err != nil {
		t.Fatalf("acquiring %s: %v", key, err)
	}
	lease.Report(Outcome{Verdict: v})
}

// restsFor returns how long a key rests for a model.
func (i *instance) restsFor(key, model string) time.Duration {
	at, _ := i.members[i.byID[key]].state.rests.Load().until(model)
	return max(0, at.Sub(i.opts.Now()))
}

// What a failure of a key costs at one instance it costs at another, for the
// model asked and for others, and nothing more.
func TestRestsAreHeard(t *testing.T) {
	for class, want := range map[Class]struct{ model, other time.Duration }{
		ClassCaller:      {0, 0},
		ClassCanceled:    {0, 0},
		ClassRateLimited: {time.Second, 0},
		ClassQuota:       {10 * time.Minute, 10 * time.Minute},
		ClassStale:       {0, 0},
		ClassCredential:  {30 * time.Second, 30 * time.Second},
		ClassAccess:      {time.Hour, 0},
		ClassUpstream:    {0, 0},
	} {
		t.Run(class.String(), func(t *testing.T) {
			c := newClock()
			a, b := pair(t, c, 2)
			a.fails(t, "k0", Verdict{Class: class})
			a.tells(b)
			if model, other := b.restsFor("k0", "m"), b.restsFor("k0", "n"); model != want.model || other != want.other {
				t.Errorf("rests %s for the model and %s for others, want %v", model, other, want)
			}
			if rest := b.restsFor("k1", "m"); rest != 0 {
				t.Errorf("the other key rests %s", rest)
			}
			if keys, upstream := b.news(); len(keys[0])+len(keys[1])+len(upstream) != 0 {
				t.Errorf("what was heard is told again: %v, %v", keys, upstream)
			}
		})
	}
}

// A success at any instance frees the key at all of them, unless it has failed
// there since.
func TestSuccessesAreHeard(t *testing.T) {
	c := newClock()
	a, b := pair(t, c, 1)
	a.fails(t, "k0", Verdict{Class: ClassCredential})
	a.tells(b)
	c.advance(31 * time.Second)
	use(t, b.Pool, "m", Verdict{})
	b.tells(a)
	if status := a.Snapshot()[0]; status.State != "closed" {
		t.Errorf("after a success elsewhere the key is %s", status.State)
	}

	a.fails(t, "k0", Verdict{Class: ClassRateLimited, Wait: time.Minute})
	a.tells(b)
	b.members[0].state.rests.Store(nil) // as if a success had freed it
	c.advance(5 * time.Second)
	late, _ := a.news()
	a.members[0].state.follow(&Lease{model: "m", began: c.Now()}, Verdict{Class: ClassRateLimited, Wait: 2 * time.Minute}, c.Now(), time.Hour)
	b.tells(a)
	if rest := a.restsFor("k0", "m"); rest != 2*time.Minute {
		t.Errorf("a later failure was lifted: rests %s", rest)
	}
	// What is told late of a rest that is over is not believed.
	stale := Fact{Kind: FactRest, Model: "m", Class: ClassRateLimited, Since: c.Now().Add(-5 * time.Second), Until: c.Now().Add(time.Minute)}
	if b.hear(append(late[:0], []Fact{stale}), nil) != 0 {
		t.Error("a rest that is over has come back")
	}
}

// Operators are heard, the latest of them wins, and what is told again for
// newcomers changes nothing for those who know better.
func TestOperatorsAreHeard(t *testing.T) {
	c := newClock()
	a, b := pair(t, c, 1)
	state := func(i *instance) string { return i.Snapshot()[0].State }
	a.Disable("k0")
	a.tells(b)
	if state(b) != "disabled" {
		t.Fatalf("got %s", state(b))
	}
	b.Enable("k0")
	b.tells(a)
	if state(a) != "closed" {
		t.Errorf("got %s", state(a))
	}
	a.Disable("k0")
	a.tells(b)
	b.Enable("k0")
	enabled, _ := b.news()
	a.keys[0].Again(c.Now(), 0) // a has not heard of that
	a.tells(b)
	a.hear(enabled, nil)
	if state(a) != "closed" || state(b) != "closed" {
		t.Errorf("got %s and %s", state(a), state(b))
	}

	// What was just done here is not undone by what was done before elsewhere.
	b.Disable("k0")
	b.news()
	b.Enable("k0")
	enabled, _ = b.news()
	a.Disable("k0")
	a.hear(enabled, nil)
	a.tells(b)
	if state(a) != "disabled" || state(b) != "disabled" {
		t.Errorf("got %s and %s", state(a), state(b))
	}

	a.keys[0].Again(c.Now(), 0)
	newcomer := &instance{Pool: newPool(t, c, 1, RoundRobin), keys: make([]Told, 1)}
	a.tells(newcomer)
	if state(newcomer) != "disabled" {
		t.Errorf("the newcomer has it %s", state(newcomer))
	}
	newcomer.Enable("k0") // before it has looked again what there is to tell
	newcomer.tells(a)
	if state(a) != "closed" {
		t.Errorf("got %s", state(a))
	}
}

// What an instance has only written down is no news: the others know better.
// That it is over is.
func TestRecalledRestsAreNotTold(t *testing.T) {
	c := newClock()
	a, b := pair(t, c, 1)
	a.fails(t, "k0", Verdict{Class: ClassCredential})
	written := a.members[0].state.Remember(c.Now())
	a.tells(b)
	a = &instance{Pool: newPool(t, c, 1, RoundRobin), keys: make([]Told, 1)} // it is restarted
	a.members[0].state.Recall(written, c.Now())
	if keys, _ := a.news(); len(keys[0]) != 0 {
		t.Errorf("told: %v", keys[0])
	}
	b.keys[0].Again(c.Now(), 0)
	b.tells(a)
	c.advance(time.Minute)
	use(t, a.Pool, "m", Verdict{})
	if a.tells(b); b.Snapshot()[0].State != "closed" {
		t.Errorf("the other has it %s", b.Snapshot()[0].State)
	}
}

// What two operators do at the same time ends alike everywhere: as the order
// says in which it is told.
func TestOperatorsAtTheSameTime(t *testing.T) {
	for round := range 200 {
		c := newClock()
		random := rand.New(rand.NewPCG(1, uint64(round)))
		pool := func() *instance { return newInstance(newPool(t, c, 1, RoundRobin)) }
		all := []*instance{pool(), pool(), pool()}
		var stream []Fact
		read := make([]int, len(all))
		follow := func(i int) {
			for ; read[i] < len(stream); read[i]++ {
				all[i].hear([][]Fact{{stream[read[i]]}}, nil)
			}
		}
		for range 40 {
			i := random.IntN(len(all))
			switch random.IntN(4) {
			case 0:
				all[i].Disable("k0")
			case 1:
				all[i].Enable("k0")
			case 2:
				keys, _ := all[i].news()
				stream = append(stream, keys[0]...)
			case 3:
				follow(i)
			}
		}
		for range 2 {
			for i := range all {
				keys, _ := all[i].news()
				stream = append(stream, keys[0]...)
			}
			for i := range all {
				follow(i)
			}
		}
		for _, other := range all[1:] {
			if a, b := all[0].Snapshot()[0].State, other.Snapshot()[0].State; a != b {
				t.Fatalf("round %d: it is %s here and %s there", round, a, b)
			}
		}
	}
}

// A refusal that this instance has found to be wrong is not believed again for
// a while: it may be due to the address of the one that tells.
func TestWrongRefusalsAreNotBelievedAgain(t *testing.T) {
	c := newClock()
	a, b := pair(t, c, 1)
	for round, want := range []time.Duration{30 * time.Second, 0, 0} {
		a.fails(t, "k0", Verdict{Class: ClassCredential})
		a.tells(b)
		if rest := b.restsFor("k0", "m"); rest != want {
			t.Errorf("round %d: rests %s, want %s", round, rest, want)
		}
		c.advance(10 * time.Minute / 4)
		use(t, b.Pool, "m", Verdict{})
		b.news() // which a cannot hear
	}
	c.advance(disbeliefTime)
	a.fails(t, "k0", Verdict{Class: ClassCredential})
	if a.tells(b); b.restsFor("k0", "m") == 0 {
		t.Error("it is never believed again")
	}
}

// Keys that fail alike are cleared where that is found out, and with it
// everywhere: an address that is refused costs no other instance its keys.
func TestKeysThatFailAlikeAreClearedEverywhere(t *testing.T) {
	c := newClock()
	a, b := pair(t, c, 5)
	for range 5 {
		if _, err := a.Acquire(Want{Model: "m"}, new(Tried)); err != nil {
			break
		}
		use(t, a.Pool, "m", Verdict{Class: ClassCredential})
		a.tells(b)
	}
	for _, status := range b.Snapshot() {
		if status.State != "closed" {
			t.Errorf("%s is %s", status.ID, status.State)
		}
	}
	if err := acquirable(b.Pool); err != nil {
		t.Errorf("the other instance cannot call: %v", err)
	}
}

func acquirable(p *Pool) error {
	lease, err := p.Acquire(Want{Model: "m"}, new(Tried))
	if err == nil {
		lease.Report(Outcome{Verdict: Verdict{Class: ClassCanceled}})
	}
	return err
}

// What is still not told is told later, once, as it then is; what is over by
// then is not.
func TestUntoldNewsWait(t *testing.T) {
	c := newClock()
	a, b := pair(t, c, 1)
	state := a.members[0].state
	a.fails(t, "k0", Verdict{Class: ClassRateLimited, Wait: 10 * time.Second})
	for range 3 {
		if facts := state.News(&a.keys[0], c.Now()); len(facts) != 1 {
			t.Errorf("got %v, want one fact", facts)
		}
	}
	c.advance(11 * time.Second)
	if facts := state.News(&a.keys[0], c.Now()); len(facts) != 0 {
		t.Errorf("got %v of what is over", facts)
	}
	a.fails(t, "k0", Verdict{Class: ClassQuota, Wait: time.Hour})
	c.advance(20 * time.Minute)
	a.tells(b)
	if rest := b.restsFor("k0", "m"); rest != 40*time.Minute {
		t.Errorf("rests %s, want the 40 minutes that are left", rest)
	}
	if keys, _ := a.news(); len(keys[0]) != 0 {
		t.Errorf("told twice: %v", keys[0])
	}
}
