// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"testing"
	"time"
)

// call plays one call: it goes from key to key until one answers or nothing is
// left, and returns how many attempts it took. verdict says how a key answers.
func call(p *Pool, model string, verdict func(id string) Class) (attempts int, served bool) {
	var tried Tried
	for {
		lease, err := p.Acquire(Want{Model: model}, &tried)
		if err != nil {
			return attempts, false
		}
		attempts++
		class := verdict(lease.KeyID())
		lease.Report(Outcome{Verdict: Verdict{Class: class}})
		if class == ClassOK {
			return attempts, true
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Ten keys that are all rejected, as from a bad egress address: the upstream
// is at fault. It is cooled, longer each time, and no key is disabled. When
// the address is mended every key is in use again at once.
func TestAllKeysFailAlike(t *testing.T) {
	for _, class := range []Class{ClassAccess, ClassCredential, ClassQuota, ClassStale} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 10, Options{})
				for _, seconds := range []int{10, 20, 40, 60, 60} {
					attempts, served := call(p, "m", func(string) Class { return class })
					if attempts != 10 || served {
						t.Errorf("%d attempts, served: %t", attempts, served)
					}
					for _, status := range p.Snapshot() {
						if !status.CoolingUntil.IsZero() || status.CoolingModels != nil {
							t.Errorf("%s is disabled: %+v", status.ID, status)
						}
					}
					if got := upstreamRest(t, p, "m").Round(time.Second); got != time.Duration(seconds)*time.Second {
						t.Errorf("the upstream rests %s, want %ds", got, seconds)
					}
					time.Sleep(time.Duration(seconds) * time.Second)
				}
				used := map[string]bool{}
				for range 10 {
					used[use(t, p, "m", Verdict{})] = true
				}
				if len(used) != 10 {
					t.Errorf("only %d keys are in use again", len(used))
				}
			})
		})
	}
}

// A model that no key has a quota for is left alone, and only that one: the
// keys go on with the others.
func TestQuotaThatIsGoneForAModel(t *testing.T) {
	for _, class := range []Class{ClassAccess, ClassQuota} {
		t.Run(class.String(), func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 2, Options{})
				call(p, "m", func(string) Class { return class })
				if upstreamRest(t, p, "m") == 0 {
					t.Error("the model is still asked for")
				}
				if attempts, served := call(p, "n", func(string) Class { return ClassOK }); attempts != 1 || !served {
					t.Errorf("another model: %d attempts, served: %t", attempts, served)
				}
			})
		})
	}
}

// While the upstream is in doubt one call goes from key to key, and the others
// wait for what it finds.
func TestOneCallFindsOut(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 10, Options{})
		call(p, "m", func(string) Class { return ClassCredential })
		time.Sleep(11 * time.Second)
		var tried Tried
		first, err := p.Acquire(Want{Model: "m"}, &tried)
		if err != nil {
			t.Fatal(err)
		}
		if upstreamRest(t, p, "m") == 0 {
			t.Error("a second call may ask, too")
		}
		first.Report(Outcome{Verdict: Verdict{Class: ClassCredential}})
		next, err := p.Acquire(Want{Model: "m"}, &tried)
		if err != nil {
			t.Fatalf("the call may not go on: %v", err)
		}
		next.Report(Outcome{})
		if got := upstreamRest(t, p, "m"); got != 0 {
			t.Errorf("after a success it rests %s", got)
		}
	})
}

// Ten keys, nine dead: every call is served, and the dead are asked only as
// probes.
func TestNineOfTenKeysAreDead(t *testing.T) {
	for _, class := range []Class{ClassCredential, ClassQuota, ClassAccess} {
		for alive := range 10 {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 10, Options{})
				good, wasted, calls := fmt.Sprintf("k%d", alive), 0, 3600
				for range calls {
					attempts, served := call(p, "m", func(id string) Class {
						if id == good {
							return ClassOK
						}
						return class
					})
					if !served {
						t.Fatalf("%s, %s alive: a call was lost", class, good)
					}
					wasted += attempts - 1
					time.Sleep(time.Second)
				}
				// A rejected key is asked again after 30 s, 1, 2, 4, 8 and then
				// every 10 minutes.
				if wasted > 9*12 {
					t.Errorf("%s, %s alive: dead keys were asked %d times in an hour", class, good, wasted)
				}
			})
		}
	}
}

// Keys of one account are one witness: that both are refused proves nothing.
func TestAccountIsOneWitness(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newPoolOf(t, Options{}, Key{ID: "a1", Account: "a"}, Key{ID: "a2", Account: "a"}, Key{ID: "a3", Account: "a"})
		call(p, "m", func(string) Class { return ClassCredential })
		for _, status := range p.Snapshot() {
			if status.CoolingClass != ClassCredential {
				t.Errorf("%s was cleared", status.ID)
			}
		}
	})
}

// What fails far apart, or each in its own way, is not alike.
func TestNotAlike(t *testing.T) {
	for name, fail := range map[string]func(p *Pool){
		"far apart": func(p *Pool) {
			for range 3 {
				use(t, p, "m", Verdict{Class: ClassCredential})
				time.Sleep(alikeWindow + time.Second)
			}
		},
		"different": func(p *Pool) {
			for _, class := range []Class{ClassCredential, ClassQuota, ClassAccess} {
				use(t, p, "m", Verdict{Class: class})
			}
		},
		"different models": func(p *Pool) {
			for _, model := range []string{"m", "n", "o"} {
				use(t, p, model, Verdict{Class: ClassAccess})
			}
		},
		"a success between": func(p *Pool) {
			use(t, p, "m", Verdict{Class: ClassQuota})
			use(t, p, "m", Verdict{Class: ClassQuota})
			use(t, p, "m", Verdict{})
			time.Sleep(time.Millisecond)
			lease, _ := p.Acquire(Want{Model: "m"}, new(Tried))
			lease.Report(Outcome{Verdict: Verdict{Class: ClassQuota}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			timed(t, func(t *testing.T) {
				p := newTimedPool(t, 3, Options{})
				fail(p)
				for _, status := range p.Snapshot() {
					if status.ConsecutiveFailures == 0 {
						t.Errorf("%s was not asked", status.ID)
					}
				}
				for _, circuit := range p.UpstreamStatus().Circuits {
					t.Errorf("the upstream is blamed: %+v", circuit)
				}
			})
		})
	}
}

// A key that was found dead before stays so when the others are cleared.
func TestOldPenaltiesAreNotCleared(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 4, Options{})
		use(t, p, "m", Verdict{Class: ClassQuota})
		time.Sleep(alikeWindow + time.Second)
		call(p, "m", func(string) Class { return ClassQuota })
		for i, status := range p.Snapshot() {
			if rests := !status.CoolingUntil.IsZero(); rests != (i == 0) {
				t.Errorf("%s rests: %t", status.ID, rests)
			}
		}
	})
}

// A large pool is not walked to its end before the upstream is blamed.
func TestLargePoolIsNotWalkedThrough(t *testing.T) {
	timed(t, func(t *testing.T) {
		p := newTimedPool(t, 1000, Options{})
		if attempts, _ := call(p, "m", func(string) Class { return ClassAccess }); attempts != manyAlike {
			t.Errorf("%d keys were asked, want %d", attempts, manyAlike)
		}
	})
}
