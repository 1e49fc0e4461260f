// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

const twoTargets = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai http://127.0.0.1:SIM {
			key sim-good {
				id good
			}
		}
		model gpt-4o openai/first openai/second
		model long openai/short {
			context_length openai/large
		}
		model rude openai/strict {
			content_filter openai/lenient
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		model first unavailable
		model short context_length
		model strict content_filter
	}
}
`

// The caller of a call that fell back sees the model and the usage of the
// target that answered, and the log counts these, and the others as attempts.
func TestCallerSeesTheTargetThatAnswered(t *testing.T) {
	g := start(t, twoTargets)
	for i, test := range []struct{ asked, failed, answered string }{
		{"gpt-4o", "upstream", "second"},
		{"long", "context", "large"},
		{"rude", "policy", "lenient"},
	} {
		status, text := g.do(t, "POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", test.asked, 1))
		var answer struct {
			Model string
			Usage struct {
				Prompt     float64 `json:"prompt_tokens"`
				Completion float64 `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.Model != test.answered || answer.Usage.Completion == 0 {
			t.Errorf("%s: got %d %s, %v", test.asked, status, text, err)
		}
		call := g.awaitCalls(t, i+1)[i]
		if call["llm_model"] != test.asked || call["llm_model_answered"] != test.answered || call["llm_outcome"] != "ok" ||
			call["llm_input_tokens"] != answer.Usage.Prompt || call["llm_output_tokens"] != answer.Usage.Completion {
			t.Errorf("%s: usage %+v, the log says %v", test.asked, answer.Usage, call)
		}
		attempts := call["llm_attempts"].([]any)
		for n, attempt := range attempts {
			class := test.failed
			if n == len(attempts)-1 {
				class = "ok"
			}
			if !strings.HasPrefix(attempt.(string), "good:"+class+":") {
				t.Errorf("%s: attempts %v", test.asked, attempts)
			}
		}
		if len(attempts) < 2 {
			t.Errorf("%s: attempts %v", test.asked, attempts)
		}
	}
}
