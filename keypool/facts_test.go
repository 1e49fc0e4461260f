// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
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

// Whatever is said, a key rests for no longer than it may, what is remembered
// is bounded, and nothing breaks.
func TestHostileFacts(t *testing.T) {
	c := newClock()
	p := newPoolOf(t, Options{Now: c.Now, MaxWait: time.Hour}, Key{ID: "k0"})
	i := newInstance(p)
	random := rand.New(rand.NewPCG(1, 2))
	far := []time.Time{{}, c.Now(), c.Now().Add(1000000 * time.Hour), c.Now().Add(-1000000 * time.Hour), Never, time.Unix(1<<40, 0)}
	at := func() time.Time { return far[random.IntN(len(far))] }
	for n := range 20000 {
		f := Fact{
			Kind: FactKind(random.IntN(6)), Model: fmt.Sprint("m", n), Whole: random.IntN(4) == 0, Class: Class(random.IntN(len(rules))),
			Since: at(), Until: at(), Stated: at(), Strikes: random.IntN(3)*1000000000 - 1000, Again: random.IntN(2) == 0,
		}
		if n%100 == 0 {
			f.Model = strings.Repeat("x", 10000)
		}
		i.hear([][]Fact{{f}}, []Fact{f})
		if n%50 == 0 {
			i.news()
			c.advance(time.Second)
		}
		if n := len(i.keys[0].of) + len(i.upstream.of); n > 2*maxTold+2*maxModels {
			t.Fatalf("%d things are remembered", n)
		}
	}
	for n := range 5000 {
		f := Fact{Kind: FactRest, Model: fmt.Sprint("n", n), Class: ClassAccess, Since: c.Now(), Until: c.Now().Add(time.Minute)}
		i.hear([][]Fact{{f}}, nil)
		f.Kind = FactFree
		i.hear([][]Fact{{f}}, nil)
	}
	if n := len(i.keys[0].of); n > maxTold {
		t.Fatalf("%d things are remembered", n)
	}
	r := p.members[0].state.rests.Load()
	for _, rest := range r.models {
		if rest.until.Sub(c.Now()) > time.Hour {
			t.Errorf("rests for %s", rest.until.Sub(c.Now()))
		}
	}
	if r.key.until.Sub(c.Now()) > time.Hour || len(r.models) > maxModels {
		t.Errorf("rests for %s; %d models", r.key.until.Sub(c.Now()), len(r.models))
	}
	p.Enable("k0")
	c.advance(2 * time.Hour)
	lease, err := p.Acquire(Want{Model: "other"}, new(Tried))
	if err != nil {
		t.Fatalf("after two hours: %v", err)
	}
	lease.Report(Outcome{})
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

// A model that one instance has found to fail is left alone by the others for
// as long as a breaker stays open, then they find out for themselves.
func TestOpeningsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		failTimes(t, a.Pool, "m", ClassUpstream, 5)
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 10*time.Second {
			t.Errorf("rests %s", got)
		}
		if got := upstreamRest(t, b.Pool, "n"); got != 0 {
			t.Errorf("another model rests %s", got)
		}
		if _, upstream := b.news(); len(upstream) != 0 {
			t.Errorf("what was heard is told: %v", upstream)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		failTimes(t, a.Pool, "m", ClassUpstream, 1) // a's probe
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("failures that go on close it again: rests %s", got)
		}
		use(t, b.Pool, "m", Verdict{}) // b's probe
		b.tells(a)
		if got := upstreamRest(t, a.Pool, "m"); got == 0 {
			t.Error("what an instance has seen itself is lifted by hearsay")
		}
		time.Sleep(20 * time.Second)
		use(t, a.Pool, "m", Verdict{})
	})
}

// One that has only heard that a model fails hears as well when it is served
// again.
func TestClosingsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		failTimes(t, a.Pool, "m", ClassUpstream, 5)
		time.Sleep(5 * time.Second)
		a.tells(b)
		time.Sleep(5*time.Second + time.Millisecond)
		use(t, a.Pool, "m", Verdict{})
		if upstreamRest(t, b.Pool, "m") == 0 {
			t.Fatal("b does not leave it alone")
		}
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("rests %s", got)
		}
	})
}

// What may be due to the teller's way to the provider makes the others careful,
// unless an answer has come since: one call at a time until one is served.
func TestDoubtsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		sick := newInstance(newTimedPool(t, 1, Options{}))
		idle, busy := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		call, err := busy.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 5 {
			use(t, sick.Pool, "m", Verdict{Class: ClassNotSent})
		}
		time.Sleep(time.Second)
		call.Answering(Headroom{})
		keys, upstream := sick.news()
		if n := busy.hear(keys, upstream); n != 0 || len(upstream) != 1 {
			t.Errorf("%d of %v is believed although an answer has come since", n, upstream)
		}
		call.Report(Outcome{})

		idle.hear(keys, upstream)
		first, err := idle.Acquire(Want{Model: "m"}, new(Tried))
		if err != nil {
			t.Fatalf("nobody may find out: %v", err)
		}
		if acquirable(idle.Pool) == nil {
			t.Error("two calls find out at once")
		}
		first.Answering(Headroom{})
		for range 10 {
			if err := acquirable(idle.Pool); err != nil {
				t.Fatalf("after an answer: %v", err)
			}
		}
		first.Report(Outcome{})
	})
}

