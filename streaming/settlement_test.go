// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// A timeout of the provider's own transport is the provider's slowness, not the
// client's departure.
func TestTransportsOwnTimeoutIsSlowness(t *testing.T) {
	slow := scripted(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	healthy := scripted(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) })
	p := pool("slow", slow.URL, "a-"+t.Name())
	p.TransportRaw = json.RawMessage(`{"protocol":"http","response_header_timeout":50000000}`)
	tr := provision(t, &Transport{
		Providers: []*Provider{p, pool("healthy", healthy.URL, "b-"+t.Name())},
		Models:    []*ModelRoute{{Match: "*", Targets: []Target{{Provider: "slow"}, {Provider: "healthy"}}}},
		Retry:     quick,
	})
	status, _, call := chat(t, tr, chatBody)
	if status != 200 || call.Attempts[0].Verdict.Class != keypool.ClassSlow {
		t.Errorf("got %d, attempts %+v", status, call.Attempts)
	}
}

// A name that nobody knows is the client's mistake, as often as it is made: no
// key rests for it.
func TestUnknownModelCostsNoKeyAnything(t *testing.T) {
	const missing = `{"error":{"message":"The model does not exist","type":"invalid_request_error","code":"model_not_found"}}`
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 404, missing) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name(), "c-"+t.Name())}, Retry: quick})
	for range 4 {
		status, text, call := chat(t, tr, chatBody)
		if status != 404 || text != missing || call.Outcome != OutcomeError || len(call.Attempts) != 2 {
			t.Errorf("got %d %s after %d attempts, outcome %s", status, text, len(call.Attempts), call.Outcome)
		}
	}
	alone := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "only-"+t.Name())}, Retry: quick})
	if status, _, call := chat(t, alone, chatBody); status != 404 || len(call.Attempts) != 1 {
		t.Errorf("with one key: got %d after %d attempts", status, len(call.Attempts))
	}
}

// A key of a higher tier is asked when a request is too large, and the same key
// not again.
func TestTooLargeForTheTier(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, 429, `{"error":{"message":"Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 30601.","type":"tokens","code":"rate_limit_exceeded"}}`)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if status, _, call := chat(t, tr, chatBody); status != 429 || len(call.Attempts) != 1 {
		t.Errorf("got %d after %d attempts", status, len(call.Attempts))
	}
}

// A wait for a key does not outlast the call.
func TestWaitForAKeyEndsWithTheCall(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After-Ms", "3000")
		answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
	})
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
		Timeouts: Timeouts{Total: caddy.Duration(time.Second), FirstToken: -1},
	})
	if status, _, call := chat(t, tr, chatBody); status != 429 || len(call.Attempts) != 1 {
		t.Errorf("got %d after %d attempts", status, len(call.Attempts))
	}
}

// A provider that says to come again at once, over and over, is not hammered.
func TestTinyWaitsDoNotHammer(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After-Ms", "1")
		answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
	})
	retry := quick
	retry.WaitForKey = caddy.Duration(2 * time.Second)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: retry})
	chat(t, tr, chatBody)
	if n := len(up.requests()); n > 10 {
		t.Errorf("asked %d times in two seconds", n)
	}
}

// An empty answer is passed on where nothing may be asked again.
func TestEmptyAnswerIsPassedOnWithoutRetries(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { stream(w, roleChunk, finishChunk, doneEvent) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: Retry{Attempts: -1}})
	status, text, call := chat(t, tr, chatStreamBody)
	if status != 200 || text != roleChunk+finishChunk+doneEvent || call.Outcome != OutcomeOK {
		t.Errorf("got %d %q, outcome %s", status, text, call.Outcome)
	}
}

// A stream that is complete is whole, though its connection breaks then.
func TestBreakBehindTheEndIsNone(t *testing.T) {
	for _, rescue := range []string{rescueOff, rescueResume} {
		up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
			stream(w, roleChunk, chunk("one"), finishChunk)
			panic(http.ErrAbortHandler)
		})
		tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name()+rescue)}, Retry: quick, Rescue: rescue})
		_, text, call := chat(t, tr, chatStreamBody)
		if want := roleChunk + chunk("one") + finishChunk; text != want || call.Outcome != OutcomeOK || len(up.requests()) != 1 {
			t.Errorf("rescue %s: outcome %s after %d requests: %q", rescue, call.Outcome, len(up.requests()), text)
		}
	}
}

// Of several answers at once, one may be over before the next begins.
func TestSeveralChoicesOneAfterTheOther(t *testing.T) {
	next := make(chan struct{})
	second := `data: {"choices":[{"index":1,"delta":{"content":"other"},"finish_reason":"stop"}]}` + "\n\n"
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, roleChunk, chunk("one"), finishChunk)
		<-next
		stream(w, second, doneEvent)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", `{"model":"gpt-4o","stream":true,"n":2,"messages":[]}`)
	time.AfterFunc(endGrace+200*time.Millisecond, func() { close(next) })
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if want := roleChunk + chunk("one") + finishChunk + second + doneEvent; err != nil || string(text) != want || call.Outcome != OutcomeOK {
		t.Errorf("outcome %s, %v: %q", call.Outcome, err, text)
	}
}

// What breaks is the provider's error, not a refusal of ours.
func TestFaultIsNoRefusal(t *testing.T) {
	up := scripted(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if _, call := post(t, context.Background(), tr, "/v1/batches", `{"input_file_id":"f"}`); call.Outcome != OutcomeError {
		t.Errorf("outcome %s", call.Outcome)
	}
}

// Ten keys that are all refused, as from a bad egress address, end with none of
// them disabled: it is the provider that is left alone.
func TestTenKeysRefusedAlike(t *testing.T) {
	for status, body := range map[int]string{
		403: `{"error":{"code":"unauthorized","message":"your address is not allowed"}}`,
		401: `{"error":{"code":"invalid_api_key","message":"Incorrect API key provided"}}`,
	} {
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, status, body) })
		var keys []string
		for i := range 10 {
			keys = append(keys, fmt.Sprintf("%d-%d-%s", status, i, t.Name()))
		}
		tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, keys...)}, Retry: quick})
		for range 5 {
			if got, text, _ := chat(t, tr, chatBody); got != 403 && got != 503 {
				t.Errorf("%d: got %d %s", status, got, text)
			}
		}
		if n := len(up.requests()); n != 10 {
			t.Errorf("%d: the provider was asked %d times, want once with each key", status, n)
		}
		for _, key := range tr.Providers[0].pool.Load().Snapshot() {
			if key.State != "closed" || len(key.CoolingModels) > 0 {
				t.Errorf("%d: %+v", status, key)
			}
		}
	}
}
