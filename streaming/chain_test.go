// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// twoModels is a transport whose model "primary" falls back to "fallback", on
// the same provider with one key.
func twoModels(t *testing.T, up *upstream, configure func(*Transport, *ModelRoute)) *Transport {
	t.Helper()
	route := &ModelRoute{Match: "gpt-4o", Targets: []Target{{Provider: "p", Model: "primary"}, {Provider: "p", Model: "fallback"}}}
	tr := &Transport{Providers: []*Provider{pool("p", up.URL, "only-"+t.Name())}, Models: []*ModelRoute{route}, Retry: quick}
	if configure != nil {
		configure(tr, route)
	}
	return provision(t, tr)
}

// asked counts the requests for a model.
func (u *upstream) asked(model string) int {
	n := 0
	for _, s := range u.requests() {
		if strings.Contains(s.body, `"`+model+`"`) {
			n++
		}
	}
	return n
}

// failing answers for the fallback, and lets fail answer for the primary.
func failing(fail func(w http.ResponseWriter, r *http.Request, nth int)) func(*upstream) func(http.ResponseWriter, *http.Request, string) {
	return func(u *upstream) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, r *http.Request, _ string) {
			seen := u.requests()
			if strings.Contains(seen[len(seen)-1].body, `"fallback"`) {
				stream(w, roleChunk, chunk("fallback"), finishChunk, doneEvent)
				return
			}
			fail(w, r, u.asked("primary"))
		}
	}
}

func newFailing(t *testing.T, fail func(w http.ResponseWriter, r *http.Request, nth int)) *upstream {
	t.Helper()
	var u *upstream
	u = newUpstream(t, func(w http.ResponseWriter, r *http.Request, key string) { failing(fail)(u)(w, r, key) })
	return u
}

// A stream that generates nothing in time is given up for the next target,
// and is not asked again; but the last target is waited for.
func TestFirstTokenTimeout(t *testing.T) {
	for name, silence := range map[string]func(w http.ResponseWriter){
		"no headers": func(http.ResponseWriter) {},
		"no token":   func(w http.ResponseWriter) { stream(w, roleChunk) },
	} {
		t.Run(name, func(t *testing.T) {
			up := newFailing(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				silence(w)
				<-r.Context().Done()
			})
			tr := twoModels(t, up, func(tr *Transport, _ *ModelRoute) {
				tr.Timeouts.FirstToken = caddy.Duration(40 * time.Millisecond)
			})
			status, text, call := chat(t, tr, chatStreamBody)
			if status != 200 || !strings.Contains(text, "fallback") || call.TargetModel != "fallback" {
				t.Errorf("got %d %q", status, text)
			}
			if n := up.asked("primary"); n != 1 {
				t.Errorf("the silent model was asked %d times, want once", n)
			}
			if class := call.Attempts[0].Verdict.Class.String(); class != "slow" {
				t.Errorf("class %s", class)
			}
		})
	}
	t.Run("last target", func(t *testing.T) {
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			stream(w, roleChunk)
			time.Sleep(80 * time.Millisecond) // longer than the limit, which must not hold
			stream(w, chunk("late"), finishChunk, doneEvent)
		})
		tr := provision(t, &Transport{
			Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
			Timeouts: Timeouts{FirstToken: caddy.Duration(20 * time.Millisecond)},
		})
		if status, text, _ := chat(t, tr, chatStreamBody); status != 200 || !strings.Contains(text, "late") {
			t.Errorf("got %d %q", status, text)
		}
	})
}

// A key that comes free soon is waited for rather than another model asked;
// one that does not is not.
func TestWaitsForAKeyRatherThanChangeTheModel(t *testing.T) {
	up := newFailing(t, func(w http.ResponseWriter, _ *http.Request, nth int) {
		if nth > 1 {
			stream(w, roleChunk, chunk("primary"), finishChunk, doneEvent)
			return
		}
		w.Header().Set("Retry-After-Ms", "80")
		answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
	})
	began := time.Now()
	status, text, call := chat(t, twoModels(t, up, nil), chatStreamBody)
	if status != 200 || !strings.Contains(text, "primary") || up.asked("fallback") != 0 {
		t.Errorf("got %d %q", status, text)
	}
	if waited := time.Since(began); waited < 80*time.Millisecond {
		t.Errorf("asked again after %s, before its time", waited)
	}
	if len(call.Attempts) != 2 {
		t.Errorf("attempts: %+v", call.Attempts)
	}
}

func TestDoesNotWaitLongForAKey(t *testing.T) {
	up := newFailing(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Retry-After", "30")
		answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
	})
	status, text, _ := chat(t, twoModels(t, up, nil), chatStreamBody)
	if status != 200 || !strings.Contains(text, "fallback") || up.asked("primary") != 1 {
		t.Errorf("got %d %q after %d tries", status, text, up.asked("primary"))
	}
}

