// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

const sharedState = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	debug
}
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		redis {$REDIS}
		provider openai {$PROVIDER} {
			KEYS
		}
		retry {
			delay 1ms
			wait_for_key off
		}
		breaker {
			open_for 3s
		}
		probe off
	}
}
`

// asked returns how often a key was used for calls.
func (d *desk) asked(key string) int {
	calls, _ := d.used(key)
	return calls
}

// join starts a gateway that shares what it knows.
func (d *desk) join(t *testing.T, server *redistest.Server, keys string) *gateway {
	t.Helper()
	config := strings.Replace(sharedState, "KEYS", keys, 1)
	return start(t, config, "REDIS="+server.Address, "PROVIDER="+d.URL)
}

// startSharing starts two gateways with keys that share what they know.
func startSharing(t *testing.T, keys string) (*desk, *redistest.Server, [2]*gateway) {
	t.Helper()
	d, server := newDesk(t), redistest.Start(t)
	return d, server, [2]*gateway{d.join(t, server, keys), d.join(t, server, keys)}
}

// soon waits until something is so, for a second and what a busy machine needs.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > 5*time.Second {
			t.Fatalf("not within five seconds: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%s: after %s", what, time.Since(began).Round(time.Millisecond))
}

// chatWell has a chat answered well.
func (g *gateway) chatWell(t *testing.T) {
	t.Helper()
	if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusOK {
		t.Fatalf("got %d %s", status, text)
	}
}

// A rate limit that one instance meets keeps the others away from the key, and
// an instance that comes later, too.
func TestALimitSeenByOneKeepsTheOthersAway(t *testing.T) {
	d, server, pair := startSharing(t, "keys sk-a sk-b")
	d.says("sk-a", 429, map[string]string{"Retry-After": "40"}, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
	for range 2 {
		pair[0].chatWell(t)
	}
	id := "openai/key-" + fingerprint("sk-a")
	soon(t, "the other knows", func() bool { return len(pair[1].poolKeys(t)[id].RestingModels) > 0 })
	late := d.join(t, server, "keys sk-a sk-b")
	soon(t, "the newcomer knows", func() bool { return len(late.poolKeys(t)[id].RestingModels) > 0 })
	for range 10 {
		pair[1].chatWell(t)
		late.chatWell(t)
	}
	if n := d.asked("sk-a"); n != 1 {
		t.Errorf("the limited key was asked %d times, want once", n)
	}
	for i, g := range []*gateway{pair[1], late} {
		if rest := g.poolKeys(t)[id].RestingModels["gpt-4o"]; rest.Class != "rate_limited" || time.Until(rest.Until) > 40*time.Second || time.Until(rest.Until) < 25*time.Second {
			t.Errorf("instance %d: rests %s as %s", i, time.Until(rest.Until), rest.Class)
		}
	}
}

// A key that is rejected rests everywhere, and is used again everywhere as soon
// as it was accepted anywhere.
func TestARejectedKeyIsKnownEverywhere(t *testing.T) {
	d, _, pair := startSharing(t, "keys sk-a sk-b sk-c")
	d.says("sk-a", 401, nil, `{"error":{"message":"no","code":"invalid_api_key"}}`)
	for range 3 {
		pair[0].chatWell(t)
	}
	id := "openai/key-" + fingerprint("sk-a")
	soon(t, "the other knows", func() bool { return pair[1].poolKeys(t)[id].Resting.Class == "credential" })
	for range 10 {
		pair[1].chatWell(t)
	}
	if n := d.asked("sk-a"); n != 1 {
		t.Errorf("the rejected key was asked %d times, want once", n)
	}
	d.says("sk-a", 200, nil, "")
	pair[1].send(t, "POST", "/llm/pools/openai/keys/"+strings.TrimPrefix(id, "openai/")+"/reset", "", "")
	soon(t, "the first hears of the reset", func() bool { return pair[0].poolKeys(t)[id].State == "closed" })
}

// What an operator does to a key at one instance is done at all of them, and
// known to one that comes later.
func TestOperatorsAreHeardEverywhere(t *testing.T) {
	d, server, pair := startSharing(t, "keys sk-a sk-b")
	id := "key-" + fingerprint("sk-a")
	state := func(g *gateway) string { return g.poolKeys(t)["openai/"+id].State }
	pair[0].send(t, "POST", "/llm/pools/openai/keys/"+id+"/disable", "", "")
	soon(t, "the other has it disabled", func() bool { return state(pair[1]) == "disabled" })
	late := d.join(t, server, "keys sk-a sk-b")
	soon(t, "the newcomer has it disabled", func() bool { return state(late) == "disabled" })
	for range 4 {
		pair[1].chatWell(t)
	}
	if n := d.asked("sk-a"); n != 0 {
		t.Errorf("the disabled key was asked %d times", n)
	}
	late.send(t, "POST", "/llm/pools/openai/keys/"+id+"/enable", "", "")
	for _, g := range pair {
		soon(t, "it is enabled again", func() bool { return state(g) == "closed" })
	}
}

// A provider whose model one instance has found to fail is left alone by the
// others, and asked again by all when it works.
func TestABreakerOpensEverywhere(t *testing.T) {
	d, server := newDesk(t), redistest.Start(t)
	// Another name for this machine, as it would be for none of its own: what is
	// at a loopback address is not told of.
	d.URL = strings.Replace(d.URL, "127.0.0.1", "0.0.0.0", 1)
	pair := [2]*gateway{d.join(t, server, "keys sk-a"), d.join(t, server, "keys sk-a")}
	d.says("sk-a", 503, nil, `{"error":{"message":"down"}}`)
	for range 2 {
		pair[0].do(t, "POST", "/v1/chat/completions", chatBody)
	}
	circuit := func(g *gateway) string { _, text := g.send(t, "GET", "/llm/pools", "", ""); return text }
	soon(t, "the other knows", func() bool { return strings.Contains(circuit(pair[1]), `"state":"open"`) })
	before := d.asked("sk-a")
	if status, text := pair[1].do(t, "POST", "/v1/chat/completions", chatBody); status != 503 || d.asked("sk-a") != before {
		t.Errorf("got %d %s, and the provider was asked %d times", status, text, d.asked("sk-a")-before)
	}
	d.says("sk-a", 200, nil, "")
	for _, g := range pair {
		soon(t, "it is served again", func() bool {
			status, _ := g.do(t, "POST", "/v1/chat/completions", chatBody)
			return status == 200
		})
	}
}

// What a key has made at one instance is asked of it by all.
func TestStoredObjectsAreKnownEverywhere(t *testing.T) {
	d, _, pair := startSharing(t, "keys sk-a sk-b sk-c sk-d sk-e")
	ask := func(g *gateway, previous string) string {
		t.Helper()
		status, text := g.do(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"hi"`+previous+`}`)
		if status != http.StatusOK {
			t.Fatalf("got %d %s", status, text)
		}
		return strings.Split(strings.Split(text, `"id":"`)[1], `"`)[0]
	}
	var ids []string
	for range 10 {
		ids = append(ids, ask(pair[0], ""))
	}
	time.Sleep(time.Second) // which it may take until the other knows
	for _, id := range ids {
		owner := id[strings.LastIndex(id, "_")+1:]
		before := d.asked(owner)
		if ask(pair[1], `,"previous_response_id":"`+id+`"`); d.asked(owner) != before+1 {
			t.Errorf("%s was not asked of its key", id)
		}
	}
}

