// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// eventful is a gateway to which everything happens that there is an event for.
var eventful = strings.NewReplacer(
	"skip_install_trust", "skip_install_trust\n\tdebug",
	"client app CLIENT", "client app CLIENT {\n\t\t\tlimit requests 6 day\n\t\t}\n\t\tretry {\n\t\t\tdelay 1ms\n\t\t}\n\t\tbreaker {\n\t\t\topen_for 1s\n\t\t}",
	"\t\tkey sim-good\n\t}", "\t\tkey sim-good\n\t\tmodel cut-* cut 5\n\t\tmodel flaky unavailable times 5\n\t}",
).Replace(threeKeys)

// events returns the data of the events that Caddy has handed on, by name. The
// log tells of each at level debug.
func (g *gateway) events(t *testing.T) map[string][]map[string]any {
	t.Helper()
	events := map[string][]map[string]any{}
	for line := range strings.Lines(g.Output()) {
		if !strings.Contains(line, `"logger":"events","msg":"event"`) {
			continue
		}
		var event struct {
			Name   string
			Origin string
			Data   map[string]any
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("reading the log line %s: %v", line, err)
		}
		if strings.HasPrefix(event.Name, "llm_") {
			event.Data["origin"] = event.Origin
			events[event.Name] = append(events[event.Name], event.Data)
		}
	}
	return events
}

// awaitEvent waits until an event of that name was handed on.
func (g *gateway) awaitEvent(t *testing.T, name string) map[string]any {
	t.Helper()
	for range 500 {
		if events := g.events(t)[name]; len(events) > 0 {
			return events[0]
		}
		time.Sleep(20 * time.Millisecond) // another process writes the log
	}
	t.Fatalf("the log does not tell of %s", name)
	return nil
}

// Caddy's events tell what happens to keys, providers, quotas and streams.
func TestEvents(t *testing.T) {
	g := start(t, eventful)
	ask := func(model string) {
		res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", strings.Replace(chatStreamBody, "gpt-4o", model, 1)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body) // a stream that breaks may end in an error
		res.Body.Close()
	}
	ask("gpt-4o")
	ask("cut-gpt")
	for range 2 {
		ask("flaky")
	}
	down := g.awaitEvent(t, "llm_upstream_down")
	time.Sleep(1100 * time.Millisecond) // until the breaker lets a probe through
	ask("flaky")
	for range 3 {
		ask("gpt-4o")
	}
	g.send(t, "POST", "/llm/pools/openai/keys/good/disable", "", "")
	g.send(t, "POST", "/llm/pools/openai/keys/good/enable", "", "")

	const transport, handler = "http.reverse_proxy.transport.llm", "http.handlers.llm_proxy"
	for name, want := range map[string]map[string]any{
		"llm_key_cooled":    {"origin": transport, "provider": "openai", "key": "limited", "model": "gpt-4o", "class": "rate_limited"},
		"llm_key_disabled":  {"origin": transport, "provider": "openai", "key": "invalid", "class": "credential"},
		"llm_key_recovered": {"origin": transport, "provider": "openai", "key": "good"},
		"llm_upstream_up":   {"origin": transport, "provider": "openai", "model": "flaky"},
		"llm_quota_reached": {"origin": handler, "client": "app", "limit": "requests per day", "shadow": false},
		"llm_stream_broken": {"origin": handler, "client": "app", "provider": "openai", "key": "good", "model": "cut-gpt"},
	} {
		event := g.awaitEvent(t, name)
		for field, value := range want {
			if event[field] != value {
				t.Errorf("%s: %s is %v, want %v", name, field, event[field], value)
			}
		}
	}
	if down["model"] != "flaky" || down["class"] != "upstream" || down["until"] == nil {
		t.Errorf("llm_upstream_down: %v", down)
	}
	events := g.events(t)
	for name, n := range map[string]int{
		"llm_key_disabled": 2, "llm_upstream_down": 1, "llm_upstream_up": 1, "llm_quota_reached": 1, "llm_stream_broken": 1,
	} {
		if len(events[name]) != n {
			t.Errorf("%s came %d times, want %d: %v", name, len(events[name]), n, events[name])
		}
	}
}