// A prompt that is too long goes to the model with the larger window, once, and
// to no other; so does one that a filter refuses.
func TestRefusedPromptGoesToItsOwnTarget(t *testing.T) {
	for name, c := range map[string]struct {
		refusal string
		route   func(*ModelRoute, []Target)
	}{
		"context length": {
			`{"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}`,
			func(r *ModelRoute, targets []Target) { r.ContextLength = targets },
		},
		"content filter": {
			`{"error":{"message":"The response was filtered due to the prompt triggering content management policy","code":"content_filter"}}`,
			func(r *ModelRoute, targets []Target) { r.ContentFilter = targets },
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := newFailing(t, func(w http.ResponseWriter, _ *http.Request, _ int) { answerJSON(w, 400, c.refusal) })
			plain := twoModels(t, up, nil)
			if status, text, _ := chat(t, plain, chatStreamBody); status != 400 || text != c.refusal {
				t.Errorf("without a target: got %d %s", status, text)
			}
			if up.asked("primary") != 1 || up.asked("fallback") != 0 {
				t.Errorf("without a target: asked %d and %d times", up.asked("primary"), up.asked("fallback"))
			}
			routed := twoModels(t, up, func(_ *Transport, r *ModelRoute) {
				r.Targets = r.Targets[:1]
				c.route(r, []Target{{Provider: "p", Model: "fallback"}})
			})
			status, text, call := chat(t, routed, chatStreamBody)
			if status != 200 || !strings.Contains(text, "fallback") || len(call.Attempts) != 2 {
				t.Errorf("with a target: got %d %s", status, text)
			}
		})
	}
}

// A single fault is retried at the same target; an outage is left for the next
// one after the retries that are allowed.
func TestRetriesBeforeTheNextTarget(t *testing.T) {
	up := newFailing(t, func(w http.ResponseWriter, _ *http.Request, nth int) {
		if nth > 1 {
			stream(w, roleChunk, chunk("primary"), finishChunk, doneEvent)
			return
		}
		answerJSON(w, 500, `{"error":{"message":"boom"}}`)
	})
	if status, text, _ := chat(t, twoModels(t, up, nil), chatStreamBody); status != 200 || !strings.Contains(text, "primary") {
		t.Errorf("after one fault: got %d %q", status, text)
	}
	down := newFailing(t, func(w http.ResponseWriter, _ *http.Request, _ int) { answerJSON(w, 503, `down`) })
	status, text, _ := chat(t, twoModels(t, down, nil), chatStreamBody)
	if status != 200 || !strings.Contains(text, "fallback") || down.asked("primary") != 3 {
		t.Errorf("in an outage: got %d %q after %d tries", status, text, down.asked("primary"))
	}
}

// An answer that ends well with nothing in it is asked for once more.
func TestEmptyAnswerIsAskedForOnceMore(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { stream(w, roleChunk, finishChunk, doneEvent) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	status, text, call := chat(t, tr, chatStreamBody)
	if want := roleChunk + finishChunk + doneEvent; status != 200 || text != want || call.Outcome != OutcomeOK {
		t.Errorf("got %d %q, outcome %s", status, text, call.Outcome)
	}
	if n := len(up.requests()); n != 2 {
		t.Errorf("asked %d times, want twice", n)
	}
}

// An answer that comes whole is held until it is, so that what breaks can be
// asked for again.
func TestBrokenWholeAnswerIsAskedForAgain(t *testing.T) {
	failed := false
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		if failed {
			answerJSON(w, 200, chatAnswer)
			return
		}
		failed = true
		w.Header().Set("Content-Length", "1000")
		answerJSON(w, 200, chatAnswer[:50])
		panic(http.ErrAbortHandler)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if status, text, call := chat(t, tr, chatBody); status != 200 || text != chatAnswer || call.Outcome != OutcomeOK {
		t.Errorf("got %d %q, outcome %s", status, text, call.Outcome)
	}
}

// A long error answer that is the client's reaches it whole.
func TestLongRefusalIsPassedOnWhole(t *testing.T) {
	refusal := `{"detail":[{"msg":"field required","input":"` + strings.Repeat("x", 200<<10) + `"}]}`
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 422, refusal) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if status, text, _ := chat(t, tr, chatBody); status != 422 || text != refusal {
		t.Errorf("got %d and %d bytes, want %d", status, len(text), len(refusal))
	}
}

// A provider that falls silent in the midst of it holds nobody for ever.
func TestLongRefusalThatStallsIsBrokenOff(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Length", "300000")
		w.WriteHeader(422)
		stream(w, strings.Repeat("x", 70<<10))
		<-r.Context().Done()
	})
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
		Timeouts: Timeouts{Idle: caddy.Duration(50 * time.Millisecond)},
	})
	res, _ := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
	if text, err := io.ReadAll(res.Body); err == nil || len(text) != 70<<10 {
		t.Errorf("got %d bytes and %v, want those that came, and an error", len(text), err)
	}
}
