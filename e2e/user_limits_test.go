// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const userLimits = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
}
http://127.0.0.1:GATEWAY {
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
	ports := []string{g.url[len("http://127.0.0.1:"):], g.sim[len("http://127.0.0.1:"):], g.admin[len("http://127.0.0.1:"):]}
	if status, text := g.send(t, "POST", "/load", "text/caddyfile", expand(strings.Replace(userLimits, "requests 1000", "requests 2000", 1), ports)); status != 200 {
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
	if err := first.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.exited

	second := start(t, config, data)
	killed := remaining(second)
	if killed >= before {
		t.Errorf("after a kill %d tokens are left, before it %d", killed, before)
	}
	_ = second.process.Signal(os.Interrupt)
	<-second.exited
	if ended := remaining(start(t, config, data)); ended >= killed {
		t.Errorf("after an end %d tokens are left, before it %d", ended, killed)
	}
}
