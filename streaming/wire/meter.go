// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// ReadHeader takes what the answer's header says of its usage. Bedrock meters
// every model there, also those that state nothing themselves.
func (s *Scanner) ReadHeader(h http.Header) {
	for _, meter := range meterHeaders {
		if values := h[meter.name]; len(values) > 0 && s.facts.dialect != nil {
			s.facts.metered.set(meter.id, jsonscan.Value{Kind: jsonscan.Number, Raw: []byte(values[0])})
		}
	}
}

// meterHeaders are the headers of Bedrock that meter a call.
var meterHeaders = []struct {
	name string
	id   jsonscan.ID
}{
	{"X-Amzn-Bedrock-Input-Token-Count", factInput},
	{"X-Amzn-Bedrock-Output-Token-Count", factOutputTokens},
	{"X-Amzn-Bedrock-Cache-Read-Input-Token-Count", factCacheRead},
	{"X-Amzn-Bedrock-Cache-Write-Input-Token-Count", factCacheWrite},
}

// meters are the parts of the usage that a provider meters.
var meters = map[jsonscan.ID]jsonscan.ID{
	factMeteredInput: factInput, factMeteredOutput: factOutputTokens,
	factMeteredCacheRead: factCacheRead, factMeteredCacheWrite: factCacheWrite,
}