// Failures that go on at one instance open the others' breakers once, also where
// it was a third that has found the model to be served.
func TestARunOfFailuresIsHeardOnce(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b, third := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		failTimes(t, a.Pool, "m", ClassUpstream, 5)
		keys, upstream := a.news()
		b.hear(keys, upstream)
		third.hear(keys, upstream)
		time.Sleep(10*time.Second + time.Millisecond)
		use(t, third.Pool, "m", Verdict{})
		third.tells(b)
		failTimes(t, a.Pool, "m", ClassUpstream, 1)
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("rests %s", got)
		}
	})
}

// An instance that cannot reach a provider, or whose address is refused, does
// not keep the others away from it: they find out by one call.
func TestASickInstanceHurtsNobody(t *testing.T) {
	for _, class := range []Class{ClassNotSent, ClassReset, ClassSlow, ClassRegion} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				sick, well := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
				for range 50 {
					lease, err := sick.Acquire(Want{Model: "m"}, new(Tried))
					if err == nil {
						lease.Report(Outcome{Verdict: Verdict{Class: class}})
					}
					sick.tells(well)
					if err := acquirable(well.Pool); err != nil {
						t.Fatalf("the well instance cannot call: %v", err)
					}
					use(t, well.Pool, "m", Verdict{})
					well.tells(sick)
					time.Sleep(time.Second)
				}
			})
		})
	}
	// What may be the provider's fault costs one that has little to do a few
	// seconds, but once, however long it goes on.
	for every, want := range map[int]int{1: 0, 7: 2, 60: 1} {
		t.Run(fmt.Sprintf("a call every %d seconds", every), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				sick, well := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
				refused := 0
				for second := range 600 {
					if lease, err := sick.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
						lease.Report(Outcome{Verdict: Verdict{Class: ClassUpstream}})
					}
					sick.tells(well)
					if second%every == 0 {
						if lease, err := well.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
							lease.Report(Outcome{})
						} else {
							refused++
						}
					}
					well.tells(sick)
					time.Sleep(time.Second)
				}
				if refused > want {
					t.Errorf("%d calls were refused by hearsay, want %d at most", refused, want)
				}
			})
		})
	}
}

