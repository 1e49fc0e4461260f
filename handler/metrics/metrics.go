// SPDX-License-Identifier: Apache-2.0

// Package metrics counts what operators watch, for Prometheus: calls, tokens,
// latencies, attempts, limits. What OpenTelemetry has a name for has that name.
//
// The series live as long as the process. Each config has a registry of its
// own, with which the same collectors are registered: so a reload loses no
// count, and a stream that outlives its config still counts.
//
// Values of labels are bounded, whoever calls: see [Metrics.Settle].
package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// Metrics are the collectors. Counting allocates nothing once a series is
// there, and takes no lock.
type Metrics struct {
	// By operation, provider and model.
	tokenUsage, duration, firstToken, perToken           *prometheus.HistogramVec
	streamDuration                                       *prometheus.HistogramVec
	calls, tokens, cost, unpriced, streams, streamEvents *prometheus.CounterVec
	rows                                                 table[rowKey, *row]

	// By client, and by what the metadata of clients say.
	byClient, byMetadata shares
	clients              table[string, *share]
	metadata             table[string, *values]

	// By what else there is.
	attempts, retries, retried       *prometheus.CounterVec
	refusals, authFailures, limits   *prometheus.CounterVec
	attemptRows                      table[attemptKey, prometheus.Counter]
	retryRows, refusalRows, authRows table[string, prometheus.Counter]
	limitRows                        table[limitKey, prometheus.Counter]
	results                          [len(resultNames)]child[prometheus.Counter]
	admission                        prometheus.Histogram
	callsInFlight, streamsInFlight   prometheus.Gauge

	collectors []prometheus.Collector
}

// Process are the metrics of this process.
var Process = New()

// New makes metrics in which nothing has been counted yet.
func New() *Metrics {
	m := new(Metrics)
	m.makeCalls()
	m.makeClients()
	m.makeMetadata()
	m.makeAttempts()
	m.makeRefusals()
	m.collectors = append(m.collectors, &pools{streaming.Pools, time.Now})
	return m
}

// Register has the metrics appear in a registry, such as that of a config. To
// do so again changes nothing.
func (m *Metrics) Register(registry *prometheus.Registry) error {
	err := registry.Register(m)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) && already.ExistingCollector == prometheus.Collector(m) {
		return nil
	}
	return err
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range m.collectors {
		c.Describe(descs)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range m.collectors {
		c.Collect(metrics)
	}
}

// counter makes a counter that is told apart by labels. Names say the unit.
func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.collectors = append(m.collectors, c)
	return c
}

// histogram is the same for a distribution.
func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.collectors = append(m.collectors, h)
	return h
}

// gauge makes one that stands alone.
func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.collectors = append(m.collectors, g)
	return g
}

// Interface guard
var _ prometheus.Collector = (*Metrics)(nil)
