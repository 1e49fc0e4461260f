// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// share returns counts as an instance of its own has them in a server.
func share(t *testing.T, server *redistest.Server, deny bool) *Shared {
	t.Helper()
	s := Share(NewBook(), openStore(t, server, "p"), deny, func(err error) { t.Log(err) })
	t.Cleanup(s.Close)
	return s
}

func needsServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no servers")
	}
}

// Ten instances let in together exactly as many requests as one would, never
// more concurrent calls, and no more tokens than there are.
func TestInstancesShareLimits(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	const requests, tokens, concurrent, each = 300, 5000, 7, 10
	byRequests := Client("requests", []Rule{window(Requests, requests, time.Hour)})
	byTokens := Client("tokens", []Rule{window(Tokens, tokens, time.Hour), {Kind: Concurrent, Amount: concurrent}})
	var let, taken, underWay atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		instance := share(t, server, true)
		for range 5 {
			wg.Go(func() {
				for range 10 {
					if h, exceeded := ask(instance, time.Now(), "m", Amounts{}, byRequests); exceeded == nil && h.stage == reserved {
						let.Add(1)
						h.Settle(time.Now(), Amounts{})
					}
					h, exceeded := ask(instance, time.Now(), "m", Amounts{Input: each}, byTokens)
					if exceeded == nil && h.stage == reserved {
						if n := underWay.Add(1); n > concurrent {
							t.Errorf("%d calls at once", n)
						}
						underWay.Add(-1)
						taken.Add(each)
						h.Settle(time.Now(), Amounts{Input: each})
						continue
					}
					h.Settle(time.Now(), Amounts{})
				}
			})
		}
	}
	wg.Wait()
	if n := let.Load(); n != requests {
		t.Errorf("%d requests of %d were let in", n, requests)
	}
	if n := taken.Load(); n > tokens || n < each {
		t.Errorf("%d tokens of %d were taken", n, tokens)
	}
}

// While Redis is away each instance goes by its own count, which has gone on
// all the time; what it let in then counts in Redis afterwards.
func TestRedisAwayAllow(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	app := Client("app", []Rule{window(Requests, 5, time.Hour), window(Tokens, 1000, time.Hour)})
	here, there := share(t, server, false), share(t, server, false)
	call := func(s *Shared) bool {
		h, exceeded := ask(s, time.Now(), "m", Amounts{Input: 10}, app)
		h.Settle(time.Now(), Amounts{Input: 10})
		return exceeded == nil
	}
	for _, s := range []*Shared{here, here, here, there} {
		if !call(s) {
			t.Fatal("refused")
		}
	}
	long, _ := ask(here, time.Now(), "m", Amounts{Input: 10}, app)
	// What the calls came to is told behind their backs.
	eventually(t, func() bool { return equal(usedBy(t, here, time.Now(), app), []int64{5, 50}) })
	server.Kill()
	if !call(here) || call(here) {
		t.Error("here not just the fifth call is let in")
	}
	for range 4 {
		if !call(there) {
			t.Error("there one of the first five calls is refused")
		}
	}
	if call(there) {
		t.Error("there a sixth call is let in")
	}
	server.Restart()
	long.Settle(time.Now(), Amounts{Input: 10})
	// Redis knows what was let in without it: one call here and four there, and
	// what the long call took.
	eventually(t, func() bool { return equal(usedBy(t, here, time.Now(), app), []int64{5, 60}) })
	if call(here) || call(there) {
		t.Error("a sixth call is let in")
	}
}

// With deny nothing is let in while Redis is away; but in shadow nothing is
// refused either.
func TestRedisAwayDeny(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	s := share(t, server, true)
	app := Client("app", []Rule{window(Tokens, 100, time.Hour), {Kind: Concurrent, Amount: 3}})
	h := Begin(s, []*Subject{app}, false)
	if exceeded, err := h.Enter(context.Background(), time.Now()); exceeded != nil || err != nil {
		t.Fatalf("refused: %v, %v", exceeded, err)
	}
	server.Kill()
	if _, err := h.Reserve(context.Background(), time.Now(), []string{"m"}, Amounts{Input: 5}); !errors.Is(err, errUnavailable) {
		t.Errorf("got %v", err)
	}
	h.Settle(time.Now(), Amounts{Input: 5})
	for range 5 {
		h := Begin(s, []*Subject{app}, false)
		if _, err := h.Enter(context.Background(), time.Now()); !errors.Is(err, errUnavailable) {
			t.Errorf("got %v", err)
		}
		h.Settle(time.Now(), Amounts{Input: 5})
		shadow := Begin(s, []*Subject{app}, true)
		if _, err := shadow.Enter(context.Background(), time.Now()); err != nil {
			t.Errorf("in shadow: %v", err)
		}
		shadow.Settle(time.Now(), Amounts{})
	}
	server.Restart()
	eventually(t, func() bool {
		h := Begin(s, []*Subject{app}, false)
		_, err := h.Enter(context.Background(), time.Now())
		h.Settle(time.Now(), Amounts{})
		return err == nil
	})
	eventually(t, func() bool { return equal(usedBy(t, s, time.Now(), app), []int64{0, 0}) })
}

