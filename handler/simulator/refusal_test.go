// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// refusals are the faults that answer with an error's status.
var refusals = []struct {
	fault string
	// status by family: openai, anthropic, gemini.
	status [3]int
	// kind is the family's word for it: OpenAI's code or type, Anthropic's
	// type, Google's status.
	kind [3]string
	// class is what the gateway should make of it.
	class keypool.Class
}{
	{"rate_limited", [3]int{429, 429, 429}, [3]string{"rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"}, keypool.ClassRateLimited},
	{"quota", [3]int{429, 400, 429}, [3]string{"insufficient_quota", "invalid_request_error", "RESOURCE_EXHAUSTED"}, keypool.ClassQuota},
	{"invalid_key", [3]int{401, 401, 400}, [3]string{"invalid_api_key", "authentication_error", "INVALID_ARGUMENT"}, keypool.ClassCredential},
	{"no_permission", [3]int{403, 403, 403}, [3]string{"insufficient_permissions", "permission_error", "PERMISSION_DENIED"}, keypool.ClassAccess},
	{"not_found", [3]int{404, 404, 404}, [3]string{"model_not_found", "not_found_error", "NOT_FOUND"}, keypool.ClassModel},
	{"error", [3]int{500, 500, 500}, [3]string{"server_error", "api_error", "INTERNAL"}, keypool.ClassUpstream},
	{"unavailable", [3]int{503, 503, 503}, [3]string{"server_error", "api_error", "UNAVAILABLE"}, keypool.ClassUpstream},
	{"overloaded", [3]int{503, 529, 503}, [3]string{"server_is_overloaded", "overloaded_error", "UNAVAILABLE"}, keypool.ClassOverloaded},
	{"context_length", [3]int{400, 400, 400}, [3]string{"context_length_exceeded", "invalid_request_error", "INVALID_ARGUMENT"}, keypool.ClassContext},
	{"content_filter", [3]int{400, 400, 400}, [3]string{"content_policy_violation", "invalid_request_error", "INVALID_ARGUMENT"}, keypool.ClassPolicy},
}

var familyNumber = map[string]int{"openai": 0, "anthropic": 1, "gemini": 2}

// refusal is the error of any family.
type refusal struct {
	Type  string
	Error *struct {
		Type, Status, Message string
		Code                  any
	}
}

func (r refusal) says(family, kind string, status int) bool {
	if r.Error == nil || r.Error.Message == "" {
		return false
	}
	switch family {
	case "anthropic":
		return r.Type == "error" && r.Error.Type == kind
	case "gemini":
		return r.Error.Status == kind && r.Error.Code == float64(status)
	default:
		return r.Error.Code == kind || r.Error.Type == kind && r.Error.Code == nil
	}
}

func TestRefusalsHaveTheStatusAndShapeOfTheirFamily(t *testing.T) {
	for _, test := range refusals {
		t.Run(test.fault, func(t *testing.T) {
			base := serve(t, simulator.Options{Fault: fault(t, test.fault)})
			for _, e := range append(streamed, whole...) {
				i := familyNumber[e.family()]
				r := ask(t, base, e)
				if r.status != test.status[i] || r.header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: status %d, %s", e.name, r.status, r.header.Get("Content-Type"))
				}
				// Google streams errors as it streams answers.
				body := r.body
				if e.isArray() {
					body = strings.TrimSuffix(strings.TrimPrefix(body, "["), "]")
					if body == r.body {
						t.Errorf("%s: the error is not in an array: %s", e.name, r.body)
					}
				}
				if !decode[refusal](t, body).says(e.family(), test.kind[i], r.status) {
					t.Errorf("%s: %s", e.name, r.body)
				}
				if wait := r.header.Get("Retry-After"); wait != "" || strings.Contains(r.body, "retryDelay") {
					t.Errorf("%s: a wait is stated unasked: %q, %s", e.name, wait, r.body)
				}
			}
		})
	}
}

func TestRefusalsMeanToTheGatewayWhatTheySay(t *testing.T) {
	for _, test := range refusals {
		base := serve(t, simulator.Options{Fault: fault(t, test.fault)})
		for _, e := range append(streamed, whole...) {
			r := ask(t, base, e)
			want := test.class
			if test.fault == "unavailable" && e.family() == "gemini" {
				want = keypool.ClassOverloaded // Google has one word for both
			}
			got := asked(t, e).Judge(r.status, r.header, []byte(r.body), time.Now())
			if got.Class != want || got.Wait != 0 {
				t.Errorf("%s: %s is judged %v, wait %v", test.fault, e.name, got.Class, got.Wait)
			}
		}
	}
}

