// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// instance is an instance that shares what it knows of two keys.
type instance struct {
	*Sharer
	pool *keypool.Pool
	pins *keypool.Pins
	// reports are what was reported: a failure, or that it is over.
	reports chan error
	close   func()
}

// join has an instance join those that share a Redis.
func join(t testing.TB, address string) *instance {
	t.Helper()
	return joinBy(t, store.Options{Addresses: []string{address}})
}

func joinBy(t testing.TB, options store.Options) *instance {
	t.Helper()
	opened, err := store.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{pool: newPool(t), pins: keypool.NewPins(100, time.Hour, time.Now), reports: make(chan error, 100)}
	i.Sharer, err = Start(Options{Store: opened, Report: func(err error) { i.reports <- err }})
	if err != nil {
		t.Fatal(err)
	}
	i.Add(i.source())
	var closed atomic.Bool
	i.close = func() {
		if !closed.Swap(true) {
			i.Close()
			_ = opened.Release()
		}
	}
	t.Cleanup(i.close)
	return i
}

func newPool(t testing.TB) *keypool.Pool {
	t.Helper()
	pool, err := keypool.New(
		[]keypool.Key{{ID: "k0", Secret: keypool.NewSecret("secret-0")}, {ID: "k1", Secret: keypool.NewSecret("secret-1")}},
		[]*keypool.State{keypool.NewState(), keypool.NewState()}, keypool.Options{MaxWait: time.Hour},
	)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func (i *instance) source() *Source {
	return &Source{Provider: "openai", Place: "place", Pool: func() *keypool.Pool { return i.pool }, Pins: i.pins}
}

// limit has a key be limited for a model.
func (i *instance) limit(t testing.TB, key, model string, wait time.Duration) {
	t.Helper()
	lease, err := i.pool.Acquire(keypool.Want{Model: model, KeyID: key}, new(keypool.Tried))
	if err != nil {
		t.Fatal(err)
	}
	lease.Report(keypool.Outcome{Verdict: keypool.Verdict{Class: keypool.ClassRateLimited, Wait: wait}})
}

// rest returns how long the first key rests for a model.
func (i *instance) rest(model string) time.Duration {
	return max(0, time.Until(i.pool.Snapshot()[0].CoolingModels[model].Until))
}

func needsServers(t testing.TB) {
	if testing.Short() {
		t.Skip("-short starts no servers")
	}
}

// soon waits until something is so.
func soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// clientOf returns a client of a server, as anybody may have one.
func clientOf(t testing.TB, server *redistest.Server) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// What one instance finds out the other knows within a second, one that comes
// later knows it, too, and for no longer than it takes.
func TestInstancesTellEachOther(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	a, b := join(t, server.Address), join(t, server.Address)
	took := time.Hour
	for _, model := range []string{"m", "n", "o"} { // the machine may be busy with something else
		began := time.Now()
		a.limit(t, "k0", model, time.Minute)
		soon(t, "the other hears", func() bool { return b.rest(model) > 0 })
		took = min(took, time.Since(began))
	}
	if took > time.Second {
		t.Errorf("the other has heard only after %s", took)
	}
	time.Sleep(300 * time.Millisecond)
	late := join(t, server.Address)
	soon(t, "the newcomer hears", func() bool { return late.rest("m") > 0 })
	for _, i := range []*instance{b, late} {
		if off := (a.rest("m") - i.rest("m")).Abs(); off > 100*time.Millisecond {
			t.Errorf("the rests are %s apart", off)
		}
	}
	b.pins.Put("resp_1", "k1")
	soon(t, "pins are heard", func() bool { key, ok := a.pins.Get("resp_1"); return ok && key == "k1" })

	// What happens at the very end is told as well.
	b.pool.Disable("k1")
	b.close()
	soon(t, "the last word is heard", func() bool { return a.pool.Snapshot()[1].State == "disabled" })
	for _, i := range []*instance{a, b, late} {
		if len(i.reports) > 0 {
			t.Errorf("it was reported: %v", <-i.reports)
		}
	}
}

// Calls go on while their news are told, whatever comes of them, and no slot is
// lost by it.
func TestSharingUnderLoad(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	instances := []*instance{join(t, server.Address), join(t, server.Address)}
	classes := []keypool.Class{
		keypool.ClassOK, keypool.ClassOK, keypool.ClassRateLimited, keypool.ClassCredential, keypool.ClassUpstream,
		keypool.ClassOverloaded, keypool.ClassNotSent, keypool.ClassSlow,
	}
	end := time.Now().Add(1500 * time.Millisecond)
	var wg sync.WaitGroup
	for n := range 6 {
		i := instances[n%2]
		wg.Go(func() {
			for calls := n; time.Now().Before(end); calls++ {
				model := fmt.Sprint("m", calls%7)
				lease, err := i.pool.Acquire(keypool.Want{Model: model}, new(keypool.Tried))
				if err != nil {
					i.pool.Reset("k0")
					i.pool.Reset("k1")
					time.Sleep(time.Millisecond)
					continue
				}
				i.pins.Put(fmt.Sprint("resp_", n, "_", calls), lease.KeyID())
				lease.Answering(keypool.Headroom{})
				lease.Report(keypool.Outcome{Verdict: keypool.Verdict{Class: classes[calls%len(classes)]}})
			}
		})
	}
	wg.Wait()
	for _, i := range instances {
		if status := i.pool.UpstreamStatus(); status.InFlight != 0 || status.Total == 0 {
			t.Errorf("%d are in flight of %d", status.InFlight, status.Total)
		}
		if len(i.reports) > 0 {
			t.Errorf("reported: %v", <-i.reports)
		}
	}
	instances[0].pool.Disable("k1")
	soon(t, "they still hear each other", func() bool { return instances[1].pool.Snapshot()[1].State == "disabled" })
}

// It also goes in a cluster, and with no more rights than the docs name.
func TestInstancesTellEachOtherElsewhere(t *testing.T) {
	needsServers(t)
	cluster := redistest.Start(t, "--cluster-enabled", "yes")
	if err := clientOf(t, cluster).Do(context.Background(), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	soon(t, "the cluster is ready", func() bool {
		return strings.Contains(clientOf(t, cluster).Do(context.Background(), "cluster", "info").String(), "cluster_state:ok")
	})
	guarded := redistest.Start(t)
	rights := strings.Fields("acl setuser caddy on >password ~caddy_llm:* +xadd +xread +set +get +time +eval +evalsha")
	words := make([]any, len(rights))
	for i := range rights {
		words[i] = rights[i]
	}
	if err := clientOf(t, guarded).Do(context.Background(), words...).Err(); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]store.Options{
		"a cluster":  {Addresses: []string{cluster.Address}, Cluster: true},
		"few rights": {Addresses: []string{guarded.Address}, Username: "caddy", Password: keypool.NewSecret("password")},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := joinBy(t, options), joinBy(t, options)
			a.limit(t, "k0", "m", time.Minute)
			soon(t, "the other hears", func() bool { return b.rest("m") > 0 })
			if len(a.reports) > 0 {
				t.Errorf("reported: %v", <-a.reports)
			}
		})
	}
}

