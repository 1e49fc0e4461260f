// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// What is known of keys and upstreams shows at a scrape. A provider that the
// config has in two places does not spoil it.
func TestPoolsAreReadAtAScrape(t *testing.T) {
	keys := []keypool.KeyStatus{
		{ID: "good", State: "closed", InFlight: 2, HealthStatus: keypool.HealthStatus{
			Total: 10, Successes: 9, SuccessRate: 0.9, Latency: 2 * time.Second, LastSuccess: started,
		}},
		{ID: "resting", State: "open", CoolingUntil: started.Add(30 * time.Second), CoolingClass: keypool.ClassQuota,
			HealthStatus: keypool.HealthStatus{ConsecutiveFailures: 3}},
		{ID: "off", State: "disabled", CoolingModels: map[string]keypool.Rest{"m": {}}},
	}
	down := keypool.UpstreamStatus{HealthStatus: keypool.HealthStatus{SuccessRate: 0.25}, Circuits: []keypool.CircuitStatus{
		{State: "open"}, {Model: "m", State: "half-open"}, {Model: "n", State: "resting"}, {Model: "o", State: "resting"},
	}}
	m := New()
	m.collectors = []prometheus.Collector{&pools{func() []streaming.PoolStatus {
		return []streaming.PoolStatus{
			{Provider: "openai", BaseURL: "https://a/v1", Keys: keys, Upstream: down},
			{Provider: "openai", BaseURL: "https://b/v1", Keys: keys[:1]},
		}
	}, func() time.Time { return started }}}
	values := gather(t, m)
	key := func(name, id string) string { return "caddy_llm_key_" + name + `{key="` + id + `",provider="openai"}` }
	upstream := func(name, base string) string {
		return "caddy_llm_upstream_" + name + `{provider="openai",upstream="` + base + `"}`
	}
	circuits := func(state string) string {
		return `caddy_llm_upstream_circuits{provider="openai",state="` + state + `",upstream="https://a/v1"}`
	}
	for series, want := range map[string]float64{
		`caddy_llm_pool_keys{provider="openai"}`:           3,
		`caddy_llm_pool_keys_available{provider="openai"}`: 1,
		key("available", "good"):                           1,
		key("available", "resting"):                        0,
		key("available", "off"):                            0,
		key("in_flight", "good"):                           2,
		key("rest_seconds", "good"):                        0,
		key("rest_seconds", "resting"):                     30,
		key("rest_seconds", "off"):                         0,
		key("resting_models", "off"):                       1,
		key("success_ratio", "good"):                       0.9,
		key("consecutive_failures", "resting"):             3,
		key("latency_seconds", "good"):                     2,
		key("attempts_total", "good"):                      10,
		key("successes_total", "good"):                     9,
		key("last_success_timestamp_seconds", "good"):      float64(started.Unix()),
		key("last_success_timestamp_seconds", "resting"):   0,
		upstream("available", "https://a/v1"):              0,
		upstream("available", "https://b/v1"):              1,
		upstream("success_ratio", "https://a/v1"):          0.25,
		circuits("half-open"):                              1,
		circuits("resting"):                                2,
		circuits("open"):                                   0,
	} {
		if got, ok := values[series]; !ok || got != want {
			t.Errorf("%s: %v, want %v", series, got, want)
		}
	}
}

// A pool of a thousand keys is read in one go.
func BenchmarkPools(b *testing.B) {
	keys := make([]keypool.KeyStatus, 1000)
	for i := range keys {
		keys[i] = keypool.KeyStatus{ID: fmt.Sprintf("key-%d", i), State: "closed"}
	}
	p := &pools{func() []streaming.PoolStatus { return []streaming.PoolStatus{{Provider: "openai", Keys: keys}} }, time.Now}
	for b.Loop() {
		metrics := make(chan prometheus.Metric, 20_000)
		p.Collect(metrics)
	}
}
