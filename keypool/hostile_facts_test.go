// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

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
