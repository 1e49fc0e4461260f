// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// The layers of limits.
const (
	LayerIP     = "ip"
	LayerGlobal = "global"
	LayerUser   = "user"
)

// The reasons for which a caller is not known.
const (
	// AuthMissing is a request without any key.
	AuthMissing = "missing"
	// AuthWrong is a key or a token that is not valid.
	AuthWrong = "wrong"
	// AuthExpired is a client whose time is over.
	AuthExpired = "expired"
	// AuthDisabled is a client whose access an operator has stopped.
	AuthDisabled = "disabled"
	// AuthAddress is a client that may not call from where it does.
	AuthAddress = "address"
	// AuthGroup is a caller who is in no group, where that is required.
	AuthGroup = "group"
	// AuthUnavailable is a token that cannot be judged for now.
	AuthUnavailable = "unavailable"
)

func (m *Metrics) makeRefusals() {
	m.refusals = m.counter("caddy_llm_refusals_total", "Calls that the gateway itself has turned down, by the code that the client was told.", "code")
	m.authFailures = m.counter("caddy_llm_auth_failures_total", "Requests whose caller was not let in, by reason.", "reason")
	m.limits = m.counter("caddy_llm_limits_met_total",
		"Limits that requests have met, by layer and kind. Where shadow is true they were let pass.", "layer", "kind", "shadow")
}

type limitKey struct {
	layer, kind string
	shadow      bool
}

// Refuse counts a call that was turned down with a code, which must be one of
// those that this program knows.
func (m *Metrics) Refuse(code string) { single(&m.refusalRows, m.refusals, code).Inc() }

// FailAuth counts a request whose caller was not let in, by one of the reasons
// above.
func (m *Metrics) FailAuth(reason string) { single(&m.authRows, m.authFailures, reason).Inc() }

// MeetLimit counts a limit of a layer that a request has met. shadow says that
// it was let pass.
func (m *Metrics) MeetLimit(layer, kind string, shadow bool) {
	key := limitKey{layer, kind, shadow}
	c, ok := m.limitRows.find(key)
	if !ok {
		c, _ = m.limitRows.add(key, unlimited, func() prometheus.Counter {
			return m.limits.WithLabelValues(layer, kind, strconv.FormatBool(shadow))
		})
	}
	c.Inc()
}
