// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

const sharedLimits = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		OPTIONS
		redis {$REDIS} {
			on_failure ON_FAILURE
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
		model slow-* {
			delay 1s
			chunks 100
		}
	}
}
`

// limited returns the option for a client with limits.
func limited(limits ...string) string {
	return "client app CLIENT {\n" + strings.Join(limits, "\n") + "\n}\n"
}

// startTwo starts two gateways that share a Redis.
func startTwo(t *testing.T, server *redistest.Server, onFailure, options string) [2]*gateway {
	t.Helper()
	config := strings.NewReplacer("OPTIONS", options, "ON_FAILURE", onFailure).Replace(sharedLimits)
	return [2]*gateway{start(t, config, "REDIS="+server.Address), start(t, config, "REDIS="+server.Address)}
}

// boundedBody is a call that takes no more than about forty tokens.
var boundedBody = strings.Replace(chatBody, `"model"`, `"max_tokens":20,"model"`, 1)

// However many calls come at once, two instances let through together what one
// limit allows, of tokens and of requests.
func TestTwoInstancesShareALimit(t *testing.T) {
	gateways := startTwo(t, redistest.Start(t), "deny", limited("limit tokens 1000 1h", "limit concurrent 6"))
	var used atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 20 {
				res, text := gateways[i%2].call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
				switch res.StatusCode {
				case http.StatusOK:
					used.Add(int64(usageOf(t, text)))
				case http.StatusTooManyRequests:
				default:
					t.Errorf("got %d %s", res.StatusCode, text)
				}
			}
		})
	}
	wg.Wait()
	if n := used.Load(); n > 1000 || n < 900 {
		t.Errorf("%d tokens of 1000 were let through", n)
	}
	// Both know what both have used.
	for _, g := range gateways {
		res, _ := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
		if left, _ := strconv.Atoi(res.Header.Get("X-Ratelimit-Remaining-Tokens")); left > 100 {
			t.Errorf("%d tokens are said to be left", left)
		}
	}
}

// load calls a gateway until the context ends. It returns how many calls were
// answered by status, and the longest any of them took.
func (g *gateway) load(ctx context.Context, t *testing.T) (statuses map[int]int, longest time.Duration) {
	statuses = map[int]int{}
	for ctx.Err() == nil {
		begun := time.Now()
		res, text := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
		statuses[res.StatusCode]++
		longest = max(longest, time.Since(begun))
		if res.StatusCode == http.StatusServiceUnavailable && !strings.Contains(text, `"code":"limits_unavailable"`) {
			t.Errorf("got %s", text)
		}
	}
	return statuses, longest
}

// killUnderLoad loads two gateways, kills Redis in the middle and starts it
// again. It returns how many calls were answered by status.
func killUnderLoad(t *testing.T, gateways [2]*gateway, server *redistest.Server) map[int]int {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	all := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			statuses, longest := gateways[i%2].load(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			for status, n := range statuses {
				all[status] += n
			}
			if longest > 5*time.Second {
				t.Errorf("a call took %s", longest)
			}
		})
	}
	gateways[0].awaitCalls(t, 20)
	server.Kill()
	for _, g := range gateways {
		g.await(t, "redis is away")
	}
	server.Restart()
	for _, g := range gateways {
		g.await(t, "redis is back")
	}
	stop()
	wg.Wait()
	return all
}

// With allow no call fails because Redis is away, and none waits for it; when
// it is back, the instances count together again.
func TestRedisDiesUnderLoadAllow(t *testing.T) {
	server := redistest.Start(t)
	gateways := startTwo(t, server, "allow", limited("limit requests 1000000 1h", "limit tokens 100000000 1h", "limit concurrent 100"))
	if statuses := killUnderLoad(t, gateways, server); len(statuses) != 1 || statuses[200] == 0 {
		t.Errorf("calls were answered with %v", statuses)
	}
	for range 500 {
		var left [2]int
		for i, g := range gateways {
			res, _ := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
			left[i], _ = strconv.Atoi(res.Header.Get("X-Ratelimit-Remaining-Requests"))
		}
		if left[1] == left[0]-1 {
			return
		}
		time.Sleep(20 * time.Millisecond) // debts are being paid
	}
	t.Error("the instances do not count together again")
}

// With deny calls are refused while Redis is away, but no key is called wrong.
func TestRedisDiesUnderLoadDeny(t *testing.T) {
	server := redistest.Start(t)
	gateways := startTwo(t, server, "deny", limited("limit requests 1000000 1h"))
	statuses := killUnderLoad(t, gateways, server)
	if len(statuses) != 2 || statuses[200] == 0 || statuses[503] == 0 {
		t.Errorf("calls were answered with %v", statuses)
	}
	server.Kill()
	gateways[0].call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
	res, text := gateways[0].call(t, "127.0.0.1", clientKey, "/v1/messages", boundedBody)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(text, `{"type":"error","error":{"type":"overloaded_error","message":"the limits`) {
		t.Errorf("got %d %s, %v", res.StatusCode, text, res.Header)
	}
	if res, _ := gateways[0].call(t, "127.0.0.1", "wrong", "/v1/chat/completions", boundedBody); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", res.StatusCode)
	}
}

// What an instance held that is killed comes free for the others.
func TestKilledInstanceHoldsNothing(t *testing.T) {
	gateways := startTwo(t, redistest.Start(t), "allow", limited("limit concurrent 1"))
	res, err := http.DefaultClient.Do(gateways[0].newRequest(t, "POST", "/v1/chat/completions", strings.Replace(chatStreamBody, "gpt-4o", "slow-1", 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ask := func() int {
		res, _ := gateways[1].call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
		return res.StatusCode
	}
	if status := ask(); status != http.StatusTooManyRequests {
		t.Errorf("beside the stream: %d", status)
	}
	gateways[0].Kill()
	if status := ask(); status != http.StatusTooManyRequests {
		t.Errorf("at once after the kill: %d", status)
	}
	for end := time.Now().Add(40 * time.Second); ask() != http.StatusOK; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the place does not come free")
		}
	}
}
