// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// A key that fails is passed over, and is left alone while it rests.
func TestRotatesPastFailingKeys(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"rate limited": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "30")
			answerJSON(w, 429, `{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}`)
		},
		"rejected": func(w http.ResponseWriter) {
			answerJSON(w, 401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`)
		},
		"no quota": func(w http.ResponseWriter) {
			answerJSON(w, 429, `{"error":{"message":"quota","type":"insufficient_quota","code":"insufficient_quota"}}`)
		},
		"no access": func(w http.ResponseWriter) {
			answerJSON(w, 403, `{"error":{"message":"no","code":"insufficient_permissions"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := "bad-"+t.Name(), "good-"+t.Name()
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
				if key == bad {
					fail(w)
					return
				}
				answerJSON(w, 200, chatAnswer)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, bad, good)}, Retry: quick})
			for range 4 {
				status, text, call := chat(t, tr, chatBody)
				if status != 200 || text != chatAnswer {
					t.Fatalf("got %d %s", status, text)
				}
				if call.Outcome != OutcomeOK || call.KeyID != good {
					t.Errorf("outcome %s by %s", call.Outcome, call.KeyID)
				}
			}
			if n := strings.Count(up.keysAsked(), bad); n != 1 {
				t.Errorf("the failing key was asked %d times, want once: %s", n, up.keysAsked())
			}
		})
	}
}

// Faults of the provider are retried, a bounded number of times, and cost the
// key nothing.
func TestRetriesUpstreamFaults(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"500":   func(w http.ResponseWriter) { answerJSON(w, 500, `{"error":{"message":"boom"}}`) },
		"503":   func(w http.ResponseWriter) { answerJSON(w, 503, `no backend`) },
		"529":   func(w http.ResponseWriter) { answerJSON(w, 529, `{"error":{"type":"overloaded_error"}}`) },
		"reset": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var failures atomic.Int32
			failures.Store(2)
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				if failures.Add(-1) >= 0 {
					fail(w)
					return
				}
				answerJSON(w, 200, chatAnswer)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "only-"+t.Name())}, Retry: quick})
			if status, text, _ := chat(t, tr, chatBody); status != 200 {
				t.Fatalf("after two failures: got %d %s", status, text)
			}

			failures.Store(1000)
			status, _, call := chat(t, tr, chatBody)
			if status < 500 || call.Outcome != OutcomeExhausted {
				t.Errorf("in an outage: got %d, outcome %s", status, call.Outcome)
			}
			if n := len(call.Attempts); n != 3 {
				t.Errorf("in an outage: %d attempts, want 3", n)
			}
			failures.Store(0)
			if status, _, _ := chat(t, tr, chatBody); status != 200 {
				t.Errorf("after the outage: got %d", status)
			}
		})
	}
}

// The client's fault is sent upstream once and passed on as it is.
func TestPassesOnTheClientsFault(t *testing.T) {
	const refusal = `{"error":{"message":"bad tool","type":"invalid_request_error","param":"tools","code":null}}`
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 400, refusal) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name())}, Retry: quick})
	status, text, call := chat(t, tr, chatBody)
	if status != 400 || text != refusal || call.Outcome != OutcomeError {
		t.Errorf("got %d %s, outcome %s", status, text, call.Outcome)
	}
	if n := len(up.requests()); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// A request that may have created something is not sent again after a reset.
func TestDoesNotRepeatWhatCreates(t *testing.T) {
	up := newUpstream(t, func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	res, _ := post(t, context.Background(), tr, "/v1/batches", `{"input_file_id":"f"}`)
	if res == nil || res.StatusCode != http.StatusBadGateway {
		t.Fatalf("got %v", res)
	}
	if n := len(up.requests()); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// When every key is limited, the client gets the provider's own words and the
// time at which the first key comes free.
func TestAnswersWhenEveryKeyIsLimited(t *testing.T) {
	const limited = `{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}`
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		w.Header().Set("Retry-After", map[bool]string{true: "60", false: "20"}[strings.HasPrefix(key, "a-")])
		answerJSON(w, 429, limited)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name())}, Retry: quick})
	for i := range 2 {
		res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != 429 || call.Outcome != OutcomeExhausted {
			t.Errorf("call %d: got %d, outcome %s", i, res.StatusCode, call.Outcome)
		}
		if wait := res.Header.Get("Retry-After"); wait != "20" {
			t.Errorf("call %d: Retry-After is %s, want the earliest, 20", i, wait)
		}
		if i == 0 && string(text) != limited {
			t.Errorf("call %d: got %s", i, text)
		}
	}
	if n := len(up.requests()); n != 2 {
		t.Errorf("asked %d times, want each key once", n)
	}
}

