// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// ReadHeader takes what the answer's header says of its usage. Bedrock meters
// every model there, also those that state nothing themselves.
func (s *Scanner) ReadHeader(h http.Header) {
	for name, id := range meterHeaders {
		if value := h.Get(name); value != "" && s.facts.dialect != nil {
			s.facts.metered.set(id, jsonscan.Value{Kind: jsonscan.Number, Raw: []byte(value)})
		}
	}
}

// meterHeaders are the headers of Bedrock that meter a call.
var meterHeaders = map[string]jsonscan.ID{
	"X-Amzn-Bedrock-Input-Token-Count":             factInput,
	"X-Amzn-Bedrock-Output-Token-Count":            factOutputTokens,
	"X-Amzn-Bedrock-Cache-Read-Input-Token-Count":  factCacheRead,
	"X-Amzn-Bedrock-Cache-Write-Input-Token-Count": factCacheWrite,
}

// meters are the parts of the usage that a provider meters.
var meters = map[jsonscan.ID]jsonscan.ID{
	factMeteredInput: factInput, factMeteredOutput: factOutputTokens,
	factMeteredCacheRead: factCacheRead, factMeteredCacheWrite: factCacheWrite,
}
