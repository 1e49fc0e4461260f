// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// pathOf has for each API family a path of its own.
var pathOf = map[string]string{
	"openai":    "/v1/chat/completions",
	"anthropic": "/v1/messages",
	"gemini":    "/v1beta/models/gpt-4o:generateContent",
	"azure":     "/openai/deployments/gpt-4o/chat/completions",
	"bedrock":   "/model/gpt-4o/converse",
	"vertex":    "/v1/projects/p/locations/l/publishers/google/models/gpt-4o:generateContent",
	"cohere":    "/v2/chat",
	"ollama":    "/api/chat",
	"dashscope": "/api/v1/services/aigc/text-generation/generation",
	"tgi":       "/generate",
	"llama":     "/completion",
}

// checkShape checks that an answer is what a family's clients take for an
// error, and says code and message.
func checkShape(t *testing.T, w *httptest.ResponseRecorder, name, code, message string, wait time.Duration) {
	t.Helper()
	family, known := wire.Lookup(name)
	if !known {
		t.Fatalf("no family %s", name)
	}
	want := string(family.ErrorBody(wire.Error{
		Status: http.StatusTooManyRequests, Code: code, Message: message, RetryAfter: wait, RequestID: w.Header().Get("X-Request-Id"),
	}))
	if w.Code != http.StatusTooManyRequests || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s\nwant %s", w.Code, w.Body, want)
	}
	if !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), code) {
		t.Errorf("not JSON with %s: %s", code, w.Body)
	}
	if after := w.Header().Get("Retry-After"); after != strconv.Itoa(int(wait/time.Second)) {
		t.Errorf("Retry-After %q, want %s", after, wait)
	}
}

// Every layer refuses in the shape of the client's API family and in its
// language, whichever these are.
func TestRefusalsInEveryFamily(t *testing.T) {
	languages := map[string]func(text) string{
		"":                  func(t text) string { return t.en },
		"de,en;q=0.5":       func(t text) string { return t.en },
		"zh-CN,zh;q=0.9,en": func(t text) string { return t.zh },
	}
	user := limited(t, &Limit{Kind: "concurrent", Amount: 1})
	inside, leave := make(chan bool), make(chan bool)
	go behind(user, request("/v1/chat/completions", chat), func(http.ResponseWriter, *http.Request) error {
		inside <- true
		<-leave
		return nil
	})
	<-inside
	defer close(leave)

	for _, name := range wire.Names() {
		path, known := pathOf[name]
		if !known {
			t.Errorf("there is no path for the family %s", name)
			continue
		}
		for language, in := range languages {
			t.Run(name+" "+language, func(t *testing.T) {
				w, passed, err := serve(user, request(path, chat, "Accept-Language", language))
				if passed || err != nil {
					t.Fatalf("passed: %t, %v", passed, err)
				}
				checkShape(t, w, name, "user_quota_exceeded", in(userLayer.text)+" (concurrent calls): "+in(text{"all 1 are under way", "1 个均在进行中"}), time.Second)
				for zone, layer := range map[string]layer{"llm_ip": addressLayer, "llm_global": globalLayer} {
					checkShape(t, limitedBy(t, zone, request(path, chat, "Accept-Language", language)), name, layer.code, in(layer.text), layer.wait)
				}
			})
		}
	}
}

// limitedBy returns what a request is answered that a rate_limit in front has
// refused, without saying for how long.
func limitedBy(t *testing.T, zone string, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	repl := caddy.NewReplacer()
	repl.Set("http.rate_limit.exceeded.name", zone)
	r = caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{})
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ErrorCtxKey, caddyhttp.Error(http.StatusTooManyRequests, nil)))
	if err := (&LimitError{GlobalZones: []string{"llm_global"}}).ServeHTTP(w, r, caddyhttp.HandlerFunc(nil)); err != nil {
		t.Fatal(err)
	}
	return w
}