// eventually waits until something that others do has come about.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// What an instance held that has been killed comes free when its lease is
// over, and what a living one holds does not.
func TestLeases(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	killed, living, third := newClocked(t, server, "p"), newClocked(t, server, "p"), newClocked(t, server, "p")
	rule := Rule{Kind: Concurrent, Amount: 2}
	enter(t, killed, start, rule)
	alive := enter(t, living, start, rule)
	for at := time.Duration(0); at <= 10*lease; at += renewEvery {
		now := start.Add(at)
		living.at(now)
		living.renew(now)
		h, exceeded := try(third, now, false, rule)
		if free := at >= lease; free != (exceeded == nil) {
			t.Errorf("after %s: %+v", at, exceeded)
		}
		h.Settle(now, Amounts{})
	}
	alive.Settle(start.Add(10*lease), Amounts{})
	checkNothingHeld(t, living.Shared)
}

// A Redis that has lost everything starts anew: nothing is stuck or below
// zero, and what is held comes back with the next renewal.
func TestRedisFlushed(t *testing.T) {
	needsServers(t)
	s := newClocked(t, redistest.Start(t), "p")
	app := Client("app", []Rule{window(Tokens, 100, time.Hour), {Kind: Concurrent, Amount: 2}})
	var holds []*Hold
	for range 2 {
		h, _ := ask(s, start, "m", Amounts{Input: 30}, app)
		holds = append(holds, h)
	}
	s.store.Client().FlushAll(context.Background())
	s.at(start)
	checkUsed(t, s, start, app, 0, 0)
	holds[0].Settle(start, Amounts{Input: 10})
	checkUsed(t, s, start, app, 10, 0)
	s.renew(start)
	checkUsed(t, s, start, app, 40, 1)
	holds[1].Settle(start, Amounts{Input: 10})
	checkUsed(t, s, start, app, 20, 0)
	checkNothingHeld(t, s.Shared)
}

// A Redis short of memory may throw away one of a count's two keys.
func TestKeysThrownAway(t *testing.T) {
	needsServers(t)
	s := newClocked(t, redistest.Start(t), "p")
	rule := window(Tokens, 100, time.Hour)
	app := Client("app", []Rule{rule})
	for lost, want := range map[string]int64{"count": 30, "holds": 0} {
		h, _ := ask(s, start, "m", Amounts{Input: 30}, app)
		p := part{subject: app, rule: &app.Rules[0]}
		s.store.Client().Del(context.Background(), s.store.Key(hashTag, lost, p.path()))
		checkUsed(t, s, start, app, want)
		h.Settle(start, Amounts{})
		checkUsed(t, s, start, app, 0)
		checkNothingHeld(t, s.Shared)
	}
}

// In a cluster all that a call counts is in one place.
func TestCluster(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t, "--cluster-enabled", "yes")
	direct := openStore(t, server, "p")
	if err := direct.Client().Do(context.Background(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return direct.Client().Set(context.Background(), "x", 1, 0).Err() == nil })
	for _, prefix := range []string{"p", "{of}-others:"} {
		cluster, err := store.Open(store.Options{Addresses: []string{server.Address}, Cluster: true, Prefix: prefix, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		s := Share(NewBook(), cluster, true, func(err error) { t.Error(err) })
		app, group := Client("{app}", []Rule{window(Requests, 1, time.Hour)}), Group("{staff}", []Rule{window(Tokens, 100, time.Hour)})
		if h, exceeded := ask(s, time.Now(), "m", Amounts{Input: 1}, app, group); exceeded != nil || h.stage != reserved {
			t.Errorf("refused: %+v", exceeded)
		}
		if _, exceeded := ask(s, time.Now(), "m", Amounts{Input: 1}, app, group); exceeded == nil {
			t.Error("let in")
		}
		s.Close()
		if err := cluster.Release(); err != nil {
			t.Error(err)
		}
	}
}

// Whatever happens to the connections of several instances, when all calls are
// settled and all debts are paid, nothing is held and exactly what was taken
// counts.
func TestNothingLeaks(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	app := Client("app", []Rule{window(Tokens, 1e9, time.Hour), window(Requests, 1e9, time.Hour), {Kind: Concurrent, Amount: 1e9}})
	instances := []*clocked{newClocked(t, server, "p"), newClocked(t, server, "p"), newClocked(t, server, "p")}
	random := rand.New(rand.NewPCG(3, 4))
	type call struct {
		hold *Hold
		of   *clocked
	}
	var open []call
	var tokens, requests int64
	now := start
	for range 1000 {
		now = now.Add(time.Duration(random.Int64N(1000)) * time.Millisecond)
		s := instances[random.IntN(len(instances))]
		switch random.IntN(6) {
		case 0:
			s.hung.Store(!s.hung.Load())
		case 1:
			s.at(now)
			s.renew(now)
		case 2, 3:
			h := Begin(s, []*Subject{app}, false)
			_, _ = h.Enter(context.Background(), now)
			requests++
			if random.IntN(4) > 0 { // else its body is never read
				_, _ = h.Reserve(context.Background(), now, []string{"m"}, Amounts{Input: random.Int64N(100)})
			}
			open = append(open, call{h, s})
		default:
			if len(open) == 0 {
				continue
			}
			i := random.IntN(len(open))
			taken := random.Int64N(100)
			if open[i].hold.stage == reserved {
				tokens += taken
			}
			open[i].hold.Settle(now, Amounts{Input: taken})
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
	}
	for _, c := range open {
		c.hold.Settle(now, Amounts{})
	}
	for _, s := range instances {
		s.hung.Store(false)
		s.at(now)
		s.pay(now)
	}
	for _, s := range instances {
		checkNothingHeld(t, s.Shared)
		checkUsed(t, s, now, app, tokens, requests, 0)
	}
}