func TestARateLimitStatesItsWaitWhereTheFamilyDoes(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "rate_limited 1500ms")})
	for _, e := range append(streamed, whole...) {
		r := ask(t, base, e)
		header, detail, wait := "2", "", 2*time.Second
		if e.family() == "gemini" {
			header, detail, wait = "", `"retryDelay":"1.5s"`, 1500*time.Millisecond
		}
		if r.header.Get("Retry-After") != header || !strings.Contains(r.body, detail) {
			t.Errorf("%s: Retry-After %q, %s", e.name, r.header.Get("Retry-After"), r.body)
		}
		got := asked(t, e).Judge(r.status, r.header, []byte(r.body), time.Now())
		if got.Class != keypool.ClassRateLimited || got.Wait != wait {
			t.Errorf("%s: judged %v, wait %v", e.name, got.Class, got.Wait)
		}
	}
}

func TestAFaultHealsAfterItsTimes(t *testing.T) {
	for _, e := range []endpoint{streamed[0], whole[5]} {
		base := serve(t, simulator.Options{Fault: fault(t, "unavailable times 2")})
		for i, want := range []int{503, 503, 200, 200} {
			if r := ask(t, base, e); r.status != want {
				t.Errorf("%s: call %d: status %d, want %d", e.name, i+1, r.status, want)
			}
		}
	}
}

// Each fault counts for itself, so a key's may be over while the other strikes.
func TestAKeysFaultComesFirstThenTheModelsThenThatOfAll(t *testing.T) {
	base := serve(t, simulator.Options{
		Keys:  []simulator.Key{{Secret: "k", Fault: fault(t, "quota times 1")}},
		Rules: []simulator.Rule{{Match: "m-*", Fault: fault(t, "unavailable times 1")}},
		Fault: fault(t, "not_found times 1"),
	})
	for i, want := range []int{429, 503, 404, 200} {
		req := whole[0].request(t, base)
		req.Header.Set("Authorization", "Bearer k")
		if r, err := send(t, req); err != nil || r.status != want {
			t.Errorf("call %d: status %d, %v; want %d", i+1, r.status, err, want)
		}
	}
}

func TestTheFirstRuleThatMatchesCounts(t *testing.T) {
	base := serve(t, simulator.Options{Rules: []simulator.Rule{
		{Match: "slow-?", Fault: fault(t, "unavailable")},
		{Match: "slow-*", Fault: fault(t, "not_found")},
		{Match: "vendor/*", Fault: fault(t, "quota")},
	}})
	for model, want := range map[string]int{
		"slow-1": 503, "slow-22": 404, "fast": 200, "vendor/a": 429, "vendor/a/b": 200,
	} {
		e := whole[0].with(model)
		if r := ask(t, base, e); r.status != want {
			t.Errorf("%s: status %d, want %d", model, r.status, want)
		}
	}
	if r := ask(t, base, streamed[6].with("slow-22")); r.status != 404 {
		t.Errorf("a model in the path: status %d", r.status)
	}
}

func TestOnlyKnownKeysAreGood(t *testing.T) {
	base := serve(t, simulator.Options{Keys: []simulator.Key{{Secret: "good"}, {Secret: "poor", Fault: fault(t, "quota")}}})
	place := map[string]func(*http.Request, string){
		"bearer":    func(r *http.Request, k string) { r.Header.Set("Authorization", "Bearer "+k) },
		"anthropic": func(r *http.Request, k string) { r.Header.Set("X-Api-Key", k) },
		"azure":     func(r *http.Request, k string) { r.Header.Set("Api-Key", k) },
		"google":    func(r *http.Request, k string) { r.Header.Set("X-Goog-Api-Key", k) },
		"query":     func(r *http.Request, k string) { r.URL.RawQuery = "key=" + k },
	}
	for name, put := range place {
		for key, want := range map[string]int{"good": 200, "poor": 429, "bad": 401, "": 401} {
			req := whole[0].request(t, base)
			put(req, key)
			if r, err := send(t, req); err != nil || r.status != want {
				t.Errorf("%s: %q: status %d, %v; want %d", name, key, r.status, err, want)
			}
		}
	}
	if r := ask(t, base, whole[5]); r.status != 400 || !strings.Contains(r.body, "API_KEY_INVALID") {
		t.Errorf("gemini: %d %s", r.status, r.body)
	}
}
