// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	geminiPath   = "/v1beta/models/gpt-4o:streamGenerateContent?alt=sse"
	geminiBody   = `{"contents":[{"parts":[{"text":"hi"}]}]}`
	messagesBody = `{"model":"gpt-4o","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`
)

// filteredAnswers are answers with status 200 that a filter has left nothing
// of, or not all.
var filteredAnswers = map[string]struct{ api, path, body, answer string }{
	"a Gemini prompt": {"gemini", geminiPath, geminiBody,
		`data: {"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":5},"modelVersion":"m"}` + "\n\n"},
	"a Gemini answer, before its first word": {"gemini", geminiPath, geminiBody,
		`data: {"candidates":[{"finishReason":"SAFETY","index":0}],"modelVersion":"m"}` + "\n\n"},
	"a Gemini prompt, whole": {"gemini", strings.Replace(geminiPath, "streamGenerateContent?alt=sse", "generateContent", 1), geminiBody,
		`{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5},"modelVersion":"m"}` + "\n"},
	"a chat": {"openai", "/v1/chat/completions", chatStreamBody,
		roleChunk + strings.Replace(finishChunk, `"stop"`, `"content_filter"`, 1) + doneEvent},
	"a chat, whole": {"openai", "/v1/chat/completions", chatBody,
		strings.Replace(chatAnswer, `"finish_reason":"stop"`, `"finish_reason":"content_filter"`, 1)},
	"a message": {"anthropic", "/v1/messages", messagesBody,
		"event: message_start\n" + `data: {"type":"message_start","message":{"id":"m","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n" +
			"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"refusal"},"usage":{"output_tokens":1}}` + "\n\n" +
			"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"},
}

// filtering is a transport whose target filters, with these targets for that.
func filtering(t *testing.T, api string, up *upstream, instead ...Target) *Transport {
	t.Helper()
	p := pool("p", up.URL, "a-"+t.Name())
	p.API = api
	return provision(t, &Transport{Providers: []*Provider{p}, Retry: quick, Models: []*ModelRoute{{
		Match: "*", Targets: []Target{{Provider: "p"}}, ContentFilter: instead,
	}}})
}

// A filter may strike within a success. If there are targets for that, they
// are asked, as long as the client has got nothing.
func TestFilteredAnswerGoesToItsOwnTarget(t *testing.T) {
	for name, test := range filteredAnswers {
		t.Run(name, func(t *testing.T) {
			const better = "better"
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {})
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				media := "text/event-stream"
				if strings.HasPrefix(test.answer, "{") {
					media = "application/json"
				}
				w.Header().Set("Content-Type", media)
				switch asked := string(body) + r.URL.Path; {
				case strings.Contains(asked, "broken"):
					answerJSON(w, 503, `{"error":{"message":"down"}}`)
				case strings.Contains(asked, better):
					_, _ = io.WriteString(w, strings.ReplaceAll(test.answer, `"m"`, `"better"`))
				default:
					_, _ = io.WriteString(w, test.answer)
				}
			})
			ask := func(instead ...Target) (string, *Call) {
				res, call := post(t, context.Background(), filtering(t, test.api, up, instead...), test.path, test.body)
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 {
					t.Errorf("got %d, %v", res.StatusCode, err)
				}
				return string(text), call
			}
			if text, call := ask(); text != test.answer || len(call.Attempts) != 1 || call.Outcome != OutcomeOK {
				t.Errorf("without a target: outcome %s, %v, got %s", call.Outcome, call.Attempts, text)
			}
			if _, call := ask(Target{Provider: "p", Model: better}); call.TargetModel != better || len(call.Attempts) != 2 ||
				call.Attempts[0].Verdict.Class.String() != "policy" || call.Outcome != OutcomeOK {
				t.Errorf("with a target: outcome %s, %v", call.Outcome, call.Attempts)
			}
			// The client gets the answer that there is, when the target has none.
			if text, call := ask(Target{Provider: "p", Model: "broken"}); text != test.answer || len(call.Attempts) < 2 || call.Outcome != OutcomeError {
				t.Errorf("with a broken target: outcome %s, %v, got %s", call.Outcome, call.Attempts, text)
			}
		})
	}
}

// What a filter cuts off after it has begun is the client's already.
func TestFilterThatStrikesLateIsPassedOn(t *testing.T) {
	answer := roleChunk + chunk("he") + strings.Replace(finishChunk, `"stop"`, `"content_filter"`, 1) + doneEvent
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { stream(w, answer) })
	status, text, call := chat(t, filtering(t, "openai", up, Target{Provider: "p", Model: "better"}), chatStreamBody)
	if status != 200 || text != answer || len(call.Attempts) != 1 {
		t.Errorf("got %d %s after %v", status, text, call.Attempts)
	}
}
