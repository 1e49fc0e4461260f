// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
	"testing"
)

const (
	eventStreamType = "text/event-stream; charset=utf-8"
	jsonType        = "application/json"
)

// stream writes each event as data.
func stream(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

// summary is what most answers are judged by.
type summary struct {
	Model, Finish, Reason           string
	Input, Output, CacheRead        int64
	Events, First                   int
	Started, Ended, Failed, Metered bool
}

func summarize(r reading) summary {
	return summary{
		r.Model, r.Finish, r.FinishReason, r.Usage.InputTotal(), r.Usage.OutputTotal(), r.Usage.CacheRead,
		r.Events, r.FirstOutputEvent, r.started, r.ended, r.failed, r.Usage.Stated(),
	}
}

// readAlong is an answer and what is to be found in it, however it is cut.
type readAlong struct {
	name    string
	dialect *Dialect
	media   string
	body    string
	want    summary
}

func (test readAlong) run(t *testing.T) {
	for _, size := range []int{len(test.body), 1, 2, 7} {
		got := summarize(scanned(test.dialect, test.media, []byte(test.body), func() int { return max(size, 1) }))
		if got != test.want {
			t.Errorf("in pieces of %d:\n got %+v\nwant %+v", size, got, test.want)
		}
	}
}

func TestAnswersAreReadAlong(t *testing.T) {
	for _, test := range []readAlong{
		{
			"a chat", dialectChat, jsonType,
			`{"model":"m1","choices":[{"message":{"content":"usage","tool_calls":[{"function":{"arguments":"{\"usage\":{\"prompt_tokens\":99}}"}}]},"finish_reason":"tool_calls"}],
			"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3}}}`,
			summary{"m1", "tool_calls", "tool_calls", 5, 7, 3, 1, 0, true, true, false, true},
		},
		{
			"a streamed chat", dialectChat, eventStreamType,
			stream(
				`{"model":"","choices":[],"prompt_filter_results":[{}]}`,
				`{"model":"m1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}`,
				`{"model":"m2","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}],"usage":null}`,
				`{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":null}`,
				`{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`,
				`[DONE]`),
			summary{"m1", "length", "length", 5, 7, 0, 6, 2, true, true, false, true},
		},
		{
			"the last usage counts", dialectChat, eventStreamType,
			stream(
				`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}`,
				`{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`),
			summary{"", "stop", "stop", 5, 2, 0, 2, 0, true, true, false, true},
		},
		{
			"usage where Groq has it", dialectChat, eventStreamType,
			stream(`{"choices":[{"delta":{"reasoning":"a"},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":2}}}`),
			summary{"", "stop", "stop", 5, 2, 0, 1, 0, true, true, false, true},
		},
		{
			"usage where Moonshot has it", dialectChat, eventStreamType,
			stream(`{"choices":[{"delta":{"content":"a"},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":2,"cached_tokens":1}}]}`),
			summary{"", "stop", "stop", 5, 2, 1, 1, 0, true, true, false, true},
		},
		{
			"one of two choices has not ended", dialectChat, eventStreamType,
			stream(
				`{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}`,
				`{"choices":[{"finish_reason":"stop","index":0}]}`),
			summary{"", "stop", "stop", 0, 0, 0, 2, 0, true, false, false, false},
		},
		{
			"the first choice tells why it ended", dialectChat, eventStreamType,
			stream(
				`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"length"}]}`,
				`{"choices":[{"finish_reason":"stop","delta":{"content":"b"},"index":1}]}`),
			summary{"", "length", "length", 0, 0, 0, 2, 0, true, true, false, false},
		},
		{
			"a chat that is cut off", dialectChat, eventStreamType,
			stream(`{"model":"m1","choices":[{"delta":{"content":"a"}}]}`) + `data: {"choices":[{"delta":{"cont`,
			summary{"m1", "", "", 0, 0, 0, 2, 0, true, false, false, false},
		},
		{
			"a malformed event between good ones", dialectChat, eventStreamType,
			stream(`{"model":"m1","choices":[{"delta":{"content":"a"}}]}`, `{"choices":[{"delta":{]}`, `{"choices":[{"finish_reason":"stop"}]}`),
			summary{"m1", "stop", "stop", 0, 0, 0, 3, 0, true, true, false, false},
		},
		{
			"half a document", dialectChat, jsonType, `{"model":"m1","choices":[{"finish_reason":null`,
			summary{"m1", "", "", 0, 0, 0, 0, -1, false, false, false, false},
		},
		{
			"Responses", dialectResponses, jsonType,
			`{"model":"m1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"error":null,"tools":[{"usage":{"input_tokens":9}}],
			"tool_usage":{"image_gen":{"input_tokens":9}},"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":4},"output_tokens":7}}`,
			summary{"m1", "incomplete:max_output_tokens", "length", 5, 7, 4, 1, 0, true, true, false, true},
		},
		{
			"streamed Responses", dialectResponses, eventStreamType,
			"event: response.created\n" + stream(`{"type":"response.created","response":{"model":"m1","status":"in_progress","error":null,"usage":null}}`) +
				"event: response.output_text.delta\n" + stream(`{"delta":"hi","type":"response.output_text.delta"}`) +
				"event: response.completed\n" + stream(`{"type":"response.completed","response":{"model":"m1","status":"completed","output":[{"status":"x"}],"usage":{"input_tokens":5,"output_tokens":7}}}`),
			summary{"m1", "completed", "stop", 5, 7, 0, 3, 1, true, true, false, true},
		},
		{
			"streamed Responses that are cut off", dialectResponses, eventStreamType,
			stream(`{"type":"response.created","response":{"model":"m1","status":"in_progress"}}`, `{"type":"response.output_text.delta","delta":"hi"}`),
			summary{"m1", "", "", 0, 0, 0, 2, 1, true, false, false, false},
		},
		{
			"a message", dialectMessages, jsonType,
			`{"type":"message","model":"m1","content":[{"type":"tool_use","input":{"stop_reason":"x","error":1}}],"stop_reason":"tool_use",
			"usage":{"input_tokens":5,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":7,"iterations":[{"input_tokens":1}]}}`,
			summary{"m1", "tool_use", "tool_calls", 115, 7, 10, 1, 0, true, true, false, true},
		},
		{
			"a streamed message", dialectMessages, eventStreamType,
			"event: message_start\n" + stream(`{"type":"message_start","message":{"type":"message","model":"m1","stop_reason":null,"usage":{"input_tokens":5,"cache_read_input_tokens":10,"output_tokens":1}}}`) +
				"event: content_block_start\n" + stream(`{"type":"content_block_start","content_block":{"type":"text","text":""}}`) +
				"event: ping\n" + stream(`{"type":"ping"}`) +
				"event: content_block_delta\n" + stream(`{"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}   `) +
				"event: message_delta\n" + stream(`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":null,"output_tokens":7}}`) +
				"event: message_stop\n" + stream(`{"type":"message_stop"}`),
			summary{"m1", "end_turn", "stop", 15, 7, 10, 6, 3, true, true, false, true},
		},
		{
			"Gemini", dialectGenerate, jsonType,
			`{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"finishReason":"x"}}}]},"finishReason":"STOP"}],"modelVersion":"m1",
			"usageMetadata":{"promptTokenCount":5,"toolUsePromptTokenCount":10,"cachedContentTokenCount":3,"candidatesTokenCount":7,"thoughtsTokenCount":20,"totalTokenCount":42}}`,
			summary{"m1", "STOP", "stop", 15, 27, 3, 1, 0, true, true, false, true},
		},
		{
			"streamed Gemini keeps what later chunks leave out", dialectGenerate, eventStreamType,
			strings.ReplaceAll(stream(
				`{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":7}}`,
				`{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":4}}`), "\n", "\r\n"),
			summary{"", "MAX_TOKENS", "length", 4, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"Gemini as one array", dialectGenerate, jsonType,
			`[{"candidates":[{"content":{"parts":[{"text":""}]}}]}` + "\n,\r\n" +
				`{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"modelVersion":"m1","usageMetadata":{"promptTokenCount":5}},
				{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":1}],"usageMetadata":{"candidatesTokenCount":7}}` + "\n]",
			summary{"m1", "1", "stop", 5, 7, 0, 3, 1, true, true, false, true},
		},
		{
			"Gemini's array that is cut off", dialectGenerate, jsonType,
			`[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}` + "\n,",
			summary{"", "", "", 0, 0, 0, 1, 0, true, false, false, false},
		},
		{
			"Gemini refuses the prompt", dialectGenerate, eventStreamType,
			stream(`{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5}}`),
			summary{"", "SAFETY", "content_filter", 5, 0, 0, 1, -1, false, true, false, true},
		},
		{
			"embeddings", dialectEmbeddings, jsonType, `{"model":"m1","data":[{"embedding":[0.1,-0.2]}],"usage":{"total_tokens":5}}`,
			summary{"m1", "", "", 5, 0, 0, 1, 0, true, true, false, true},
		},
		{
			"images in drafts", dialectImages, eventStreamType,
			stream(`{"type":"image_generation.partial_image","b64_json":"aGk="}`, `{"type":"image_generation.completed","b64_json":"aGk=","usage":{"input_tokens":5,"output_tokens":7}}`),
			summary{"", "", "", 5, 7, 0, 2, 0, true, true, false, true},
		},
		{
			"a transcript as text", dialectAudio, "text/plain", "id est, data: nothing",
			summary{"", "", "", 0, 0, 0, 0, -1, true, true, false, false},
		},
		{
			"a very short transcript", dialectAudio, "text/plain", "id",
			summary{"", "", "", 0, 0, 0, 0, -1, false, true, false, false},
		},
		{
			"speech", dialectAudio, "audio/mpeg", "{\x00\xff",
			summary{"", "", "", 0, 0, 0, 0, -1, true, true, false, false},
		},
		{
			"a stream labelled as JSON", dialectChat, jsonType, "\n" + stream(`{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`, "[DONE]"),
			summary{"", "stop", "stop", 0, 0, 0, 2, 0, true, true, false, false},
		},
		{
			"a stream without a label", dialectChat, "", ": hello\n\n" + stream(`{"choices":[{"delta":{"content":"a"}}]}`, "[DONE]"),
			summary{"", "", "", 0, 0, 0, 2, 0, true, true, false, false},
		},
		{
			"JSON labelled as a stream, behind empty lines", dialectChat, eventStreamType, "\n\n  \n" + `{"model":"m1","choices":[]}`,
			summary{"m1", "", "", 0, 0, 0, 1, 0, true, true, false, false},
		},
		{
			"JSON behind a byte order mark", dialectChat, jsonType, "\ufeff" + `{"model":"m1","choices":[]}`,
			summary{"m1", "", "", 0, 0, 0, 1, 0, true, true, false, false},
		},
		{
			"counting tokens uses none", dialectCountTokens, jsonType, `{"input_tokens":5}`,
			summary{"", "", "", 0, 0, 0, 1, 0, true, true, false, false},
		},
		{
			"nothing", dialectChat, eventStreamType, "",
			summary{"", "", "", 0, 0, 0, 0, -1, false, false, false, false},
		},
	} {
		t.Run(test.name, test.run)
	}
}

func TestAnswersThatAreNotReadAreCounted(t *testing.T) {
	body := []byte(`{"model":"m1","error":{}}`)
	for name, s := range map[string]*Scanner{
		"no dialect":   NewScanner(&Operation{}, http.StatusOK, jsonType, ""),
		"compressed":   NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, jsonType, "gzip"),
		"unsuccessful": NewScanner(&Operation{Dialect: dialectChat}, http.StatusBadRequest, jsonType, ""),
	} {
		s.Write(body)
		s.Close()
		want := Result{Bytes: int64(len(body)), FirstOutputEvent: -1}
		if got := s.Result(); got != want || !s.Started() || !s.Ended() || s.Failure() != nil {
			t.Errorf("%s: %+v, started %t, ended %t, failure %q", name, got, s.Started(), s.Ended(), s.Failure())
		}
		s.Release()
	}
}

func TestAScannerFromThePoolKnowsNothing(t *testing.T) {
	fresh := NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, eventStreamType, "")
	fresh.Release()
	for range 100 {
		s := NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, eventStreamType, "")
		if got := s.Result(); got != (Result{FirstOutputEvent: -1}) || s.Started() || s.Ended() || s.Failure() != nil {
			t.Fatalf("knows %+v", got)
		}
		s.Write([]byte("error: x\n" + stream(`{"model":"m","error":1,"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`) + "stray"))
		s.Release()
	}
}
