// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A prompt is not held while its answer is passed on, unless a rescue may need
// it; and not by a rescue either that has let go.
func TestPromptIsGivenUp(t *testing.T) {
	piece := chunk(strings.Repeat("x", 64<<10))
	for name, c := range map[string]struct {
		rescue string
		pieces int
		held   bool
	}{
		"without a rescue":             {rescueOff, 1, false},
		"with a rescue":                {rescueResume, 1, true},
		"with a rescue that let it go": {rescueResume, maxJournal/(64<<10) + 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				stream(w, roleChunk)
				for range c.pieces {
					stream(w, piece)
				}
				<-end
				stream(w, finishChunk, doneEvent)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Rescue: c.rescue})
			res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
			_, err := io.ReadFull(res.Body, make([]byte, len(roleChunk)+c.pieces*len(piece)))
			if held := call.Body != nil; err != nil || held != c.held {
				t.Errorf("held: %t, want %t, %v", held, c.held, err)
			}
			close(end)
			if _, err := io.ReadAll(res.Body); err != nil {
				t.Error(err)
			}
			res.Body.Close()
			call.Close()
			if call.Body != nil || call.Outcome != OutcomeOK {
				t.Errorf("held at the end: %t, outcome %s", call.Body != nil, call.Outcome)
			}
		})
	}
}

// What is left of a long refusal is not waited for when another target answers.
func TestLongRefusalIsLetGoForAnotherTarget(t *testing.T) {
	gone := make(chan struct{})
	up := newFailing(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		answerJSON(w, 400, `{"error":{"message":"too long","code":"context_length_exceeded"}}`+strings.Repeat(" ", 2*maxErrorBody))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	tr := twoModels(t, up, func(_ *Transport, r *ModelRoute) {
		r.ContextLength = []Target{{Provider: "p", Model: "fallback"}}
		r.Targets = r.Targets[:1]
	})
	if status, text, _ := chat(t, tr, chatStreamBody); status != 200 || !strings.Contains(text, "fallback") {
		t.Errorf("got %d %s", status, text)
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the connection of the refusal is still held")
	}
}

// The usage of a stored response was that of the call that made it.
func TestStoredResponseCostsNothing(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		answerJSON(w, 200, `{"id":"resp_1","object":"response","status":"completed","model":"gpt-4o","output":[],"usage":{"input_tokens":9,"output_tokens":7}}`)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	status, _, call := get(t, tr, "/v1/responses/resp_1")
	if usage := call.Result.Usage; status != 200 || call.Result.Model != "gpt-4o" || usage.InputTotal() != 0 || usage.OutputTotal() != 0 {
		t.Errorf("got %d, model %q, usage %+v", status, call.Result.Model, usage)
	}
}

// A key that does not know a model is asked once, and that is what it costs of
// its own limit.
func TestUnknownModelCostsTheKeyOneRequest(t *testing.T) {
	up := scripted(t,
		func(w http.ResponseWriter, _ *http.Request) {
			answerJSON(w, 404, `{"error":{"message":"no such model","code":"model_not_found"}}`)
		},
		func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) })
	p := pool("p", up.URL, "a-"+t.Name())
	p.Keys[0].Requests = &KeyLimit{Max: 2}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: Retry{WaitForKey: -1}})
	if status, _, call := chat(t, tr, chatBody); status != 404 || len(call.Attempts) != 1 {
		t.Errorf("got %d after %d attempts", status, len(call.Attempts))
	}
	if status, text, _ := chat(t, tr, chatBody); status != 200 {
		t.Errorf("the key's second request of two: %d %s", status, text)
	}
}
