// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// shares are the metrics of what callers take, told apart by who they are.
type shares struct{ calls, tokens, cost *prometheus.CounterVec }

// share is the series of one of those who are told apart.
type share struct {
	*shares
	// labels say who it is.
	labels        []string
	calls         [len(outcomes)]child[prometheus.Counter]
	input, output child[prometheus.Counter]
	cost          child[prometheus.Counter]
}

func (of *shares) newShare(labels ...string) *share { return &share{shares: of, labels: labels} }

// settle counts a call that is over.
func (s *share) settle(of *Settled) {
	call := of.Call
	i := outcomeIndex(call.Outcome)
	s.calls[i].get(func() prometheus.Counter { return s.of(s.shares.calls, string(outcomes[i])) }).Inc()
	if n := call.Result.Usage.InputTotal(); n > 0 {
		s.input.get(func() prometheus.Counter { return s.of(s.tokens, "input") }).Add(float64(n))
	}
	if n := call.Result.Usage.OutputTotal(); n > 0 {
		s.output.get(func() prometheus.Counter { return s.of(s.tokens, "output") }).Add(float64(n))
	}
	if of.Cost > 0 {
		s.cost.get(func() prometheus.Counter { return s.of(s.shares.cost) }).Add(of.Cost)
	}
}

// of returns the series of a metric, with the labels that it has besides.
func (s *share) of(metric *prometheus.CounterVec, more ...string) prometheus.Counter {
	return metric.WithLabelValues(slices.Concat(s.labels, more)...)
}
