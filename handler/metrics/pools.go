// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/events"
)

// pools tells of the keys and upstreams as they are when Prometheus asks.
type pools struct {
	status func() []streaming.PoolStatus
	now    func() time.Time
}

// reading is a metric that is read off at a scrape.
type reading struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// readings are all there are, to be described.
var readings []*prometheus.Desc

func newReading(kind prometheus.ValueType, name, help string, labels ...string) reading {
	desc := prometheus.NewDesc(name, help, labels, nil)
	readings = append(readings, desc)
	return reading{desc, kind}
}

func gaugeOf(name, help string, labels ...string) reading {
	return newReading(prometheus.GaugeValue, name, help, labels...)
}

func counterOf(name, help string, labels ...string) reading {
	return newReading(prometheus.CounterValue, name, help, labels...)
}

var (
	poolKeys      = gaugeOf("caddy_llm_pool_keys", "Keys of a provider.", "provider")
	poolAvailable = gaugeOf("caddy_llm_pool_keys_available", "Keys of a provider that may be used, at least for some models.", "provider")

	keyAvailable   = gaugeOf("caddy_llm_key_available", "Whether the key may be used, at least for some models: 1 or 0.", "provider", "key")
	keyInFlight    = gaugeOf("caddy_llm_key_in_flight", "Attempts that use the key now.", "provider", "key")
	keyRest        = gaugeOf("caddy_llm_key_rest_seconds", "Time until the key may be used again; 0 where it may now, or only an operator can say.", "provider", "key")
	keyModels      = gaugeOf("caddy_llm_key_resting_models", "Models for which the key rests.", "provider", "key")
	keySuccess     = gaugeOf("caddy_llm_key_success_ratio", "Share of successes in the latest 64 attempts, from 0 to 1.", "provider", "key")
	keyConsecutive = gaugeOf("caddy_llm_key_consecutive_failures", "Attempts that have failed since the last success.", "provider", "key")
	keyLatency     = gaugeOf("caddy_llm_key_latency_seconds", "Moving average of the time that successful attempts take.", "provider", "key")
	keyFirstToken  = gaugeOf("caddy_llm_key_first_token_seconds", "Moving average of the time until their first token.", "provider", "key")
	keyAttempts    = counterOf("caddy_llm_key_attempts_total", "Attempts with the key.", "provider", "key")
	keySuccesses   = counterOf("caddy_llm_key_successes_total", "Successful attempts with the key.", "provider", "key")
	keyLastSuccess = gaugeOf("caddy_llm_key_last_success_timestamp_seconds", "When an attempt with the key last succeeded, in seconds since 1970; 0 for never.", "provider", "key")

	upAvailable   = gaugeOf("caddy_llm_upstream_available", "Whether the provider's servers may be asked, at least for some models: 1 or 0.", "provider", "upstream")
	upCircuits    = gaugeOf("caddy_llm_upstream_circuits", "Models of the provider that are or were in trouble, by the state of their breaker.", "provider", "upstream", "state")
	upSuccess     = gaugeOf("caddy_llm_upstream_success_ratio", "Share of successes in the latest 64 attempts, from 0 to 1; the keys' faults do not count.", "provider", "upstream")
	upConsecutive = gaugeOf("caddy_llm_upstream_consecutive_failures", "Attempts that have failed since the last success.", "provider", "upstream")
	upLatency     = gaugeOf("caddy_llm_upstream_latency_seconds", "Moving average of the time that successful attempts take.", "provider", "upstream")
	upFirstToken  = gaugeOf("caddy_llm_upstream_first_token_seconds", "Moving average of the time until their first token.", "provider", "upstream")

	recordsLost   = counterOf("caddy_llm_ledger_lost_total", "Records of calls that were lost, since a ledger took them too slowly or not at all.")
	eventsDropped = counterOf("caddy_llm_events_dropped_total", "Events that nobody was told of, since too many were waiting or their config had ended.")
)

// circuitStates are the states of a breaker.
var circuitStates = [...]string{"closed", "half-open", "open", "resting"}

// Describe implements prometheus.Collector.
func (p *pools) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range readings {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (p *pools) Collect(metrics chan<- prometheus.Metric) {
	s := scrape{metrics: metrics, now: p.now(), keys: map[[2]string]bool{}}
	counts := map[string]*[2]int{}
	for _, pool := range p.status() {
		s.upstream(&pool)
		if counts[pool.Provider] == nil {
			counts[pool.Provider] = new([2]int)
		}
		count := counts[pool.Provider]
		for i := range pool.Keys {
			// The same key may serve a provider of that name in two places.
			if key := &pool.Keys[i]; s.key(pool.Provider, key) {
				count[0]++
				if key.Available() {
					count[1]++
				}
			}
		}
	}
	for provider, count := range counts {
		s.tell(poolKeys, float64(count[0]), provider)
		s.tell(poolAvailable, float64(count[1]), provider)
	}
	s.tell(recordsLost, float64(ledger.Lost()))
	s.tell(eventsDropped, float64(events.Dropped()))
}

// scrape is one look at the pools.
type scrape struct {
	metrics chan<- prometheus.Metric
	now     time.Time
	// keys are those that were told of.
	keys map[[2]string]bool
}

func (s *scrape) tell(r reading, value float64, labels ...string) {
	s.metrics <- prometheus.MustNewConstMetric(r.desc, r.kind, value, labels...)
}

// key tells of a key, unless one of its name was told of.
func (s *scrape) key(provider string, key *keypool.KeyStatus) bool {
	name := [2]string{provider, key.ID}
	if s.keys[name] {
		return false
	}
	s.keys[name] = true
	tell := func(r reading, value float64) { s.tell(r, value, provider, key.ID) }
	tell(keyAvailable, oneIf(key.Available()))
	tell(keyInFlight, float64(key.InFlight))
	tell(keyRest, max(0, key.CoolingUntil.Sub(s.now).Seconds()))
	tell(keyModels, float64(len(key.CoolingModels)))
	tell(keySuccess, key.SuccessRate)
	tell(keyConsecutive, float64(key.ConsecutiveFailures))
	tell(keyLatency, key.Latency.Seconds())
	tell(keyFirstToken, key.FirstToken.Seconds())
	tell(keyAttempts, float64(key.Total))
	tell(keySuccesses, float64(key.Successes))
	tell(keyLastSuccess, timestamp(key.LastSuccess))
	return true
}

// upstream tells of a provider's servers.
func (s *scrape) upstream(pool *streaming.PoolStatus) {
	status := &pool.Upstream
	tell := func(r reading, value float64) { s.tell(r, value, pool.Provider, pool.BaseURL) }
	tell(upAvailable, oneIf(status.Available()))
	tell(upSuccess, status.SuccessRate)
	tell(upConsecutive, float64(status.ConsecutiveFailures))
	tell(upLatency, status.Latency.Seconds())
	tell(upFirstToken, status.FirstToken.Seconds())
	for _, state := range circuitStates {
		n := 0
		for _, circuit := range status.Circuits {
			if circuit.Model != "" && circuit.State == state {
				n++
			}
		}
		s.tell(upCircuits, float64(n), pool.Provider, pool.BaseURL, state)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

// Interface guard
var _ prometheus.Collector = (*pools)(nil)
