// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// named is a provider whose keys have ids that tell nothing of their secrets.
func named(t *testing.T, base string, ids ...string) *Provider {
	t.Helper()
	p := &Provider{Name: "p", BaseURL: base}
	for _, id := range ids {
		p.Keys = append(p.Keys, &Key{ID: id, Secret: "secret-" + id + "-" + t.Name()})
	}
	return p
}

// The client sees the attempts: of an answer, of a stream, and of an error. It
// sees none of a call that was sent nowhere.
func TestTrailHeader(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, bad bool)
		body   string
		trail  string
	}{
		"answer": {func(w http.ResponseWriter, bad bool) {
			if bad {
				w.Header().Set("X-Llm-Attempts", "forged")
				answerJSON(w, 401, `{"error":{"code":"invalid_api_key"}}`)
				return
			}
			answerJSON(w, 200, chatAnswer)
		}, chatBody, "bad:credential:N,good:ok:N"},
		"stream": {func(w http.ResponseWriter, bad bool) {
			if bad {
				stream(w, roleChunk, `data: {"error":{"message":"slow down","code":"rate_limit_exceeded"}}`+"\n\n")
				return
			}
			stream(w, roleChunk, chunk("hello"), finishChunk, doneEvent)
		}, chatStreamBody, "bad:rate_limited:N,good:ok:N"},
		"broken stream": {func(w http.ResponseWriter, bad bool) { stream(w, roleChunk, chunk("hello")) },
			chatStreamBody, "bad:ok:N"},
		"client's fault": {func(w http.ResponseWriter, bad bool) { answerJSON(w, 400, `{"error":{"message":"bad tool"}}`) },
			chatBody, "bad:caller:N"},
		"error": {func(w http.ResponseWriter, bad bool) { answerJSON(w, 401, `{"error":{"code":"invalid_api_key"}}`) },
			chatBody, "bad:credential:N,good:credential:N"},
		"model unknown to us": {nil, strings.Replace(chatBody, "gpt-4o", "o1", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
				test.answer(w, strings.HasPrefix(key, "secret-bad"))
			})
			tr := provision(t, &Transport{
				Providers: []*Provider{named(t, up.URL, "bad", "good")}, Retry: quick, TrailHeader: defaultTrailHeader,
				Models: []*ModelRoute{{Match: "gpt-*", Targets: []Target{{Provider: "p"}}}},
			})
			res, call := post(t, context.Background(), tr, "/v1/chat/completions", test.body)
			_, _ = io.ReadAll(res.Body)
			trail := regexp.MustCompile(`\d+(,|$)`).ReplaceAllString(res.Header.Get("X-LLM-Attempts"), "N$1")
			if trail != test.trail {
				t.Errorf("status %d, the trail is %q, want %q", res.StatusCode, trail, test.trail)
			}
			if name != "broken stream" && res.Header.Get("X-LLM-Attempts") != call.trail() {
				t.Errorf("the log says %v", call.Attempts)
			}
		})
	}
}

// Nobody is shown anything unasked.
func TestNoTrailUnlessWanted(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	tr := provision(t, &Transport{Providers: []*Provider{named(t, up.URL, "a")}, Retry: quick})
	if res, _ := post(t, context.Background(), tr, "/v1/chat/completions", chatBody); res.Header.Get("X-LLM-Attempts") != "" {
		t.Errorf("the header is %v", res.Header)
	}
}

// A trail has bounds and fits into a header. Of many attempts the last, which
// served the call, is there.
func TestTrailFitsIntoAHeader(t *testing.T) {
	call := new(Call)
	for i := range 100 {
		call.record(Attempt{KeyID: fmt.Sprintf("key-%d", i), Verdict: keypool.Verdict{Class: keypool.ClassRateLimited}, Duration: time.Second})
	}
	place := call.record(Attempt{KeyID: "team a,\nü", Duration: 1234 * time.Millisecond})
	call.judge(place, keypool.Verdict{Class: keypool.ClassBroken})
	trail := call.trail()
	if n := strings.Count(trail, ","); n != maxAttempts-1 {
		t.Errorf("%d commas: %s", n, trail)
	}
	if !strings.HasPrefix(trail, "key-0:rate_limited:1000,key-1:") || !strings.HasSuffix(trail, ",team_a____:broken:1234") {
		t.Errorf("got %s", trail)
	}
	call.Attempts = nil
	for range maxAttempts {
		call.record(Attempt{KeyID: strings.Repeat("k", 1000)})
	}
	if trail := call.trail(); len(trail) > maxTrail || strings.Count(trail, ":ok:0") != 4 || strings.HasSuffix(trail, ",") {
		t.Errorf("%d bytes: %s", len(trail), trail)
	}
}

func TestRefusedTrailHeaders(t *testing.T) {
	for _, name := range []string{"X Attempts", "X:", "Ünicode", "a\nb", "X[", "@"} {
		if err := (&Transport{TrailHeader: name}).validateTrail(); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
