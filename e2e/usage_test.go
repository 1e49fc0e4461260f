// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
)

const askedForUsage = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		usage MODE
		price gpt-4o {
			input 2.50
			output 10
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`

// The usage of a stream is known if it is asked for, and estimated if it is
// only observed; the client sees none of it either way.
func TestUsageOfStreamsIsKnown(t *testing.T) {
	for mode, estimated := range map[string]bool{"inject": false, "observe": true} {
		g := start(t, strings.Replace(askedForUsage, "MODE", mode, 1))
		status, text := g.do(t, "POST", "/v1/chat/completions", chatStreamBody)
		if status != 200 || strings.Contains(text, "usage") || !strings.HasSuffix(text, "data: [DONE]\n\n") {
			t.Errorf("%s: %d %s", mode, status, text)
		}
		call := g.awaitCalls(t, 1)[0]
		output, _ := call["llm_output_tokens"].(float64)
		guessed, _ := call["llm_usage_estimated"].(bool)
		cost, _ := call["llm_cost"].(float64)
		if output < 1 || guessed != estimated || cost <= 0 || call["llm_finish_reason"] != "stop" {
			t.Errorf("%s: %v", mode, call)
		}
		if each, _ := call["llm_per_token_ms"].(float64); each <= 0 {
			t.Errorf("%s: %v for each token", mode, call["llm_per_token_ms"])
		}
	}
}
