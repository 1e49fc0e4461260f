// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// world drives a pool by chance, and keeps its own account of what it may do.
type world struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	pool   *Pool
	open   []attempt
	// forbidden is when a penalty with a stated wait is over, by key and model;
	// a model of "" is for all.
	forbidden map[[2]string]time.Time
}

type attempt struct {
	Lease
	model string
}

// newWorld makes a pool of a few keys with limits of all kinds.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), forbidden: map[[2]string]time.Time{}}
	n := 1 + w.random.IntN(7)
	keys, states := make([]Key, n), make([]*State, n)
	for i := range keys {
		keys[i] = Key{ID: fmt.Sprintf("k%d", i), Secret: NewSecret(fmt.Sprintf("secret-%d", i)), Weight: 1 + w.random.IntN(4)}
		keys[i].Tier = w.random.IntN(2)
		keys[i].Account = []string{"", "", "a"}[w.random.IntN(3)]
		if w.random.IntN(3) == 0 {
			keys[i].MaxInFlight = 1 + w.random.IntN(3)
		}
		if w.random.IntN(3) == 0 {
			keys[i].Requests = Rate{N: 30}
		}
		states[i] = NewState()
	}
	pool, err := New(keys, states, Options{Policy: Policy(seed % uint64(len(policyNames))), Random: w.random.Uint64})
	if err != nil {
		t.Fatal(err)
	}
	w.pool = pool
	return w
}

var allClasses = []Class{
	ClassOK, ClassOK, ClassOK, ClassOK, ClassCaller, ClassCanceled, ClassEmpty, ClassTier, ClassRateLimited, ClassRateLimited,
	ClassQuota, ClassStale, ClassCredential, ClassAccess, ClassModel, ClassNotSent, ClassReset, ClassUpstream,
	ClassOverloaded, ClassSlow, ClassBroken, ClassRegion,
}

func (w *world) acquire() {
	model := fmt.Sprintf("m%d", w.random.IntN(3))
	before := w.pool.Snapshot()
	lease, err := w.pool.Acquire(Want{Model: model, Tokens: 10, Affinity: uint64(w.random.IntN(5))}, new(Tried))
	if err != nil {
		return
	}
	id, now := lease.KeyID(), time.Now()
	for _, status := range before {
		if status.ID == id && (now.Before(status.CoolingUntil) || now.Before(status.CoolingModels[model].Until)) {
			w.t.Fatalf("seed %d: a resting key was used: %+v", w.seed, status)
		}
	}
	for _, scope := range []string{"", model} {
		if until := w.forbidden[[2]string{id, scope}]; now.Before(until) {
			w.t.Fatalf("seed %d: %s was used for %s, %s too early", w.seed, id, model, until.Sub(now))
		}
	}
	key := w.pool.members[lease.index].key
	if n := w.pool.members[lease.index].state.inFlight.Load(); key.MaxInFlight > 0 && int(n) > key.MaxInFlight {
		w.t.Fatalf("seed %d: %s has %d calls in flight", w.seed, id, n)
	}
	w.open = append(w.open, attempt{lease, model})
}

func (w *world) report(i int, class Class) {
	a := w.open[i]
	w.open = append(w.open[:i], w.open[i+1:]...)
	if w.random.IntN(4) == 0 && class == ClassOK {
		a.Answering(Headroom{})
	}
	v := Verdict{Class: class}
	if w.random.IntN(2) == 0 {
		v.Wait = time.Duration(1+w.random.IntN(60)) * time.Second
	}
	a.Report(Outcome{Verdict: v, Latency: time.Second})
	if w.random.IntN(8) == 0 {
		a.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
	}
	scope := map[Scope]string{ScopeKeyModel: a.model, ScopeKey: ""}
	at := [2]string{a.KeyID(), scope[v.Scope()]}
	if until := time.Now().Add(v.Wait); (v.Scope() == ScopeKey || v.Scope() == ScopeKeyModel) && until.After(w.forbidden[at]) {
		w.forbidden[at] = until
	}
	for _, circuit := range w.pool.UpstreamStatus().Circuits {
		if isAlike(circuit.Class) && circuit.LastFailure.Equal(time.Now()) {
			// The upstream was blamed, and the keys were cleared.
			clear(w.forbidden)
		}
	}
}

// probe makes a probe, if one is needed, which takes up to ten seconds.
func (w *world) probe() {
	next, ok := w.pool.NextProbe(time.Duration(w.random.Int64N(int64(20 * time.Second))))
	if !ok {
		return
	}
	time.Sleep(time.Duration(w.random.Int64N(int64(10 * time.Second))))
	next.Report(Verdict{Class: allClasses[w.random.IntN(len(allClasses))]})
}

// Whatever happens, in whatever order, at whatever time: no penalised key is
// used before its cool-down is over, no slot leaks, and everything heals.
func TestInvariantsUnderRandomEvents(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			for range 400 {
				switch w.random.IntN(6) {
				case 5:
					w.probe()
				case 0:
					time.Sleep(time.Duration(w.random.Int64N(int64(10 * time.Second))))
				case 1, 2:
					w.acquire()
				default:
					if len(w.open) > 0 {
						w.report(w.random.IntN(len(w.open)), allClasses[w.random.IntN(len(allClasses))])
					}
				}
				for _, status := range w.pool.Snapshot() {
					if status.InFlight < 0 {
						t.Fatalf("seed %d: %d calls are in flight", seed, status.InFlight)
					}
				}
			}
			for len(w.open) > 0 {
				w.report(0, ClassCanceled)
			}
			time.Sleep(25 * time.Hour)
			w.heals()
		})
	}
}

// heals checks that all is as new, if not at once, then after a few calls.
func (w *world) heals() {
	w.t.Helper()
	if n := w.pool.upstream.inFlight.Load(); n != 0 {
		w.t.Fatalf("seed %d: %d slots have leaked", w.seed, n)
	}
	for i := range w.pool.members {
		if n := w.pool.members[i].state.inFlight.Load(); n != 0 {
			w.t.Fatalf("seed %d: %d slots of a key have leaked", w.seed, n)
		}
		for m := range 3 {
			want := Want{Model: fmt.Sprintf("m%d", m), KeyID: w.pool.members[i].key.ID}
			lease, err := w.pool.Acquire(want, new(Tried))
			if err != nil {
				w.t.Fatalf("seed %d: %s has not healed for %s: %v", w.seed, want.KeyID, want.Model, err)
			}
			lease.Report(Outcome{})
		}
	}
	time.Sleep(2 * rampTime)
	for i := range w.pool.members {
		want := Want{Model: "m0", KeyID: w.pool.members[i].key.ID}
		for range 10 {
			lease, err := w.pool.Acquire(want, new(Tried))
			if err != nil && w.pool.members[i].key.MaxInFlight == 0 {
				w.t.Fatalf("seed %d: %s is still limited: %v", w.seed, want.KeyID, err)
			}
			defer lease.Report(Outcome{})
		}
	}
}
