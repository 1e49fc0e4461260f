// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// underway has a call with that body under way until it is ended, which returns
// the header of its answer.
func underway(t *testing.T, h *Handler, body string) (end func() http.Header) {
	t.Helper()
	inside, leave, answered := make(chan bool), make(chan bool), make(chan http.Header)
	go func() {
		answered <- behind(h, request("/v1/chat/completions", body), func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			inside <- true
			<-leave
			return nil
		}).Header()
	}()
	<-inside
	return func() http.Header {
		close(leave)
		return <-answered
	}
}

// A client whose estimate does not fit is told what it is, what is left, when
// there is room, and how much it could ask for at once; and with that it fits.
func TestQuotaRefusalTellsHowToFit(t *testing.T) {
	for _, kind := range []string{"tokens", "output_tokens"} {
		t.Run(kind, func(t *testing.T) {
			h := limited(t, &Limit{Kind: kind, Amount: 1000, Per: "day"})
			ask := func(max int64) string { return fmt.Sprintf(`{"model":"m","max_tokens":%d,"messages":[]}`, max) }
			defer underway(t, h, ask(600))()

			w, passed, _ := serve(h, request("/v1/chat/completions", ask(900)))
			if passed || w.Code != http.StatusTooManyRequests {
				t.Fatalf("got %d, passed %t", w.Code, passed)
			}
			var body struct {
				Error struct {
					Message    string
					RetryAfter int64 `json:"retry_after"`
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			need, left, wait, fits := int64(0), int64(0), "", int64(0)
			words := "quota used up (" + kind + " per day): this call may take %d, and %d of 1000 are left; there is room for it in %s with max_tokens of at most %d it would fit now"
			if _, err := fmt.Sscanf(body.Error.Message, words, &need, &left, &wait, &fits); err != nil || need < 900 || need > 940 || left > 400 || left < 360 {
				t.Fatalf("got %q: %v", body.Error.Message, err)
			}
			if stated, err := time.ParseDuration(strings.TrimSuffix(wait, ";")); err != nil || int64(stated.Seconds()) != body.Error.RetryAfter {
				t.Errorf("the message says %s, the body %ds", wait, body.Error.RetryAfter)
			}
			if _, passed, _ := serve(h, request("/v1/chat/completions", ask(fits+1))); passed {
				t.Errorf("%d is not the most that fits", fits)
			}
			checkPassed(t, h, request("/v1/chat/completions", ask(fits)))
		})
	}
}

// Where nothing is left for output, no number is named that would not help.
func TestQuotaRefusalNamesNoOutputThatCannotFit(t *testing.T) {
	h := limited(t, &Limit{Kind: "tokens", Amount: 1000, Per: "day"})
	defer underway(t, h, `{"model":"m","max_tokens":5000}`)()
	w, _, _ := serve(h, request("/v1/chat/completions", `{"model":"m","max_tokens":10}`))
	if w.Code != http.StatusTooManyRequests || strings.Contains(w.Body.String(), "would fit") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// No limit is said to be whole again before the call may come back, nor to be
// whole while calls hold a part of it.
func TestResetAgreesWithRetryAfter(t *testing.T) {
	for _, limit := range []*Limit{
		{Kind: "tokens", Amount: 2000, Window: caddy.Duration(time.Minute)}, {Kind: "tokens", Amount: 2000, Per: "day"},
		{Kind: "output_tokens", Amount: 2000, Window: caddy.Duration(time.Minute)}, {Kind: "requests", Amount: 1, Window: caddy.Duration(time.Minute)},
	} {
		h := limited(t, limit)
		end := underway(t, h, `{"model":"m","max_tokens":1900}`)
		name := map[string]string{"tokens": "Tokens", "output_tokens": "Output-Tokens", "requests": "Requests"}[limit.Kind]
		for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
			w, passed, _ := serve(h, request(path, `{"model":"m","max_tokens":1900}`))
			if passed {
				t.Fatalf("%+v: %s passed", limit, path)
			}
			after, _ := strconv.Atoi(w.Header().Get("Retry-After"))
			reset, err := time.ParseDuration(w.Header().Get("X-Ratelimit-Reset-" + name))
			if at := w.Header().Get("Anthropic-Ratelimit-" + name + "-Reset"); at != "" {
				var until time.Time
				until, err = time.Parse(time.RFC3339, at)
				reset = time.Until(until)
			}
			if err != nil || after == 0 || reset < time.Duration(after-1)*time.Second {
				t.Errorf("%+v: reset in %s, Retry-After %d: %v", limit, reset, after, err)
			}
		}
		if reset := end().Get("X-Ratelimit-Reset-" + name); reset == "" || reset == "0s" {
			t.Errorf("%+v: what is held resets in %q", limit, reset)
		}
	}
}
