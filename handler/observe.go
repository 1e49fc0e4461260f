// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
)

// begin counts the call in as one that was admitted.
func (a *account) begin() {
	a.admitted = true
	metrics.Process.Begin(a.call.Request.Stream)
}

// observe counts the call that is over in the metrics.
func (a *account) observe() {
	if a.call.Refusal != "" {
		metrics.Process.Refuse(a.call.Refusal)
	}
	if a.admitted {
		metrics.Process.End(a.call.Request.Stream)
	}
	settled := metrics.Settled{
		Call: a.call, Cost: a.cost.USD(), CostUnknown: a.costUnknown, Ended: time.Now(),
		Metadata: metrics.Metadata{Names: a.counted, Of: a.metadata, Configured: a.configured},
	}
	if a.known {
		settled.Client = a.client
	}
	metrics.Process.Settle(settled)
}
