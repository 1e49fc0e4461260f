// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

func (m *Metrics) makeAttempts() {
	m.attempts = m.counter("caddy_llm_attempts_total",
		"Attempts by what came of them. Of a call's attempts after its 32nd the class is "+other+".", "provider", "class")
	m.retries = m.counter("caddy_llm_retries_total",
		"Attempts that followed another one of the same call, by the class of that one.", "reason")
	m.retried = m.counter("caddy_llm_retried_calls_total",
		"Calls that took more than one attempt, by result: success, failure, or other, where the client's fault or its leaving says nothing.", "result")
	m.admission = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "caddy_llm_admission_duration_seconds",
		Help:    "Time from the arrival of a request to its first attempt: what the gateway adds, and the reading of the body.",
		Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5},
	})
	m.collectors = append(m.collectors, m.admission)
}

type attemptKey struct{ provider, class string }

// resultNames are what can come of calls that took more than one attempt.
var resultNames = [...]string{"success", "failure", "other"}

const (
	resultSuccess = iota
	resultFailure
	resultOther
)

func (m *Metrics) settleAttempts(call *streaming.Call) {
	for i, a := range call.Attempts {
		m.attempt(a.Provider, a.Verdict.Class.String()).Inc()
		if i > 0 {
			m.retry(call.Attempts[i-1].Verdict.Class.String()).Inc()
		}
	}
	if n := float64(call.Unlisted); n > 0 {
		m.attempt(call.Provider, other).Add(n)
		m.retry(other).Add(n)
	}
	if len(call.Attempts) > 1 {
		result := resultOf(call)
		m.results[result].get(func() prometheus.Counter { return m.retried.WithLabelValues(resultNames[result]) }).Inc()
	}
}

// resultOf says whether it was of use that a call was tried again.
func resultOf(call *streaming.Call) int {
	if call.Outcome == streaming.OutcomeOK {
		return resultSuccess
	}
	if call.Outcome == streaming.OutcomeCanceled {
		return resultOther
	}
	switch call.Attempts[len(call.Attempts)-1].Verdict.Class {
	case keypool.ClassCaller, keypool.ClassContext, keypool.ClassPolicy:
		return resultOther
	}
	return resultFailure
}

func (m *Metrics) attempt(provider, class string) prometheus.Counter {
	key := attemptKey{provider, class}
	if c, ok := m.attemptRows.find(key); ok {
		return c
	}
	c, _ := m.attemptRows.add(key, unlimited, func() prometheus.Counter { return m.attempts.WithLabelValues(provider, class) })
	return c
}

func (m *Metrics) retry(reason string) prometheus.Counter {
	return single(&m.retryRows, m.retries, reason)
}

// single returns the counter of a metric with one label, of which the program
// itself bounds the values.
func single(rows *table[string, prometheus.Counter], vec *prometheus.CounterVec, value string) prometheus.Counter {
	if c, ok := rows.find(value); ok {
		return c
	}
	c, _ := rows.add(value, unlimited, func() prometheus.Counter { return vec.WithLabelValues(value) })
	return c
}
