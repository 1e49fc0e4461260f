// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

func mustFault(t *testing.T, text string) simulator.Fault {
	t.Helper()
	fault, err := simulator.ParseFault(strings.Fields(text))
	if err != nil {
		t.Fatal(err)
	}
	return fault
}

// Each fault that is an answer is one that the gateway judges for what it is,
// in every family, streamed or not.
func TestFaultsAreJudgedForWhatTheyAre(t *testing.T) {
	for fault, class := range map[string]string{
		"rate_limited": "rate_limited", "rate_limited 20s": "rate_limited", "quota": "quota", "invalid_key": "credential",
		"no_permission": "access", "not_found": "model", "error": "upstream", "unavailable": "upstream",
		"overloaded": "overloaded", "context_length": "context", "content_filter": "policy",
	} {
		server := serve(t, simulator.Options{Fault: mustFault(t, fault)})
		for kind, endpoints := range map[string]map[string]endpoint{"plain": plain, "streamed": streamed} {
			for name, e := range endpoints {
				t.Run(fault+" "+kind+" "+name, func(t *testing.T) {
					a := ask(t, server, e, "any")
					_, _, request := scan(t, e, a)
					verdict := request.Judge(a.status, a.header, []byte(a.text), time.Now())
					if got := verdict.Class.String(); got != class && (got != "overloaded" || fault != "unavailable") {
						t.Errorf("judged %s by %d %s", verdict.Class, a.status, a.text)
					}
					if wait := a.header.Get("Retry-After"); (wait == "20") != (fault == "rate_limited 20s") {
						t.Errorf("Retry-After is %q", wait)
					}
				})
			}
		}
	}
}

// Faults within a stream strike where they are told to.
func TestFaultsWithinStreams(t *testing.T) {
	for name, e := range streamed {
		t.Run(name, func(t *testing.T) {
			whole := ask(t, serve(t, simulator.Options{Chunks: 9}), e, "any")
			for fault, check := range map[string]func(a answer) bool{
				"cut 4": func(a answer) bool {
					return a.err != nil && len(a.text) < len(whole.text) && strings.HasPrefix(whole.text, a.text)
				},
				"stall 4 1ms": func(a answer) bool { return a.err == nil && a.text == whole.text },
				"malformed 4": func(a answer) bool { return a.err == nil && len(a.text) < len(whole.text) },
				"no_terminator": func(a answer) bool {
					return a.err == nil && strings.HasPrefix(whole.text, strings.TrimSuffix(a.text, "]\n"))
				},
				"error_event":   func(a answer) bool { _, s, _ := scan(t, e, a); return a.err == nil && s.Failure() != nil },
				"error_event 4": func(a answer) bool { _, s, _ := scan(t, e, a); return s.Failure() != nil && s.Started() },
			} {
				if a := ask(t, serve(t, simulator.Options{Chunks: 9, Fault: mustFault(t, fault)}), e, "any"); a.status != 200 || !check(a) {
					t.Errorf("%s: got %d, %v\n%s", fault, a.status, a.err, a.text)
				}
			}
		})
	}
}

// A connection that is reset, or stays silent until the client goes, has no
// answer at all.
func TestFaultsWithoutAnAnswer(t *testing.T) {
	if a := ask(t, serve(t, simulator.Options{Fault: mustFault(t, "reset")}), plain["chat"], "any"); a.err == nil {
		t.Errorf("reset: got %d %s", a.status, a.text)
	}
	server := serve(t, simulator.Options{Fault: mustFault(t, "silence")})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader(plain["chat"].body))
	if res, err := server.Client().Do(req); err == nil {
		res.Body.Close()
		t.Errorf("silence: got %d", res.StatusCode)
	}
}

// A fault that heals strikes so often and no more.
func TestFaultThatHeals(t *testing.T) {
	server := serve(t, simulator.Options{Fault: mustFault(t, "error times 2")})
	var statuses []int
	for range 4 {
		statuses = append(statuses, ask(t, server, plain["chat"], "any").status)
	}
	if statuses[0] != 500 || statuses[1] != 500 || statuses[2] != 200 || statuses[3] != 200 {
		t.Errorf("got %v", statuses)
	}
}

// The key's fault comes before the model's, and that before the general one;
// a key that is not known is rejected.
func TestWhoseFaultStrikes(t *testing.T) {
	server := serve(t, simulator.Options{
		Keys:  []simulator.Key{{Secret: "good"}, {Secret: "bad", Fault: mustFault(t, "no_permission")}},
		Rules: []simulator.Rule{{Match: "m", Fault: mustFault(t, "not_found")}},
		Fault: mustFault(t, "error"),
	})
	other := endpoint{"/v1/chat/completions", `{"model":"other","messages":[]}`, "other"}
	for _, c := range []struct {
		key  string
		e    endpoint
		want int
	}{{"bad", plain["chat"], 403}, {"good", plain["chat"], 404}, {"good", other, 500}, {"unknown", other, 401}} {
		if a := ask(t, server, c.e, c.key); a.status != c.want {
			t.Errorf("%s for %s: got %d, want %d", c.key, c.e.model, a.status, c.want)
		}
	}
}

// A fault that makes no sense is refused.
func TestParseFaultRefuses(t *testing.T) {
	for _, text := range []string{"", "nothing", "cut", "cut -1", "cut x", "slow", "slow 0s", "error 5", "error times 0", "error times x", "rate_limited soon", "stall 1 2s 3"} {
		if fault, err := simulator.ParseFault(strings.Fields(text)); err == nil {
			t.Errorf("%q was taken: %+v", text, fault)
		}
	}
}
