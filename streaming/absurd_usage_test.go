// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"net/http"
	"strings"
	"testing"
)

// A number of tokens that no call can take is none: it is estimated instead.
func TestAbsurdUsageIsNotBelieved(t *testing.T) {
	for _, absurd := range []string{"9000000000000000000", "9e18", "99999999999999999999", "100000001"} {
		usage := `"usage":{"prompt_tokens":9,"completion_tokens":` + absurd + `,"total_tokens":` + absurd + `}`
		streamed := roleChunk + chunk("one") + chunk("two") + finishChunk + `data: {"choices":[],` + usage + "}\n\n" + doneEvent
		whole := `{"choices":[{"message":{"content":"` + strings.Repeat("word ", 40) + `"},"finish_reason":"stop"}],` + usage + `}`
		for body, answer := range map[string]string{chatStreamBody: streamed, chatBody: whole} {
			_, _, call, err := answered(t, "/v1/chat/completions", body, nil, func(w http.ResponseWriter) {
				if body == chatStreamBody {
					stream(w, answer)
				} else {
					answerJSON(w, http.StatusOK, answer)
				}
			})
			got := call.Result.Usage
			if err != nil || got.InputTotal() != 9 || got.OutputTotal() < 2 || got.OutputTotal() > 200 || !call.Result.Estimated || call.Outcome != OutcomeOK {
				t.Errorf("%s: %v, outcome %s, usage %+v, estimated %t", absurd, err, call.Outcome, got, call.Result.Estimated)
			}
		}
	}
}
