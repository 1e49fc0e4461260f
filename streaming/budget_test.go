// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// neverOpen is a breaker that lets every call through once a retry was served.
var neverOpen = Breaker{Failures: 1 << 20, MinSuccess: 1e-9}

// newOutage starts a provider that fails but for the second request.
func newOutage(t *testing.T) *upstream {
	t.Helper()
	var requests atomic.Int32
	return newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		if requests.Add(1) == 2 {
			answerJSON(w, 200, chatAnswer)
			return
		}
		answerJSON(w, 500, `{"error":{"message":"boom"}}`)
	})
}

// In an outage the provider is asked little more often than without one,
// however many times a single call may be sent again.
func TestRetriesOfAllCallsAreBounded(t *testing.T) {
	const calls = 100
	for name, test := range map[string]struct {
		budget      float64
		least, most int
	}{
		"by default":  {0, 10, retryReserve + calls/5 + 10},
		"a tenth":     {0.1, 10, retryReserve + calls/10 + 10},
		"not at all":  {-1, 2 * calls, 2 * calls},
		"a whole one": {1, calls, retryReserve + calls + 10},
	} {
		t.Run(name, func(t *testing.T) {
			up := newOutage(t)
			retry := quick
			retry.Budget = test.budget
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: retry, Breaker: neverOpen})
			chat(t, tr, chatBody)
			for range calls {
				if status, text, _ := chat(t, tr, chatBody); status != 500 {
					t.Fatalf("got %d %s", status, text)
				}
			}
			if retries := len(up.requests()) - calls - 2; retries < test.least || retries > test.most {
				t.Errorf("%d retries of %d calls, want %d to %d", retries, calls, test.least, test.most)
			}
		})
	}
}

// What one provider's outage has used up is not missing at another.
func TestBudgetIsTheProviders(t *testing.T) {
	out := newOutage(t)
	var failed atomic.Bool
	shaky := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		if !failed.Swap(true) {
			answerJSON(w, 500, `{}`)
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("out", out.URL, "a-"+t.Name()), pool("shaky", shaky.URL, "b-"+t.Name())},
		Models:    []*ModelRoute{{Match: "gpt-4o", Targets: []Target{{Provider: "out"}}}, {Match: "*", Targets: []Target{{Provider: "shaky"}}}},
		Retry:     quick, Breaker: neverOpen,
	})
	for range 50 {
		chat(t, tr, chatBody)
	}
	if status, _, _ := chat(t, tr, strings.Replace(chatBody, "gpt-4o", "o1", 1)); status != 200 {
		t.Errorf("got %d", status)
	}
}

// An empty answer is passed on where there is no budget to ask for another.
func TestEmptyAnswerIsPassedOnWithoutABudget(t *testing.T) {
	const empty = `{"id":"c1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, empty) })
	retry := quick
	retry.Budget = 1e-9
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: retry})
	for range 3 * retryReserve {
		if status, text, _ := chat(t, tr, chatBody); status != 200 || text != empty {
			t.Fatalf("got %d %s", status, text)
		}
	}
	if n := len(up.requests()); n > 4*retryReserve+5 {
		t.Errorf("%d requests", n)
	}
}

// A stated wait is believed up to the bound that the operator sets.
func TestStatedWaitIsBounded(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Retry-After", "86400")
		answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
	})
	retry := quick
	retry.MaxWait = caddy.Duration(time.Minute)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: retry})
	res, _ := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "60" {
		t.Errorf("got %d with Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if status := tr.Providers[0].pool.Load().Snapshot()[0]; status.CoolingModels["gpt-4o"].Until.After(time.Now().Add(time.Minute)) {
		t.Errorf("the key rests until %s", status.CoolingModels["gpt-4o"])
	}
}

func TestRefusedRetryOptions(t *testing.T) {
	for _, retry := range []Retry{{Budget: 1.5}, {MaxWait: -1}, {Delay: -1}, {Deadline: -1}} {
		if err := retry.validate(); err == nil {
			t.Errorf("%+v was taken", retry)
		}
	}
	if err := (&Retry{Budget: 1, MaxWait: caddy.Duration(keypool.DefaultMaxWait)}).validate(); err != nil {
		t.Error(err)
	}
}