// A Redis that has forgotten everything is told anew.
func TestRedisForgets(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	a, b := join(t, server.Address), join(t, server.Address)
	a.limit(t, "k0", "m", time.Minute)
	a.pool.Disable("k1")
	a.pins.Put("resp_1", "k1")
	soon(t, "the other hears", func() bool {
		_, pinned := b.pins.Get("resp_1")
		return b.rest("m") > 0 && b.pool.Snapshot()[1].State == "disabled" && pinned
	})
	a.close()
	if err := clientOf(t, server).FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	b.limit(t, "k0", "n", time.Minute)
	soon(t, "it is told anew", func() bool {
		return clientOf(t, server).XLen(context.Background(), "caddy_llm:{pool}:pins").Val() > 0
	})
	late := join(t, server.Address)
	soon(t, "a newcomer knows all", func() bool {
		_, pinned := late.pins.Get("resp_1")
		return late.rest("m") > 0 && late.rest("n") > 0 && late.pool.Snapshot()[1].State == "disabled" && pinned
	})
}

// A Redis that hangs, or is not there, holds up neither the start nor the end,
// and is reported by the store alone.
func TestRedisHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, address := range []string{listener.Addr().String(), "127.0.0.1:1"} {
		began := time.Now()
		a := join(t, address)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the start took %s", took)
		}
		a.limit(t, "k0", "m", time.Minute)
		time.Sleep(700 * time.Millisecond) // for commands to fail
		began = time.Now()
		if a.close(); time.Since(began) > 3*time.Second {
			t.Errorf("the end took %s", time.Since(began))
		}
		select {
		case err := <-a.reports:
			t.Errorf("reported: %v", err)
		default:
		}
	}
	opened, err := store.Open(store.Options{Addresses: []string{"127.0.0.1:1"}})
	if err != nil || opened.Release() != nil {
		t.Fatal(err)
	}
	if _, err := Start(Options{Store: opened}); err == nil {
		t.Error("it shares over what was let go of")
	}
}

// What an instance takes for now need not be what Redis does.
func TestClocksDiffer(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var c clock
	server := now.Add(-3 * time.Hour)
	if err := c.set([]string{"x", fmt.Sprint(server.Unix()), "500000"}, now.Add(-time.Second), now); err != nil {
		t.Fatal(err)
	}
	// In the middle between the asking and the answer it was half past for Redis.
	id := func(at time.Time) string { return fmt.Sprint(at.UnixMilli(), "-7") }
	for added, want := range map[time.Time]time.Time{
		server.Add(-9 * time.Minute): now.Add(-9*time.Minute - time.Second),
		server.Add(time.Hour):        now,
	} {
		if at := c.at(id(added), now); !at.Equal(want) {
			t.Errorf("%s: at %s, want %s", added, at, want)
		}
	}
	for _, bad := range []string{"", "-", "x-1", "99999999999999999999-0", "18446744073709551615-0", "9223372036854775807-0"} {
		if at := c.at(bad, now); at.After(now) {
			t.Errorf("%q: at %s", bad, at)
		}
	}
	for _, bad := range [][]string{nil, {"x", "1"}, {"x", "1", "y"}, {"x", "", "1"}} {
		if err := c.set(bad, now, now); err == nil {
			t.Errorf("%q is taken for a time", bad)
		}
	}
}

var errOther = errors.New("something else")

// A failure is reported once, after a few, and so is its end; that Redis is
// away is not reported here.
func TestFailuresAreReportedOnce(t *testing.T) {
	opened, err := store.Open(store.Options{Addresses: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Release() }()
	var reports []error
	s := newSharer(Options{Store: opened, Report: func(err error) { reports = append(reports, err) }})
	for _, err := range []error{errOther, errOther, nil, errOther, errOther, errOther, errOther, store.ErrAway, nil, nil, store.ErrAway, store.ErrAway, store.ErrAway, nil} {
		s.judge(err)
	}
	if len(reports) != 2 || !errors.Is(reports[0], errOther) || reports[1] != nil {
		t.Errorf("reported: %v", reports)
	}
}
