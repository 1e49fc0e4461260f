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

const eventful = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	debug
}
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			limit requests 6 day
		}
		provider openai http://127.0.0.1:SIM {
			key sim-limited {
				id limited
			}
			key sim-invalid {
				id invalid
			}
			key sim-good {
				id good
			}
		}
		retry {
			delay 1ms
		}
		breaker {
			open_for 1s
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-limited rate_limited 600s
		key sim-good
		model cut-* cut 5
		model flaky unavailable times 5
	}
}
`

// events returns the data of the events that Caddy has handed on, by name. The
// log tells of each at level debug.
func (g *gateway) events(t *testing.T) map[string][]map[string]any {
	t.Helper()
	events := map[string][]map[string]any{}
	for line := range strings.Lines(g.log.String()) {
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
