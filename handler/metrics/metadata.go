// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxMetadata is how many names of metadata are told apart: the first that
	// calls are counted by, whatever configs choose afterwards.
	maxMetadata = 8
	// maxValues is how many values of one have series of their own because a
	// client has them whom the config does not name.
	maxValues = 100
	// maxConfiguredValues is the same for the clients of the config: so that
	// what is added while Caddy runs takes no room from them.
	maxConfiguredValues = 200
	// maxValue is the longest value that is a label, in bytes.
	maxValue = 256
)

// Metadata is by what of a client's metadata its call is counted.
type Metadata struct {
	// Names are those that count. A client without one of them has the value "".
	Names []string
	// Of are the client's metadata by name.
	Of map[string]string
	// Configured says that the config names the client, and so its values.
	Configured bool
}

func (m *Metrics) makeMetadata() {
	m.byMetadata = shares{
		calls:  m.counter("caddy_llm_metadata_calls_total", "Calls of clients that are over, by what their metadata say.", "name", "value", "outcome"),
		tokens: m.counter("caddy_llm_metadata_tokens_total", "Tokens by what the metadata of clients say: input and output, cached input and reasoning included.", "name", "value", "kind"),
		cost:   m.counter("caddy_llm_metadata_cost_dollars_total", "What calls have cost by what the metadata of clients say, in US dollars, where it is known.", "name", "value"),
	}
}

// values are the shares of those who have the same value under a name.
type values struct {
	name string
	table[string, *share]
}

func newValues(name string) *values { return &values{name: name} }

// settleMetadata counts a call under each name that counts.
func (m *Metrics) settleMetadata(s *Settled) {
	for _, name := range s.Metadata.Names {
		m.metadataOf(name, s.Metadata.Of[name], s.Metadata.Configured).settle(s)
	}
}

// metadataOf returns the share of a value under a name.
func (m *Metrics) metadataOf(name, value string, configured bool) *share {
	under := m.metadata.choose(name, maxMetadata, other, strings.Clone, newValues)
	if under.name == other {
		value = other
	}
	return under.choose(value, roomFor(value, configured), other, strings.Clone, func(value string) *share {
		return m.byMetadata.newShare(under.name, value)
	})
}

// roomFor returns how many values there may be for one more to be told apart.
func roomFor(value string, configured bool) int {
	switch {
	case value == "":
		return unlimited
	case len(value) > maxValue || !utf8.ValidString(value):
		return 0
	case configured:
		return maxConfiguredValues
	}
	return maxValues
}