// An overload is the provider's own word, and is heard as such.
func TestOverloadsAreHeard(t *testing.T) {
	timed(t, func(t *testing.T) {
		a, b := newInstance(newTimedPool(t, 1, Options{})), newInstance(newTimedPool(t, 1, Options{}))
		use(t, a.Pool, "m", Verdict{Class: ClassOverloaded})
		a.tells(b)
		if got := upstreamRest(t, b.Pool, "m"); got != 10*time.Second {
			t.Errorf("rests %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := upstreamRest(t, b.Pool, "m"); got != 0 {
			t.Errorf("rests %s longer", got)
		}
		synctest.Wait()
	})
}

// What instances take of a key's limit counts at all of them.
func TestWhatIsSpentIsHeard(t *testing.T) {
	c := newClock()
	limit := Rate{N: 10, Per: time.Minute}
	pool := func() *instance {
		return newInstance(newPoolOf(t, Options{Now: c.Now}, Key{ID: "k0", Requests: limit, Tokens: Rate{N: 1000, Per: time.Minute}}))
	}
	a, b := pool(), pool()
	spend := func(from, to *instance, newcomer bool) {
		t.Helper()
		m := from.Members()[0]
		spent, _ := m.Spent(&from.keys[0])
		from.keys[0].Spend(spent)
		other := to.Members()[0]
		other.HearSpent(spent, c.Now(), c.Now(), newcomer)
	}
	for range 4 {
		use(t, a.Pool, "m", Verdict{})
		use(t, b.Pool, "m", Verdict{})
	}
	spend(a, b, false)
	spend(b, a, false)
	for range 2 {
		use(t, a.Pool, "m", Verdict{})
	}
	spend(a, b, false)
	for _, i := range []*instance{a, b} {
		if err := acquirable(i.Pool); err == nil {
			t.Error("more is let through than the limit allows")
		}
	}
	newcomer := pool()
	spend(a, newcomer, true) // nothing new, but how full it is
	if err := acquirable(newcomer.Pool); err == nil {
		t.Error("the newcomer does not know that the limit is used up")
	}
	c.advance(6 * time.Second)
	if err := acquirable(b.Pool); err != nil {
		t.Errorf("after a tenth of the window: %v", err)
	}
	m := b.Members()[0]
	m.HearSpent(Spent{Requests: 1 << 62, Tokens: -1 << 62, RequestsFull: Never}, Never, c.Now(), false)
	m.HearSpent(Spent{RequestsFull: Never, TokensFull: Never}, Never, c.Now(), true)
	c.advance(2 * time.Minute)
	if err := acquirable(b.Pool); err != nil {
		t.Errorf("two windows after what cannot be: %v", err)
	}
}

// Whatever happens at three instances, and however late they hear of it: when
// nothing happens any more they have soon told each other all, and no key or
// model is left out for ever.
func TestWhateverIsToldHeals(t *testing.T) {
	type said struct {
		by       int
		keys     [][]Fact
		upstream []Fact
	}
	classes := []Class{ClassOK, ClassOK, ClassOK, ClassRateLimited, ClassQuota, ClassCredential, ClassAccess, ClassUpstream, ClassOverloaded, ClassNotSent, ClassReset, ClassSlow, ClassRegion, ClassStale}
	for round := range 60 {
		timed(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, uint64(round)))
			var all []*instance
			for range 3 {
				all = append(all, newInstance(newTimedPool(t, 3, Options{MaxWait: time.Hour})))
			}
			var stream []said
			read := make([]int, len(all))
			tell := func(i int) (n int) {
				keys, upstream := all[i].news()
				for _, facts := range keys {
					n += len(facts)
				}
				if n += len(upstream); n > 0 {
					stream = append(stream, said{i, keys, upstream})
				}
				return n
			}
			hear := func(i int) {
				for ; read[i] < len(stream); read[i]++ {
					if entry := stream[read[i]]; entry.by != i {
						all[i].hear(entry.keys, entry.upstream)
					}
				}
			}
			for range 400 {
				i := random.IntN(len(all))
				switch random.IntN(4) {
				case 0:
					tell(i)
				case 1:
					hear(i)
				default:
					if lease, err := all[i].Acquire(Want{Model: "m"}, new(Tried)); err == nil {
						class := classes[random.IntN(len(classes))]
						lease.Report(Outcome{Verdict: Verdict{Class: class, Wait: time.Duration(random.IntN(3)) * 20 * time.Second}})
					}
				}
				time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			}
			rounds := 0
			for told := 1; told > 0; rounds++ {
				told = 0
				for i := range all {
					told += tell(i)
				}
				for i := range all {
					hear(i)
				}
				if rounds > 5 {
					t.Fatalf("round %d: they do not come to an end", round)
				}
			}
			time.Sleep(2 * time.Hour)
			for i, instance := range all {
				for range 10 {
					lease, err := instance.Acquire(Want{Model: "m"}, new(Tried))
					if err != nil {
						t.Fatalf("round %d: instance %d after two hours: %v", round, i, err)
					}
					lease.Report(Outcome{})
					time.Sleep(time.Second)
				}
			}
		})
	}
}

// Pins are told once, are heard in the order of their making, and do not pile
// up while nobody can be told.
func TestPinsAreHeard(t *testing.T) {
	c := newClock()
	a, b := NewPins(10000, time.Hour, c.Now), NewPins(10, time.Hour, c.Now)
	a.Put("before", "k0")
	a.Share()
	if news := a.News(10); len(news) != 0 {
		t.Errorf("got %v", news)
	}
	for i := range 20 {
		a.Put(fmt.Sprint("resp_", i), "k1")
		a.Put(fmt.Sprint("resp_", i), "k1")
	}
	news := a.News(15)
	if again := a.News(15); len(news) != 15 || again[0] != news[0] {
		t.Errorf("got %v and %v", news, again)
	}
	a.Told(news)
	if news = append(news, a.News(15)...); len(news) != 20 {
		t.Errorf("got %d", len(news))
	}
	for _, p := range news {
		b.Hear(p.Object, p.Key)
	}
	if key, ok := b.Get("resp_19"); !ok || key != "k1" || b.Len() != 10 {
		t.Errorf("got %q, %d are known", key, b.Len())
	}
	for i := range 3 * maxPinNews {
		a.Put(fmt.Sprint("more_", i), "k1")
	}
	if news := a.News(1 << 30); len(news) > maxPinNews || news[len(news)-1].Object != fmt.Sprint("more_", 3*maxPinNews-1) {
		t.Errorf("%d wait, the last is %v", len(news), news[len(news)-1])
	}
	a.Again()
	if news := a.News(1 << 30); len(news) != maxPinNews {
		t.Errorf("%d are told again", len(news))
	}
}
