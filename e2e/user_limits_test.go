// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const userLimits = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			limit tokens 200 1h
			limit requests 1000 1h
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`

// usageOf returns what an answer says it took, in tokens.
func usageOf(t *testing.T, text string) int {
	t.Helper()
	var body struct {
		Usage struct {
			Total int `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil || body.Usage.Total == 0 {
		t.Fatalf("no usage in %s", text)
	}
	return body.Usage.Total
}

// Tokens are counted as the provider states them; when they are used up, calls
// are refused, also after a reload.
func TestTokenQuota(t *testing.T) {
	g := start(t, userLimits)
	body := strings.Replace(chatBody, `"model"`, `"max_tokens":20,"model"`, 1)
	used := 0
	for calls := 0; ; calls++ {
		res, text := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", body)
		if res.StatusCode == 429 {
			if !strings.Contains(text, `"code":"user_quota_exceeded"`) || !strings.Contains(text, "quota used up (tokens per 1h)") {
				t.Errorf("got %s", text)
			}
			if wait, _ := strconv.Atoi(res.Header.Get("Retry-After")); wait < 3500 || wait > 3800 {
				t.Errorf("Retry-After %d", wait)
			}
			break
		}
		if used += usageOf(t, text); calls > 100 {
			t.Fatal("never refused")
		}
	}
	if used > 200 || used < 130 {
		t.Errorf("%d tokens were let through", used)
	}
	if status, text := g.send(t, "POST", "/load", "text/caddyfile", expand(strings.Replace(userLimits, "requests 1000", "requests 2000", 1), g.ports())); status != 200 {
		t.Fatalf("POST /load: %d %s", status, text)
	}
	res, text := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", body)
	if res.StatusCode != 429 {
		t.Errorf("after a reload: %d %s", res.StatusCode, text)
	}
	if limit := res.Header.Get("X-Ratelimit-Limit-Requests"); limit != "2000" {
		t.Errorf("the new limit is not in force: %q", limit)
	}
}

// However many calls come at once, together they take no more than there is.
func TestTokenQuotaUnderLoad(t *testing.T) {
	g := start(t, strings.Replace(userLimits, "tokens 200", "tokens 1000", 1))
	body := strings.Replace(chatBody, `"model"`, `"max_tokens":20,"model"`, 1)
	var used atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				res, text := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", body)
				if res.StatusCode == 200 {
					used.Add(int64(usageOf(t, text)))
				}
			}
		})
	}
	wg.Wait()
	if n := used.Load(); n > 1000 || n < 950 {
		t.Errorf("%d tokens of 1000 were let through", n)
	}
}

// What a client has used is there after a restart, also after a kill: at most
// the last second is lost.
func TestTokenQuotaSurvivesARestart(t *testing.T) {
	data := "XDG_DATA_HOME=" + t.TempDir()
	config := strings.Replace(userLimits, "tokens 200 1h", "tokens 1000 month", 1)
	body := strings.Replace(chatBody, `"model"`, `"max_tokens":20,"model"`, 1)
	remaining := func(g *gateway) int {
		t.Helper()
		res, text := g.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", body)
		left, err := strconv.Atoi(res.Header.Get("X-Ratelimit-Remaining-Tokens"))
		if err != nil {
			t.Fatalf("got %d %s", res.StatusCode, text)
		}
		return left
	}
	first := start(t, config, data)
	for range 10 {
		remaining(first)
	}
	before := remaining(first)
	time.Sleep(2 * time.Second) // it is written down every second
	first.Kill()

	second := start(t, config, data)
	killed := remaining(second)
	if killed >= before {
		t.Errorf("after a kill %d tokens are left, before it %d", killed, before)
	}
	second.Stop()
	if ended := remaining(start(t, config, data)); ended >= killed {
		t.Errorf("after an end %d tokens are left, before it %d", ended, killed)
	}
}

// A kill in the middle of load loses no more than was counted since the last
// writing, which is a second ago and takes a moment itself.
func TestKillUnderLoadLosesASecond(t *testing.T) {
	const lost = 2 * time.Second
	data := "XDG_DATA_HOME=" + t.TempDir()
	config := strings.Replace(userLimits, "tokens 200 1h", "tokens 100000000 month", 1)
	config = strings.Replace(config, "requests 1000 1h", "requests 1000000 1h", 1)
	first := start(t, config, data)

	type done struct {
		at     time.Time
		tokens int
	}
	var mu sync.Mutex
	var all []done
	var wg sync.WaitGroup
	var killed atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !killed.Load() {
				res, err := http.DefaultClient.Do(first.newRequest(t, "POST", "/v1/chat/completions", chatBody))
				if err != nil {
					return // it is killed
				}
				text, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil {
					return
				}
				mu.Lock()
				all = append(all, done{time.Now(), usageOf(t, string(text))})
				mu.Unlock()
			}
		})
	}
	time.Sleep(2 * lost) // some of it is to be written down in any case
	at := time.Now()
	killed.Store(true)
	first.Kill()
	wg.Wait()

	var requests, tokens, early, earlyTokens int
	for _, call := range all {
		requests, tokens = requests+1, tokens+call.tokens
		if at.Sub(call.at) > lost {
			early, earlyTokens = early+1, earlyTokens+call.tokens
		}
	}
	second := start(t, config, data)
	res, text := second.call(t, "127.0.0.1", clientKey, "/v1/chat/completions", chatBody)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s", res.StatusCode, text)
	}
	left, _ := strconv.Atoi(res.Header.Get("X-Ratelimit-Remaining-Requests"))
	if kept := 1000000 - left - 1; kept < early || kept > requests+4 {
		t.Errorf("%d requests are known of, %d had ended %s before the kill, %d at all", kept, early, lost, requests)
	}
	// This call holds what it may take, and so did those that were under way.
	left, _ = strconv.Atoi(res.Header.Get("X-Ratelimit-Remaining-Tokens"))
	if kept := 100000000 - left; kept < earlyTokens || kept > tokens+5*2000 {
		t.Errorf("%d tokens are known of, %d were taken %s before the kill, %d at all", kept, earlyTokens, lost, tokens)
	}
	if early == 0 {
		t.Error("no call had ended in time: the test is no test")
	}
}
