// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// limited returns a handler with one client that has these limits.
func limited(t *testing.T, all ...*Limit) *Handler {
	c := newClient(t)
	c.Limits = all
	return newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
}

// behind sends a request through the handler to next. It lets next panic.
func behind(h *Handler, r *http.Request, next caddyhttp.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	defer func() { _ = recover() }()
	_ = h.ServeHTTP(w, r, next)
	return w
}

func remaining(t *testing.T, h *Handler, kind string) string {
	t.Helper()
	w := behind(h, request("/v1/chat/completions", chat), func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	})
	return w.Header().Get("X-Ratelimit-Remaining-" + kind)
}

// A client that has used up its requests is told so in its family's shape,
// with the time to wait, before its body is read.
func TestUserQuota(t *testing.T) {
	h := limited(t, &Limit{Kind: "requests", Amount: 2, Per: "day"})
	for range 2 {
		checkPassed(t, h, request("/v1/chat/completions", chat))
	}
	for path, left := range map[string]string{
		"/v1/chat/completions":             "X-Ratelimit-Remaining-Requests",
		"/v1/messages":                     "Anthropic-Ratelimit-Requests-Remaining",
		"/v1beta/models/g:generateContent": "X-Ratelimit-Remaining-Requests",
	} {
		r := request(path, "", "Accept-Language", "zh-CN")
		r.Body = readPanicsCloser{}
		w, passed, err := serve(h, r)
		if passed || err != nil || w.Code != http.StatusTooManyRequests {
			t.Fatalf("%s: got %d, passed %t, %v", path, w.Code, passed, err)
		}
		var body struct{ Error map[string]any }
		_ = json.Unmarshal(w.Body.Bytes(), &body)
		if message, _ := body.Error["message"].(string); !strings.HasPrefix(message, "用户配额已用完 (requests per day): 2 次均已用完；") {
			t.Errorf("%s: got %s", path, w.Body)
		}
		if h := w.Header(); h.Get("Retry-After") == "" || h.Get("X-Should-Retry") != "false" || h.Get(left) != "0" {
			t.Errorf("%s: got %v", path, h)
		}
	}
}

// An answer's headers tell in the family's spelling what is left, instead of
// what the provider says of our key.
func TestLimitHeaders(t *testing.T) {
	for path, want := range map[string]map[string]string{
		"/v1/chat/completions": {
			"X-Ratelimit-Limit-Requests": "10", "X-Ratelimit-Remaining-Requests": "9",
			"X-Ratelimit-Limit-Output-Tokens": "5000", "X-Ratelimit-Remaining-Output-Tokens": "4950",
			"X-Ratelimit-Limit-Project-Tokens": "", "Anthropic-Ratelimit-Requests-Remaining": "of our key",
		},
		"/v1/messages": {
			"Anthropic-Ratelimit-Requests-Limit": "10", "Anthropic-Ratelimit-Requests-Remaining": "9",
			"Anthropic-Ratelimit-Output-Tokens-Limit": "5000", "Anthropic-Ratelimit-Output-Tokens-Remaining": "4950",
			"Anthropic-Ratelimit-Unified-Status": "",
		},
	} {
		t.Run(path, func(t *testing.T) {
			h := limited(t, &Limit{Kind: "requests", Amount: 10, Window: caddy.Duration(time.Minute)}, &Limit{Kind: "output_tokens", Amount: 5000, Per: "day"})
			w := behind(h, request(path, `{"model":"m","max_tokens":50}`), func(w http.ResponseWriter, _ *http.Request) error {
				for _, name := range []string{
					"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Limit-Project-Tokens",
					"Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Unified-Status",
				} {
					w.Header().Set(name, "of our key")
				}
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusOK)
				return nil
			})
			for name, value := range want {
				if got := w.Header().Get(name); got != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
			reset := w.Header().Get("X-Ratelimit-Reset-Requests")
			if at, err := time.Parse(time.RFC3339, w.Header().Get("Anthropic-Ratelimit-Requests-Reset")); err == nil {
				reset = time.Until(at).String()
			}
			if in, err := time.ParseDuration(reset); err != nil || in < 58*time.Second || in > 63*time.Second {
				t.Errorf("reset in %q, want about a minute", reset)
			}
		})
	}
}

// What a call holds comes back on every way out, and only once.
func TestEveryWayOutSettles(t *testing.T) {
	h := limited(t, &Limit{Kind: "concurrent", Amount: 1}, &Limit{Kind: "tokens", Amount: 100000, Per: "day"})
	for name, next := range map[string]caddyhttp.HandlerFunc{
		"answer": func(http.ResponseWriter, *http.Request) error { return nil },
		"error":  func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(502, nil) },
		"panic":  func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				behind(h, request("/v1/chat/completions", chat), next)
			}
			if left := remaining(t, h, "Tokens"); left != "98968" {
				t.Errorf("%s tokens left beside the one call that is under way", left)
			}
		})
	}
	for name, r := range map[string]*http.Request{
		"bad body": request("/v1/chat/completions", "{"),
		"no model": request("/v1/chat/completions", "{}"),
	} {
		checkRefused(t, h, r, http.StatusBadRequest, map[string]string{"bad body": "invalid_json", "no model": "missing_model"}[name])
	}
	if left := remaining(t, h, "Tokens"); left != "98968" {
		t.Errorf("after refusals: %s tokens left", left)
	}
}