// Two instances take together what a key's own limit allows.
func TestKeysLimitsAreShared(t *testing.T) {
	d, _, pair := startSharing(t, "key sk-a {\nrequests 20 1h\n}")
	for i := range 60 {
		pair[i%2].do(t, "POST", "/v1/chat/completions", chatBody)
		time.Sleep(50 * time.Millisecond)
	}
	if n := d.asked("sk-a"); n < 20 || n > 24 {
		t.Errorf("the key was asked %d times, want 20 and a few", n)
	}
}

// Redis that is killed under load loses no call. What was learned without it is
// told when it is back, also what it had forgotten.
func TestStateOutlivesRedis(t *testing.T) {
	d, server, pair := startSharing(t, "keys sk-a sk-b sk-c sk-d")
	id := func(key string) string { return "openai/key-" + fingerprint(key) }
	pair[0].send(t, "POST", "/llm/pools/"+strings.Replace(id("sk-c"), "/", "/keys/", 1)+"/disable", "", "")
	soon(t, "the other has it disabled", func() bool { return pair[1].poolKeys(t)[id("sk-c")].State == "disabled" })

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if status, text := pair[i%2].do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusOK {
					t.Errorf("got %d %s", status, text)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("a call took %s", took)
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond) // of load before
	server.Kill()
	for _, g := range pair {
		g.await(t, "redis is away")
	}
	d.says("sk-a", 429, map[string]string{"Retry-After": "60"}, `{"error":{"code":"rate_limit_exceeded"}}`)
	soon(t, "each finds out by itself", func() bool {
		return len(pair[0].poolKeys(t)[id("sk-a")].RestingModels)+len(pair[1].poolKeys(t)[id("sk-a")].RestingModels) == 2
	})
	server.Restart()
	for _, g := range pair {
		g.await(t, "redis is back")
	}
	pair[1].send(t, "POST", "/llm/pools/"+strings.Replace(id("sk-b"), "/", "/keys/", 1)+"/disable", "", "")
	soon(t, "all is shared again", func() bool { return pair[0].poolKeys(t)[id("sk-b")].State == "disabled" })
	close(stop)
	wg.Wait()

	late := d.join(t, server, "keys sk-a sk-b sk-c sk-d")
	soon(t, "a newcomer knows what Redis had forgotten", func() bool {
		keys := late.poolKeys(t)
		return keys[id("sk-c")].State == "disabled" && len(keys[id("sk-a")].RestingModels) > 0
	})
}