// A rejected key is our trouble: the client must not take it for its own, and
// must not see what the provider says about it.
func TestHidesRejectedKeys(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		answerJSON(w, 401, `{"error":{"message":"Incorrect API key provided: `+key+`","code":"invalid_api_key"}}`)
	})
	key := "sk-canary-" + t.Name()
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, key)}, Retry: quick})
	status, text, _ := chat(t, tr, chatBody)
	if status != http.StatusServiceUnavailable || strings.Contains(text, "canary") {
		t.Errorf("got %d %s", status, text)
	}
}

// A provider that is silent is given up, and the next target answers.
func TestGivesUpASilentProvider(t *testing.T) {
	silent := newUpstream(t, func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() })
	healthy := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("silent", silent.URL, "a-"+t.Name()), pool("healthy", healthy.URL, "b-"+t.Name())},
		Models:    []*ModelRoute{{Match: "*", Targets: []Target{{Provider: "silent"}, {Provider: "healthy", Model: "gpt-4o-mini"}}}},
		Retry:     quick,
		Timeouts:  Timeouts{Headers: caddy.Duration(50 * time.Millisecond)},
	})
	status, _, call := chat(t, tr, chatBody)
	if status != 200 || call.Provider != "healthy" || call.Outcome != OutcomeOK {
		t.Errorf("got %d from %s, outcome %s", status, call.Provider, call.Outcome)
	}
	if n := len(silent.requests()); n != 1 {
		t.Errorf("the silent provider was asked %d times, want once", n)
	}
	want := strings.Replace(chatBody, "gpt-4o", "gpt-4o-mini", 1)
	if got := healthy.requests()[0].body; got != want {
		t.Errorf("the fallback was sent %s, want %s", got, want)
	}
}

// No provider can be reached at all.
func TestUnreachableProvider(t *testing.T) {
	up := newUpstream(t, func(http.ResponseWriter, *http.Request, string) {})
	up.Close()
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	status, text, call := chat(t, tr, chatBody)
	if status != http.StatusBadGateway || !strings.Contains(text, "upstream_unreachable") {
		t.Errorf("got %d %s", status, text)
	}
	if class := call.Attempts[0].Verdict.Class.String(); class != "not_sent" {
		t.Errorf("class is %s", class)
	}
}

// The client's departure cancels the provider and costs the key nothing.
func TestClientGone(t *testing.T) {
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	hang := true
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if hang {
			asked <- struct{}{}
			<-r.Context().Done()
			gone <- struct{}{}
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	res, call := post(t, ctx, tr, "/v1/chat/completions", chatBody)
	if res != nil || call.Outcome != OutcomeCanceled {
		t.Fatalf("got %v, outcome %s", res, call.Outcome)
	}
	<-gone
	hang = false
	if status, _, _ := chat(t, tr, chatBody); status != 200 {
		t.Errorf("afterwards: got %d", status)
	}
	if snapshot := tr.Providers[0].pool.Load().Snapshot(); snapshot[0].InFlight != 0 {
		t.Errorf("a slot has leaked: %d in flight", snapshot[0].InFlight)
	}
}

// Two providers know the model's account apart: a 404 is worth one more key.
func TestUnknownModelIsTriedWithOneOtherKey(t *testing.T) {
	const missing = `{"error":{"message":"The model does not exist","type":"invalid_request_error","code":"model_not_found"}}`
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 404, missing) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name(), "c-"+t.Name())}, Retry: quick})
	status, text, _ := chat(t, tr, chatBody)
	if status != 404 || text != missing {
		t.Errorf("got %d %s", status, text)
	}
	if n := len(up.requests()); n != 2 {
		t.Errorf("asked %d times, want twice", n)
	}
}

// What was learned of a key outlives the config.
func TestReloadKeepsCoolDowns(t *testing.T) {
	bad, good := "bad-"+t.Name(), "good-"+t.Name()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		if key == bad {
			w.Header().Set("Retry-After", "60")
			answerJSON(w, 429, `{}`)
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
	before := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, bad, good)}, Retry: quick})
	chat(t, before, chatBody)
	chat(t, before, chatBody)
	after := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, bad, good)}, Retry: quick})
	if err := before.Cleanup(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		chat(t, after, chatBody)
	}
	if n := strings.Count(up.keysAsked(), bad); n != 1 {
		t.Errorf("the limited key was asked %d times, want once", n)
	}
}
