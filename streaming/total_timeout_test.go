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

// inAll are limits of which only that of the whole call matters.
func inAll(total time.Duration) Timeouts {
	return Timeouts{Total: caddy.Duration(total), FirstToken: -1}
}

// A call that takes too long in all is ended, whatever it is doing. That is no
// fault of the key's or the provider's: the next call is sent as well.
func TestTotalTimeoutBlamesNobody(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"before the answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"before it says anything": func(w http.ResponseWriter, r *http.Request) {
			stream(w, roleChunk)
			<-r.Context().Done()
		},
		"within the answer": func(w http.ResponseWriter, r *http.Request) {
			stream(w, roleChunk, chunk("one"))
			<-r.Context().Done()
		},
		"within an answer that never pauses": func(w http.ResponseWriter, r *http.Request) {
			stream(w, roleChunk)
			for r.Context().Err() == nil {
				stream(w, chunk("again"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) { answer(w, r) })
			tr := provision(t, &Transport{
				Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
				Timeouts: inAll(150 * time.Millisecond), Breaker: Breaker{Failures: 2},
			})
			for i := range 4 {
				status, text, call := chat(t, tr, chatStreamBody)
				if !strings.Contains(text, "timeouts total") || len(call.Attempts) != 1 {
					t.Fatalf("call %d: got %d …%q after %d attempts", i, status, text[max(0, len(text)-300):], len(call.Attempts))
				}
				if status == http.StatusOK && call.Outcome != OutcomeBroken || status != http.StatusOK && (status != http.StatusGatewayTimeout || call.Outcome != OutcomeExhausted) {
					t.Errorf("call %d: got %d, outcome %s", i, status, call.Outcome)
				}
			}
			if key := tr.Providers[0].pool.Load().Snapshot()[0]; key.Errors != 0 || !key.Available() {
				t.Errorf("the key stands like that: %+v", key)
			}
			if up := tr.Providers[0].pool.Load().UpstreamStatus(); up.Errors != 0 || len(up.Circuits) != 0 {
				t.Errorf("the provider stands like that: %+v", up)
			}
		})
	}
}

// A client that reads on only when the call's time is up still gets what the
// provider had sent by then.
func TestSlowClientGetsWhatWasSentInTime(t *testing.T) {
	const total = 500 * time.Millisecond
	var want strings.Builder
	want.WriteString(roleChunk)
	for range 200 {
		want.WriteString(chunk(strings.Repeat("word ", 10)))
	}
	want.WriteString(finishChunk + doneEvent)
	sent := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, want.String())
		close(sent)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Timeouts: inAll(total)})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	<-sent
	time.Sleep(time.Until(call.Started.Add(total + time.Millisecond)))
	text, err := io.ReadAll(res.Body)
	if err != nil || string(text) != want.String() {
		t.Errorf("got %d bytes of %d, ending in …%q: %v", len(text), want.Len(), text[max(0, len(text)-200):], err)
	}
	res.Body.Close()
	if call.Outcome != OutcomeOK {
		t.Errorf("outcome %s, cause %v", call.Outcome, call.Cause)
	}
}

// But an answer that goes on is over: the time that its client let pass does not
// come on top.
func TestSlowClientDoesNotProlongTheCall(t *testing.T) {
	const total = 500 * time.Millisecond
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		stream(w, roleChunk)
		for range 64 {
			stream(w, chunk(strings.Repeat("word ", 50<<10)))
		}
		stream(w, finishChunk, doneEvent)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Timeouts: inAll(total)})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	time.Sleep(time.Until(call.Started.Add(total + time.Millisecond)))
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if len(text) > 1<<20 || !strings.Contains(string(text), "timeouts total") || call.Outcome != OutcomeBroken {
		t.Errorf("outcome %s after %d bytes, ending in …%q", call.Outcome, len(text), text[max(0, len(text)-200):])
	}
}
