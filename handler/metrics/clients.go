// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// maxClients is how many clients have series of their own: the first that
// call. A file may name a hundred thousand.
const maxClients = 100

func (m *Metrics) makeClients() {
	m.clientCalls = m.counter("caddy_llm_client_calls_total", "Calls that are over, by client.", "client", "outcome")
	m.clientTokens = m.counter("caddy_llm_client_tokens_total", "Tokens by client: input and output, cached input and reasoning included.", "client", "kind")
	m.clientCost = m.counter("caddy_llm_client_cost_dollars_total", "What calls of a client have cost, in US dollars, where it is known.", "client")
}

// clientRow is the series of one client.
type clientRow struct {
	id            string
	calls         [len(outcomes)]child[prometheus.Counter]
	input, output child[prometheus.Counter]
	cost          child[prometheus.Counter]
}

// clientOf returns the row of a client. One that the config does not know has
// none of its own.
func (m *Metrics) clientOf(id string) *clientRow {
	if id == "" {
		id = other
	}
	if row, ok := m.clients.find(id); ok {
		return row
	}
	if id != other {
		if row, ok := m.clients.add(strings.Clone(id), maxClients, func() *clientRow { return &clientRow{id: strings.Clone(id)} }); ok {
			return row
		}
	}
	row, _ := m.clients.add(other, unlimited, func() *clientRow { return &clientRow{id: other} })
	return row
}

// settleClient counts what is told apart by client.
func (m *Metrics) settleClient(s *Settled) {
	row, call := m.clientOf(s.Client), s.Call
	i := outcomeIndex(call.Outcome)
	row.calls[i].get(func() prometheus.Counter { return m.clientCalls.WithLabelValues(row.id, string(outcomes[i])) }).Inc()
	if n := call.Result.Usage.InputTotal(); n > 0 {
		row.input.get(func() prometheus.Counter { return m.clientTokens.WithLabelValues(row.id, "input") }).Add(float64(n))
	}
	if n := call.Result.Usage.OutputTotal(); n > 0 {
		row.output.get(func() prometheus.Counter { return m.clientTokens.WithLabelValues(row.id, "output") }).Add(float64(n))
	}
	if s.Cost > 0 {
		row.cost.get(func() prometheus.Counter { return m.clientCost.WithLabelValues(row.id) }).Add(s.Cost)
	}
}
