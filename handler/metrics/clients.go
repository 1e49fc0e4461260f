// SPDX-License-Identifier: Apache-2.0

package metrics

import "strings"

// maxClients is how many clients have series of their own: the first that
// call. A file may name a hundred thousand.
const maxClients = 100

func (m *Metrics) makeClients() {
	m.byClient = shares{
		calls:  m.counter("caddy_llm_client_calls_total", "Calls that are over, by client.", "client", "outcome"),
		tokens: m.counter("caddy_llm_client_tokens_total", "Tokens by client: input and output, cached input and reasoning included.", "client", "kind"),
		cost:   m.counter("caddy_llm_client_cost_dollars_total", "What calls of a client have cost, in US dollars, where it is known.", "client"),
	}
}

// clientOf returns the share of a client. One that the config does not know has
// none of its own.
func (m *Metrics) clientOf(id string) *share {
	most := maxClients
	if id == "" {
		most = 0
	}
	return m.clients.choose(id, most, other, strings.Clone, func(id string) *share { return m.byClient.newShare(id) })
}
