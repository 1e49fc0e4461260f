// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"testing"
)

// What single providers do that others of their family do not.
func TestPeculiaritiesOfProvidersAreReadAlong(t *testing.T) {
	for _, test := range []readAlong{
		{
			"vLLM fails in the middle", dialectChat, eventStreamType,
			stream(`{"object":"chat.completion.chunk","model":"m1","choices":[{"delta":{"content":"a"}}]}`, `{"object":"error","message":"out of memory","type":"InternalServerError","code":500}`, `[DONE]`),
			summary{"m1", "", "", 0, 0, 0, 3, 0, true, true, true, false},
		},
		{
			"vLLM states its usage all the time", dialectChat, eventStreamType,
			stream(
				`{"choices":[{"delta":{"content":"a"},"stop_reason":null}],"usage":{"prompt_tokens":5,"total_tokens":6,"completion_tokens":1}}`,
				`{"choices":[{"delta":{"content":"b"},"finish_reason":"stop","stop_reason":42}],"usage":{"prompt_tokens":5,"total_tokens":7,"completion_tokens":2}}`),
			summary{"", "stop", "stop", 5, 2, 0, 2, 0, true, true, false, true},
		},
		{
			"llama.cpp in its own way", dialectLlama, eventStreamType,
			stream(`{"index":0,"content":"","stop":false,"tokens_predicted":0,"tokens_evaluated":5}`, `{"content":"hi","stop":false,"tokens_predicted":1,"tokens_evaluated":5}`,
				`{"content":"","stop":true,"model":"m1","tokens_predicted":7,"tokens_evaluated":5,"stop_type":"limit","generation_settings":{"model":"x","stop":[]}}`),
			summary{"m1", "limit", "length", 5, 7, 0, 3, 1, true, true, false, true},
		},
		{
			"llama.cpp in its own way, cut off", dialectLlama, eventStreamType, stream(`{"content":"hi","stop":false,"tokens_predicted":1,"tokens_evaluated":5}`),
			summary{"", "", "", 5, 1, 0, 1, 0, true, false, false, true},
		},
		{
			"Perplexity's research", dialectChat, eventStreamType,
			": ping\r\n\r\n" + strings.ReplaceAll(stream(
				`{"model":"m1","choices":[{"delta":{"content":"a"}}],"search_results":[{"usage":1}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}`,
				`{"model":"m1","choices":[{"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"citation_tokens":99,"num_search_queries":3,"reasoning_tokens":20,"cost":{"total_cost":0.5}}}`), "\n", "\r\n"),
			summary{"m1", "stop", "stop", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"OpenRouter fails with a usage", dialectChat, eventStreamType,
			": OPENROUTER PROCESSING\n\n" + stream(`{"model":"m1","choices":[{"delta":{"content":"a"},"finish_reason":null}]}`,
				`{"model":"m1","error":{"code":502,"message":"Provider disconnected"},"choices":[{"delta":{"content":""},"finish_reason":"error","native_finish_reason":"error"}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`, `[DONE]`),
			summary{"m1", "error", "error", 5, 1, 0, 3, 0, true, true, true, true},
		},
		{
			"Snowflake leaves the reason empty", dialectChat, eventStreamType,
			stream(`{"model":"m1","choices":[{"delta":{"content":"a"},"finish_reason":""}]}`, `{"model":"m1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}`, `[DONE]`),
			summary{"m1", "", "", 5, 1, 0, 3, 0, true, true, false, true},
		},
		{
			"Mistral hears nothing", dialectChat, jsonType, `{"model":"m1","choices":[{"finish_reason":"model_length"}],"usage":{"prompt_audio_seconds":{},"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`,
			summary{"m1", "model_length", "length", 5, 7, 0, 1, 0, true, true, false, true},
		},
		{
			"Azure fails under 200", dialectChat, jsonType, `{"error":{"code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`,
			summary{"", "", "", 0, 0, 0, 1, -1, false, true, true, false},
		},
		{
			"Gemini fails in an array under 200", dialectGenerate, jsonType, `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]`,
			summary{"", "", "", 0, 0, 0, 1, -1, false, true, true, false},
		},
		{
			"a transcript in events", dialectAudio, eventStreamType,
			strings.ReplaceAll(stream(`{"type":"transcript.text.delta","delta":"hi"}`, `{"type":"transcript.text.done","text":"hi","usage":{"type":"tokens","input_tokens":5,"input_token_details":{"audio_tokens":4},"output_tokens":7,"total_tokens":12}}`, `[DONE]`), "\n", "\r\n"),
			summary{"", "", "", 5, 7, 0, 3, 0, true, true, false, true},
		},
		{
			"speech in events", dialectAudio, eventStreamType,
			stream(`{"type":"speech.audio.delta","audio":"aGk="}`, `{"type":"speech.audio.done","usage":{"input_tokens":5,"output_tokens":7,"total_tokens":12}}`),
			summary{"", "", "", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"edited images in events", dialectImages, eventStreamType,
			stream(`{"type":"image_edit.partial_image","b64_json":"aGk="}`, `{"type":"image_edit.completed","b64_json":"aGk=","usage":{"input_tokens":5,"output_tokens":7,"total_tokens":12}}`),
			summary{"", "", "", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"a reranking as Cohere's", dialectEmbeddings, jsonType, `{"results":[],"meta":{"tokens":{"input_tokens":5,"output_tokens":0}}}`,
			summary{"", "", "", 5, 0, 0, 1, 0, true, true, false, true},
		},
		{
			"Moonshot, without the object's own usage", dialectChat, eventStreamType,
			stream(`{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}`, `{"choices":[{"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"cached_tokens":4}}]}`, `[DONE]`),
			summary{"", "stop", "stop", 5, 7, 4, 3, 0, true, true, false, true},
		},
		{
			"an interaction that fails", dialectInteractions, eventStreamType,
			stream(`{"event_type":"error","error":{"code":"not_found","message":"no such thing"}}`, `[DONE]`),
			summary{"", "", "", 0, 0, 0, 2, -1, false, true, true, false},
		},
	} {
		t.Run(test.name, test.run)
	}
}

func TestFactsThatNoTotalShowsAreKept(t *testing.T) {
	for name, test := range map[string]struct {
		dialect *Dialect
		body    string
		is      func(Usage) bool
	}{
		"Perplexity's searches":   {dialectChat, `{"usage":{"num_search_queries":3,"reasoning_tokens":20,"cost":{"total_cost":0.5}}}`, func(u Usage) bool { return u.WebSearches == 3 && u.Reasoning == 20 && u.Cost == 0.5 }},
		"Mistral's seconds":       {dialectChat, `{"usage":{"prompt_tokens":5,"prompt_audio_seconds":7}}`, func(u Usage) bool { return u.Seconds == 7 }},
		"Bedrock's long cache":    {dialectConverse, `{"usage":{"cacheDetails":[{"ttl":"5m","inputTokens":3},{"ttl":"1h","inputTokens":4}],"cacheWriteInputTokens":7,"inputTokens":5,"outputTokens":7}}`, func(u Usage) bool { return u.CacheWrite == 7 && u.CacheWrite1h == 4 && u.InputTotal() == 12 }},
		"pictures in tokens":      {dialectImages, `{"data":[{}],"usage":{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"image_tokens":3},"output_tokens_details":{"image_tokens":7}}}`, func(u Usage) bool { return u.ImageInput == 3 && u.ImageOutput == 7 && u.Images == 1 }},
		"pictures by the piece":   {dialectEmbed, `{"predictions":[{"bytesBase64Encoded":"aGk=","mimeType":"image/png"},{"bytesBase64Encoded":"aGk="}]}`, func(u Usage) bool { return u.Images == 2 && !u.Stated() }},
		"Bedrock's pictures":      {dialectInvoke, `{"images":["aGk=","aGk="],"error":null}`, func(u Usage) bool { return u.Images == 2 }},
		"pages":                   {dialectEmbeddings, `{"model":"m","usage_info":{"pages_processed":3,"doc_size_bytes":null}}`, func(u Usage) bool { return u.Pages == 3 && !u.Stated() }},
		"units of a reranking":    {dialectCohere, `{"meta":{"billed_units":{"search_units":2}}}`, func(u Usage) bool { return u.SearchUnits == 2 }},
		"cached sound":            {dialectRealtime, `{"type":"response.done","response":{"usage":{"input_tokens":9,"output_tokens":1,"input_token_details":{"audio_tokens":5,"cached_tokens":4,"cached_tokens_details":{"audio_tokens":3}}}}}`, func(u Usage) bool { return u.AudioCacheRead == 3 && u.CacheRead == 4 }},
		"a cost of nothing":       {dialectChat, `{"usage":{"prompt_tokens":5,"cost":0}}`, func(u Usage) bool { _, stated := u.StatedCost(); return stated }},
		"no cost":                 {dialectChat, `{"usage":{"prompt_tokens":5}}`, func(u Usage) bool { _, stated := u.StatedCost(); return !stated }},
		"Cohere bills less":       {dialectCohere, `{"usage":{"billed_units":{"input_tokens":1,"output_tokens":2},"tokens":{"input_tokens":5,"output_tokens":7}}}`, func(u Usage) bool { in, out := u.Billed(); return in == 1 && out == 2 && u.InputTotal() == 5 }},
		"all else bills what was": {dialectMessages, `{"usage":{"input_tokens":5,"cache_read_input_tokens":3,"output_tokens":7}}`, func(u Usage) bool { in, out := u.Billed(); return in == 8 && out == 7 }},
	} {
		for _, size := range []int{1, 4096} {
			if got := scanned(test.dialect, jsonType, []byte(test.body), func() int { return size }); !test.is(got.Usage) {
				t.Errorf("%s: got %+v", name, got.Usage)
			}
		}
	}
}

func TestServiceTierIsKnown(t *testing.T) {
	for _, test := range []struct {
		dialect *Dialect
		body    string
		want    string
	}{
		{dialectChat, stream(`{"service_tier":"auto","choices":[{"delta":{"content":"a"}}]}`, `{"service_tier":"flex","choices":[{"finish_reason":"stop"}]}`), "flex"},
		{dialectResponses, stream(`{"type":"response.created","response":{"service_tier":"auto"}}`, `{"type":"response.completed","response":{"service_tier":"priority"}}`), "priority"},
		{dialectMessages, stream(`{"type":"message_start","message":{"usage":{"service_tier":"batch"}}}`, `{"type":"message_delta","usage":{"output_tokens":1}}`), "batch"},
		{dialectGenerate, stream(`{"usageMetadata":{"serviceTier":"standard"}}`), "standard"},
		{dialectChat, stream(`{"service_tier":null}`), ""},
	} {
		if got := scanned(test.dialect, eventStreamType, []byte(test.body), func() int { return 7 }); got.ServiceTier != test.want {
			t.Errorf("%s: %q", test.body, got.ServiceTier)
		}
	}
}

func TestReasonsForTheEndAreComparable(t *testing.T) {
	for word, want := range map[string]string{
		"stop": "stop", "STOP": "stop", "end_turn": "stop", "eos": "stop", "eos_token": "stop", "COMPLETE": "stop", "stop_sequence": "stop", "STOP_SEQUENCE": "stop", "completed": "stop", "FINISH": "stop", "word": "stop",
		"length": "length", "MAX_TOKENS": "length", "max_tokens": "length", "incomplete:max_output_tokens": "length", "model_length": "length", "model_context_window_exceeded": "length", "limit": "length", "MAX": "length",
		"tool_calls": "tool_calls", "tool_use": "tool_calls", "TOOL_CALL": "tool_calls", "function_call": "tool_calls",
		"content_filter": "content_filter", "refusal": "content_filter", "SAFETY": "content_filter", "RECITATION": "content_filter", "sensitive": "content_filter", "guardrail_intervened": "content_filter", "8": "content_filter",
		"error": "error", "failed": "error", "insufficient_system_resource": "error", "MALFORMED_FUNCTION_CALL": "error", "network_error": "error",
		"pause_turn": "other", "LANGUAGE": "other", "what nobody has heard of": "other", "": "",
	} {
		if got := finishReason(word); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
