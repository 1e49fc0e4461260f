// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

func askUsage(h *Handler, header ...string) (*httptest.ResponseRecorder, bool, error) {
	r := request("/llm/usage", "", header...)
	r.Method = http.MethodGet
	return serve(h, r)
}

// A client is told of itself and its groups, and of nobody else; its asking is
// not counted.
func TestOwnUsage(t *testing.T) {
	c, other := newClient(t), &Client{ID: t.Name() + "-other", Secrets: []string{"sha256:" + zeros}, Limits: []*Limit{{Kind: "cost", Amount: 77, Per: "day"}}}
	c.Groups = []string{t.Name()}
	c.Limits = []*Limit{
		{Kind: "requests", Amount: 5, Window: caddy.Duration(time.Hour)},
		{Kind: "cost", Amount: 2.5, Per: "month", TimeZone: "Europe/Berlin"},
		{Kind: "concurrent", Amount: 3},
	}
	h := newHandler(t, &Handler{
		Callers: Callers{
			Clients: []*Client{c, other},
			Groups:  []*Group{{Name: t.Name(), Limits: []*Limit{{Kind: "output_tokens", Amount: 1000, Per: "day", Models: []string{"gpt-*"}}}}, {Name: "others"}},
		},
		UsageEndpoint: "/llm/usage",
	})
	client, _ := h.directory.Load().Named(c.ID)
	call := limits.Begin(h.counts, client.Limits, false)
	_, _ = call.Enter(t.Context(), time.Now())
	_, _ = call.Reserve(t.Context(), time.Now(), []string{"gpt-4o"}, limits.Amounts{Input: 500, Output: 500})
	call.Settle(time.Now(), limits.Amounts{Input: 100, Output: 20, Cost: perDollar / 4})
	var got ownUsage
	for range 20 {
		w, passed, err := askUsage(h)
		if passed || err != nil || w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("got %d %s, %v", w.Code, w.Body, err)
		}
		if strings.Contains(w.Body.String(), "other") {
			t.Errorf("others are told of: %s", w.Body)
		}
		got = ownUsage{}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
	}
	if got.ID != c.ID || len(got.Groups) != 1 || len(got.Limits) != 4 {
		t.Fatalf("got %+v", got)
	}
	for i, want := range []ownLimit{
		{Kind: "requests", Period: "1h", Amount: 5, Used: 1, Remaining: 4},
		{Kind: "cost", Period: "month", TimeZone: "Europe/Berlin", Amount: 2.5, Used: 0.25, Remaining: 2.25},
		{Kind: "concurrent", Amount: 3, Remaining: 3},
		{Kind: "output_tokens", Period: "day", TimeZone: "UTC", Models: []string{"gpt-*"}, Group: t.Name(), Amount: 1000, Used: 20, Remaining: 980},
	} {
		resets := got.Limits[i].ResetsAt
		got.Limits[i].ResetsAt = nil
		if text, wanted := asJSON(t, got.Limits[i]), asJSON(t, want); text != wanted {
			t.Errorf("limit %d: %s, want %s", i, text, wanted)
		}
		if (resets == nil) != (want.Used == 0) || resets != nil && resets.Before(time.Now()) {
			t.Errorf("limit %d resets at %v", i, resets)
		}
	}
	for _, period := range []map[string]float64{got.Usage.Day, got.Usage.Month} {
		if text := asJSON(t, period); text != `{"cost":0.25,"input_tokens":100,"output_tokens":20,"requests":1}` {
			t.Errorf("used: %s", text)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Who has no key is told no more than anywhere else, and guessing counts as
// anywhere else; who may not come may not ask either.
func TestOwnUsageIsForClients(t *testing.T) {
	c, expired := newClient(t), &Client{ID: t.Name() + "-2", Secrets: []string{auth.HashSecret(secret + "2").String()}, Expires: "2020-01-01"}
	c.AllowIP = []string{"198.51.100.0/24"}
	h := newHandler(t, &Handler{
		Callers:       Callers{Clients: []*Client{c, expired}, AuthFailures: &AuthFailures{Limit: 2, Window: caddy.Duration(time.Minute)}},
		UsageEndpoint: "/llm/usage",
	})
	check := func(header []string, status int, code string) {
		t.Helper()
		w, passed, err := askUsage(h, header...)
		if passed || err != nil || w.Code != status || !strings.Contains(w.Body.String(), `"code":"`+code+`"`) {
			t.Errorf("%v: got %d %s, %v; want %d %s", header, w.Code, w.Body, err, status, code)
		}
	}
	check([]string{"Authorization", ""}, http.StatusUnauthorized, "invalid_api_key")
	check([]string{"Authorization", "Bearer " + secret + "2"}, http.StatusUnauthorized, "expired_api_key")
	check(nil, http.StatusForbidden, "address_not_allowed")
	c.AllowIP = nil
	if err := h.fillDirectory(nil, evaluated()); err != nil {
		t.Fatal(err)
	}
	if w, _, _ := serve(h, request("/llm/usage", chat)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	for range 2 {
		check([]string{"Authorization", "Bearer wrong"}, http.StatusUnauthorized, "invalid_api_key")
	}
	check(nil, http.StatusTooManyRequests, "rate_limit_exceeded")
}

// Unless the config says so, there is no such path.
func TestNoOwnUsage(t *testing.T) {
	w, passed, _ := askUsage(withClient(t))
	if passed || w.Code != http.StatusNotFound {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// A client without limits is still told what it has used, and its answers are
// left as they are.
func TestOwnUsageWithoutLimits(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}, UsageEndpoint: "/llm/usage"})
	w := behind(h, request("/v1/chat/completions", chat), func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("X-Ratelimit-Remaining-Requests", "of our key")
		w.WriteHeader(200)
		return nil
	})
	if got := w.Header().Get("X-Ratelimit-Remaining-Requests"); got != "of our key" {
		t.Errorf("the header was changed to %q", got)
	}
	w, _, _ = askUsage(h)
	if !strings.Contains(w.Body.String(), `"limits":[],"usage":{"day":{"cost":0,"input_tokens":0,"output_tokens":0,"requests":1}`) {
		t.Errorf("got %s", w.Body)
	}
}
