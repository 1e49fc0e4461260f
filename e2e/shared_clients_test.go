// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

// startSharingClients starts two gateways with the same store.
func startSharingClients(t *testing.T, store, options string, env ...string) [2]*gateway {
	t.Helper()
	config := withStore(store, options)
	return [2]*gateway{start(t, config, env...), start(t, config, env...)}
}

// Two instances see what is changed at either, by a storage that they share or
// by Redis, and none loses what the other has changed.
func TestInstancesShareClients(t *testing.T) {
	for store, begin := range map[string]func(*testing.T) [2]*gateway{
		"storage": func(t *testing.T) [2]*gateway {
			return startSharingClients(t, "storage", "", "XDG_DATA_HOME="+t.TempDir())
		},
		"redis": func(t *testing.T) [2]*gateway {
			return startSharingClients(t, "redis", "redis {$REDIS}", "REDIS="+redistest.Start(t).Address)
		},
	} {
		t.Run(store, func(t *testing.T) {
			gateways := begin(t)
			a, b := gateways[0], gateways[1]
			key := a.makeKey(t, "add", "one")
			b.awaitStatus(t, key, 200)
			if _, err := b.client(t, "disable", "one"); err != nil {
				t.Error(err)
			}
			a.awaitStatus(t, key, 401)
			if _, err := a.client(t, "remove", "one"); err != nil {
				t.Error(err)
			}
			b.awaitStatus(t, key, 401)

			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					status, text := gateways[i%2].send(t, "POST", "/llm/clients", "application/json", `{"id":"many-`+string(rune('a'+i))+`"}`)
					if status != 200 {
						t.Errorf("%d %s", status, text)
					}
				})
			}
			wg.Wait()
			for _, g := range gateways {
				n := 0
				for end := time.Now().Add(3 * time.Second); n < 20 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					_, text := g.send(t, "GET", "/llm/clients", "", "")
					n = strings.Count(text, `"many-`)
				}
				if n != 20 {
					t.Errorf("%d clients of 20", n)
				}
			}
		})
	}
}

// While Redis is away, keys that are known open the door, also after a restart;
// a key that is not may be another instance's, and is not called wrong. When
// Redis has come back with nothing in it, it gets the clients back.
func TestManagedClientsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	data := "XDG_DATA_HOME=" + t.TempDir()
	config := withStore("redis", "redis {$REDIS}")
	g := start(t, config, "REDIS="+server.Address, data)
	key := g.makeKey(t, "add", "one")
	if status := g.status(t, "wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", status)
	}
	check := func(when string) {
		t.Helper()
		if status := g.status(t, key); status != 200 {
			t.Errorf("%s: %d", when, status)
		}
		g.awaitStatus(t, "wrong", http.StatusServiceUnavailable)
		if status, text := g.send(t, "POST", "/llm/clients", "application/json", `{"id":"two"}`); status != http.StatusServiceUnavailable || !strings.Contains(text, "cannot be reached") {
			t.Errorf("%s a client is added: %d %s", when, status, text)
		}
	}
	time.Sleep(1500 * time.Millisecond) // the copy is made within a second
	server.Kill()
	check("while Redis is away")
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		if status := g.status(t, key); status != 200 {
			t.Errorf("while Redis is away: %d", status)
		}
	}
	if n := strings.Count(g.Output(), "the store of clients cannot be read"); n != 1 {
		t.Errorf("the log says %d times that the store is away", n)
	}
	g.Stop()
	g = start(t, config, "REDIS="+server.Address, data)
	check("after a start without Redis")

	server.Restart()
	g.await(t, "the store of clients is read again")
	if status := g.status(t, key); status != 200 {
		t.Errorf("when Redis is back: %d", status)
	}
	g.awaitStatus(t, "wrong", http.StatusUnauthorized)
	fresh := start(t, config, "REDIS="+server.Address)
	if status := fresh.status(t, key); status != 200 {
		t.Errorf("Redis has not got the client back: %d", status)
	}
}
