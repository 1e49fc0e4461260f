// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// Settled is a call that is over.
type Settled struct {
	Call *streaming.Call
	// Client is the id of the client that called; "" if the config does not
	// know it.
	Client string
	// Metadata is by what else of the client its call is counted.
	Metadata Metadata
	// Cost is what the call has cost, in US dollars, or the part of it that is
	// known if CostUnknown.
	Cost        float64
	CostUnknown bool
	// Ended is when the call was over.
	Ended time.Time
}

// outcomes are the ways in which calls end.
var outcomes = [...]streaming.Outcome{
	streaming.OutcomeOK, streaming.OutcomeRefused, streaming.OutcomeError,
	streaming.OutcomeExhausted, streaming.OutcomeBroken, streaming.OutcomeCanceled,
}

// outcomeIndex returns the place of an outcome among them.
func outcomeIndex(o streaming.Outcome) int {
	for i, known := range outcomes {
		if known == o {
			return i
		}
	}
	return 2 // what is not known is an error
}

// Settle counts a call that is over. Models are labels only where the config
// names them or a provider has answered for them, clients only where the
// config knows them, and both up to a number, as are the values of metadata; all
// others are "_other".
func (m *Metrics) Settle(s Settled) {
	row := m.rowOf(s.Call)
	row.settle(&s)
	m.settleAttempts(s.Call)
	m.clientOf(s.Client).settle(&s)
	m.settleMetadata(&s)
	if s.Call.Sent > 0 {
		m.admission.Observe(s.Call.Sent.Seconds())
	}
}

// settle counts what is told apart by operation, provider and model.
func (r *row) settle(s *Settled) {
	m, call := r.metrics, s.Call
	i := outcomeIndex(call.Outcome)
	r.calls[i].get(func() prometheus.Counter {
		return m.calls.WithLabelValues(r.operation, r.provider, r.model, string(outcomes[i]))
	}).Inc()
	if r.provider == "" {
		return // no provider was asked
	}
	if !call.Request.Operation.Session { // which lasts as long as people talk
		r.settleDuration(i, s.Ended.Sub(call.Started))
	}
	if call.FirstToken > 0 && call.Request.Stream {
		r.firstToken.get(func() prometheus.Observer {
			return m.firstToken.WithLabelValues(r.genAI, r.provider, r.model)
		}).Observe(call.FirstToken.Seconds())
	}
	r.settleUsage(s)
	r.settleStream(s)
}

// settleDuration counts how long a call took that ended in the i-th way.
func (r *row) settleDuration(i int, took time.Duration) {
	r.duration[i].get(func() prometheus.Observer {
		errorType := string(outcomes[i])
		if outcomes[i] == streaming.OutcomeOK {
			errorType = ""
		}
		return r.metrics.duration.WithLabelValues(r.genAI, r.provider, r.model, errorType)
	}).Observe(took.Seconds())
}

// settleUsage counts tokens and their cost.
func (r *row) settleUsage(s *Settled) {
	m, usage := r.metrics, &s.Call.Result.Usage
	if s.Cost > 0 {
		r.cost.get(func() prometheus.Counter { return m.cost.WithLabelValues(r.provider, r.model) }).Add(s.Cost)
	}
	if s.CostUnknown {
		r.unpriced.get(func() prometheus.Counter { return m.unpriced.WithLabelValues(r.provider, r.model) }).Inc()
	}
	if !usage.Stated() {
		return
	}
	for i, n := range kinds(usage) {
		if n > 0 {
			r.tokens[i].get(func() prometheus.Counter {
				return m.tokens.WithLabelValues(r.provider, r.model, kindNames[i])
			}).Add(float64(n))
		}
	}
	r.inputUsage.get(func() prometheus.Observer {
		return m.tokenUsage.WithLabelValues(r.genAI, r.provider, r.model, "input")
	}).Observe(float64(usage.InputTotal()))
	if output := usage.OutputTotal(); output > 0 {
		r.outputUsage.get(func() prometheus.Observer {
			return m.tokenUsage.WithLabelValues(r.genAI, r.provider, r.model, "output")
		}).Observe(float64(output))
	}
}

// streamEnds are the ways in which streams end. One that is rescued broke off
// and came to its end all the same.
var streamEnds = [...]string{"ok", "rescued", "broken", "canceled"}

const (
	endOK = iota
	endRescued
	endBroken
	endCanceled
)

// settleStream counts a stream that had begun.
func (r *row) settleStream(s *Settled) {
	m, call := r.metrics, s.Call
	if call.Request == nil || !call.Request.Stream || call.FirstToken == 0 {
		return
	}
	end := endOK
	switch {
	case call.Outcome == streaming.OutcomeCanceled:
		end = endCanceled
	case call.Outcome != streaming.OutcomeOK:
		end = endBroken
	case hasBroken(call.Attempts):
		end = endRescued
	}
	r.streams[end].get(func() prometheus.Counter {
		return m.streams.WithLabelValues(r.provider, r.model, streamEnds[end])
	}).Inc()
	r.events.get(func() prometheus.Counter { return m.streamEvents.WithLabelValues(r.provider, r.model) }).Add(float64(call.Result.Events))

	took := s.Ended.Sub(call.Started) - call.FirstToken
	r.streamDuration.get(func() prometheus.Observer {
		return m.streamDuration.WithLabelValues(r.provider, r.model)
	}).Observe(took.Seconds())
	if each, known := call.PerToken(); end == endOK && known {
		r.perToken.get(func() prometheus.Observer {
			return m.perToken.WithLabelValues(r.genAI, r.provider, r.model)
		}).Observe(each.Seconds())
	}
}

// hasBroken reports whether a stream of the call has broken off.
func hasBroken(attempts []streaming.Attempt) bool {
	for _, a := range attempts {
		if a.Verdict.Class == keypool.ClassBroken {
			return true
		}
	}
	return false
}

// Begin counts a call in that was admitted.
func (m *Metrics) Begin(stream bool) {
	m.callsInFlight.Inc()
	if stream {
		m.streamsInFlight.Inc()
	}
}

// End counts a call out that was counted in.
func (m *Metrics) End(stream bool) {
	m.callsInFlight.Dec()
	if stream {
		m.streamsInFlight.Dec()
	}
}