// A Redis that is emptied is told anew, a reload interrupts nothing, one that
// takes the Redis away ends the sharing, and Redis learns no secret.
func TestStateOutlivesFlushesAndReloads(t *testing.T) {
	d, server, pair := startSharing(t, "keys sk-canary-a sk-canary-b")
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	path := func(key string) string { return "/llm/pools/openai/keys/key-" + fingerprint(key) }
	state := func(g *gateway, key string) string { return g.poolKeys(t)["openai/key-"+fingerprint(key)].State }
	change := func(g *gateway, key, action string) { g.send(t, "POST", path(key)+"/"+action, "", "") }

	change(pair[0], "sk-canary-a", "disable")
	soon(t, "it is disabled", func() bool { return state(pair[1], "sk-canary-a") == "disabled" })
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	soon(t, "it is told anew", func() bool { return client.Exists(t.Context(), "caddy_llm:{pool}:facts").Val() == 1 })
	late := d.join(t, server, "keys sk-canary-a sk-canary-b")
	soon(t, "the newcomer has it disabled", func() bool { return state(late, "sk-canary-a") == "disabled" })

	config := strings.Replace(sharedState, "KEYS", "keys sk-canary-a sk-canary-b", 1)
	late.reload(t, strings.Replace(config, "client app CLIENT", "client app CLIENT\n\t\tmax_request_body 1MiB", 1))
	change(pair[0], "sk-canary-a", "enable")
	soon(t, "it is enabled again", func() bool { return state(late, "sk-canary-a") == "closed" })
	refused := expand(strings.Replace(config, "probe off", "probe off\n\t\trescue nonsense", 1), late.ports())
	if status, text := late.send(t, "POST", "/load", "text/caddyfile", refused); status == http.StatusOK {
		t.Fatalf("a config that makes no sense was taken: %s", text)
	}
	change(late, "sk-canary-b", "disable")
	soon(t, "a config that is refused changes nothing", func() bool { return state(pair[0], "sk-canary-b") == "disabled" })
	late.reload(t, strings.Replace(config, "redis {$REDIS}", "", 1))
	change(pair[0], "sk-canary-b", "enable")
	soon(t, "the other goes on", func() bool { return state(pair[1], "sk-canary-b") == "closed" })
	if got := state(late, "sk-canary-b"); got != "disabled" {
		t.Errorf("one that shares no more has it %s", got)
	}

	for _, stream := range []string{"facts", "spent", "pins"} {
		entries, err := client.XRange(t.Context(), "caddy_llm:{pool}:"+stream, "-", "+").Result()
		if text := fmt.Sprint(entries); err != nil || strings.Contains(text, "canary") {
			t.Errorf("%s: %v, %v", stream, entries, err)
		}
	}
}