// A client's concurrent calls are counted while they last.
func TestConcurrentLimit(t *testing.T) {
	h := limited(t, &Limit{Kind: "concurrent", Amount: 2})
	inside, leave := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			behind(h, request("/v1/chat/completions", chat), func(http.ResponseWriter, *http.Request) error {
				inside <- true
				<-leave
				return nil
			})
		})
		<-inside
	}
	checkRefused(t, h, request("/v1/chat/completions", chat), http.StatusTooManyRequests, "user_quota_exceeded")
	close(leave)
	wg.Wait()
	checkPassed(t, h, request("/v1/chat/completions", chat))
}

// In shadow the same calls all pass.
func TestShadowLimitsRefuseNothing(t *testing.T) {
	c := newClient(t)
	c.Limits = []*Limit{{Kind: "requests", Amount: 1, Per: "day"}, {Kind: "concurrent", Amount: 1}}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}, ShadowLimits: true})
	for range 3 {
		checkPassed(t, h, request("/v1/chat/completions", chat))
	}
}

// Every client has the default limits of the kinds it has none of its own for.
func TestDefaultLimits(t *testing.T) {
	own, other := newClient(t), newClient(t)
	own.Limits = []*Limit{{Kind: "requests", Amount: 2, Per: "day"}}
	other.ID += "-other"
	other.Secrets = []string{"sha256:" + zeros}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{own, other}}, UserLimits: []*Limit{{Kind: "requests", Amount: 1, Per: "day"}, {Kind: "tokens", Amount: 7, Per: "day"}}})
	mine, _ := h.directory.Load().Named(own.ID)
	theirs, _ := h.directory.Load().Named(other.ID)
	if rules := mine.Limits[0].Rules; len(rules) != 2 || rules[0].Amount != 2 || rules[1].Amount != 7 {
		t.Errorf("own limits: %+v", rules)
	}
	if rules := theirs.Limits[0].Rules; len(rules) != 2 || rules[0].Amount != 1 {
		t.Errorf("default limits: %+v", rules)
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// A reload goes on from what was counted.
func TestReloadKeepsCounts(t *testing.T) {
	limit := &Limit{Kind: "requests", Amount: 1, Per: "day"}
	old := limited(t, limit)
	checkPassed(t, old, request("/v1/chat/completions", chat))
	renewed := limited(t, limit)
	checkRefused(t, renewed, request("/v1/chat/completions", chat), http.StatusTooManyRequests, "user_quota_exceeded")
}

// What an answer took is what it says; where it could not say, what came of it.
func TestTaken(t *testing.T) {
	q := quota{}
	q.demand.Input, q.demand.Output = 100, 50
	broken := &streaming.Call{Outcome: streaming.OutcomeBroken, FirstToken: 1}
	broken.Result.Events = 30
	if got := q.taken(broken, 0); got.Input != 100 || got.Output != 30 {
		t.Errorf("broken after 30 events: %+v", got)
	}
	unstated := &streaming.Call{Outcome: streaming.OutcomeOK, FirstToken: 1}
	unstated.Result.Events, unstated.Result.Bytes = 1, 4000
	if got := q.taken(unstated, 0); got.Input != 100 || got.Output != 50 {
		t.Errorf("whole, without usage: %+v", got)
	}
	if got := q.taken(&streaming.Call{Outcome: streaming.OutcomeExhausted}, 0); got.Input != 0 || got.Output != 0 {
		t.Errorf("nothing came: %+v", got)
	}
}

// A call for a model that is not the client's has begun: it counts as a request,
// but not for a limit of certain models, and takes no tokens.
func TestModelThatIsRefusedTakesARequest(t *testing.T) {
	c := newClient(t)
	c.Models = []string{"gpt-*"}
	c.Limits = []*Limit{
		{Kind: "requests", Amount: 3, Per: "day"},
		{Kind: "requests", Amount: 1, Per: "day", Models: []string{"*"}},
		{Kind: "tokens", Amount: 5000, Per: "day"},
	}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	for range 2 {
		checkRefused(t, h, request("/v1/chat/completions", `{"model":"o3"}`), http.StatusForbidden, "model_not_allowed")
	}
	checkPassed(t, h, request("/v1/chat/completions", `{"model":"gpt-4o","max_tokens":4000}`))
	checkRefused(t, h, request("/v1/chat/completions", `{"model":"o3"}`), http.StatusTooManyRequests, "user_quota_exceeded")
}
