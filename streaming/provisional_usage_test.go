// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What an answer says of its output on the way is not what it took, if it does
// not come to a good end, or says nothing behind that.
func TestProvisionalUsageIsNotTheLastWord(t *testing.T) {
	const (
		body  = `{"model":"m","max_tokens":9,"stream":true,"messages":[]}`
		words = 50
		begun = "event: message_start\n" + `data: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":900,"output_tokens":1}}}` + "\n\n"
		text  = "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"twelve bytes"}}` + "\n\n"
		total = "event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":77}}` + "\n\n"
		stop  = "event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"
		fault = "event: error\n" + `data: {"type":"error","error":{"type":"overloaded_error","message":"no more"}}` + "\n\n"

		stated     = `data: {"choices":[{"index":0,"delta":{"content":"twelve bytes"}}],"usage":{"prompt_tokens":900,"completion_tokens":1,"total_tokens":901}}` + "\n\n"
		chatFault  = `data: {"error":{"message":"no more","code":500}}` + "\n\n"
		finalUsage = `data: {"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":77,"total_tokens":977}}` + "\n\n"
	)
	deltas, chunks := strings.Repeat(text, words), strings.Repeat(stated, words)
	for name, test := range map[string]struct {
		path, stream string
		leaves       bool
		least, most  int64
		outcome      Outcome
	}{
		"an error":                   {"/v1/messages", begun + deltas + fault, false, 150, 200, OutcomeBroken},
		"a cut":                      {"/v1/messages", begun + deltas, false, 150, 200, OutcomeBroken},
		"no last word":               {"/v1/messages", begun + deltas + stop, false, 150, 200, OutcomeOK},
		"the client leaves":          {"/v1/messages", begun + deltas, true, 150, 200, OutcomeCanceled},
		"chat, an error":             {"/v1/chat/completions", chunks + chatFault + doneEvent, false, 150, 200, OutcomeBroken},
		"chat, the client leaves":    {"/v1/chat/completions", chunks, true, 150, 200, OutcomeCanceled},
		"a good end":                 {"/v1/messages", begun + deltas + total + stop, false, 77, 77, OutcomeOK},
		"an error behind the end":    {"/v1/messages", begun + deltas + total + stop + fault, false, 77, 77, OutcomeBroken},
		"chat, a good end":           {"/v1/chat/completions", chunks + finishChunk + finalUsage + doneEvent, false, 77, 77, OutcomeOK},
		"chat, usage with the error": {"/v1/chat/completions", chunks + chatFault + finalUsage + doneEvent, false, 77, 77, OutcomeBroken},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
				stream(w, test.stream)
				if test.leaves {
					<-r.Context().Done()
				}
			})
			provider := pool("p", up.URL, "a-"+t.Name())
			if test.path == "/v1/messages" {
				provider.API = "anthropic"
			}
			tr := provision(t, &Transport{Providers: []*Provider{provider}, Retry: quick})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			res, call := post(t, ctx, tr, test.path, body)
			if test.leaves {
				if _, err := io.ReadFull(res.Body, make([]byte, len(test.stream))); err != nil {
					t.Fatal(err)
				}
				cancel()
			} else {
				_, _ = io.Copy(io.Discard, res.Body)
			}
			call.Close()
			usage, guessed := call.Result.Usage, test.least < test.most
			if n := usage.OutputTotal(); n < test.least || n > test.most || usage.InputTotal() != 900 || call.Result.Estimated != guessed || call.Outcome != test.outcome {
				t.Errorf("outcome %s, usage %+v, estimated %t", call.Outcome, usage, call.Result.Estimated)
			}
		})
	}
}
