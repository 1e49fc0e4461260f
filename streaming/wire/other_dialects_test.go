// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"
)

func TestOtherAnswersAreReadAlong(t *testing.T) {
	const ndjson = "application/x-ndjson"
	for _, test := range []readAlong{
		{
			"Cohere", dialectCohere, jsonType,
			`{"message":{"tool_calls":[{"function":{"arguments":"{\"usage\":1}"}}]},"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":1,"output_tokens":2},"tokens":{"input_tokens":5,"output_tokens":7},"cached_tokens":3}}`,
			summary{"", "TOOL_CALL", "tool_calls", 5, 7, 3, 1, 0, true, true, false, true},
		},
		{
			"streamed Cohere", dialectCohere, eventStreamType,
			stream(
				`{"type":"message-start","delta":{"message":{"content":[],"tool_plan":""}}}`,
				`{"type":"content-start","delta":{"message":{"content":{"type":"text","text":""}}}}`,
				`{"type":"content-delta","delta":{"message":{"content":{"text":"hi"}}}}`,
				`{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":5,"output_tokens":7}}}}`),
			summary{"", "COMPLETE", "stop", 5, 7, 0, 4, 2, true, true, false, true},
		},
		{
			"Cohere's first version, a line at a time", dialectCohere, "application/stream+json",
			`{"is_finished":false,"event_type":"text-generation","text":"hi"}` + "\n" +
				`{"is_finished":true,"event_type":"stream-end","response":{"finish_reason":"MAX_TOKENS","meta":{"billed_units":{"input_tokens":5,"output_tokens":7}}}}`,
			summary{"", "MAX_TOKENS", "length", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"reranking", dialectCohere, jsonType, `{"results":[{"index":0,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}`,
			summary{"", "", "", 0, 0, 0, 1, 0, true, true, false, false},
		},
		{
			"Ollama", dialectOllama, ndjson,
			`{"model":"m1","message":{"content":"hi"},"done":false}` + "\n" + `{"model":"m1","done_reason":"length","done":true,"prompt_eval_count":5,"eval_count":7}` + "\n",
			summary{"m1", "length", "length", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"Ollama that calls its lines JSON", dialectOllama, jsonType,
			`{"model":"m1","response":"","done":false}` + "\n" + `{"response":"hi","done":false}` + "\n" + `{"response":"","done":true,"eval_count":7}`,
			summary{"m1", "", "", 0, 7, 0, 3, 1, true, true, false, true},
		},
		{
			"Ollama that is cut off", dialectOllama, ndjson, `{"model":"m1","response":"hi","done":false}` + "\n" + `{"resp`,
			summary{"m1", "", "", 0, 0, 0, 1, 0, true, false, false, false},
		},
		{
			"Ollama that fails", dialectOllama, ndjson, `{"model":"m1","response":"hi","done":false}` + "\n" + `{"error":"out of memory"}` + "\n",
			summary{"m1", "", "", 0, 0, 0, 2, 0, true, false, true, false},
		},
		{
			"a malformed line between good ones", dialectOllama, ndjson, `{"model":"m1"` + "]\n{\"response\":\"hi\",\"done\":true,\"eval_count\":7}\n",
			summary{"m1", "", "", 0, 7, 0, 2, 1, true, true, false, true},
		},
		{
			"TGI", dialectTGI, eventStreamType,
			"data:{\"token\":{\"text\":\"hi\"},\"generated_text\":null}\n\ndata:{\"token\":{\"text\":\"!\"},\"generated_text\":\"hi!\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":7,\"input_length\":5}}\n\n",
			summary{"", "eos_token", "stop", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"DashScope", dialectDashScope, eventStreamType,
			"id:1\nevent:result\n:HTTP_STATUS/200\n" + `data:{"output":{"choices":[{"message":{"content":"hi"},"finish_reason":"null"}]},"usage":{"input_tokens":5,"output_tokens":1,"total_tokens":6}}` +
				"\n\nid:2\nevent:result\n:HTTP_STATUS/200\n" + `data:{"output":{"choices":[{"message":{"content":""},"finish_reason":"stop"}]},"usage":{"input_tokens":5,"output_tokens":7,"total_tokens":12}}` + "\n\n",
			summary{"", "stop", "stop", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"DashScope as text", dialectDashScope, eventStreamType,
			"data:{\"output\":{\"finish_reason\":\"null\",\"text\":\"h\"},\"usage\":{\"output_tokens\":1}}\n\ndata:{\"output\":{\"finish_reason\":\"length\",\"text\":\"hi\"},\"usage\":{\"input_tokens\":5,\"output_tokens\":7}}\n\n",
			summary{"", "length", "length", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"DashScope that fails", dialectDashScope, eventStreamType, "event:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.RateQuota\",\"message\":\"slow\"}\n\n",
			summary{"", "", "", 0, 0, 0, 1, -1, false, false, true, false},
		},
		{
			"interactions", dialectInteractions, eventStreamType,
			stream(
				`{"event_type":"interaction.created","interaction":{"model":"m1","status":"in_progress"}}`,
				`{"event_type":"step.delta","delta":{"text":"hi"}}`,
				`{"event_type":"interaction.completed","interaction":{"model":"m1","status":"completed","usage":{"total_input_tokens":5,"total_thought_tokens":10,"total_output_tokens":7,"total_tool_use_tokens":1}}}`),
			summary{"m1", "completed", "stop", 6, 17, 0, 3, 1, true, true, false, true},
		},
		{
			"what is still being made", dialectResponses, jsonType, `{"model":"m1","status":"queued","usage":null}`,
			summary{"m1", "queued", "", 0, 0, 0, 1, 0, true, true, false, false},
		},
		{
			"Anthropic before Messages", dialectComplete, eventStreamType,
			"event: completion\n" + stream(`{"type":"completion","completion":" hi","stop_reason":null,"model":"m1"}`) +
				"event: completion\n" + stream(`{"type":"completion","completion":"","stop_reason":"max_tokens","model":"m1"}`),
			summary{"m1", "max_tokens", "length", 0, 0, 0, 2, 0, true, true, false, false},
		},
		{
			"embeddings that are predicted", dialectEmbed, jsonType,
			`{"predictions":[{"embeddings":{"values":[0.1],"statistics":{"token_count":2.0,"truncated":false}}},{"embeddings":{"statistics":{"token_count":3}}}]}`,
			summary{"", "", "", 5, 0, 0, 1, 0, true, true, false, true},
		},
		{
			"a batch", dialectBatch, jsonType, `{"model":"m1","status":"completed","errors":null,"usage":{"input_tokens":5,"output_tokens":7,"total_tokens":12}}`,
			summary{"m1", "", "", 5, 7, 0, 1, 0, true, true, false, true},
		},
	} {
		t.Run(test.name, test.run)
	}
}

func TestStepsThatAUsageLeavesOutAreStatedApart(t *testing.T) {
	const steps = `[{"type":"compaction","input_tokens":100,"output_tokens":10},{"type":"message","input_tokens":5,"output_tokens":7},{"type":"advisor_message","model":"m2","input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3,"cache_creation_input_tokens":4}]`
	body := stream(
		`{"type":"message_start","message":{"model":"m1","usage":{"input_tokens":5,"output_tokens":1,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":10}]}}}`,
		`{"type":"message_delta","usage":{"output_tokens":7,"server_tool_use":{"web_search_requests":2},"iterations":`+steps+`}}`)
	got := scanned(dialectMessages, eventStreamType, []byte(body), func() int { return 11 }).Usage
	if want := (Aside{Input: 101, Output: 12, CacheRead: 3, CacheWrite: 4}); got.Aside != want || got.Input != 5 || got.Output != 7 || got.WebSearches != 2 {
		t.Errorf("got %+v", got)
	}
}
